//! `inert-key`: a key that the strategy in force ignores.

use velo_schema::keys::Relevance;

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
        for item in &unit.items {
            let Relevance::Strategies(used_by) = item.key.def().relevance else { continue };
            let config = unit.config(&item.scope);
            let strategy = config.strategy.kind();
            // With no strategy set, the clause lacks a key rather than having one too many.
            let is_set = unit.strategy_is_known(&item.scope);
            if config.enabled && is_set && !used_by.contains(&strategy) {
                let detail = Detail::InertKey { key: item.key, strategy, used_by };
                out.add(&RULE, item.raw.key.span.clone(), detail);
            }
        }
    },
};
