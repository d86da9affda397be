//! `retry-hold-time`: how long a failing batch holds its partitions.

use velo_schema::FailureStrategy;
use velo_schema::keys::Key;

use super::{Rule, Severity, per_scope};
use crate::finding::Detail;

/// How long the retries of a failing batch hold its partitions.
pub const RULE: Rule = Rule {
    id: "retry-hold-time",
    severity: Severity::Info,
    summary: "How long the retries of a failing batch hold its partitions.",
    why: "The delays double, so their sum is easily underestimated. Nothing behind the batch in its partitions is processed until the last retry is over.",
    example: "WITH ('failure_strategy' = 'RetryWithBackoff', 'max_retries' = '5')",
    better: "WITH ('failure_strategy' = 'SendToDLQ')",
    check: |unit, out| {
        let needs = [Key::FailureStrategy, Key::MaxRetries, Key::RetryBackoff, Key::RetryBackoffMax];
        per_scope(unit, &RULE, out, &needs, |scope, config| {
            let failure = &config.failure;
            let retries = failure.strategy == FailureStrategy::RetryWithBackoff && failure.max_retries > 0;
            let item = unit.effective(scope, Key::FailureStrategy).filter(|_| retries)?;
            let detail =
                Detail::RetryHoldTime { retries: failure.max_retries, total: failure.total_backoff() };
            Some((item.value_span.clone(), detail, None))
        });
    },
};
