//! `duration-without-unit`: A duration that is a bare number.

use velo_schema::value::ValueError;

use super::target_reads_differently::reads_bare_number;
use super::value::value_findings;
use crate::rule::Rule;
use crate::severity::Severity;

/// A duration without a unit.
pub const RULE: Rule = Rule {
    id: "duration-without-unit",
    severity: Severity::Error,
    summary: "A duration without a unit.",
    why: "A bare 1000 means milliseconds to some engines and seconds to others. Add the unit: 1000ms or 1000s.",
    example: "WITH ('batch.timeout' = '1000')",
    better: "WITH ('batch.timeout' = '1000ms')",
    check: |unit, out| {
        value_findings(unit, &RULE, out, |item, error| {
            let is_bare = matches!(error, ValueError::DurationWithoutUnit { .. });
            is_bare && !reads_bare_number(unit, item)
        });
    },
};
