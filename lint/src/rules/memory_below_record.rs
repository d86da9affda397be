//! `memory-below-record`: a batch that cannot hold one record.

use serde::Serialize;
use velo_schema::Strategy;
use velo_schema::format_bytes;
use velo_schema::keys::Key;

use crate::rule::{Found, Rule, per_scope};
use crate::severity::Severity;

/// `batch.memory_size` is smaller than one record.
pub const RULE: Rule = Rule {
    id: "memory-below-record",
    severity: Severity::Warning,
    summary: "`batch.memory_size` is smaller than one record.",
    why: "Every batch then holds a single record and has the fixed cost of a whole batch. The rule needs the mean record size: --record-size, or record-size in velo.toml.",
    example: "WITH ('batch.strategy' = 'memory_based', 'batch.memory_size' = '1000')",
    better: "WITH ('batch.strategy' = 'memory_based', 'batch.memory_size' = '1048576')",
    check: |unit, out| {
        let Some(record_bytes) = unit.options.record_bytes else { return };
        per_scope(unit, &RULE, out, &[Key::BatchStrategy, Key::BatchMemorySize], |scope, config| {
            let Strategy::MemoryBased { bytes, .. } = config.strategy else { return None };
            let item = unit.effective(scope, Key::BatchMemorySize).filter(|_| bytes < record_bytes)?;
            Some((item.value_span.clone(), MemoryBelowRecord { bytes, record_bytes }, None))
        });
    },
};

/// A batch that cannot hold one record.
#[derive(Debug, Serialize)]
struct MemoryBelowRecord {
    /// `batch.memory_size`.
    bytes: u64,
    /// The mean record.
    record_bytes: u64,
}

impl Found for MemoryBelowRecord {
    fn message(&self) -> String {
        let Self { bytes, record_bytes } = self;
        format!(
            "batch.memory_size ({}) is smaller than one record ({}), so every batch holds a single record",
            format_bytes(*bytes),
            format_bytes(*record_bytes)
        )
    }
}
