//! `timeout-above-target`: waiting longer for records than the batch may take.

use std::time::Duration;

use serde::Serialize;
use velo_schema::keys::Key;
use velo_schema::{Strategy, format_duration};

use crate::finding::Fix;
use crate::rule::{Found, Rule, milliseconds, per_scope};
use crate::severity::Severity;

/// `batch.timeout` is above `batch.target_latency`.
pub const RULE: Rule = Rule {
    id: "timeout-above-target",
    severity: Severity::Warning,
    summary: "`batch.timeout` is above `batch.target_latency`.",
    why: "The controller adjusts the batch size to meet the target. A record that waits longer than the target for its batch to fill misses the target before processing begins.",
    example: "WITH ('batch.strategy' = 'adaptive_size', 'batch.target_latency' = '50ms', 'batch.timeout' = '5s')",
    better: "WITH ('batch.strategy' = 'adaptive_size', 'batch.target_latency' = '50ms', 'batch.timeout' = '50ms')",
    check: |unit, out| {
        let needs = [Key::BatchStrategy, Key::BatchTimeout, Key::BatchTargetLatency];
        per_scope(unit, &RULE, out, &needs, |scope, config| {
            let Strategy::AdaptiveSize { timeout, target_latency: target, .. } = config.strategy else {
                return None;
            };
            let at =
                unit.effective(scope, Key::BatchTimeout).filter(|_| timeout > target)?.value_span.clone();
            let fix = Fix::replace(false, at.range.clone(), format_duration(target));
            Some((at, TimeoutAboveTarget { timeout, target }, Some(fix)))
        });
    },
};

/// A wait for more records that is longer than the latency that is aimed at.
#[derive(Debug, Serialize)]
struct TimeoutAboveTarget {
    /// `batch.timeout`.
    #[serde(rename = "timeout_ms", serialize_with = "milliseconds")]
    timeout: Duration,
    /// `batch.target_latency`.
    #[serde(rename = "target_ms", serialize_with = "milliseconds")]
    target: Duration,
}

impl Found for TimeoutAboveTarget {
    fn message(&self) -> String {
        let Self { timeout, target } = self;
        format!(
            "batch.timeout ({}) is above batch.target_latency ({}): a record can miss the target while its batch fills",
            format_duration(*timeout),
            format_duration(*target)
        )
    }
}
