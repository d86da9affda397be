//! A project: texts with their settings in, what was found out, by file.
//!
//! The texts may come from a disk (command line), from open buffers (editor) or from a map (browser). A configuration file
//! that a statement names is checked as a part of that statement, once.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};

use crate::document::{Document, merge};
use crate::files::{Files, Overlay};
use crate::finding::Finding;
use crate::fix::apply;
use crate::language::Language;
use crate::options::Options;

/// A text to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name of its file.
    pub name: String,
    /// The text.
    pub text: String,
    /// What it is written in.
    pub language: Language,
}

/// A text with what was found in it.
#[derive(Debug, Clone, PartialEq)]
pub struct FileReport {
    /// The name of its file.
    pub name: String,
    /// The text.
    pub text: String,
    /// What it is written in.
    pub language: Language,
    /// The bytes of its statements.
    pub statements: Vec<Range<usize>>,
    /// The names of the files that its statements name.
    pub parts: Vec<String>,
    /// The findings, in the order of their places.
    pub findings: Vec<Finding>,
}

/// A text that fixes have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The name of its file.
    pub name: String,
    /// The text before.
    pub before: String,
    /// The text after.
    pub after: String,
    /// The number of fixes.
    pub fixes: usize,
}

/// Applies a function to many items; an implementation may use several threads.
pub trait Each: Sync {
    /// Returns the results in the order of the items.
    fn each<T: Send, R: Send>(&self, items: Vec<T>, of: impl Fn(T) -> R + Send + Sync) -> Vec<R>;
}

/// One item after the other.
#[derive(Debug, Clone, Copy)]
pub struct InTurn;

impl Each for InTurn {
    fn each<T: Send, R: Send>(&self, items: Vec<T>, of: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
        items.into_iter().map(of).collect()
    }
}

/// How the texts of a project are checked.
pub struct Workspace<'a, E> {
    /// The files that statements name.
    pub files: &'a (dyn Files + Sync),
    /// The options for the file of this name.
    pub options: &'a (dyn Fn(&str) -> Arc<Options> + Sync),
    /// True for the files of these names that are not to be checked. They are read all the same if a statement names
    /// them.
    pub excludes: &'a (dyn Fn(&str) -> bool + Sync),
    /// How much is done at once.
    pub each: E,
}

impl<E: Each> Workspace<'_, E> {
    /// Checks all texts. The reports are in the order in which the files are first met.
    #[must_use]
    pub fn check(&self, sources: &[Source]) -> Vec<FileReport> {
        self.check_with(self.files, sources)
    }

    fn check_with(&self, files: &(dyn Files + Sync), sources: &[Source]) -> Vec<FileReport> {
        // A file may be given by several names.
        let mut seen = HashSet::default();
        let sources: Vec<_> =
            sources.iter().filter(|source| seen.insert(files.canonical(&source.name))).collect();
        let read = |source: &Source| Document::read(&source.name, &source.text, source.language, files);
        // What names other files is read first, to know which files are parts of something.
        let ahead = |source: &Source| (source.language != Language::Yaml).then(|| read(source));
        let documents = self.each.each(sources.clone(), ahead);
        let parts =
            documents.iter().flatten().flat_map(|document| (1..document.texts()).map(|n| document.name(n)));
        let parts: HashSet<_> = parts.map(|name| files.canonical(name)).collect();
        let is_part = |name: &str| !parts.is_empty() && parts.contains(&files.canonical(name));
        // What is part of another text has its findings there.
        let find = |(source, document): (&Source, Option<Document>)| match document {
            None if is_part(&source.name) => None,
            known => Some(self.findings(files, known.unwrap_or_else(|| read(source)))),
        };
        let found = self.each.each(sources.iter().copied().zip(documents).collect(), find);
        let mut reports = Reports::default();
        for (source, found) in sources.into_iter().zip(found) {
            match found {
                Some(found) => reports.add(found),
                None => reports.reserve(files, source),
            }
        }
        let mut reports = reports.done();
        for report in reports.iter_mut().filter(|report| (self.excludes)(&report.name)) {
            report.findings.clear();
        }
        reports
    }

    fn findings(&self, files: &dyn Files, document: Document) -> Found {
        let paths = (0..document.texts()).map(|file| files.canonical(document.name(file))).collect();
        let options: Vec<_> = (0..document.texts()).map(|file| (self.options)(document.name(file))).collect();
        let findings = document.check_by_file(&options[0], |file| &options[file]);
        Found { document, paths, findings }
    }

    /// Fixes the texts, and the files that their statements name, until nothing is left to fix. Returns what has
    /// changed, and what is left to find.
    #[must_use]
    pub fn fix(&self, sources: Vec<Source>, with_unsafe: bool) -> (Vec<Change>, Vec<FileReport>) {
        /// A fix may uncover a mistake, which uncovers another one; a cycle would be a bug of a rule.
        const MOST_ROUNDS: usize = 20;
        let mut sources = sources;
        let mut changes: Vec<Change> = Vec::new();
        for _ in 0..MOST_ROUNDS {
            let overlay = self.after(&changes);
            let reports = self.check_with(&overlay, &sources);
            let mut has_changed = false;
            for report in &reports {
                let fixed = apply(&report.text, &report.findings, with_unsafe);
                if fixed.applied == 0 {
                    continue;
                }
                has_changed = true;
                let name = self.files.canonical(&report.name);
                for source in sources.iter_mut().filter(|source| self.files.canonical(&source.name) == name) {
                    source.text.clone_from(&fixed.text);
                }
                match changes.iter_mut().find(|change| change.name == report.name) {
                    Some(change) => {
                        change.after = fixed.text;
                        change.fixes += fixed.applied;
                    }
                    None => changes.push(Change {
                        name: report.name.clone(),
                        before: report.text.clone(),
                        after: fixed.text,
                        fixes: fixed.applied,
                    }),
                }
            }
            if !has_changed {
                return (changes, reports);
            }
        }
        let overlay = self.after(&changes);
        let reports = self.check_with(&overlay, &sources);
        (changes, reports)
    }
}

impl<'a, E> Workspace<'a, E> {
    /// Returns the files as they are after these changes.
    fn after<'c>(&self, changes: &'c [Change]) -> Overlay<'c>
    where
        'a: 'c,
    {
        let texts = changes.iter().map(|change| (change.name.as_str(), change.after.as_str()));
        Overlay::new(self.files, texts)
    }
}

impl<E> std::fmt::Debug for Workspace<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Workspace")
    }
}

/// A text with the files that it names, and what was found in them.
struct Found {
    document: Document,
    /// The one name of the text and of each file.
    paths: Vec<String>,
    findings: Vec<Finding>,
}

/// What was found, by file.
#[derive(Default)]
struct Reports {
    by_file: Vec<FileReport>,
    numbers: HashMap<String, usize>,
    /// The number of texts that each file is part of.
    readers: Vec<usize>,
}

impl Reports {
    /// Makes a place for a file whose findings come with those of another one.
    fn reserve(&mut self, files: &dyn Files, source: &Source) {
        let number = self.place(files.canonical(&source.name), &source.name, source.language);
        let report = &mut self.by_file[number];
        if report.text.is_empty() {
            report.text.clone_from(&source.text);
        }
    }

    /// Returns the place of a file, and makes one if it has none.
    fn place(&mut self, path: String, name: &str, language: Language) -> usize {
        let next = self.by_file.len();
        let number = *self.numbers.entry(path).or_insert(next);
        if number == next {
            self.by_file.push(FileReport {
                name: name.to_owned(),
                text: String::new(),
                language,
                statements: Vec::new(),
                parts: Vec::new(),
                findings: Vec::new(),
            });
            self.readers.push(0);
        }
        number
    }

    fn add(&mut self, Found { document, paths, findings }: Found) {
        let mut numbers = Vec::with_capacity(paths.len());
        for (file, path) in paths.into_iter().enumerate() {
            let number = self.place(path, document.name(file), document.language(file));
            let report = &mut self.by_file[number];
            document.text(file).clone_into(&mut report.text);
            report.statements = document.spans(file);
            if file == 0 {
                report.parts = (1..document.texts()).map(|file| document.name(file).to_owned()).collect();
            }
            self.readers[number] += 1;
            numbers.push(number);
        }
        for mut finding in findings {
            let number = numbers[finding.file];
            finding.file = 0;
            self.by_file[number].findings.push(finding);
        }
    }

    /// Several texts may name one file, and find the same in it.
    fn done(mut self) -> Vec<FileReport> {
        for (report, readers) in self.by_file.iter_mut().zip(self.readers) {
            report.findings = merge(std::mem::take(&mut report.findings), |_| readers);
        }
        self.by_file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;
    use crate::files::{File, FileError};

    struct Map(Vec<(&'static str, &'static str)>);

    impl Files for Map {
        fn read(&self, _: &str, path: &str) -> Result<File, FileError> {
            let file =
                |(name, text): &(&str, &str)| File { name: (*name).to_owned(), text: (*text).to_owned() };
            self.0.iter().find(|(name, _)| *name == path).map(file).ok_or(FileError::NotFound)
        }
    }

    fn source(name: &str, text: &str) -> Source {
        let language = Language::of_file_name(name).expect("a language");
        Source { name: name.to_owned(), text: text.to_owned(), language }
    }

    fn workspace<'a>(
        files: &'a Map,
        options: &'a (dyn Fn(&str) -> Arc<Options> + Sync),
    ) -> Workspace<'a, InTurn> {
        Workspace { files, options, excludes: &|_| false, each: InTurn }
    }

    fn by_default(_: &str) -> Arc<Options> {
        Arc::default()
    }

    const NAMES_BATCH: &str = "CREATE STREAM s AS SELECT * FROM t WITH ('config_file' = 'batch.yaml', 'failure_strategy' = 'FailBatch');";

    #[test]
    fn the_files_that_a_statement_names_are_fixed_with_it() {
        let files = Map(vec![("batch.yaml", "batch: {strategy: FixedSize, size: 7}\n")]);
        let (changes, left) = workspace(&files, &by_default).fix(vec![source("a.sql", NAMES_BATCH)], false);
        let texts: Vec<_> =
            changes.iter().map(|change| (change.name.as_str(), change.after.as_str())).collect();
        assert_eq!(texts, [("batch.yaml", "batch: {strategy: fixed_size, size: 7}\n")]);
        let above_info = |report: &FileReport| report.findings.iter().any(|f| f.severity > Severity::Info);
        assert!(!left.iter().any(above_info), "{left:#?}");
    }

    #[test]
    fn what_only_one_of_two_statements_finds_in_a_shared_file_is_not_fixed_safely() {
        // Beside `batch.size`, the one of the source says it again; the other statement has nothing to repeat.
        let files = Map(vec![("batch.yaml", "source.batch.size: 7\n")]);
        let clause = |own: &str| {
            format!(
                "CREATE STREAM s AS SELECT * FROM t WITH ({own}'config_file' = 'batch.yaml', 'failure_strategy' = 'FailBatch');"
            )
        };
        let both = [source("a.sql", &clause("'batch.size' = '7', ")), source("b.sql", &clause(""))];
        let space = workspace(&files, &by_default);
        let is_safe = |sources: &[Source]| {
            let reports = space.check(sources);
            let report = reports.into_iter().find(|report| report.name == "batch.yaml").expect("it is named");
            report
                .findings
                .into_iter()
                .filter_map(|finding| finding.fix)
                .map(|fix| fix.safe)
                .collect::<Vec<_>>()
        };
        assert!(is_safe(&both).iter().all(|safe| !safe));
    }

    #[test]
    fn a_file_may_hold_settings_of_one_source_only() {
        for text in ["t.batch.size: 0\n", "t:\n  batch:\n    size: 0\n"] {
            let files = Map(vec![("batch.yaml", text)]);
            let reports = workspace(&files, &by_default).check(&[source("a.sql", NAMES_BATCH)]);
            let report = reports.iter().find(|report| report.name == "batch.yaml").expect("it is named");
            assert!(report.findings.iter().any(|finding| finding.rule == "out-of-range"), "{reports:#?}");
        }
    }

    #[test]
    fn a_file_is_checked_once_and_with_its_statement() {
        let files = Map(vec![("batch.yaml", "batch: {size: 7}\n")]);
        let sources = [source("batch.yaml", "batch: {size: 7}\n"), source("a.sql", NAMES_BATCH)];
        let reports = workspace(&files, &by_default).check(&sources);
        let names: Vec<_> = reports.iter().map(|report| report.name.as_str()).collect();
        assert_eq!(names, ["batch.yaml", "a.sql"]);
        // By itself the file has no failure strategy.
        let rules: Vec<_> = reports[0].findings.iter().map(|finding| finding.rule).collect();
        assert!(!rules.contains(&"default-failure-strategy"), "{rules:?}");
    }
}
