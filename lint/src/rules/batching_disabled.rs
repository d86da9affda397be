//! `batching-disabled`: batching is off and yet configured.

use std::collections::BTreeMap;

use serde::Serialize;
use velo_schema::Scope;
use velo_schema::keys::Key;

use crate::rule::{Found, Rule};
use crate::severity::Severity;
use crate::span::Span;

/// `batch.enable` is false, and other batch keys are set.
pub const RULE: Rule = Rule {
    id: "batching-disabled",
    severity: Severity::Warning,
    summary: "`batch.enable` is false, and other batch keys are set.",
    why: "If batching is disabled, records are processed one by one and all other batch keys are ignored.",
    example: "WITH ('batch.enable' = 'false', 'batch.strategy' = 'fixed_size', 'batch.size' = '500')",
    better: "WITH ('batch.enable' = 'false')",
    check: |unit, out| {
        let is_off = |scope: &Scope| !unit.config(scope).enabled;
        // Each dead key is told of once, at the switch that kills it.
        let mut dead = BTreeMap::new();
        for item in unit.effective_items() {
            let batch_key = item.key != Key::BatchEnable && item.key.name().starts_with("batch.");
            let users = if batch_key { unit.users(item) } else { Vec::new() };
            let switch = users.first().and_then(|scope| unit.effective(scope, Key::BatchEnable));
            if let Some(switch) = switch.filter(|_| users.iter().all(is_off)) {
                let span = &switch.value_span;
                dead.entry((span.file, span.range.start, span.range.end))
                    .or_insert_with(Vec::new)
                    .push(item.qualified());
            }
        }
        for ((file, start, end), keys) in dead {
            out.add(&RULE, Span { file, range: start..end }, BatchingDisabled { keys });
        }
    },
};

/// Batching is off and yet configured.
#[derive(Debug, Serialize)]
struct BatchingDisabled {
    /// The keys that mean nothing, with their scopes.
    keys: Vec<String>,
}

impl Found for BatchingDisabled {
    fn message(&self) -> String {
        let Self { keys } = self;
        let has = if keys.len() == 1 { "has" } else { "have" };
        format!("batch.enable is false, so {} {has} no effect", keys.join(", "))
    }
}
