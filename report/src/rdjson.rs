//! Findings in the diagnostic format of reviewdog, which comments on changes at any code host.
//!
//! Format: <https://github.com/reviewdog/reviewdog/tree/master/proto/rdf>. Columns count bytes of UTF-8, from 1.

use std::io::{Result, Write};

use serde_json::{Value, json};
use velo_lint::{Encoding, FileReport, Finding, Fix, LineIndex, Severity};

use crate::format::{Format, Output};
use crate::uri::path;

/// The format.
pub const FORMAT: Format = Format { name: "rdjson", about: "the diagnostic format of reviewdog", print };

fn print(out: &mut dyn Write, reports: &[FileReport], output: &Output) -> Result<()> {
    let of_file = |report: &FileReport| {
        let lines = LineIndex::new(&report.text);
        let path = path(&report.name, &output.folder);
        report.findings.iter().map(|finding| diagnostic(finding, &lines, &path)).collect::<Vec<_>>()
    };
    let result = json!({
        "source": {"name": "velo lint"},
        "diagnostics": reports.iter().flat_map(of_file).collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &result)?;
    writeln!(out)
}

fn diagnostic(finding: &Finding, lines: &LineIndex, path: &str) -> Value {
    let mut diagnostic = json!({
        "message": finding.message,
        "location": {"path": path, "range": range(lines, finding.span.start, finding.span.end)},
        "severity": severity(finding.severity),
        "code": {"value": finding.rule},
    });
    // A suggestion replaces one range; a change of several places cannot be one.
    let changes = finding.fix.iter().chain(&finding.alternatives).filter_map(suggestion);
    let suggestion = |(start, end, text)| json!({"range": range(lines, start, end), "text": text});
    let suggestions: Vec<_> = changes.map(suggestion).collect();
    if !suggestions.is_empty() {
        diagnostic["suggestions"] = Value::Array(suggestions);
    }
    if let Some(related) = &finding.related {
        let location = json!({"path": path, "range": range(lines, related.span.start, related.span.end)});
        diagnostic["related_locations"] = json!([{"message": related.what, "location": location}]);
    }
    diagnostic
}

fn suggestion(fix: &Fix) -> Option<(usize, usize, &str)> {
    match fix.edits.as_slice() {
        [edit] => Some((edit.span.start, edit.span.end, &edit.text)),
        _ => None,
    }
}

fn range(lines: &LineIndex, start: usize, end: usize) -> Value {
    let place = |offset| {
        let place = lines.line_column(offset, Encoding::Utf8);
        json!({"line": place.line + 1, "column": place.column + 1})
    };
    json!({"start": place(start), "end": place(end)})
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "INFO",
        Severity::Warning => "WARNING",
        Severity::Error => "ERROR",
    }
}
