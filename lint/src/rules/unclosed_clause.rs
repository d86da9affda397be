//! `unclosed-clause`: A clause whose closing bracket is missing.

use super::{Rule, Severity, fault_findings};
use crate::finding::{Detail, Fix};
use crate::scan::FaultKind;

/// A clause whose closing bracket is missing.
pub const RULE: Rule = Rule {
    id: "unclosed-clause",
    severity: Severity::Error,
    summary: "A clause whose closing bracket is missing.",
    why: "The statement does not parse, or swallows the next one.",
    example: "WITH ('batch.size' = '500';",
    better: "WITH ('batch.size' = '500');",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::Unclosed, &Detail::UnclosedClause, |span| {
            Some(Fix::replace(false, span, ")"))
        });
    },
};
