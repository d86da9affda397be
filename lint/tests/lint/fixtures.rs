//! Every file below `fixtures/sql` says in its header what lint finds in it; this checks them all.
//!
//! `-- expect: nothing`, or a line `-- expect: RULE LINE:COLUMN` for each error and warning.
//! Notes are listed as `-- expect-info:` in files that are about them, and ignored elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use velo_lint::rules::RULES;
use velo_lint::{Language, Lines, Severity, lint};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/sql")
}

/// Every file below a folder, whatever its name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of fixtures") {
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

type Finding = (String, usize, usize);

struct Verdict {
    expected: BTreeSet<Finding>,
    notes: BTreeSet<Finding>,
    says_nothing: bool,
}

fn verdict(text: &str) -> Verdict {
    let mut verdict = Verdict { expected: BTreeSet::new(), notes: BTreeSet::new(), says_nothing: false };
    for line in text.trim_start_matches('\u{feff}').lines() {
        let parse = |rest: &str| {
            let (rule, place) = rest.trim().split_once(' ')?;
            let (line, column) = place.split_once(':')?;
            Some((rule.to_owned(), line.parse().ok()?, column.parse().ok()?))
        };
        if line.trim() == "-- expect: nothing" {
            verdict.says_nothing = true;
        } else if let Some(rest) = line.strip_prefix("-- expect: ") {
            verdict.expected.insert(parse(rest).unwrap_or_else(|| panic!("unreadable: {line}")));
        } else if let Some(rest) = line.strip_prefix("-- expect-info: ") {
            verdict.notes.insert(parse(rest).unwrap_or_else(|| panic!("unreadable: {line}")));
        }
    }
    verdict
}

fn found(text: &str) -> (Vec<Finding>, Vec<Finding>) {
    let lines = Lines::new(text);
    let place = |finding: &velo_lint::Finding| {
        let start = lines.position(finding.span.start);
        (finding.rule.to_owned(), start.line, start.column)
    };
    let findings = lint(text, Language::Sql);
    let (notes, others): (Vec<_>, Vec<_>) =
        findings.iter().partition(|finding| finding.severity == Severity::Info);
    (others.into_iter().map(place).collect(), notes.into_iter().map(place).collect())
}

#[test]
fn every_fixture_is_found_to_be_what_it_says() {
    let mut wrong = Vec::new();
    let all = files(&folder());
    assert!(all.len() > 20, "the fixtures are gone");
    for path in all {
        let name = path.strip_prefix(folder()).expect("below").display().to_string();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let verdict = verdict(&text);
        assert!(
            verdict.says_nothing == (verdict.expected.is_empty() && verdict.notes.is_empty()),
            "{name}: has no verdict, or two"
        );
        let (others, notes) = found(&text);
        let unique: BTreeSet<_> = others.iter().cloned().collect();
        if unique != verdict.expected || others.len() != unique.len() {
            let missing: Vec<_> = verdict.expected.difference(&unique).collect();
            let extra: Vec<_> = unique.difference(&verdict.expected).collect();
            wrong.push(format!("{name}: missing {missing:?}, not expected {extra:?}"));
        }
        let notes: BTreeSet<_> = notes.into_iter().collect();
        let missing: Vec<_> = verdict.notes.difference(&notes).collect();
        if !missing.is_empty() {
            wrong.push(format!("{name}: missing notes {missing:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_fixtures_that_break_it() {
    let mut broken = BTreeSet::new();
    for path in files(&folder().join("bad")) {
        let verdict = verdict(&fs::read_to_string(path).expect("readable"));
        broken.extend(verdict.expected.into_iter().chain(verdict.notes).map(|(rule, ..)| rule));
    }
    let missing: Vec<_> = RULES.iter().map(|rule| rule.id).filter(|id| !broken.contains(*id)).collect();
    assert!(missing.is_empty(), "no fixture breaks {missing:?}");
}
