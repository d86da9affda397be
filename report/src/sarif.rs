//! Findings as a SARIF 2.1.0 log, which code scanners and editors read.

use std::io::{Result, Write};

use serde_json::{Value, json};
use velo_lint::fingerprint::fingerprints;
use velo_lint::rule::Rule;
use velo_lint::rules::RULES;
use velo_lint::{Encoding, FileReport, Finding, Fix, LineIndex, Severity};

use crate::format::{Format, Output};
use crate::uri::{path, uri};

/// The format.
pub const FORMAT: Format = Format { name: "sarif", about: "SARIF 2.1.0, for code scanning", print };

/// Prints the log of one run.
fn print(out: &mut dyn Write, reports: &[FileReport], output: &Output) -> Result<()> {
    let results: Vec<_> = reports.iter().flat_map(|report| results(report, output)).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "velo lint",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": RULES.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            // Readers that ignore this, such as Microsoft's SDK, count in the same units.
            "columnKind": "utf16CodeUnits",
            "newlineSequences": ["\r\n", "\n", "\r"],
            "results": results,
        }],
    });
    serde_json::to_writer_pretty(&mut *out, &log)?;
    writeln!(out)
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn descriptor(rule: &Rule) -> Value {
    let text = format!("{}\n\nInstead of\n\n    {}\n\nwrite\n\n    {}", rule.why, rule.example, rule.better);
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": level(rule.severity)},
    })
}

fn results(report: &FileReport, output: &Output) -> Vec<Value> {
    let lines = LineIndex::new(&report.text);
    let uri = uri(&report.name, &output.folder);
    let result = |(finding, fingerprint): (&Finding, String)| {
        let fixes: Vec<_> = finding.fix.iter().chain(&finding.alternatives).collect();
        let location = |start: usize, end: usize| json!({"artifactLocation": {"uri": uri}, "region": region(&lines, start, end)});
        let related = finding.related.iter().map(|related| {
            json!({
                "physicalLocation": location(related.span.start, related.span.end),
                "message": {"text": related.what},
            })
        });
        json!({
            "ruleId": finding.rule,
            "ruleIndex": RULES.iter().position(|rule| rule.id == finding.rule),
            "level": level(finding.severity),
            "message": {"text": finding.message},
            "locations": [{"physicalLocation": location(finding.span.start, finding.span.end)}],
            "relatedLocations": related.collect::<Vec<_>>(),
            "partialFingerprints": {"veloLint/v1": fingerprint},
            "fixes": fixes.iter().map(|fix| sarif_fix(&uri, &lines, fix)).collect::<Vec<_>>(),
        })
    };
    report
        .findings
        .iter()
        .zip(fingerprints(report, &path(&report.name, &output.folder)))
        .map(result)
        .collect()
}

/// The place of a text. It has no offset in bytes, as Microsoft's SDK takes a region with one for a binary file's.
fn region(lines: &LineIndex, start: usize, end: usize) -> Value {
    let place = |offset| lines.line_column(offset, Encoding::Utf16);
    let (from, to) = (place(start), place(end));
    json!({
        "startLine": from.line + 1, "startColumn": from.column + 1,
        "endLine": to.line + 1, "endColumn": to.column + 1,
    })
}

fn sarif_fix(uri: &str, lines: &LineIndex, fix: &Fix) -> Value {
    let replacement = |edit: &velo_lint::Edit| {
        json!({
            "deletedRegion": region(lines, edit.span.start, edit.span.end),
            "insertedContent": {"text": edit.text},
        })
    };
    let what = match fix.edits.first() {
        Some(edit) if edit.text.is_empty() => "Remove it".to_owned(),
        Some(edit) => format!("Write {}", edit.text.trim()),
        None => String::new(),
    };
    let safety = if fix.safe { "" } else { " (may change the meaning)" };
    json!({
        "description": {"text": format!("{what}{safety}")},
        "artifactChanges": [{
            "artifactLocation": {"uri": uri},
            "replacements": fix.edits.iter().map(replacement).collect::<Vec<_>>(),
        }],
    })
}
