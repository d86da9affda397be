//! `blast-radius`: one bad record fails tens of thousands.

use serde::Serialize;
use velo_schema::keys::Key;
use velo_schema::{FailureStrategy, Strategy};

use crate::rule::{Found, Rule, per_scope};
use crate::severity::Severity;

/// `FailBatch` with `mega_batch`.
pub const RULE: Rule = Rule {
    id: "blast-radius",
    severity: Severity::Warning,
    summary: "`FailBatch` with `mega_batch`.",
    why: "One bad record fails its batch and ends the job. With mega_batch the batch has 10000 records or more, which are read again at each restart. SendToDLQ keeps the bad record and continues.",
    example: "WITH ('batch.strategy' = 'mega_batch', 'failure_strategy' = 'FailBatch')",
    better: "WITH ('batch.strategy' = 'mega_batch', 'failure_strategy' = 'SendToDLQ')",
    check: |unit, out| {
        per_scope(unit, &RULE, out, &[Key::BatchStrategy, Key::FailureStrategy], |scope, config| {
            let Strategy::MegaBatch { records, .. } = config.strategy else { return None };
            let fails = config.failure.strategy == FailureStrategy::FailBatch;
            let item = unit.effective(scope, Key::FailureStrategy).filter(|_| fails)?;
            Some((item.value_span.clone(), BlastRadius { records }, None))
        });
    },
};

/// One bad record fails a very large batch.
#[derive(Debug, Serialize)]
struct BlastRadius {
    /// Records per batch.
    records: u64,
}

impl Found for BlastRadius {
    fn message(&self) -> String {
        let Self { records } = self;
        format!("one bad record fails a batch of up to {records} records and ends the job")
    }
}
