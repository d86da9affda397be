//! `target-poll-interval`: retries for which the target engine does not poll.

use std::time::Duration;

use serde::Serialize;
use velo_schema::FailureStrategy;
use velo_schema::format_duration;
use velo_schema::keys::Key;
use velo_schema::value::ValueError;

use crate::rule::{Found, Rule, milliseconds};
use crate::severity::Severity;
use crate::target::Target;
use crate::unit::{Reading, Unit};

/// Retries that take longer than `max.poll.interval.ms`.
pub const RULE: Rule = Rule {
    id: "target-poll-interval",
    severity: Severity::Warning,
    summary: "Retries that take longer than `max.poll.interval.ms`.",
    why: "velostream 0.1 sleeps between retries and does not poll. After max.poll.interval.ms (default: 5 minutes) the group revokes the partitions of the consumer.",
    example: "WITH ('failure_strategy' = 'RetryWithBackoff', 'max_retries' = '10', 'retry_backoff' = '60000')",
    better: "WITH ('failure_strategy' = 'RetryWithBackoff', 'max_retries' = '3', 'retry_backoff' = '60000')",
    check: |unit, out| {
        let job = velo_schema::Scope::Job;
        let retries = unit.config(&job).failure.strategy == FailureStrategy::RetryWithBackoff;
        if unit.options.target != Some(Target::Velostream01) || !retries || !unit.is_complete() {
            return;
        }
        let Some(backoff) = unit.effective(&job, Key::RetryBackoff) else { return };
        let Reading::Wrong(ValueError::DurationWithoutUnit { number }) = &backoff.reading else { return };
        let Ok(backoff_ms) = number.parse::<u64>() else { return };
        let set = unit.is_known(&job, Key::MaxRetries).then(|| unit.config(&job).failure.max_retries);
        let total = Duration::from_millis(backoff_ms.saturating_mul(set.unwrap_or(DEFAULT_RETRIES)));
        let limit = poll_interval(unit);
        if total > limit {
            let detail = TargetPollInterval { target: Target::Velostream01, total, limit };
            out.add(&RULE, backoff.value_span.clone(), detail);
        }
    },
};

/// Retries that hold a consumer back longer than its group waits for it.
#[derive(Debug, Serialize)]
struct TargetPollInterval {
    /// The target.
    target: Target,
    /// How long the consumer does not poll.
    #[serde(rename = "total_ms", serialize_with = "milliseconds")]
    total: Duration,
    /// How long its group waits.
    #[serde(rename = "limit_ms", serialize_with = "milliseconds")]
    limit: Duration,
}

impl Found for TargetPollInterval {
    fn message(&self) -> String {
        let Self { target, total, limit } = self;
        format!(
            "{} sleeps between retries and does not poll for {}; after {} the group revokes its partitions",
            target.word(),
            format_duration(*total),
            format_duration(*limit)
        )
    }
}

/// The engine's own default, which is not the guide's.
const DEFAULT_RETRIES: u64 = 10;

/// Kafka's default.
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_mins(5);

/// The shortest `<source>.max.poll.interval.ms` of the statement.
fn poll_interval(unit: &Unit<'_>) -> Duration {
    let set = unit.foreign.iter().filter(|foreign| foreign.key.ends_with("max.poll.interval.ms"));
    let shortest = set.filter_map(|foreign| foreign.value?.parse().ok()).min();
    shortest.map_or(DEFAULT_POLL_INTERVAL, Duration::from_millis)
}
