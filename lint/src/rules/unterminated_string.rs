//! `unterminated-string`: A quote that is opened and never closed.

use serde::Serialize;

use crate::rule::{Found, Rule, fault_findings};
use crate::scan::FaultKind;
use crate::severity::Severity;

/// A string without a closing quote.
pub const RULE: Rule = Rule {
    id: "unterminated-string",
    severity: Severity::Error,
    summary: "A string without a closing quote.",
    why: "The parser reads keys as values and values as keys up to the next quote.",
    example: "WITH ('batch.size' = '500)",
    better: "WITH ('batch.size' = '500')",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::UnterminatedString, &UnterminatedString {}, |_| None);
    },
};

/// A quote without its partner.
#[derive(Debug, Serialize)]
struct UnterminatedString {}

impl Found for UnterminatedString {
    fn message(&self) -> String {
        "the closing quote is missing".to_owned()
    }
}
