//! `batching-disabled`: batching is off and yet configured.

use velo_schema::Scope;
use velo_schema::keys::Key;

use super::{Rule, Severity};
use crate::finding::Detail;

/// `batch.enable` is false, and other batch keys are set beside it.
pub const RULE: Rule = Rule {
    id: "batching-disabled",
    severity: Severity::Warning,
    summary: "`batch.enable` is false, and other batch keys are set beside it.",
    doc: "With batching off every record is processed alone and all other batch keys are ignored.",
    check: |unit, out| {
        for scope in unit.scopes() {
            let Some(switch) = unit.item(&scope, Key::BatchEnable) else { continue };
            if unit.config(&scope).enabled {
                continue;
            }
            let applies = |other: &Scope| *other == scope || scope == Scope::Job;
            let keys: Vec<_> = unit
                .items
                .iter()
                .filter(|item| applies(&item.scope) && item.key != Key::BatchEnable)
                .map(|item| item.key)
                .filter(|key| key.name().starts_with("batch."))
                .collect();
            if !keys.is_empty() {
                out.add(&RULE, switch.value_span.clone(), Detail::BatchingDisabled { keys });
            }
        }
    },
};
