//! `out-of-range`: A number or a duration outside of its bounds.

use velo_schema::value::ValueError;

use super::value::value_findings;
use crate::rule::Rule;
use crate::severity::Severity;

/// A number or a duration outside the range of its key.
pub const RULE: Rule = Rule {
    id: "out-of-range",
    severity: Severity::Error,
    summary: "A number or a duration outside the range of its key.",
    why: "The message states the range of the key.",
    example: "WITH ('batch.size' = '0')",
    better: "WITH ('batch.size' = '1')",
    check: |unit, out| {
        value_findings(unit, &RULE, out, |_, error| matches!(error, ValueError::OutOfRange { .. }));
    },
};
