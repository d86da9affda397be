//! `wrong-type`: a value of another type than its key's.

use serde::Serialize;
use velo_schema::keys::Key;
use velo_schema::value::ValueError;

use super::value::value_findings;
use crate::rule::{Found, Rule};
use crate::severity::Severity;
use crate::span::Span;
use crate::unit::Reading;

/// A value of the wrong type, or no value.
pub const RULE: Rule = Rule {
    id: "wrong-type",
    severity: Severity::Error,
    summary: "A value of the wrong type, or no value.",
    why: "Counts and sizes are whole numbers, topics are valid Kafka topic names, and values are not empty.",
    example: "WITH ('batch.size' = 'many')",
    better: "WITH ('batch.size' = '500')",
    check: |unit, out| {
        value_findings(unit, &RULE, out, |_, error| {
            matches!(error, ValueError::NotAnInteger { .. } | ValueError::Empty | ValueError::InvalidTopic)
        });
        for item in unit.items.iter().filter(|item| matches!(item.reading, Reading::Missing)) {
            let at = Span { file: item.key_span.file, range: item.raw.key.outer() };
            out.add(&RULE, at, MissingValue { key: item.key });
        }
    },
};

/// A key of ours without a value.
#[derive(Debug, Serialize)]
struct MissingValue {
    /// The key.
    key: Key,
}

impl Found for MissingValue {
    fn message(&self) -> String {
        let Self { key } = self;
        format!("'{key}' has no value")
    }
}
