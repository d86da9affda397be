//! `invalid-yaml`: a configuration file that cannot be read to its end.

use super::{Rule, Severity};
use crate::finding::Detail;
use crate::scan::FaultKind;
use crate::span::Span;
use crate::unit::Mistake;

/// A configuration file that is no YAML.
pub const RULE: Rule = Rule {
    id: "invalid-yaml",
    severity: Severity::Error,
    summary: "A configuration file that is no YAML.",
    why: "Nothing behind this place is read, and most readers refuse the whole file.",
    example: "batch:\n  strategy: fixed_size\n size: [500\n",
    better: "batch:\n  strategy: fixed_size\n  size: 500\n",
    check: |unit, out| {
        for Mistake { file, fault } in unit.faults.iter().filter(|m| m.fault.kind == FaultKind::InvalidYaml) {
            let reason = fault.reason.clone().unwrap_or_default();
            out.add(&RULE, Span { file: *file, range: fault.span.clone() }, Detail::InvalidYaml { reason });
        }
    },
};
