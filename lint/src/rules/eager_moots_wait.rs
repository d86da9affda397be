//! `eager-moots-wait`: a wait that is never waited.

use serde::Serialize;
use velo_schema::Strategy;
use velo_schema::keys::Key;

use crate::rule::{Found, Rule, per_scope};
use crate::severity::Severity;

/// `batch.low_latency_wait` with eager processing.
pub const RULE: Rule = Rule {
    id: "eager-moots-wait",
    severity: Severity::Info,
    summary: "`batch.low_latency_wait` with eager processing.",
    why: "If batch.eager_processing is true, a batch is processed as soon as no more records are queued, so `batch.low_latency_wait` rarely applies.",
    example: "WITH ('batch.strategy' = 'low_latency', 'batch.low_latency_wait' = '5ms')",
    better: "WITH ('batch.strategy' = 'low_latency', 'batch.low_latency_wait' = '5ms', 'batch.eager_processing' = 'false')",
    check: |unit, out| {
        per_scope(unit, &RULE, out, &[Key::BatchStrategy, Key::BatchEagerProcessing], |scope, config| {
            let Strategy::LowLatency { eager: true, .. } = config.strategy else { return None };
            let item = unit.effective(scope, Key::BatchLowLatencyWait)?;
            Some((item.value_span.clone(), EagerMootsWait {}, None))
        });
    },
};

/// A wait that eager processing never waits.
#[derive(Debug, Serialize)]
struct EagerMootsWait {}

impl Found for EagerMootsWait {
    fn message(&self) -> String {
        "batch.eager_processing is true, so a batch is usually processed before this wait ends".to_owned()
    }
}
