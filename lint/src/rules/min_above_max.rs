//! `min-above-max`: an adaptive range that no size fits.

use rustc_hash::FxHashSet as HashSet;
use serde::Serialize;
use velo_schema::Strategy;
use velo_schema::keys::Key;

use crate::rule::{Found, Rule};
use crate::severity::Severity;

/// `batch.min_size` is above `batch.adaptive_max_size`.
pub const RULE: Rule = Rule {
    id: "min-above-max",
    severity: Severity::Error,
    summary: "`batch.min_size` is above `batch.adaptive_max_size`.",
    why: "No batch size meets both limits. Defaults count, too: the default of batch.adaptive_max_size is 1000.",
    example: "WITH ('batch.strategy' = 'adaptive_size', 'batch.min_size' = '2000')",
    better: "WITH ('batch.strategy' = 'adaptive_size', 'batch.min_size' = '2000', 'batch.adaptive_max_size' = '5000')",
    check: |unit, out| {
        let mut reported = HashSet::default();
        for scope in unit.scopes() {
            let config = unit.config(&scope);
            let Strategy::AdaptiveSize { min_records: min, max_records: max, .. } = config.strategy else {
                continue;
            };
            let bounds = [Key::BatchMinSize, Key::BatchAdaptiveMaxSize];
            if !config.enabled || min <= max || bounds.iter().any(|key| unit.is_unreadable(&scope, *key)) {
                continue;
            }
            let [min_item, max_item] = bounds.map(|key| unit.effective(&scope, key));
            let is_default = min_item.is_none() || max_item.is_none();
            if is_default && !unit.is_complete() {
                continue;
            }
            let detail = MinAboveMax {
                min,
                min_is_default: min_item.is_none(),
                max,
                max_is_default: max_item.is_none(),
            };
            // The bound of the narrower scope is the one that made it so.
            let own = [min_item, max_item].into_iter().flatten().find(|item| item.scope == scope);
            if let Some(item) = own.or(min_item).or(max_item)
                && reported.insert(item.value_span.clone())
            {
                out.add(&RULE, item.value_span.clone(), detail);
            }
        }
    },
};

/// `batch.min_size` above `batch.adaptive_max_size`.
#[derive(Debug, Serialize)]
struct MinAboveMax {
    /// Records.
    min: u64,
    /// Whether that is the default.
    min_is_default: bool,
    /// Records.
    max: u64,
    /// Whether that is the default.
    max_is_default: bool,
}

impl Found for MinAboveMax {
    fn message(&self) -> String {
        let Self { min, min_is_default, max, max_is_default } = self;
        let of_default = |is_default: &bool| if *is_default { ", its default" } else { "" };
        format!(
            "batch.min_size ({min}{}) is above batch.adaptive_max_size ({max}{}): no batch size fits both",
            of_default(min_is_default),
            of_default(max_is_default)
        )
    }
}
