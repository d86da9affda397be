//! `size-with-unit`: A size in bytes that carries a unit.

use velo_schema::value::ValueError;

use super::value::value_findings;
use crate::rule::Rule;
use crate::severity::Severity;

/// A size in bytes with a unit.
pub const RULE: Rule = Rule {
    id: "size-with-unit",
    severity: Severity::Error,
    summary: "A size in bytes with a unit.",
    why: "Sizes are numbers of bytes without a unit. 10MB can mean 10000000 or 10485760 bytes; write the number.",
    example: "WITH ('batch.strategy' = 'memory_based', 'batch.memory_size' = '10MB')",
    better: "WITH ('batch.strategy' = 'memory_based', 'batch.memory_size' = '10485760')",
    check: |unit, out| {
        value_findings(unit, &RULE, out, |_, error| matches!(error, ValueError::SizeWithUnit { .. }));
    },
};
