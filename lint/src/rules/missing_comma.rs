//! `missing-comma`: Two entries with no comma between them.

use super::{Rule, Severity, fault_findings};
use crate::finding::{Detail, Fix};
use crate::scan::FaultKind;

/// Two entries with no comma between them.
pub const RULE: Rule = Rule {
    id: "missing-comma",
    severity: Severity::Error,
    summary: "Two entries with no comma between them.",
    why: "The clause does not parse, or swallows the second entry.",
    example: "WITH ('batch.strategy' = 'fixed_size' 'batch.size' = '500')",
    better: "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '500')",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::MissingComma, &Detail::MissingComma, |span| {
            Some(Fix::replace(true, span, ","))
        });
    },
};
