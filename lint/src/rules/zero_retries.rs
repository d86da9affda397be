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
    why: "Without retries, on_exhausted applies after the first failure. Allow a retry, or choose another failure strategy.",
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
        "max_retries is 0, so on_exhausted applies after the first failure".to_owned()
    }
}
