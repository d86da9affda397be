//! `trailing-comma`: A comma before the closing bracket.

use super::{Rule, Severity, fault_findings};
use crate::finding::{Detail, Fix};
use crate::scan::FaultKind;

/// A comma before the closing bracket.
pub const RULE: Rule = Rule {
    id: "trailing-comma",
    severity: Severity::Error,
    summary: "A comma before the closing bracket.",
    why: "Most SQL parsers refuse it.",
    example: "WITH ('batch.size' = '500',)",
    better: "WITH ('batch.size' = '500')",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::TrailingComma, &Detail::TrailingComma, |span| {
            Some(Fix::replace(true, span, ""))
        });
    },
};
