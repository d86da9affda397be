//! `duplicate-key`: one key, one scope, two values.

use super::{Rule, Severity};
use crate::finding::Detail;

/// A key that is set twice in the same scope.
pub const RULE: Rule = Rule {
    id: "duplicate-key",
    severity: Severity::Error,
    summary: "A key that is set twice in the same scope.",
    doc: "Only one of the values can hold, and which one it is depends on who reads the clause.",
    check: |unit, out| {
        for (index, item) in unit.items.iter().enumerate() {
            let earlier =
                unit.items[..index].iter().find(|other| other.key == item.key && other.scope == item.scope);
            if let Some(first) = earlier {
                let detail = Detail::DuplicateKey {
                    key: item.scope.qualify(item.key),
                    first: first.raw.key.span.clone(),
                };
                out.add(&RULE, item.raw.key.span.clone(), detail);
            }
        }
    },
};
