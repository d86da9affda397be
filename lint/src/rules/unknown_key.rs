//! `unknown-key`: a key under one of our prefixes that does not exist.

use serde::Serialize;
use velo_schema::Scope;
use velo_schema::keys::Key;

use crate::ownership::Owner;
use crate::rule::{Found, Rule};
use crate::severity::Severity;
use crate::wording::did_you_mean;

/// A key under `batch.`, `source.batch.` or `sink.batch.` that does not exist.
pub const RULE: Rule = Rule {
    id: "unknown-key",
    severity: Severity::Error,
    summary: "A key under `batch.`, `source.batch.` or `sink.batch.` that does not exist.",
    why: "The key is ignored without a message, and the setting that was meant keeps its default.",
    example: "WITH ('batch.sise' = '500')",
    better: "WITH ('batch.size' = '500')",
    check: |unit, out| {
        for stranger in &unit.strangers {
            match &stranger.owner {
                Owner::Unknown(nearest) => {
                    let (key, nearest) = (stranger.key.to_owned(), nearest.clone());
                    let fix = nearest.as_deref().and_then(|near| stranger.respelled(near, unit));
                    out.add_fixable(&RULE, stranger.span.clone(), UnknownKey { key, nearest }, fix);
                }
                Owner::WrongScope(scope, key) => {
                    let detail = KeyInWrongScope { key: *key, scope: scope.clone() };
                    out.add(&RULE, stranger.span.clone(), detail);
                }
                Owner::Ours(..) | Owner::NearMiss(_) | Owner::Foreign => {}
            }
        }
    },
};

/// A key that only the job takes, in another scope.
#[derive(Debug, Serialize)]
struct KeyInWrongScope {
    /// The key.
    key: Key,
    /// Where it stands.
    scope: Scope,
}

impl Found for KeyInWrongScope {
    fn message(&self) -> String {
        let Self { key, scope } = self;
        format!("'{key}' is a setting of the whole job; it has no effect with the prefix '{scope}.'")
    }
}

/// A key under our prefix that does not exist.
#[derive(Debug, Serialize)]
struct UnknownKey {
    /// As written.
    key: String,
    /// The nearest key.
    nearest: Option<String>,
}

impl Found for UnknownKey {
    fn message(&self) -> String {
        let Self { key, nearest } = self;
        format!("unknown key '{key}'{}", did_you_mean(nearest.as_deref()))
    }
}
