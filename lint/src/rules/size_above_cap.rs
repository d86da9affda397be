//! `size-above-cap`: a batch size that the hard cap never lets a batch reach.

use rustc_hash::FxHashSet as HashSet;
use serde::Serialize;
use velo_schema::keys::Key;
use velo_schema::value::Value;
use velo_schema::{Config, Scope, StrategyKind};

use crate::rule::{Found, Rule};
use crate::severity::Severity;
use crate::unit::{Reading, Unit};

/// A batch size above `batch.max_size`.
pub const RULE: Rule = Rule {
    id: "size-above-cap",
    severity: Severity::Warning,
    summary: "A batch size above `batch.max_size`.",
    why: "batch.max_size limits batches of every strategy, so the larger size is never reached. Defaults count, too: the default of batch.max_size is 100000.",
    example: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '500', 'batch.max_size' = '100')",
    better: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '500', 'batch.max_size' = '1000')",
    check: |unit, out| {
        let mut told = HashSet::default();
        for scope in unit.scopes() {
            let config = unit.config(&scope);
            let cap = unit.effective(&scope, Key::BatchMaxSize);
            let is_open = unit.is_unreadable(&scope, Key::BatchStrategy)
                || unit.is_unreadable(&scope, Key::BatchEnable)
                || cap.is_some_and(|cap| !matches!(cap.reading, Reading::Known(_)))
                || (cap.is_none() && !unit.is_complete());
            if is_open || !config.enabled {
                continue;
            }
            for key in sizes(&config) {
                let Some((item, records)) = above_cap(unit, &scope, *key, &config) else { continue };
                // What the narrower scope sets made it so.
                let at = cap.filter(|cap| cap.scope == scope && item.scope != scope).unwrap_or(item);
                if told.insert(at.value_span.clone()) {
                    let cap_is_default = cap.is_none();
                    let cap = config.max_batch_records;
                    let detail = SizeAboveCap { key: *key, records, cap, cap_is_default };
                    out.add(&RULE, at.value_span.clone(), detail);
                }
            }
        }
    },
};

/// A batch size above `batch.max_size`.
#[derive(Debug, Serialize)]
struct SizeAboveCap {
    /// The key that sets the size.
    key: Key,
    /// Records.
    records: u64,
    /// Records.
    cap: u64,
    /// True if `batch.max_size` is not set.
    cap_is_default: bool,
}

impl Found for SizeAboveCap {
    fn message(&self) -> String {
        let Self { key, records, cap, cap_is_default } = self;
        format!(
            "'{key}' ({records}) is above batch.max_size ({cap}{}): no batch holds more than {cap} records",
            if *cap_is_default { ", its default" } else { "" }
        )
    }
}

/// The keys that set how many records a batch of the strategy in force has.
fn sizes(config: &Config) -> &'static [Key] {
    match config.strategy.kind() {
        StrategyKind::FixedSize => &[Key::BatchSize],
        StrategyKind::AdaptiveSize => &[Key::BatchMinSize, Key::BatchAdaptiveMaxSize],
        StrategyKind::LowLatency => &[Key::BatchLowLatencyMaxSize],
        StrategyKind::MegaBatch => &[Key::BatchMegaBatchSize],
        StrategyKind::TimeWindow | StrategyKind::MemoryBased => &[],
    }
}

/// The entry that sets `key` to more than the cap; a default that the cap cuts is no mistake.
fn above_cap<'u, 'a>(
    unit: &'u Unit<'a>,
    scope: &Scope,
    key: Key,
    config: &Config,
) -> Option<(&'u crate::unit::Item<'a>, u64)> {
    let item = unit.effective(scope, key)?;
    let Reading::Known(parsed) = &item.reading else { return None };
    match parsed.value {
        Value::Integer(records) if records > config.max_batch_records => Some((item, records)),
        _ => None,
    }
}
