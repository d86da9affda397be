//! How often each rule finds something: reports in, a table or JSON out.

use std::collections::BTreeMap;
use std::io::{Result, Write};

use serde::Serialize;
use velo_lint::{FileReport, Severity};

/// How often a rule finds something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The id of the rule.
    pub rule: &'static str,
    /// The severity of the most severe finding.
    pub severity: Severity,
    /// The number of findings.
    pub findings: usize,
    /// The number of findings that `--fix` fixes.
    pub fixable: usize,
}

/// Counts the findings of each rule, the most frequent first.
#[must_use]
pub fn counts(reports: &[FileReport]) -> Vec<Count> {
    let mut counts = BTreeMap::new();
    for finding in reports.iter().flat_map(|report| &report.findings) {
        let none = Count { rule: finding.rule, severity: finding.severity, findings: 0, fixable: 0 };
        let count = counts.entry(finding.rule).or_insert(none);
        count.severity = count.severity.max(finding.severity);
        count.findings += 1;
        count.fixable += usize::from(finding.fix.as_ref().is_some_and(|fix| fix.safe));
    }
    let mut counts: Vec<_> = counts.into_values().collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.findings));
    counts
}

/// Prints a line a rule.
///
/// # Errors
/// If the output cannot be written.
pub fn print(out: &mut dyn Write, reports: &[FileReport]) -> Result<()> {
    for Count { rule, severity, findings, fixable } in counts(reports) {
        let fixable = if fixable > 0 { format!(" ({fixable} fixable)") } else { String::new() };
        writeln!(out, "{findings:>6}  {:<7}  {rule}{fixable}", severity.word())?;
    }
    Ok(())
}

/// Prints the counts as JSON.
///
/// # Errors
/// If the output cannot be written.
pub fn print_json(out: &mut dyn Write, reports: &[FileReport]) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, &counts(reports))?;
    writeln!(out)
}
