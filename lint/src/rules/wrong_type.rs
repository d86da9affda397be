//! `wrong-type`: a value of another type than its key's.

use velo_schema::value::ValueError;

use super::{Rule, Severity, value_findings};
use crate::finding::Detail;
use crate::unit::Reading;

/// A value of another type than its key's, or none at all.
pub const RULE: Rule = Rule {
    id: "wrong-type",
    severity: Severity::Error,
    summary: "A value of another type than its key's, or none at all.",
    doc: "Counts and sizes are whole numbers, topics are names that Kafka takes, and no value is empty.",
    check: |unit, out| {
        value_findings(unit, &RULE, out, |_, error| {
            matches!(error, ValueError::NotAnInteger { .. } | ValueError::Empty | ValueError::InvalidTopic)
        });
        for item in unit.items.iter().filter(|item| matches!(item.reading, Reading::Missing)) {
            out.add(&RULE, item.raw.key.outer(), Detail::MissingValue { key: item.key });
        }
    },
};
