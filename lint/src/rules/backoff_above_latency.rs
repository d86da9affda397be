//! `backoff-above-latency`: retries that wait longer than the strategy lets a record wait.

use std::time::Duration;

use serde::Serialize;
use velo_schema::format_duration;
use velo_schema::guide::IMPACT;
use velo_schema::keys::Key;
use velo_schema::{FailureStrategy, StrategyKind};

use crate::rule::{Found, Rule, milliseconds, per_scope};
use crate::severity::Severity;

/// `retry_backoff` is longer than the latency that `low_latency` is meant for.
pub const RULE: Rule = Rule {
    id: "backoff-above-latency",
    severity: Severity::Warning,
    summary: "`retry_backoff` is longer than the latency that `low_latency` is meant for.",
    why: "A batch that is being retried blocks its partitions, so all later records wait for the back-off, too. Shorten `retry_backoff`, or send failed records to a dead letter queue.",
    example: "WITH ('batch.strategy' = 'low_latency', 'failure_strategy' = 'RetryWithBackoff', 'retry_backoff' = '5s')",
    better: "WITH ('batch.strategy' = 'low_latency', 'failure_strategy' = 'RetryWithBackoff', 'retry_backoff' = '5ms')",
    check: |unit, out| {
        let needs = [Key::BatchStrategy, Key::FailureStrategy, Key::RetryBackoff, Key::MaxRetries];
        let row = IMPACT.iter().find(|row| row.strategy == StrategyKind::LowLatency);
        let Some(latency) = row.map(|row| Duration::from_millis(row.latency_ms.max)) else { return };
        per_scope(unit, &RULE, out, &needs, |scope, config| {
            let failure = &config.failure;
            let applies = config.strategy.kind() == StrategyKind::LowLatency
                && failure.strategy == FailureStrategy::RetryWithBackoff
                && failure.max_retries > 0
                && failure.backoff > latency;
            let set = unit.effective(scope, Key::RetryBackoff);
            let item = set.or_else(|| unit.effective(scope, Key::FailureStrategy)).filter(|_| applies)?;
            let detail = BackoffAboveLatency { backoff: failure.backoff, latency };
            Some((item.value_span.clone(), detail, None))
        });
    },
};

/// Retries that wait longer than the latency that the strategy is chosen for.
#[derive(Debug, Serialize)]
struct BackoffAboveLatency {
    /// `retry_backoff`.
    #[serde(rename = "backoff_ms", serialize_with = "milliseconds")]
    backoff: Duration,
    /// What the guide expects of the strategy.
    #[serde(rename = "latency_ms", serialize_with = "milliseconds")]
    latency: Duration,
}

impl Found for BackoffAboveLatency {
    fn message(&self) -> String {
        let Self { backoff, latency } = self;
        format!(
            "retry_backoff ({}) is longer than the latency that low_latency is meant for ({}, the guide's figure)",
            format_duration(*backoff),
            format_duration(*latency)
        )
    }
}
