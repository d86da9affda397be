//! The lines that have changed since a commit, as git knows them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use velo_lint::{FileReport, LineIndex};

use crate::paths::canonical;

/// The changed lines of files, by canonical path.
#[derive(Debug, Default)]
pub(crate) struct Changed(HashMap<String, Lines>);

#[derive(Debug, PartialEq, Eq)]
enum Lines {
    /// The whole file is new.
    All,
    /// Ranges of lines, from 0.
    Some(Vec<Range<usize>>),
}

impl Changed {
    /// Asks git what has changed in the working tree since `reference`, or since the point at which its branch was left.
    ///
    /// # Errors
    /// If git does not run, this is no checkout, or there is no such commit.
    pub(crate) fn since(reference: &str) -> Result<Self> {
        let root = git(&["rev-parse", "--show-toplevel"])?;
        let root = Path::new(root.trim_end_matches(['\n', '\r']));
        // A name that begins with a dash would be an option.
        let verified =
            git(&["rev-parse", "--verify", "--end-of-options", &format!("{reference}^{{commit}}")]);
        let commit = verified.map_err(|_| {
            anyhow::anyhow!(
                "--changed-since {reference}: there is no such commit or branch here; a shallow clone has to fetch it first"
            )
        })?;
        let base = git(&["merge-base", commit.trim(), "HEAD"]).unwrap_or(commit);
        // These options override the user's settings.
        let diff = ["-c", "core.quotePath=false", "diff", "--unified=0", "--no-color", "--no-prefix"];
        let plain = ["--no-ext-diff", "--no-textconv", "--text", "--no-renames", "--no-relative"];
        let diff = git(&[&diff[..], &plain, &[base.trim(), "--"]].concat())?;
        let mut changed = Self::default();
        for (file, lines) in hunks(&diff) {
            changed.0.insert(canonical(&root.join(file).to_string_lossy()), Lines::Some(lines));
        }
        let untracked = git(&["ls-files", "--others", "--exclude-standard", "--full-name", "-z", ":/"])?;
        for file in untracked.split('\0').filter(|file| !file.is_empty()) {
            changed.0.insert(canonical(&root.join(file).to_string_lossy()), Lines::All);
        }
        Ok(changed)
    }

    /// Removes the findings in statements and documents that have not changed.
    pub(crate) fn apply(&self, reports: &mut [FileReport]) {
        let is_changed = |name: &str| self.0.contains_key(&canonical(name));
        // What a statement means depends on the files that it names, and the other way round.
        let mut related = HashSet::new();
        for report in &*reports {
            if report.parts.iter().any(|part| is_changed(part)) || is_changed(&report.name) {
                related.extend(report.parts.iter().map(|part| canonical(part)));
            }
            if report.parts.iter().any(|part| is_changed(part)) {
                related.insert(canonical(&report.name));
            }
        }
        for report in reports {
            let FileReport { name, text, statements, findings, .. } = report;
            if related.contains(&canonical(name)) {
                continue;
            }
            let Some(Lines::Some(changed)) = self.0.get(&canonical(name)) else {
                if !self.0.contains_key(&canonical(name)) {
                    findings.clear();
                }
                continue;
            };
            let lines = LineIndex::new(text);
            let has_changed = |bytes: &Range<usize>| {
                let (first, last) = (lines.line(bytes.start), lines.line(bytes.end.max(bytes.start + 1) - 1));
                changed.iter().any(|range| range.start <= last && first < range.end)
            };
            findings.retain(|finding| {
                let statement = statements
                    .iter()
                    .find(|span| span.start <= finding.span.start && finding.span.start <= span.end);
                has_changed(&finding.span) || statement.is_some_and(has_changed)
            });
        }
    }
}

fn git(args: &[&str]) -> Result<String> {
    let output = Command::new("git").args(args).output().context("--changed-since: git cannot be run")?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("--changed-since: {}", reason.trim().trim_start_matches("fatal: "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the files of a diff without context, and the lines (from 0) that each has now.
fn hunks(diff: &str) -> Vec<(&str, Vec<Range<usize>>)> {
    let mut files: Vec<(&str, Vec<Range<usize>>)> = Vec::new();
    // The lines of a hunk may look like anything.
    let mut of_hunk = 0;
    for line in diff.lines() {
        if of_hunk > 0 && line.starts_with(['+', '-']) {
            of_hunk -= 1;
        } else if let Some(file) = line.strip_prefix("+++ ") {
            // A name with blanks has a tab behind it.
            files.push((file.trim_end_matches('\t'), Vec::new()));
        } else if let Some(hunk) = line.strip_prefix("@@ ")
            && let Some((_, lines)) = files.last_mut()
            && let (Some(old), Some(new)) = (counted(hunk, '-'), counted(hunk, '+'))
        {
            of_hunk = old.1 + new.1;
            let first = new.0.saturating_sub(1);
            // If lines are only removed, the lines around them count.
            lines.push(first..first + if new.1 == 0 { 2 } else { new.1 });
        }
    }
    files.retain(|(file, _)| *file != "/dev/null");
    files
}

/// Reads the first line and the number of lines behind a sign in `-3,2 +5,4 @@ …`.
fn counted(hunk: &str, sign: char) -> Option<(usize, usize)> {
    let part = hunk.split(' ').find_map(|part| part.strip_prefix(sign))?;
    let (start, count) = part.split_once(',').unwrap_or((part, "1"));
    Some((start.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunks_name_the_lines_that_a_file_has_now() {
        let diff = "diff --git a.sql a.sql\nindex 1..2 100644\n--- a.sql\n+++ a.sql\n@@ -3,2 +5,4 @@ WITH\n-x\n-x\n+y\n+y\n+y\n+y\n\
                    @@ -9 +12 @@\n--- y\n+++ z\n@@ -20,1 +22,0 @@\n-x\ndiff --git b c.sql b c.sql\n--- /dev/null\n+++ b c.sql\t\n@@ -0,0 +1,7 @@\n+a\n+a\n+a\n+a\n+a\n+a\n+a\n\
                    --- d.sql\n+++ /dev/null\n@@ -1 +0,0 @@\n";
        let lines: Vec<_> =
            hunks(diff).into_iter().map(|(file, lines)| (file, format!("{lines:?}"))).collect();
        assert_eq!(lines, [("a.sql", "[4..8, 11..12, 21..23]".into()), ("b c.sql", "[0..7]".into())]);
    }
}
