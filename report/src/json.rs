//! Findings as JSON, with lines and columns.

use std::io::{Result, Write};

use schemars::JsonSchema;
use serde::Serialize;
use velo_lint::{FileReport, Finding, Fix, LineIndex, Position, Severity};

use crate::format::{Format, Output};

/// The format.
pub const FORMAT: Format =
    Format { name: "json", about: "an array of findings; velo schema --of lint describes it", print };

/// A finding of `velo lint --format json`, which prints an array of them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JsonFinding {
    /// The rule's id; `velo rules ID` explains it.
    rule: &'static str,
    severity: Severity,
    /// What is wrong, in words.
    message: String,
    /// What the message consists of, by name. It depends on the rule.
    data: serde_json::Map<String, serde_json::Value>,
    file: String,
    start: Position,
    /// Exclusive.
    end: Position,
    /// The change that fixes it, if there is one way.
    fix: Option<JsonFix>,
    /// The changes of which each fixes it, if only the author knows which one is meant.
    alternatives: Vec<JsonFix>,
    /// Another place of the same file that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    related: Option<JsonRelated>,
}

/// A place that a finding is about besides its own.
#[derive(Debug, Serialize, JsonSchema)]
struct JsonRelated {
    /// What stands there.
    message: &'static str,
    start: Position,
    /// Exclusive.
    end: Position,
}

/// A change that fixes a finding.
#[derive(Debug, Serialize, JsonSchema)]
struct JsonFix {
    /// True if it keeps the behaviour.
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

/// Prints an array of all findings, in the order of the files and of the places in them.
fn print(out: &mut dyn Write, reports: &[FileReport], _: &Output) -> Result<()> {
    let of_file = |report: &FileReport| {
        let lines = LineIndex::new(&report.text);
        report.findings.iter().map(|finding| json(&report.name, &lines, finding)).collect::<Vec<_>>()
    };
    serde_json::to_writer_pretty(&mut *out, &reports.iter().flat_map(of_file).collect::<Vec<_>>())?;
    writeln!(out)
}

fn json(file: &str, lines: &LineIndex, finding: &Finding) -> JsonFinding {
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
        data: finding.data.as_object().cloned().unwrap_or_default(),
        file: file.to_owned(),
        start: lines.position(finding.span.start),
        end: lines.position(finding.span.end),
        fix: finding.fix.as_ref().map(json_fix),
        alternatives: finding.alternatives.iter().map(json_fix).collect(),
        related: finding.related.as_ref().map(|related| JsonRelated {
            message: related.what,
            start: lines.position(related.span.start),
            end: lines.position(related.span.end),
        }),
    }
}
