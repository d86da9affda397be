//! `near-miss-key`: a key that is nearly one of ours.

use super::{Rule, Severity};
use crate::finding::Detail;
use crate::ownership::Owner;

/// A key that is nearly one of ours, beside keys that are.
pub const RULE: Rule = Rule {
    id: "near-miss-key",
    severity: Severity::Warning,
    summary: "A key that is nearly one of ours, beside keys that are.",
    why: "Outside of our own prefixes a clause may hold any system's keys, so only a key that differs \
          from one of ours by its case, its separators or two letters is reported, and names that \
          other systems are known to use never are.",
    example: "WITH ('failure_stratgy' = 'FailBatch', 'batch.size' = '500')",
    better: "WITH ('failure_strategy' = 'FailBatch', 'batch.size' = '500')",
    check: |unit, out| {
        for stranger in &unit.strangers {
            if let Owner::NearMiss(near) = &stranger.owner {
                let (key, near) = (stranger.key.to_owned(), near.clone());
                let fix = stranger.respelled(&near, unit);
                out.add_fixable(&RULE, stranger.span.clone(), Detail::NearMiss { key, near }, fix);
            }
        }
    },
};
