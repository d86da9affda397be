//! `unknown-key`: a key under one of our prefixes that does not exist.

use super::{Rule, Severity};
use crate::finding::Detail;
use crate::ownership::Owner;

/// A key under `batch.`, `source.batch.` or `sink.batch.` that does not exist.
pub const RULE: Rule = Rule {
    id: "unknown-key",
    severity: Severity::Error,
    summary: "A key under `batch.`, `source.batch.` or `sink.batch.` that does not exist.",
    why: "Nothing reads such a key, so the setting that was meant keeps its default and nobody is told.",
    example: "WITH ('batch.sise' = '500')",
    better: "WITH ('batch.size' = '500')",
    check: |unit, out| {
        for stranger in &unit.strangers {
            match &stranger.owner {
                Owner::Unknown(nearest) => {
                    let (key, nearest) = (stranger.key.to_owned(), nearest.clone());
                    let fix = nearest.as_deref().and_then(|near| stranger.respelled(near, unit));
                    out.add_fixable(&RULE, stranger.span.clone(), Detail::UnknownKey { key, nearest }, fix);
                }
                Owner::WrongScope(scope, key) => {
                    let detail = Detail::KeyInWrongScope { key: *key, scope: scope.clone() };
                    out.add(&RULE, stranger.span.clone(), detail);
                }
                Owner::Ours(..) | Owner::NearMiss(_) | Owner::Foreign => {}
            }
        }
    },
};
