//! `retry-hold-time`: how long a failing batch holds its partitions.

use std::time::Duration;

use serde::Serialize;
use velo_schema::FailureStrategy;
use velo_schema::format_duration;
use velo_schema::keys::Key;

use crate::rule::{Found, Rule, milliseconds, per_scope};
use crate::severity::Severity;

/// The total time for which retries block the partitions of a failing batch.
pub const RULE: Rule = Rule {
    id: "retry-hold-time",
    severity: Severity::Info,
    summary: "The total time for which retries block the partitions of a failing batch.",
    why: "Each delay is twice the one before, so the total is easily underestimated. Later records of the same partitions are not processed until the last retry has ended.",
    example: "WITH ('failure_strategy' = 'RetryWithBackoff', 'max_retries' = '5')",
    better: "WITH ('failure_strategy' = 'SendToDLQ')",
    check: |unit, out| {
        let needs = [Key::FailureStrategy, Key::MaxRetries, Key::RetryBackoff, Key::RetryBackoffMax];
        per_scope(unit, &RULE, out, &needs, |scope, config| {
            let failure = &config.failure;
            let retries = failure.strategy == FailureStrategy::RetryWithBackoff && failure.max_retries > 0;
            let item = unit.effective(scope, Key::FailureStrategy).filter(|_| retries)?;
            let detail = RetryHoldTime { retries: failure.max_retries, total: failure.total_backoff() };
            Some((item.value_span.clone(), detail, None))
        });
    },
};

/// How long retries hold the lanes of a batch.
#[derive(Debug, Serialize)]
struct RetryHoldTime {
    /// `max_retries`.
    retries: u64,
    /// The sum of the delays.
    #[serde(rename = "total_ms", serialize_with = "milliseconds")]
    total: Duration,
}

impl Found for RetryHoldTime {
    fn message(&self) -> String {
        let Self { retries, total } = self;
        format!(
            "a batch that keeps failing blocks its partitions for {} ({retries} {})",
            format_duration(*total),
            if *retries == 1 { "retry" } else { "retries" }
        )
    }
}
