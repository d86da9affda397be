//! `batching-disabled`: batching is off and yet configured.

use std::collections::BTreeMap;

use velo_schema::Scope;
use velo_schema::keys::Key;

use super::{Rule, Severity};
use crate::finding::Detail;
use crate::span::Span;

/// `batch.enable` is false, and other batch keys are set beside it.
pub const RULE: Rule = Rule {
    id: "batching-disabled",
    severity: Severity::Warning,
    summary: "`batch.enable` is false, and other batch keys are set beside it.",
    why: "With batching off every record is processed alone and all other batch keys are ignored.",
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
            out.add(&RULE, Span { file, range: start..end }, Detail::BatchingDisabled { keys });
        }
    },
};
