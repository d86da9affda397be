//! `empty-clause`: a clause that holds nothing.

use serde::Serialize;

use crate::rule::{Found, Rule, fault_findings};
use crate::scan::FaultKind;
use crate::severity::Severity;

/// A `WITH ()` that holds no entry.
pub const RULE: Rule = Rule {
    id: "empty-clause",
    severity: Severity::Warning,
    summary: "A `WITH ()` that holds no entry.",
    why: "SQL parsers refuse it, and every setting keeps its default. It is what is left when all entries are commented out.",
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
        "the clause is empty: every setting keeps its default".to_owned()
    }
}
