//! `large-batch`: large batches and the memory they need.

use serde::Serialize;
use velo_schema::format_bytes;
use velo_schema::keys::Key;

use crate::rule::{Found, Rule, per_scope, size_item};
use crate::severity::Severity;

/// The guide's bound.
const MOST_RECORDS: u64 = 1000;

/// The record that is reckoned with where nobody says how large one is.
const ASSUMED_RECORD_BYTES: u64 = 1024;

/// A batch of more than 1000 records, with the memory that it needs.
pub const RULE: Rule = Rule {
    id: "large-batch",
    severity: Severity::Info,
    summary: "A batch of more than 1000 records, with the memory that it needs.",
    why: "A whole batch is held in memory, and the next batches are fetched while it is processed. The guide recommends monitoring memory above 1000 records.",
    example: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '5000')",
    better: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '1000')",
    check: |unit, out| {
        per_scope(unit, &RULE, out, &[Key::BatchStrategy], |scope, config| {
            let (item, records) = size_item(unit, scope, config)?;
            let given = unit.options.record_bytes;
            let record_bytes = given.unwrap_or(ASSUMED_RECORD_BYTES);
            let detail = LargeBatch { records, record_bytes, is_assumed: given.is_none() };
            (records > MOST_RECORDS).then(|| (item.value_span.clone(), detail, None))
        });
    },
};

/// Large batches, and the memory that one needs.
#[derive(Debug, Serialize)]
struct LargeBatch {
    /// Records per batch.
    records: u64,
    /// The record that is reckoned with.
    record_bytes: u64,
    /// Whether that is only assumed.
    is_assumed: bool,
}

impl Found for LargeBatch {
    fn message(&self) -> String {
        let Self { records, record_bytes, is_assumed } = self;
        format!(
            "a batch of {records} records needs {} of memory at {} per record{}",
            format_bytes(records.saturating_mul(*record_bytes)),
            format_bytes(*record_bytes),
            if *is_assumed { " (assumed; set --record-size)" } else { "" }
        )
    }
}
