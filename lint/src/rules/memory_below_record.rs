//! `memory-below-record`: a batch that cannot hold one record.

use serde::Serialize;
use velo_schema::Strategy;
use velo_schema::format_bytes;
use velo_schema::keys::Key;

use crate::rule::{Found, Rule, per_scope};
use crate::severity::Severity;

/// `batch.memory_size` below the size of a record.
pub const RULE: Rule = Rule {
    id: "memory-below-record",
    severity: Severity::Warning,
    summary: "`batch.memory_size` below the size of a record.",
    why: "Every record is then a batch of its own, with a batch's whole fixed cost. The rule needs the mean record: --record-size, or record-size in velo.toml.",
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
            "{} hold no record of {}: every record becomes a batch of its own",
            format_bytes(*bytes),
            format_bytes(*record_bytes)
        )
    }
}
