//! `retry-key-without-retries`: how to retry is set, and another strategy is in force.

use velo_schema::FailureStrategy;
use velo_schema::keys::{Key, Relevance};

use super::{Rule, Severity};
use crate::finding::Detail;
use crate::unit::Reading;

/// Retry settings under a failure strategy that never retries.
pub const RULE: Rule = Rule {
    id: "retry-key-without-retries",
    severity: Severity::Warning,
    summary: "Retry settings under a failure strategy that never retries.",
    doc: "Retries, back-off and what follows them belong to RetryWithBackoff.",
    check: |unit, out| {
        for item in unit.items.iter().filter(|item| item.key.def().relevance == Relevance::Retries) {
            let set = unit.effective(&item.scope, Key::FailureStrategy);
            let known = set.is_some_and(|set| matches!(set.reading, Reading::Known(_)));
            let strategy = unit.config(&item.scope).failure.strategy;
            if known && strategy != FailureStrategy::RetryWithBackoff {
                out.add(&RULE, item.raw.key.span.clone(), Detail::RetryKeyWithoutRetries { key: item.key });
            }
        }
    },
};
