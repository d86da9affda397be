//! `duplicate-key`: one key, one scope, two values.

use rustc_hash::FxHashMap as HashMap;
use serde::Serialize;

use crate::rule::{Found, Rule};
use crate::severity::Severity;

/// A key that is set twice in the same scope.
pub const RULE: Rule = Rule {
    id: "duplicate-key",
    severity: Severity::Error,
    summary: "A key that is set twice in the same scope.",
    why: "Only one of the values applies. velo uses the last one; other parsers may use the first one or reject the clause.",
    example: "WITH ('batch.size' = '100', 'batch.size' = '500')",
    better: "WITH ('batch.size' = '500')",
    check: |unit, out| {
        let mut seen = HashMap::default();
        for item in &unit.items {
            let first = seen.entry((item.clause, &item.scope, item.key)).or_insert(item);
            if !std::ptr::eq(*first, item) {
                out.add(&RULE, item.key_span.clone(), DuplicateKey { key: item.qualified() });
                out.last_is_related(first.raw.key.span.clone(), "it is set here first");
            }
        }
    },
};

/// A key that stands twice in one scope.
#[derive(Debug, Serialize)]
struct DuplicateKey {
    /// As written.
    key: String,
}

impl Found for DuplicateKey {
    fn message(&self) -> String {
        let Self { key } = self;
        format!("'{key}' is set twice in the same scope; only the last value applies")
    }
}
