//! `default-failure-strategy`: nobody said what happens to records that fail.

use serde::Serialize;
use velo_schema::Scope;
use velo_schema::keys::Key;

use crate::rule::{Found, Rule};
use crate::severity::Severity;

/// Batch settings without a failure strategy: failed records are skipped.
pub const RULE: Rule = Rule {
    id: "default-failure-strategy",
    severity: Severity::Info,
    summary: "Batch settings without a failure strategy: failed records are skipped.",
    why: "The default, LogAndContinue, logs failed records and skips them. If every record counts, set SendToDLQ, FailBatch or RetryWithBackoff.",
    example: "WITH ('batch.size' = '500')",
    better: "WITH ('batch.size' = '500', 'failure_strategy' = 'SendToDLQ')",
    check: |unit, out| {
        let unset = unit.is_complete() && !unit.items.iter().any(|item| item.key == Key::FailureStrategy);
        if let Some(item) = unit.items.iter().find(|item| item.scope == Scope::Job).filter(|_| unset) {
            out.add(&RULE, item.key_span.clone(), DefaultFailureStrategy {});
        }
    },
};

/// No failure strategy is set: failing records are skipped.
#[derive(Debug, Serialize)]
struct DefaultFailureStrategy {}

impl Found for DefaultFailureStrategy {
    fn message(&self) -> String {
        "no failure_strategy is set: failed records are logged and skipped (LogAndContinue)".to_owned()
    }
}
