//! `missing-equals`: A key and a value with no equals sign between them.

use serde::Serialize;

use crate::finding::Fix;
use crate::rule::{Found, Rule, fault_findings};
use crate::scan::FaultKind;
use crate::severity::Severity;

/// A key and a value without an equals sign between them.
pub const RULE: Rule = Rule {
    id: "missing-equals",
    severity: Severity::Error,
    summary: "A key and a value without an equals sign between them.",
    why: "The clause does not parse.",
    example: "WITH ('batch.size' '500')",
    better: "WITH ('batch.size' = '500')",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::MissingEquals, &MissingEquals {}, |span| {
            Some(Fix::replace(true, span, " ="))
        });
    },
};

/// No equals sign between key and value.
#[derive(Debug, Serialize)]
struct MissingEquals {}

impl Found for MissingEquals {
    fn message(&self) -> String {
        "an '=' is missing between key and value".to_owned()
    }
}
