//! `invalid-duration`: A value that is no duration.

use velo_schema::value::ValueError;

use super::value::value_findings;
use crate::rule::Rule;
use crate::severity::Severity;

/// A value that is not a duration.
pub const RULE: Rule = Rule {
    id: "invalid-duration",
    severity: Severity::Error,
    summary: "A value that is not a duration.",
    why: "A duration is a number and a unit: ms, s, m, h, d, or the unit spelled out, as in 500ms or 5 minutes.",
    example: "WITH ('batch.timeout' = '5 sec')",
    better: "WITH ('batch.timeout' = '5s')",
    check: |unit, out| {
        value_findings(unit, &RULE, out, |_, error| matches!(error, ValueError::InvalidDuration));
    },
};
