//! Findings as annotations of a GitHub workflow, the most severe first. What GitHub would not show is in the log.

use std::io::{Result, Write};

use velo_lint::{FileReport, Finding, LineIndex, Severity};

use crate::format::{Format, Output};

/// The format.
pub const FORMAT: Format = Format { name: "github", about: "annotations of a GitHub workflow", print };

/// GitHub shows this many annotations of a level in one step, and drops the rest.
const MOST_OF_A_LEVEL: usize = 10;

/// Prints one line a finding: a workflow command up to the limit of its level, plain text beyond it, and
/// a notice that says how many of each there are.
fn print(out: &mut dyn Write, reports: &[FileReport], _: &Output) -> Result<()> {
    let levels = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Info, "notice")];
    let files: Vec<_> = reports.iter().map(|file| (file, LineIndex::new(&file.text))).collect();
    let of = |severity| {
        let all = files.iter().flat_map(|(file, lines)| file_findings(file, lines));
        all.filter(move |(.., finding)| finding.severity == severity)
    };
    let count = |severity| of(severity).count();
    let is_cut = levels.iter().any(|(severity, _)| count(*severity) > MOST_OF_A_LEVEL);
    let mut summary = Vec::new();
    for (severity, command) in levels {
        // The notice at the end is one of its level.
        let is_beside_summary = is_cut && severity == Severity::Info;
        let most = MOST_OF_A_LEVEL - usize::from(is_beside_summary);
        let total = count(severity);
        if total > most {
            summary.push(format!("{} more of {total} {command}s", total - most));
        }
        for (index, (file, lines, finding)) in of(severity).enumerate() {
            if index < most {
                writeln!(out, "{}", annotation(command, &file.name, lines, finding))?;
            } else {
                writeln!(out, "{}", plain(command, &file.name, lines, finding))?;
            }
        }
    }
    if !summary.is_empty() {
        let summary = data(&summary.join(", "));
        writeln!(
            out,
            "::notice title=velo lint::GitHub shows {MOST_OF_A_LEVEL} annotations of a level; {summary} in the log of this step"
        )?;
    }
    Ok(())
}

/// The findings of a file, each with its file and that file's lines.
fn file_findings<'a>(
    file: &'a FileReport,
    lines: &'a LineIndex,
) -> impl Iterator<Item = (&'a FileReport, &'a LineIndex, &'a Finding)> {
    file.findings.iter().map(move |finding| (file, lines, finding))
}

fn annotation(command: &str, file: &str, lines: &LineIndex, finding: &Finding) -> String {
    let (start, end) = (lines.position(finding.span.start), lines.position(finding.span.end));
    // GitHub takes columns of a single line only.
    let place = if start.line == end.line {
        format!("line={},col={},endLine={},endColumn={}", start.line, start.column, end.line, end.column)
    } else {
        format!("line={},endLine={}", start.line, end.line)
    };
    let file = property(file.strip_prefix("./").unwrap_or(file));
    let message = data(&finding.message);
    format!("::{command} file={file},{place},title={}::{message}", property(finding.rule))
}

/// A finding as a line of the log.
fn plain(level: &str, file: &str, lines: &LineIndex, finding: &Finding) -> String {
    let place = lines.position(finding.span.start);
    // A line that begins with `::` would be a command.
    let message = finding.message.replace(['\r', '\n'], " ");
    format!("{level}[{}] {file}:{}:{}: {message}", finding.rule, place.line, place.column)
}

/// A message as a command holds it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property's value as a command holds it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests;

    fn printed(name: &str, text: &str) -> String {
        tests::printed(&FORMAT, &[tests::report(name, text)])
    }

    #[test]
    fn the_most_severe_come_first_and_none_is_lost() {
        let text = "WITH ('batch.size' = '0', 'batch.strategy' = 'FixedSize');\n".repeat(12);
        let out = printed("a,b.sql", &text);
        let lines: Vec<_> = out.lines().collect();
        assert!(
            lines[0].starts_with(
                "::error file=a%2Cb.sql,line=1,col=23,endLine=1,endColumn=24,title=out-of-range::"
            )
        );
        let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
        assert_eq!((count("::error"), count("error[out-of-range] a,b.sql:")), (10, 2));
        assert_eq!((count("::warning"), count("warning[")), (10, 2));
        // With the summary there are ten notices.
        assert_eq!((count("::notice"), count("notice[")), (10, 3));
        assert!(lines[12].starts_with("::warning"));
        let summary = "2 more of 12 errors, 2 more of 12 warnings, 3 more of 12 notices";
        assert!(lines.last().unwrap().starts_with("::notice title=velo lint::"), "{out}");
        assert!(lines.last().unwrap().contains(summary), "{out}");
    }

    #[test]
    fn few_findings_have_no_summary() {
        let out = printed(
            "./a.sql",
            "WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '0', 'failure_strategy' = 'FailBatch');",
        );
        assert_eq!(out.lines().count(), 1, "{out}");
        assert!(out.starts_with("::error file=a.sql,"), "{out}");
    }

    #[test]
    fn a_finding_of_several_lines_has_no_columns() {
        let text = "WITH ('batch.size' = '5\n0', 'failure_strategy' = 'FailBatch');";
        let out = printed("a.sql", text);
        assert!(out.starts_with("::error file=a.sql,line=1,endLine=2,title="), "{out}");
    }
}
