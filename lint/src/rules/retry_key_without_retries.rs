//! `retry-key-without-retries`: how to retry is set, and another strategy is in force.

use serde::Serialize;
use velo_schema::keys::{Key, Relevance};
use velo_schema::{FailureStrategy, Scope};

use crate::rule::{Found, Rule};
use crate::severity::Severity;

/// Retry settings with a failure strategy that does not retry.
pub const RULE: Rule = Rule {
    id: "retry-key-without-retries",
    severity: Severity::Warning,
    summary: "Retry settings with a failure strategy that does not retry.",
    why: "Retry, back-off and on_exhausted settings apply only to RetryWithBackoff.",
    example: "WITH ('failure_strategy' = 'FailBatch', 'max_retries' = '5')",
    better: "WITH ('failure_strategy' = 'RetryWithBackoff', 'max_retries' = '5')",
    check: |unit, out| {
        for item in unit.effective_items().filter(|item| item.key.def().relevance == Relevance::Retries) {
            let users = unit.users(item);
            let retries = |scope: &Scope| {
                let open = unit.is_unreadable(scope, Key::FailureStrategy);
                open || unit.config(scope).failure.strategy == FailureStrategy::RetryWithBackoff
            };
            let any_set = users.iter().any(|scope| unit.is_known(scope, Key::FailureStrategy));
            if any_set && !users.iter().any(retries) {
                let detail = RetryKeyWithoutRetries { key: item.qualified() };
                out.add(&RULE, item.key_span.clone(), detail);
            }
        }
    },
};

/// Retry settings without retries.
#[derive(Debug, Serialize)]
struct RetryKeyWithoutRetries {
    /// The key, with its scope.
    key: String,
}

impl Found for RetryKeyWithoutRetries {
    fn message(&self) -> String {
        let Self { key } = self;
        format!("'{key}' has no effect without 'failure_strategy' = 'RetryWithBackoff'")
    }
}
