//! `required-key-missing`: a key that says how, without the one that says what.

use rustc_hash::FxHashSet as HashSet;
use serde::Serialize;
use velo_schema::keys::{Key, Relevance, RequiredWhen};
use velo_schema::{Scope, StrategyKind};

use crate::rule::{Findings, Found, Rule};
use crate::severity::Severity;
use crate::unit::{Item, Unit};

/// A key that has an effect only with another key, which is missing.
pub const RULE: Rule = Rule {
    id: "required-key-missing",
    severity: Severity::Warning,
    summary: "A key that has an effect only with another key, which is missing.",
    why: "batch.window without batch.strategy leaves the default strategy, fixed_size. max_retries without failure_strategy causes no retries.",
    example: "WITH ('batch.window' = '5s')",
    better: "WITH ('batch.strategy' = 'time_window', 'batch.window' = '5s')",
    check: |unit, out| {
        if !unit.is_complete() {
            return;
        }
        missing(unit, out, Key::BatchStrategy, RequiredWhen::StrategyKeySet, |scope, item| {
            unit.config(scope).enabled && !item.key.def().applies_to(StrategyKind::FixedSize)
        });
        default_meant(unit, out);
        missing(unit, out, Key::FailureStrategy, RequiredWhen::RetryKeySet, |_, item| {
            item.key.def().relevance == Relevance::Retries
        });
    },
};

/// A key of the default strategy, which is not named.
#[derive(Debug, Serialize)]
struct DefaultStrategyMeant {
    /// The key, with its scope.
    needed_by: String,
}

impl Found for DefaultStrategyMeant {
    fn message(&self) -> String {
        let Self { needed_by } = self;
        format!(
            "'{needed_by}' applies only because fixed_size is the default; set 'batch.strategy' explicitly"
        )
    }
}

/// A key that says how, without the one that says what.
#[derive(Debug, Serialize)]
struct RequiredKeyMissing {
    /// The missing key.
    key: Key,
    /// The key that needs it, with its scope.
    needed_by: String,
}

impl Found for RequiredKeyMissing {
    fn message(&self) -> String {
        let Self { key, needed_by } = self;
        format!("'{needed_by}' has no effect unless '{key}' is set")
    }
}

/// Reports the first item of each scope that needs `key` in every scope that uses it, and has it in none.
fn missing(
    unit: &Unit<'_>,
    out: &mut Findings,
    key: Key,
    when: RequiredWhen,
    needs: impl Fn(&Scope, &Item<'_>) -> bool,
) {
    debug_assert_eq!(key.def().required_when, Some(when));
    let mut told = HashSet::default();
    for item in unit.effective_items() {
        let users = unit.users(item);
        let lacks = |scope: &Scope| unit.effective(scope, key).is_none() && needs(scope, item);
        if !users.is_empty() && users.iter().all(lacks) && told.insert(&item.scope) {
            let detail = RequiredKeyMissing { key, needed_by: item.qualified() };
            out.add(&RULE, item.key_span.clone(), detail);
        }
    }
}

/// Notes that keys of the default strategy stand there without it.
fn default_meant(unit: &Unit<'_>, out: &mut Findings) {
    let of_default = |item: &&Item<'_>| matches!(item.key.def().relevance, Relevance::Strategies(by) if by == [StrategyKind::FixedSize]);
    let Some(item) = unit.effective_items().find(of_default) else { return };
    let unset =
        |scope: &Scope| unit.effective(scope, Key::BatchStrategy).is_none() && unit.config(scope).enabled;
    let users = unit.users(item);
    if !users.is_empty() && users.iter().all(unset) {
        out.add_note(&RULE, item.key_span.clone(), DefaultStrategyMeant { needed_by: item.qualified() });
    }
}
