//! `missing-comma`: Two entries with no comma between them.

use serde::Serialize;

use crate::finding::Fix;
use crate::rule::{Found, Rule, fault_findings};
use crate::scan::FaultKind;
use crate::severity::Severity;

/// Two entries without a comma between them.
pub const RULE: Rule = Rule {
    id: "missing-comma",
    severity: Severity::Error,
    summary: "Two entries without a comma between them.",
    why: "The clause does not parse, or the second entry is ignored.",
    example: "WITH ('batch.strategy' = 'fixed_size' 'batch.size' = '500')",
    better: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '500')",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::MissingComma, &MissingComma {}, |span| {
            Some(Fix::replace(true, span, ","))
        });
    },
};

/// No comma between two entries.
#[derive(Debug, Serialize)]
struct MissingComma {}

impl Found for MissingComma {
    fn message(&self) -> String {
        "a comma is missing between these two entries".to_owned()
    }
}
