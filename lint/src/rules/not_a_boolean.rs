//! `not-a-boolean`: A switch that is neither true nor false.

use velo_schema::value::ValueError;

use super::value::value_findings;
use crate::rule::Rule;
use crate::severity::Severity;

/// A boolean that is neither true nor false.
pub const RULE: Rule = Rule {
    id: "not-a-boolean",
    severity: Severity::Error,
    summary: "A boolean that is neither true nor false.",
    why: "Write true or false.",
    example: "WITH ('batch.enable' = 'maybe')",
    better: "WITH ('batch.enable' = 'true')",
    check: |unit, out| {
        value_findings(unit, &RULE, out, |_, error| matches!(error, ValueError::NotABoolean));
    },
};
