//! Findings as a Code Quality report, which GitLab shows in merge requests.
//!
//! Format: <https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format>

use std::io::{Result, Write};

use serde_json::json;
use velo_lint::fingerprint::fingerprints;
use velo_lint::{FileReport, LineIndex, Severity};

use crate::format::{Format, Output};
use crate::uri::path;

/// The format.
pub const FORMAT: Format = Format { name: "gitlab", about: "a Code Quality report of GitLab", print };

fn print(out: &mut dyn Write, reports: &[FileReport], output: &Output) -> Result<()> {
    let of_file = |report: &FileReport| {
        let lines = LineIndex::new(&report.text);
        let path = path(&report.name, &output.folder);
        let issue = |(finding, fingerprint): (&velo_lint::Finding, String)| {
            let (start, end) = (lines.position(finding.span.start), lines.position(finding.span.end));
            json!({
                "description": finding.message,
                "check_name": finding.rule,
                "fingerprint": fingerprint,
                "severity": severity(finding.severity),
                "location": {"path": path, "lines": {"begin": start.line, "end": end.line}},
            })
        };
        let issues = report.findings.iter().zip(fingerprints(report, &path));
        issues.map(issue).collect::<Vec<_>>()
    };
    serde_json::to_writer_pretty(&mut *out, &reports.iter().flat_map(of_file).collect::<Vec<_>>())?;
    writeln!(out)
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "minor",
        Severity::Error => "major",
    }
}
