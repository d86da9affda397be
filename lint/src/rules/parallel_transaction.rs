//! `parallel-transaction`: several workers on batches that share a transaction.

use serde::Serialize;
use velo_schema::Strategy;
use velo_schema::keys::Key;

use crate::finding::Fix;
use crate::rule::{Found, Rule, per_scope};
use crate::scan::{Form, RawValue};
use crate::severity::Severity;

/// `batch.parallel` with `transaction.batches` above 1.
pub const RULE: Rule = Rule {
    id: "parallel-transaction",
    severity: Severity::Error,
    summary: "`batch.parallel` with `transaction.batches` above 1.",
    why: "The batches of a transaction must be processed in order. The default of batch.parallel is true, so set it to false.",
    example: "WITH ('batch.strategy' = 'mega_batch', 'transaction.batches' = '4')",
    better: "WITH ('batch.strategy' = 'mega_batch', 'batch.parallel' = 'false', 'transaction.batches' = '4')",
    check: |unit, out| {
        let needs = [Key::BatchStrategy, Key::BatchParallel, Key::TransactionBatches];
        per_scope(unit, &RULE, out, &needs, |scope, config| {
            let Strategy::MegaBatch { parallel: true, .. } = config.strategy else { return None };
            let batches = config.transaction_batches;
            let spanning = unit.effective(scope, Key::TransactionBatches).filter(|_| batches > 1)?;
            let set = unit.effective(scope, Key::BatchParallel);
            let detail = ParallelTransaction { batches, is_default: set.is_none() };
            let Some(item) = set else {
                let fix = match &spanning.raw.value {
                    RawValue::Text(value) if unit.clauses[spanning.clause].clause.form == Form::Sql => {
                        let end = value.outer().end;
                        Some(Fix::replace(false, end..end, format!(", '{}' = 'false'", Key::BatchParallel)))
                    }
                    _ => None,
                };
                return Some((spanning.value_span.clone(), detail, fix));
            };
            let fix = Fix::replace(false, item.value_span.range.clone(), "false");
            Some((item.value_span.clone(), detail, Some(fix)))
        });
    },
};

/// Several workers on batches that share a transaction.
#[derive(Debug, Serialize)]
struct ParallelTransaction {
    /// `transaction.batches`.
    batches: u64,
    /// Whether `batch.parallel` is not set.
    is_default: bool,
}

impl Found for ParallelTransaction {
    fn message(&self) -> String {
        let Self { batches, is_default } = self;
        format!(
            "a transaction of {batches} batches requires them in order, but batch.parallel is true{}",
            if *is_default { ", its default" } else { "" }
        )
    }
}
