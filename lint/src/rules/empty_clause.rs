//! `empty-clause`: a clause that holds nothing.

use serde::Serialize;

use crate::rule::{Found, Rule, fault_findings};
use crate::scan::FaultKind;
use crate::severity::Severity;

/// A `WITH ()` clause without entries.
pub const RULE: Rule = Rule {
    id: "empty-clause",
    severity: Severity::Warning,
    summary: "A `WITH ()` clause without entries.",
    why: "SQL parsers reject an empty clause, and all settings keep their defaults. Remove the clause, or restore entries that are commented out.",
    example: "CREATE STREAM s AS SELECT * FROM t WITH ()",
    better: "CREATE STREAM s AS SELECT * FROM t WITH ('batch.size' = '500')",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::Empty, &EmptyClause {}, |_| None);
    },
};

/// A clause that holds nothing.
#[derive(Debug, Serialize)]
struct EmptyClause {}

impl Found for EmptyClause {
    fn message(&self) -> String {
        "the clause is empty: all settings keep their defaults".to_owned()
    }
}
