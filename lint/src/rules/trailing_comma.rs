//! `trailing-comma`: A comma before the closing bracket.

use serde::Serialize;

use crate::finding::Fix;
use crate::rule::{Found, Rule, fault_findings};
use crate::scan::FaultKind;
use crate::severity::Severity;

/// A comma before the closing bracket.
pub const RULE: Rule = Rule {
    id: "trailing-comma",
    severity: Severity::Error,
    summary: "A comma before the closing bracket.",
    why: "Most SQL parsers refuse it.",
    example: "WITH ('batch.size' = '500',)",
    better: "WITH ('batch.size' = '500')",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::TrailingComma, &TrailingComma {}, |span| {
            Some(Fix::replace(true, span, ""))
        });
    },
};

/// A comma before the closing bracket.
#[derive(Debug, Serialize)]
struct TrailingComma {}

impl Found for TrailingComma {
    fn message(&self) -> String {
        "a comma with no entry behind it".to_owned()
    }
}
