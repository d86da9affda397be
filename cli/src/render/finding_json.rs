//! Findings as JSON, with lines and columns.

use schemars::JsonSchema;
use serde::Serialize;
use velo_lint::{Finding, Fix, Lines, Position, Severity};

use crate::commands::Checked;

/// A finding of `velo lint --format json`, which prints an array of them.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JsonFinding {
    /// The rule's id; `velo rules ID` explains it.
    rule: &'static str,
    severity: Severity,
    /// What is wrong, in words.
    message: String,
    file: String,
    start: Position,
    /// Exclusive.
    end: Position,
    /// What mends it, where there is one way.
    fix: Option<JsonFix>,
    /// The ways to mend it, where there are several and only the author knows which is meant.
    alternatives: Vec<JsonFix>,
}

/// A way to mend a finding.
#[derive(Debug, Serialize, JsonSchema)]
struct JsonFix {
    /// Whether it keeps the meaning for sure.
    safe: bool,
    edits: Vec<JsonEdit>,
}

/// A replacement.
#[derive(Debug, Serialize, JsonSchema)]
struct JsonEdit {
    start: Position,
    /// Exclusive.
    end: Position,
    /// What to put there.
    text: String,
}

/// Every finding, in the order of the files and of the places in them.
pub(crate) fn findings(checked: &[Checked]) -> Vec<JsonFinding> {
    let of_file = |file: &Checked| {
        let lines = Lines::new(&file.text);
        file.findings.iter().map(|finding| json(&file.name, &lines, finding)).collect::<Vec<_>>()
    };
    checked.iter().flat_map(of_file).collect()
}

fn json(file: &str, lines: &Lines<'_>, finding: &Finding) -> JsonFinding {
    let json_fix = |fix: &Fix| JsonFix {
        safe: fix.safe,
        edits: fix
            .edits
            .iter()
            .map(|edit| JsonEdit {
                start: lines.position(edit.span.start),
                end: lines.position(edit.span.end),
                text: edit.text.clone(),
            })
            .collect(),
    };
    JsonFinding {
        rule: finding.rule,
        severity: finding.severity,
        message: finding.message.clone(),
        file: file.to_owned(),
        start: lines.position(finding.span.start),
        end: lines.position(finding.span.end),
        fix: finding.fix.as_ref().map(json_fix),
        alternatives: finding.alternatives.iter().map(json_fix).collect(),
    }
}
