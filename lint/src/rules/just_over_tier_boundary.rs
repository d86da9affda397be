//! `just-over-tier-boundary`: a size that only just selects the Buffered tier.

use serde::Serialize;
use velo_schema::StrategyKind;
use velo_schema::keys::Key;
use velo_schema::tier::STANDARD_MAX_RECORDS;

use crate::rule::{Found, Rule, per_scope, size_item};
use crate::severity::Severity;

/// A tenth of the boundary is near it.
const NEAR_RECORDS: u64 = STANDARD_MAX_RECORDS / 10;

/// A batch size just above the boundary between the consumer tiers.
pub const RULE: Rule = Rule {
    id: "just-over-tier-boundary",
    severity: Severity::Info,
    summary: "A batch size just above the boundary between the consumer tiers.",
    why: "Batches of up to 100 records use the Standard tier. A slightly larger size uses the Buffered tier and gains little from it. The decision matrix has rows for 100 and for 500 records.",
    example: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '101')",
    better: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '100')",
    check: |unit, out| {
        per_scope(unit, &RULE, out, &[Key::BatchStrategy], |scope, config| {
            let (item, records) = size_item(unit, scope, config)?;
            let is_fixed =
                matches!(config.strategy.kind(), StrategyKind::FixedSize | StrategyKind::LowLatency);
            let is_near = records > STANDARD_MAX_RECORDS && records <= STANDARD_MAX_RECORDS + NEAR_RECORDS;
            let detail = JustOverTierBoundary { records };
            (is_fixed && is_near).then(|| (item.value_span.clone(), detail, None))
        });
    },
};

/// A size that just selects the Buffered tier.
#[derive(Debug, Serialize)]
struct JustOverTierBoundary {
    /// Records per batch.
    records: u64,
}

impl Found for JustOverTierBoundary {
    fn message(&self) -> String {
        let Self { records } = self;
        format!(
            "{records} records use the Buffered tier; up to {STANDARD_MAX_RECORDS} records use the Standard tier"
        )
    }
}
