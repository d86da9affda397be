//! `unknown-failure-strategy`: A failure strategy that does not exist.

use velo_schema::value::{Kind, ValueError};

use super::value::value_findings;
use crate::rule::Rule;
use crate::severity::Severity;

/// A failure strategy that does not exist.
pub const RULE: Rule = Rule {
    id: "unknown-failure-strategy",
    severity: Severity::Error,
    summary: "A failure strategy that does not exist.",
    why: "With a misspelt failure strategy the default would apply, which skips failed records. The strategies are LogAndContinue, SendToDLQ, FailBatch and RetryWithBackoff.",
    example: "WITH ('failure_strategy' = 'RetryWithBackof')",
    better: "WITH ('failure_strategy' = 'RetryWithBackoff')",
    check: |unit, out| {
        value_findings(unit, &RULE, out, |item, error| {
            matches!(item.key.def().kind, Kind::FailureStrategy | Kind::OnExhausted)
                && matches!(error, ValueError::UnknownWord { .. })
        });
    },
};
