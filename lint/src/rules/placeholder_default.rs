//! `placeholder-default`: a placeholder whose default is wrong.

use super::value::add_wrong_value;
use crate::rule::Rule;
use crate::severity::Severity;
use crate::unit::Reading;

/// A placeholder whose default is not a value of its key.
pub const RULE: Rule = Rule {
    id: "placeholder-default",
    severity: Severity::Error,
    summary: "A placeholder whose default is not a value of its key.",
    why: "Where the variable is not set the default holds, and then the key has no value. It goes unnoticed for as long as the variable is there.",
    example: "WITH ('batch.size' = '${BATCH_SIZE:-many}')",
    better: "WITH ('batch.size' = '${BATCH_SIZE:-500}')",
    check: |unit, out| {
        for item in unit.items.iter().filter(|item| item.in_placeholder) {
            if let Reading::Wrong(error) = &item.reading {
                add_wrong_value(&RULE, out, unit, item, error);
            }
        }
    },
};
