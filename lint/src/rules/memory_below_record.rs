//! `memory-below-record`: a batch that cannot hold one record.

use velo_schema::Strategy;
use velo_schema::keys::Key;

use super::{Rule, Severity, per_scope};
use crate::finding::Detail;

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
            Some((item.value_span.clone(), Detail::MemoryBelowRecord { bytes, record_bytes }, None))
        });
    },
};
