//! `trailing-comma`: A comma before the closing bracket.

use serde::Serialize;

use crate::finding::Fix;
use crate::rule::{Found, Rule, fault_findings};
use crate::scan::FaultKind;
use crate::severity::Severity;

/// A comma before the closing parenthesis.
pub const RULE: Rule = Rule {
    id: "trailing-comma",
    severity: Severity::Error,
    summary: "A comma before the closing parenthesis.",
    why: "Most SQL parsers reject it.",
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
        "there is no entry after this comma".to_owned()
    }
}
