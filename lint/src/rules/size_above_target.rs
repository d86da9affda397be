//! `size-above-target`: a smallest batch that takes longer than the target.

use std::time::Duration;

use serde::Serialize;
use velo_schema::format_duration;
use velo_schema::guide::IMPACT;
use velo_schema::keys::Key;
use velo_schema::{Strategy, StrategyKind};

use crate::rule::{Found, Rule, milliseconds, per_scope};
use crate::severity::Severity;

/// `batch.min_size` is too large for `batch.target_latency`, according to the guide.
pub const RULE: Rule = Rule {
    id: "size-above-target",
    severity: Severity::Info,
    summary: "`batch.min_size` is too large for `batch.target_latency`, according to the guide.",
    why: "Batches are never smaller than batch.min_size. If the guide states a longer latency for batches of that size, the target cannot be met. The guide's figures are estimates; measure them.",
    example: "WITH ('batch.strategy' = 'adaptive_size', 'batch.min_size' = '500', 'batch.target_latency' = '50ms')",
    better: "WITH ('batch.strategy' = 'adaptive_size', 'batch.min_size' = '50', 'batch.target_latency' = '50ms')",
    check: |unit, out| {
        let needs = [Key::BatchStrategy, Key::BatchMinSize, Key::BatchTargetLatency];
        per_scope(unit, &RULE, out, &needs, |scope, config| {
            let Strategy::AdaptiveSize { min_records: records, target_latency: target, .. } = config.strategy
            else {
                return None;
            };
            unit.effective(scope, Key::BatchTargetLatency)?;
            let item = unit.effective(scope, Key::BatchMinSize)?;
            let latency = least_latency(records)?;
            let detail = SizeAboveTarget { records, latency, target };
            (latency > target).then(|| (item.value_span.clone(), detail, None))
        });
    },
};

/// A size that the guide's figures give a longer latency than is aimed at.
#[derive(Debug, Serialize)]
struct SizeAboveTarget {
    /// `batch.min_size`.
    records: u64,
    /// The least latency that the guide gives batches of that size.
    #[serde(rename = "latency_ms", serialize_with = "milliseconds")]
    latency: Duration,
    /// `batch.target_latency`.
    #[serde(rename = "target_ms", serialize_with = "milliseconds")]
    target: Duration,
}

impl Found for SizeAboveTarget {
    fn message(&self) -> String {
        let Self { records, latency, target } = self;
        format!(
            "batches of {records} records take {} or longer (the guide's figure), which is above the target of {}",
            format_duration(*latency),
            format_duration(*target)
        )
    }
}

/// The least latency that the guide gives batches of this size: that of the last row they reach.
fn least_latency(records: u64) -> Option<Duration> {
    let counted = IMPACT.iter().filter(|row| row.strategy != StrategyKind::LowLatency);
    let mut reached = counted.filter(|row| row.records.is_some_and(|span| span.min <= records));
    reached.next_back().map(|row| Duration::from_millis(row.latency_ms.min))
}
