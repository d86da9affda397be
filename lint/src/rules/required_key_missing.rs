//! `required-key-missing`: a key that says how, without the one that says what.

use velo_schema::keys::{Key, RequiredWhen};
use velo_schema::{Scope, StrategyKind};

use super::{Rule, Severity};
use crate::finding::Detail;
use crate::unit::{Item, Unit};

/// A key that means something only with another key, which is not there.
pub const RULE: Rule = Rule {
    id: "required-key-missing",
    severity: Severity::Warning,
    summary: "A key that means something only with another key, which is not there.",
    doc: "batch.window without batch.strategy leaves the default, fixed_size, in force; max_retries \
          without failure_strategy retries nothing.",
    check: |unit, out| {
        for scope in unit.scopes() {
            missing(unit, out, &scope, Key::BatchStrategy, RequiredWhen::StrategyKeySet, |item| {
                !item.key.def().applies_to(StrategyKind::FixedSize)
            });
            missing(unit, out, &scope, Key::FailureStrategy, RequiredWhen::RetryKeySet, |item| {
                item.key.def().relevance == velo_schema::keys::Relevance::Retries
            });
        }
    },
};

fn missing(
    unit: &Unit<'_>,
    out: &mut super::Findings,
    scope: &Scope,
    key: Key,
    when: RequiredWhen,
    needs: impl Fn(&Item<'_>) -> bool,
) {
    debug_assert_eq!(key.def().required_when, Some(when));
    if unit.effective(scope, key).is_some() || !unit.config(scope).enabled {
        return;
    }
    let first = unit.items.iter().find(|item| item.scope == *scope && needs(item));
    if let Some(item) = first {
        let detail = Detail::RequiredKeyMissing { key, needed_by: item.key };
        out.add(&RULE, item.raw.key.span.clone(), detail);
    }
}
