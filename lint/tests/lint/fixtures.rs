//! Every file below `fixtures/` says what lint finds in it; this checks them all.
//!
//! In comments of the file's own language: `expect: nothing`, or `expect: RULE LINE:COLUMN` for each
//! error and warning. Notes are listed as `expect-info:` in files that are about them, and ignored
//! elsewhere. `options:` gives what the command line would (`--record-size 2KiB`). JSON has no
//! comments: its files are called `*.nothing.json`, or have their verdict beside them as `*.expect`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use velo_lint::rules::RULES;
use velo_lint::{Document, File, FileError, Files, Language, LineIndex, Options, Severity, Target};

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// Every file below a folder of fixtures, whatever its name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The folders whose files carry a verdict.
const FOLDERS: &[&str] = &["sql", "yaml", "json", "markdown"];

pub(crate) fn all() -> Vec<Fixture> {
    FOLDERS
        .iter()
        .flat_map(|name| files(&folder().join(name)))
        .filter_map(|path| Fixture::read(&path))
        .collect()
}

/// Finds files beside the fixture that names them.
struct Beside;

impl Files for Beside {
    fn read(&self, from: &str, path: &str) -> Result<File, FileError> {
        let path = folder().join(from).parent().expect("a folder").join(path);
        let text = fs::read_to_string(&path).map_err(|_| FileError::NotFound)?;
        let name = path.strip_prefix(folder()).expect("below").display().to_string();
        Ok(File { name, text })
    }
}

type Place = (String, usize, usize);

pub(crate) struct Fixture {
    pub name: String,
    pub text: String,
    pub language: Language,
    pub options: Options,
    expected: BTreeSet<Place>,
    notes: BTreeSet<Place>,
    says_nothing: bool,
}

impl Fixture {
    /// The fixture at `path`; none if it is a verdict or a file that others name.
    fn read(path: &Path) -> Option<Self> {
        let name = path.strip_prefix(folder()).expect("below").display().to_string();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if extension == "expect" || name.contains("/configs/") {
            return None;
        }
        let language =
            Language::of_file_name(&name).unwrap_or_else(|| panic!("{name}: nothing runs this file"));
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let verdict = if name.ends_with(".nothing.json") {
            "expect: nothing".to_owned()
        } else if extension == "json" {
            let verdict = path.with_extension("expect");
            fs::read_to_string(&verdict).unwrap_or_else(|error| panic!("{}: {error}", verdict.display()))
        } else {
            text.clone()
        };
        let mut fixture = Self {
            name,
            text,
            language,
            options: Options::default(),
            expected: BTreeSet::new(),
            notes: BTreeSet::new(),
            says_nothing: false,
        };
        fixture.verdict(&verdict);
        Some(fixture)
    }

    fn verdict(&mut self, text: &str) {
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line =
                line.trim_start_matches(['-', '#', ' ', '<', '!']).trim_end_matches(['-', '>', ' ', '\r']);
            let parse = |rest: &str| {
                let (rule, place) = rest.trim().split_once(' ')?;
                let (line, column) = place.split_once(':')?;
                Some((rule.to_owned(), line.parse().ok()?, column.parse().ok()?))
            };
            let place = |rest| parse(rest).unwrap_or_else(|| panic!("{}: unreadable: {line}", self.name));
            if line == "expect: nothing" {
                self.says_nothing = true;
            } else if let Some(rest) = line.strip_prefix("expect: ") {
                self.expected.insert(place(rest));
            } else if let Some(rest) = line.strip_prefix("expect-info: ") {
                self.notes.insert(place(rest));
            } else if let Some(size) = line.strip_prefix("options: --record-size ") {
                self.options.record_bytes = velo_schema::parse_bytes(size);
            } else if let Some(target) = line.strip_prefix("options: --target ") {
                self.options.target = Target::from_word(target);
            }
        }
        let expects_nothing = self.expected.is_empty() && self.notes.is_empty();
        assert!(self.says_nothing == expects_nothing, "{}: has no verdict, or two", self.name);
    }

    /// True if a finding of this rule is expected.
    pub(crate) fn expects(&self, rule: &str) -> bool {
        self.expected.iter().any(|(expected, ..)| expected == rule)
    }

    /// Whether it has neither errors nor warnings.
    pub(crate) fn says_nothing(&self) -> bool {
        self.expected.is_empty()
    }

    /// The errors and warnings, and the notes.
    fn found(&self) -> (Vec<Place>, Vec<Place>) {
        let document = Document::read(&self.name, &self.text, self.language, &Beside);
        let (mut others, mut notes) = (Vec::new(), Vec::new());
        for finding in document.check(&self.options) {
            let start = LineIndex::new(document.text(finding.file)).position(finding.span.start);
            let rule = match finding.file {
                0 => finding.rule.to_owned(),
                file => {
                    format!("{}@{}", finding.rule, document.name(file).rsplit('/').next().expect("a name"))
                }
            };
            let list = if finding.severity == Severity::Info { &mut notes } else { &mut others };
            list.push((rule, start.line, start.column));
        }
        (others, notes)
    }

    /// The rule that the file is named after: `bad/RULE_1.sql`, `near/RULE_1.sql`.
    fn rule(&self) -> &str {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        file.rsplit_once('_').map_or("", |(rule, _)| rule)
    }
}

#[test]
fn every_fixture_is_found_to_be_what_it_says() {
    let mut wrong = Vec::new();
    let all = all();
    assert!(all.len() > 100, "the fixtures are gone");
    for fixture in all {
        let name = &fixture.name;
        let (others, notes) = fixture.found();
        let unique: BTreeSet<_> = others.iter().cloned().collect();
        if unique != fixture.expected || others.len() != unique.len() {
            let missing: Vec<_> = fixture.expected.difference(&unique).collect();
            let extra: Vec<_> = unique.difference(&fixture.expected).collect();
            wrong.push(format!("{name}: missing {missing:?}, not expected {extra:?}"));
        }
        let notes: BTreeSet<_> = notes.into_iter().collect();
        let missing: Vec<_> = fixture.notes.difference(&notes).collect();
        if !missing.is_empty() {
            wrong.push(format!("{name}: missing notes {missing:?}"));
        }
        let is_note =
            velo_lint::rules::find(fixture.rule()).is_some_and(|rule| rule.severity == Severity::Info);
        if is_note && name.contains("/near/") && notes.iter().any(|(rule, ..)| rule == fixture.rule()) {
            wrong.push(format!("{name}: is only near to {}, yet has it", fixture.rule()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_four_fixtures_that_break_it_and_two_that_nearly_do() {
    let (mut broken, mut near) = (BTreeMap::<String, u32>::new(), BTreeMap::<String, u32>::new());
    for fixture in all() {
        let rules: BTreeSet<_> =
            fixture.expected.iter().chain(&fixture.notes).map(|(rule, ..)| rule).collect();
        for rule in rules {
            let rule = rule.split_once('@').map_or(rule.as_str(), |(rule, _)| rule);
            *broken.entry(rule.to_owned()).or_default() += 1;
        }
        if fixture.name.contains("/near/") {
            *near.entry(fixture.rule().to_owned()).or_default() += 1;
        }
    }
    let count = |of: &BTreeMap<String, u32>, id: &str| of.get(id).copied().unwrap_or(0);
    let missing: Vec<_> = RULES
        .iter()
        .map(|rule| (rule.id, count(&broken, rule.id), count(&near, rule.id)))
        .filter(|(_, broken, near)| *broken < 4 || *near < 2)
        .collect();
    assert!(missing.is_empty(), "rules with too few fixtures (rule, bad, near): {missing:?}");
    let known: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    let strays: Vec<_> = near.keys().filter(|rule| !known.contains(rule.as_str())).collect();
    assert!(strays.is_empty(), "near fixtures of no rule: {strays:?}");
}
