//! `invalid-yaml`: a configuration file that cannot be read to its end.

use super::{Rule, Severity, fault_findings};
use crate::finding::Detail;
use crate::scan::FaultKind;

/// A configuration file that is no YAML.
pub const RULE: Rule = Rule {
    id: "invalid-yaml",
    severity: Severity::Error,
    summary: "A configuration file that is no YAML.",
    why: "Nothing behind this place is read, and most readers refuse the whole file.",
    example: "batch:\n  strategy: fixed_size\n size: [500\n",
    better: "batch:\n  strategy: fixed_size\n  size: 500\n",
    check: |unit, out| {
        fault_findings(unit, &RULE, out, FaultKind::InvalidYaml, &Detail::InvalidYaml, |_| None);
    },
};
