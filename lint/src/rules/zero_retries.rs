//! `zero-retries`: retries that never happen.

use serde::Serialize;
use velo_schema::FailureStrategy;
use velo_schema::keys::Key;

use crate::rule::{Found, Rule, per_scope};
use crate::severity::Severity;

/// `RetryWithBackoff` with `max_retries` of 0.
pub const RULE: Rule = Rule {
    id: "zero-retries",
    severity: Severity::Warning,
    summary: "`RetryWithBackoff` with `max_retries` of 0.",
    why: "Without a retry the first failure is the last one, and what follows is on_exhausted: a job that fails. Allow a retry, or say what is meant with another failure strategy.",
    example: "WITH ('failure_strategy' = 'RetryWithBackoff', 'max_retries' = '0')",
    better: "WITH ('failure_strategy' = 'RetryWithBackoff', 'max_retries' = '3')",
    check: |unit, out| {
        per_scope(unit, &RULE, out, &[Key::FailureStrategy, Key::MaxRetries], |scope, config| {
            let retries = config.failure.strategy == FailureStrategy::RetryWithBackoff;
            let item = unit.effective(scope, Key::MaxRetries)?;
            let is_none = retries && config.failure.max_retries == 0;
            is_none.then(|| (item.value_span.clone(), ZeroRetries {}, None))
        });
    },
};

/// `RetryWithBackoff` with no retries.
#[derive(Debug, Serialize)]
struct ZeroRetries {}

impl Found for ZeroRetries {
    fn message(&self) -> String {
        "with no retries the first failure is the last: on_exhausted follows at once".to_owned()
    }
}
