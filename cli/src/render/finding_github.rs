//! Findings as annotations of a GitHub workflow: errors first, ten a level, then a summary.

use std::io::Write;

use velo_lint::message::message;
use velo_lint::{Finding, Lines, Severity};

use crate::commands::Checked;

/// GitHub shows no more of a level in one step.
const MOST_OF_A_LEVEL: usize = 10;

/// Prints one command a finding, as a workflow's log wants them.
pub(crate) fn print(out: &mut dyn Write, checked: &[Checked]) -> std::io::Result<()> {
    let levels = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Info, "notice")];
    let mut left_out = Vec::new();
    for (severity, command) in levels {
        let mut count = 0;
        for file in checked {
            let lines = Lines::new(&file.text);
            for finding in file.findings.iter().filter(|finding| finding.severity == severity) {
                count += 1;
                if count <= MOST_OF_A_LEVEL {
                    writeln!(out, "{}", annotation(command, &file.name, &lines, finding))?;
                }
            }
        }
        if count > MOST_OF_A_LEVEL {
            left_out.push(format!("{} more of {count} {command}s", count - MOST_OF_A_LEVEL));
        }
    }
    if !left_out.is_empty() {
        writeln!(out, "::notice title=velo lint::{} are in the log of velo lint", left_out.join(", "))?;
    }
    Ok(())
}

fn annotation(command: &str, file: &str, lines: &Lines<'_>, finding: &Finding) -> String {
    let (start, end) = (lines.position(finding.span.start), lines.position(finding.span.end));
    format!(
        "::{command} file={},line={},col={},endLine={},endColumn={},title={}::{}",
        property(file),
        start.line,
        start.column,
        end.line,
        end.column,
        property(finding.rule),
        data(&message(&finding.detail))
    )
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
    use velo_lint::{Language, lint};

    #[test]
    fn errors_come_first_ten_a_level_and_a_summary_counts_the_rest() {
        let text = "WITH ('batch.size' = '0', 'batch.strategy' = 'FixedSize');\n".repeat(12);
        let findings = lint(&text, Language::Sql);
        let mut out = Vec::new();
        print(&mut out, &[Checked { name: "a,b.sql".into(), text, findings }]).unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<_> = out.lines().collect();
        assert!(
            lines[0].starts_with(
                "::error file=a%2Cb.sql,line=1,col=23,endLine=1,endColumn=24,title=out-of-range::"
            )
        );
        assert_eq!(lines.iter().filter(|line| line.starts_with("::error")).count(), 10);
        assert!(lines[10].starts_with("::warning"));
        assert!(lines.last().unwrap().contains("2 more of 12 errors, 2 more of 12 warnings"), "{out}");
    }
}
