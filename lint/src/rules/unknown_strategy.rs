//! `unknown-strategy`: `batch.strategy` names no batch strategy.

use velo_schema::value::{Kind, ValueError};

use super::value::value_findings;
use crate::rule::Rule;
use crate::severity::Severity;

/// A batch strategy that does not exist.
pub const RULE: Rule = Rule {
    id: "unknown-strategy",
    severity: Severity::Error,
    summary: "A batch strategy that does not exist.",
    why: "With an unknown strategy the job uses the default strategy or does not start. The strategies are fixed_size, time_window, memory_based, adaptive_size, low_latency and mega_batch.",
    example: "WITH ('batch.strategy' = 'fixed_sise')",
    better: "WITH ('batch.strategy' = 'fixed_size')",
    check: |unit, out| {
        value_findings(unit, &RULE, out, |item, error| {
            item.key.def().kind == Kind::Strategy && matches!(error, ValueError::UnknownWord { .. })
        });
    },
};
