//! Findings in a line each, as compilers print them: editors and scripts parse it.

use std::io::{Result, Write};

use velo_lint::{FileReport, LineIndex};

use crate::format::{Format, Output};

/// The format.
pub const FORMAT: Format =
    Format { name: "concise", about: "a line a finding: file:line:column: severity[rule] message", print };

fn print(out: &mut dyn Write, reports: &[FileReport], _: &Output) -> Result<()> {
    for report in reports {
        let lines = LineIndex::new(&report.text);
        for finding in &report.findings {
            let place = lines.position(finding.span.start);
            let message = finding.message.replace(['\r', '\n'], " ");
            let (name, severity, rule) = (&report.name, finding.severity.word(), finding.rule);
            writeln!(out, "{name}:{}:{}: {severity}[{rule}] {message}", place.line, place.column)?;
        }
    }
    Ok(())
}
