//! `missing-comma`: Two entries with no comma between them.

use super::{Rule, Severity, fault_findings};
use crate::finding::{Detail, Fix};
use crate::scan::FaultKind;

/// Two entries with no comma between them.
pub const RULE: Rule = Rule {
    id: "missing-comma",
    severity: Severity::Error,
    summary: "Two entries with no comma between them.",
    doc: "The clause does not parse, or swallows the second entry.",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::MissingComma, &Detail::MissingComma, |span| {
            Some(Fix::replace(true, span, ","))
        });
    },
};
