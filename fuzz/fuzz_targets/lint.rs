//! A digit that selects the language, then text: lint and its fixes. Checks that findings and edits are in the text, that
//! a fixed text has nothing left to fix (as `lint/tests/lint/properties.rs` states it), and that safe fixes neither break
//! the syntax of a text nor add the first error to it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use velo_lint::{
    Document, File, FileError, Files, Language, LineIndex, NoFiles, Options, Severity, Target, fixed, lint, statements,
};

/// A statement whose configuration file is the text.
const STATEMENT: &str = "CREATE STREAM s AS SELECT * FROM t WITH ('config_file' = 'settings.json');";

/// Has one text, as the file of every name.
struct Only<'a>(&'a str);

impl Files for Only<'_> {
    fn read(&self, _: &str, path: &str) -> Result<File, FileError> {
        Ok(File { name: path.to_owned(), text: self.0.to_owned() })
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    // From the digit 0: SQL, YAML, JSON, Markdown.
    let language = match first % 4 {
        0 => Language::Sql,
        3 => Language::Markdown,
        _ => Language::Yaml,
    };
    findings_are_in_their_text(&Document::read("", &text, language, &NoFiles));
    if first % 4 == 2 {
        findings_are_in_their_text(&Document::read("", STATEMENT, Language::Sql, &Only(&text)));
    }
    fixing_is_final(&text, language);
    safe_fixes_break_nothing(&text, language);
});

fn findings_are_in_their_text(document: &Document) {
    let lines: Vec<_> = (0..document.texts()).map(|file| LineIndex::new(document.text(file))).collect();
    for target in [None, Some(Target::Guide), Some(Target::Velostream01)] {
        for finding in document.check(&Options { target, ..Options::default() }) {
            let text = document.text(finding.file);
            let fixes = finding.fix.iter().chain(&finding.alternatives);
            let edits = fixes.flat_map(|fix| &fix.edits).map(|edit| &edit.span);
            for span in edits.chain([&finding.span]) {
                assert!(text.get(span.clone()).is_some(), "{span:?} of {finding:?} in {text:?}");
                assert!(lines[finding.file].position(span.end).column > 0);
            }
            assert!(!finding.message.is_empty(), "{finding:?}");
        }
    }
}

fn fixing_is_final(text: &str, language: Language) {
    for with_unsafe in [false, true] {
        let once = fixed(text, language, &Options::default(), with_unsafe);
        let again = fixed(&once, language, &Options::default(), with_unsafe);
        assert_eq!(again, once, "fixed again, from {text:?}");
        let fixes = lint(&once, language).into_iter().filter_map(|finding| finding.fix);
        let left = fixes.filter(|fix| fix.safe || with_unsafe).count();
        assert_eq!(left, 0, "left to fix in {once:?}, from {text:?}");
    }
}

fn safe_fixes_break_nothing(text: &str, language: Language) {
    let fixed = fixed(text, language, &Options::default(), false);
    let faults = |text: &str| {
        let found = statements(text, language);
        found.iter().flat_map(|statement| &statement.clauses).map(|clause| clause.faults.len()).sum::<usize>()
    };
    assert!(faults(text) > 0 || faults(&fixed) == 0, "a fix broke the syntax: {fixed:?}, from {text:?}");
    let errors = |text: &str| {
        lint(text, language).iter().filter(|finding| finding.severity == Severity::Error).count()
    };
    assert!(errors(text) > 0 || errors(&fixed) == 0, "a fix added an error: {fixed:?}, from {text:?}");
}
