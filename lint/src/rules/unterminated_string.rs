//! `unterminated-string`: A quote that is opened and never closed.

use super::{Rule, Severity, fault_findings};
use crate::finding::Detail;
use crate::scan::FaultKind;

/// A quote that is opened and never closed.
pub const RULE: Rule = Rule {
    id: "unterminated-string",
    severity: Severity::Error,
    summary: "A quote that is opened and never closed.",
    why: "The rest of the clause turns inside out: keys are read as values and values as keys, up to the next stray quote.",
    example: "WITH ('batch.size' = '500)",
    better: "WITH ('batch.size' = '500')",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::UnterminatedString, &Detail::UnterminatedString, |_| {
            None
        });
    },
};
