//! `near-miss-key`: a key that is nearly one of ours.

use super::{Rule, Severity};
use crate::finding::Detail;
use crate::ownership::{Owner, Weight};

/// A key that is nearly one of ours.
pub const RULE: Rule = Rule {
    id: "near-miss-key",
    severity: Severity::Warning,
    summary: "A key that is nearly one of ours.",
    why: "A clause may hold any system's keys, so a key is reported only if it differs from one of ours by its \
          case, its separators or two letters, and never if it is known to belong to another system. It is an \
          error if it is a key for failures, because records would meet with the default instead, or if its \
          prefix is misspelt ('soruce.batch.size').",
    example: "WITH ('failure_stratgy' = 'FailBatch', 'batch.size' = '500')",
    better: "WITH ('failure_strategy' = 'FailBatch', 'batch.size' = '500')",
    check: |unit, out| {
        for stranger in &unit.strangers {
            if let Owner::NearMiss(near) = &stranger.owner {
                let (key, near) = (stranger.key.to_owned(), near.clone());
                let fix = stranger.respelled(&near, unit);
                let severity = match stranger.weight() {
                    Weight::Batches => RULE.severity,
                    Weight::Failures => Severity::Error,
                };
                out.add_fixable(&RULE, stranger.span.clone(), Detail::NearMiss { key, near }, fix);
                out.last_is(severity);
            }
        }
    },
};
