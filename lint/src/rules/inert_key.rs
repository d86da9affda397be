//! `inert-key`: a key that the strategy in force ignores.

use serde::Serialize;
use velo_schema::keys::{Key, Relevance};
use velo_schema::{FailureStrategy, Scope, StrategyKind};

use crate::rule::{Findings, Found, Rule};
use crate::severity::Severity;
use crate::unit::Unit;

/// A key that the configured strategy ignores.
pub const RULE: Rule = Rule {
    id: "inert-key",
    severity: Severity::Warning,
    summary: "A key that the configured strategy ignores.",
    why: "Each strategy has keys of its own and ignores those of other strategies. Remove the key or change the strategy.",
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
                let detail = InertKey { key: item.qualified(), strategy: kind(scope), used_by };
                out.add(&RULE, item.key_span.clone(), detail);
            }
        }
    },
};

/// A dead letter queue that is never used.
#[derive(Debug, Serialize)]
struct DlqWithoutLetters {
    /// The key, with its scope.
    key: String,
    /// The failure strategy in force.
    strategy: FailureStrategy,
}

impl Found for DlqWithoutLetters {
    fn message(&self) -> String {
        let Self { key, strategy } = self;
        format!("'{key}' has no effect under {strategy}, which sends nothing to a dead letter queue")
    }
}

/// A key that the strategy in force ignores.
#[derive(Debug, Serialize)]
struct InertKey {
    /// The key, with its scope.
    key: String,
    /// The strategy.
    strategy: StrategyKind,
    /// The strategies that would use it.
    used_by: &'static [StrategyKind],
}

impl Found for InertKey {
    fn message(&self) -> String {
        let Self { key, strategy, used_by } = self;
        let used_by: Vec<_> = used_by.iter().map(ToString::to_string).collect();
        format!("'{key}' has no effect under {strategy}; it applies to {}", used_by.join(", "))
    }
}

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
            let detail = DlqWithoutLetters { key: item.qualified(), strategy };
            out.add(&RULE, item.key_span.clone(), detail);
        }
    }
}
