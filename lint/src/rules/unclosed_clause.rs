//! `unclosed-clause`: A clause whose closing bracket is missing.

use serde::Serialize;

use crate::finding::Fix;
use crate::rule::{Found, Rule, fault_findings};
use crate::scan::FaultKind;
use crate::severity::Severity;
use crate::unit::Mistake;

/// A clause without a closing parenthesis.
pub const RULE: Rule = Rule {
    id: "unclosed-clause",
    severity: Severity::Error,
    summary: "A clause without a closing parenthesis.",
    why: "The statement does not parse, or includes the next statement.",
    example: "WITH ('batch.size' = '500';",
    better: "WITH ('batch.size' = '500');",
    check: |unit, out| {
        // With a quote missing, too, the clause may end anywhere; so may one that goes on behind a `;`.
        let is_alone =
            !unit.faults.iter().any(|Mistake { fault, .. }| fault.kind == FaultKind::UnterminatedString);
        let ends_here = |at: usize| {
            let behind = unit.text[at..].trim_start();
            let next = behind.strip_prefix(';').map_or(behind, str::trim_start);
            let before = unit.text[..at].trim_end();
            !before.ends_with(',')
                && !next.starts_with(['\'', '"'])
                && (behind.is_empty() || behind.starts_with(';'))
        };
        fault_findings(unit, &RULE, out, FaultKind::Unclosed, &UnclosedClause {}, |span| {
            (is_alone && ends_here(span.end)).then(|| Fix::replace(false, span, ")"))
        });
        // Which of the brackets is missing where is not known.
        fault_findings(unit, &RULE, out, FaultKind::UnclosedValue, &UnclosedClause {}, |_| None);
    },
};

/// No closing bracket.
#[derive(Debug, Serialize)]
struct UnclosedClause {}

impl Found for UnclosedClause {
    fn message(&self) -> String {
        "the clause's closing ')' is missing".to_owned()
    }
}
