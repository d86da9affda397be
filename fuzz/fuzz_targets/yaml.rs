//! Text in, documents with settings out. Checks that all positions are in the text, and that a document inside another
//! text, such as a Markdown block, has the same settings. Lint and JSON Schema are not compared here: they agree on the
//! documents that `lint/tests/lint/schema.rs` generates, and need not agree on whose document an arbitrary text is.

#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use velo_lint::scan::{RawValue, Statement};
use velo_lint::yaml::{comments, declared, documents};
use velo_lint::{Language, lint};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let whole = 0..text.len();
    positions_are_in(&text, &whole, &declared(&text, &velo_lint::ownership::Names::default()));
    for comment in comments(&text, whole.clone()) {
        assert!(text.get(comment.clone()).is_some(), "comment at {comment:?} of {text:?}");
    }
    let before = "é\n```yaml\n";
    let around = format!("{before}{text}\n```\n");
    let inside = before.len()..before.len() + text.len();
    assert_eq!(settings(&around, inside), settings(&text, whole), "in {text:?}");
    for finding in lint(&text, Language::Yaml) {
        assert!(text.get(finding.span.clone()).is_some(), "{finding:?} in {text:?}");
    }
});

/// Returns the keys and values of each document of a range of a text.
fn settings(text: &str, range: Range<usize>) -> Vec<Vec<(String, String)>> {
    let found = documents(text, range.clone());
    positions_are_in(text, &range, &found);
    let value = |value: &RawValue| match value {
        RawValue::Text(value) => text[value.span.clone()].to_owned(),
        other => format!("{other:?}"),
    };
    let clauses = found.iter().flat_map(|statement| &statement.clauses);
    let entries = clauses.map(|clause| clause.entries.iter());
    entries.map(|all| all.map(|entry| (entry.name(text).to_owned(), value(&entry.value))).collect()).collect()
}

fn positions_are_in(text: &str, range: &Range<usize>, found: &[Statement]) {
    let is_in = |span: &Range<usize>| {
        range.start <= span.start && span.end <= range.end && text.get(span.clone()).is_some()
    };
    for statement in found {
        assert!(is_in(&statement.span), "{:?} of {text:?}", statement.span);
        for clause in &statement.clauses {
            let values = clause.entries.iter().filter_map(|entry| match &entry.value {
                RawValue::Text(value) => Some(&value.span),
                _ => None,
            });
            let keys = clause.entries.iter().map(|entry| &entry.key.span);
            let faults = clause.faults.iter().map(|fault| &fault.span);
            let own = [&clause.span].into_iter().chain(&clause.shared);
            for span in own.chain(keys).chain(values).chain(faults) {
                assert!(is_in(span), "{span:?} of {clause:?} in {text:?}");
            }
        }
    }
}
