//! `invalid-yaml`: a configuration file that cannot be read to its end.

use serde::Serialize;

use crate::rule::{Found, Rule};
use crate::scan::FaultKind;
use crate::severity::Severity;
use crate::span::Span;
use crate::unit::Mistake;
use crate::wording::one_line;

/// A configuration file that is not valid YAML.
pub const RULE: Rule = Rule {
    id: "invalid-yaml",
    severity: Severity::Error,
    summary: "A configuration file that is not valid YAML.",
    why: "The rest of the file is not checked, and most parsers reject the whole file.",
    example: "batch:\n  strategy: fixed_size\n size: [500\n",
    better: "batch:\n  strategy: fixed_size\n  size: 500\n",
    check: |unit, out| {
        for Mistake { file, fault } in unit.faults.iter().filter(|m| m.fault.kind == FaultKind::InvalidYaml) {
            let reason = fault.reason.clone().unwrap_or_default();
            out.add(&RULE, Span { file: *file, range: fault.span.clone() }, InvalidYaml { reason });
        }
    },
};

/// From here on a file is no YAML.
#[derive(Debug, Serialize)]
struct InvalidYaml {
    /// What the parser says.
    reason: String,
}

impl Found for InvalidYaml {
    fn message(&self) -> String {
        let Self { reason } = self;
        format!("invalid YAML: {}; the rest of the file was not checked", one_line(reason))
    }
}
