//! `empty-clause`: a clause that holds nothing.

use super::{Rule, Severity, fault_findings};
use crate::finding::Detail;
use crate::scan::FaultKind;

/// A `WITH ()` that holds no entry.
pub const RULE: Rule = Rule {
    id: "empty-clause",
    severity: Severity::Warning,
    summary: "A `WITH ()` that holds no entry.",
    why: "SQL parsers refuse it, and every setting keeps its default. It is what is left when all entries are commented out.",
    example: "CREATE STREAM s AS SELECT * FROM t WITH ()",
    better: "CREATE STREAM s AS SELECT * FROM t WITH ('batch.size' = '500')",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::Empty, &Detail::EmptyClause, |_| None);
    },
};
