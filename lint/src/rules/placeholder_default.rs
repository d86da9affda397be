//! `placeholder-default`: a placeholder whose default is wrong.

use super::value::add_wrong_value;
use crate::rule::Rule;
use crate::severity::Severity;
use crate::unit::Reading;

/// A placeholder with an invalid default.
pub const RULE: Rule = Rule {
    id: "placeholder-default",
    severity: Severity::Error,
    summary: "A placeholder with an invalid default.",
    why: "The default applies if the variable is not set, and the key then has no valid value. The mistake is not noticed while the variable is set.",
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
