//! `large-batch`: large batches and the memory they need.

use velo_schema::keys::Key;

use super::{Rule, Severity, per_scope, size_item};
use crate::finding::Detail;

/// The guide's bound.
const MOST_RECORDS: u64 = 1000;

/// The record that is reckoned with where nobody says how large one is.
const ASSUMED_RECORD_BYTES: u64 = 1024;

/// A batch of more than 1000 records, and the memory that it needs.
pub const RULE: Rule = Rule {
    id: "large-batch",
    severity: Severity::Info,
    summary: "A batch of more than 1000 records, and the memory that it needs.",
    why: "A batch is in memory as a whole, and while it is processed the next ones are fetched. The guide asks to watch memory above 1000 records.",
    example: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '5000')",
    better: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '1000')",
    check: |unit, out| {
        per_scope(unit, &RULE, out, &[Key::BatchStrategy], |scope, config| {
            let (item, records) = size_item(unit, scope, config)?;
            let given = unit.options.record_bytes;
            let record_bytes = given.unwrap_or(ASSUMED_RECORD_BYTES);
            let detail = Detail::LargeBatch { records, record_bytes, is_assumed: given.is_none() };
            (records > MOST_RECORDS).then(|| (item.value_span.clone(), detail, None))
        });
    },
};
