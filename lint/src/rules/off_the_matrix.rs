//! `off-the-matrix`: a size that no row of the decision matrix covers.

use rustc_hash::FxHashSet as HashSet;
use serde::Serialize;
use velo_schema::guide::UseCase;
use velo_schema::keys::{Key, Relevance};
use velo_schema::{Plan, Scope, Side, StrategyKind};

use crate::rule::{Found, Rule};
use crate::severity::Severity;
use crate::unit::Reading;

/// A batch size that no row of the decision matrix covers.
pub const RULE: Rule = Rule {
    id: "off-the-matrix",
    severity: Severity::Info,
    summary: "A batch size that no row of the decision matrix covers.",
    why: "The guide states no expected throughput or latency for this size. The setting is valid; measure it.",
    example: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '200')",
    better: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '500')",
    check: |unit, out| {
        if !unit.is_complete() {
            return;
        }
        let mut told = HashSet::default();
        // What polls are made of: the source's settings, and those of each source by its name.
        let reads = |scope: &Scope| match scope {
            Scope::Source => true,
            Scope::Named(name) => unit.side_of(name) == Side::Source,
            Scope::Job | Scope::Sink => false,
        };
        for scope in unit.scopes().into_iter().filter(reads) {
            if unit.is_unreadable(&scope, Key::BatchStrategy) {
                continue;
            }
            let plan = Plan::of(&unit.config(&scope), None);
            // The matrix has no row for it, whatever the window.
            if plan.strategy == Some(StrategyKind::TimeWindow) {
                continue;
            }
            let (Some(strategy), Some(nearest)) = (plan.strategy, plan.nearest_row) else { continue };
            let own =
                |key: &&Key| matches!(key.def().relevance, Relevance::Strategies(by) if by == [strategy]);
            let sized = Key::ALL.iter().filter(own).find_map(|key| unit.effective(&scope, *key));
            let Some(item) = sized.or_else(|| unit.effective(&scope, Key::BatchStrategy)) else { continue };
            let is_known = matches!(item.reading, Reading::Known(_));
            if is_known && told.insert(item.value_span.clone()) {
                let records = plan.batch_records.max;
                let detail = OffTheMatrix { strategy, records, nearest: nearest.row };
                out.add(&RULE, item.value_span.clone(), detail);
            }
        }
    },
};

/// A size that no row of the decision matrix covers.
#[derive(Debug, Serialize)]
struct OffTheMatrix {
    /// The strategy.
    strategy: StrategyKind,
    /// Records per batch.
    records: u64,
    /// The nearest row.
    nearest: UseCase,
}

impl Found for OffTheMatrix {
    fn message(&self) -> String {
        let Self { strategy, records, nearest } = self;
        format!(
            "no row of the decision matrix covers {strategy} with {records} records; the nearest row is {}",
            nearest.word()
        )
    }
}
