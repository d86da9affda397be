//! `min-above-max`: an adaptive range that no size fits.

use velo_schema::Strategy;
use velo_schema::keys::Key;

use super::{Rule, Severity};
use crate::finding::Detail;

/// `batch.min_size` above `batch.adaptive_max_size`.
pub const RULE: Rule = Rule {
    id: "min-above-max",
    severity: Severity::Error,
    summary: "`batch.min_size` above `batch.adaptive_max_size`.",
    doc: "The controller has no size to choose. A default counts too: batch.adaptive_max_size is 1000 \
          where it is not set.",
    check: |unit, out| {
        for scope in unit.scopes() {
            let config = unit.config(&scope);
            let Strategy::AdaptiveSize { min_records: min, max_records: max, .. } = config.strategy else {
                continue;
            };
            let own = unit.item(&scope, Key::BatchMinSize).or(unit.item(&scope, Key::BatchAdaptiveMaxSize));
            if let Some(item) = own.filter(|_| config.enabled && min > max) {
                out.add(&RULE, item.value_span.clone(), Detail::MinAboveMax { min, max });
            }
        }
    },
};
