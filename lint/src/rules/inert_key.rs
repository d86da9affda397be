//! `inert-key`: a key that the strategy in force ignores.

use velo_schema::Scope;
use velo_schema::keys::{Key, Relevance};

use super::{Rule, Severity};
use crate::finding::Detail;

/// A key that the strategy in force ignores.
pub const RULE: Rule = Rule {
    id: "inert-key",
    severity: Severity::Warning,
    summary: "A key that the strategy in force ignores.",
    doc: "Each strategy reads its own keys. A key of another one looks as if it did something and does \
          not; either it or the strategy is not what was meant.",
    check: |unit, out| {
        for item in unit.effective_items() {
            let Relevance::Strategies(used_by) = item.key.def().relevance else { continue };
            let users = unit.users(item);
            let kind = |scope: &Scope| unit.config(scope).strategy.kind();
            // A value that any scope uses is not in vain.
            let is_used = |scope: &Scope| {
                let open = unit.is_unreadable(scope, Key::BatchStrategy);
                open || !unit.config(scope).enabled || used_by.contains(&kind(scope))
            };
            // With no strategy set at all, the clause lacks a key rather than having one too many.
            let Some(scope) = users.iter().find(|scope| unit.is_known(scope, Key::BatchStrategy)) else {
                continue;
            };
            if !users.iter().any(is_used) {
                let detail = Detail::InertKey { key: item.qualified(), strategy: kind(scope), used_by };
                out.add(&RULE, item.raw.key.span.clone(), detail);
            }
        }
    },
};
