//! `inert-key`: a key that the strategy in force ignores.

use velo_schema::Scope;
use velo_schema::keys::{Key, Relevance};

use super::{Findings, Rule, Severity};
use crate::finding::Detail;
use crate::unit::Unit;

/// A key that the strategy in force ignores.
pub const RULE: Rule = Rule {
    id: "inert-key",
    severity: Severity::Warning,
    summary: "A key that the strategy in force ignores.",
    why: "Each strategy reads its own keys. A key of another one looks as if it did something and does \
          not; either it or the strategy is not what was meant.",
    example: "WITH ('batch.strategy' = 'fixed_size', 'batch.window' = '5s')",
    better: "WITH ('batch.strategy' = 'time_window', 'batch.window' = '5s')",
    check: |unit, out| {
        inert_dead_letters(unit, out);
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
                out.add(&RULE, item.key_span.clone(), detail);
            }
        }
    },
};

/// A dead letter queue that nothing is ever sent to.
fn inert_dead_letters(unit: &Unit<'_>, out: &mut Findings) {
    // A stream may be called `dlq`; the key is its topic then.
    if unit.statement.names.iter().any(|name| name.text.eq_ignore_ascii_case("dlq")) {
        return;
    }
    for item in unit.effective_items().filter(|item| item.key.def().relevance == Relevance::DeadLetters) {
        let users = unit.users(item);
        let may_be_used = |scope: &Scope| {
            let open = [Key::FailureStrategy, Key::OnExhausted];
            open.iter().any(|key| unit.is_unreadable(scope, *key)) || unit.config(scope).failure.uses_dlq()
        };
        let Some(scope) = users.first().filter(|_| unit.is_complete()) else { continue };
        if !users.iter().any(may_be_used) {
            let strategy = unit.config(scope).failure.strategy;
            let detail = Detail::DlqWithoutLetters { key: item.qualified(), strategy };
            out.add(&RULE, item.key_span.clone(), detail);
        }
    }
}
