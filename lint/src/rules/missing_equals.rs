//! `missing-equals`: A key and a value with no equals sign between them.

use super::{Rule, Severity, fault_findings};
use crate::finding::{Detail, Fix};
use crate::scan::FaultKind;

/// A key and a value with no equals sign between them.
pub const RULE: Rule = Rule {
    id: "missing-equals",
    severity: Severity::Error,
    summary: "A key and a value with no equals sign between them.",
    why: "The clause does not parse.",
    example: "WITH ('batch.size' '500')",
    better: "WITH ('batch.size' = '500')",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::MissingEquals, &Detail::MissingEquals, |span| {
            Some(Fix::replace(true, span, " ="))
        });
    },
};
