//! Findings as JSON, with lines and columns.

use schemars::JsonSchema;
use serde::Serialize;
use velo_lint::message::message;
use velo_lint::{Finding, Lines, Position, Severity};

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
    fix: Option<JsonFix>,
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

pub(crate) fn json(file: &str, lines: &Lines<'_>, finding: &Finding) -> JsonFinding {
    let fix = finding.fix.as_ref().map(|fix| JsonFix {
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
    });
    JsonFinding {
        rule: finding.rule,
        severity: finding.severity,
        message: message(&finding.detail),
        file: file.to_owned(),
        start: lines.position(finding.span.start),
        end: lines.position(finding.span.end),
        fix,
    }
}
