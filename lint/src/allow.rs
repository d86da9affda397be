//! Comments that accept what is there: a report and a reason in, the text with a comment for each finding out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::finding::Finding;
use crate::language::Language;
use crate::line_index::LineIndex;
use crate::rules::unused_suppression;
use crate::statements::blocks;
use crate::suppress::Suppressions;
use crate::workspace::FileReport;

/// Adds a comment before each line that has findings, which allows their rules and gives the reason. A line that begins
/// within a quoted text gets none, because a comment there is none. Returns `None` if nothing can be added: JSON has no
/// comments.
#[must_use]
pub fn allowed(report: &FileReport, reason: &str) -> Option<String> {
    if is_json(report) {
        return None;
    }
    let lines = LineIndex::new(&report.text);
    let mut rules: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for finding in report.findings.iter().filter(|finding| finding.rule != unused_suppression::RULE.id) {
        rules.entry(lines.line_start(finding.span.start)).or_default().insert(finding.rule);
    }
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let blocks = blocks(&report.text, report.language);
    let comment = |(start, rules): (&usize, &BTreeSet<&str>)| {
        Some((*start, comment(report, &blocks, *start, rules, &reason)?))
    };
    let mut comments: Vec<_> = rules.iter().filter_map(comment).collect();
    let count = |text: &str| Suppressions::of(text, report.language, &[]).count();
    let before = count(&report.text);
    let expected = |comments: &[(usize, String)]| {
        before + comments.iter().map(|(start, _)| rules[start].len()).sum::<usize>()
    };
    if count(&insert(&report.text, &comments)) != expected(&comments) {
        // Some are no comments.
        comments.retain(|comment| {
            let alone = std::slice::from_ref(comment);
            count(&insert(&report.text, alone)) == expected(alone)
        });
    }
    (!comments.is_empty()).then(|| insert(&report.text, &comments))
}

/// Returns where a comment that allows a finding goes, and the comment. Returns `None` if there can be none.
#[must_use]
pub fn comment_for(report: &FileReport, finding: &Finding, reason: &str) -> Option<(usize, String)> {
    let start = LineIndex::new(&report.text).line_start(finding.span.start);
    let rules = BTreeSet::from([finding.rule]);
    let blocks = blocks(&report.text, report.language);
    let is_possible = finding.rule != unused_suppression::RULE.id && !is_json(report);
    let comment = is_possible.then(|| comment(report, &blocks, start, &rules, reason))??;
    let alone = [(start, comment)];
    let count = |text: &str| Suppressions::of(text, report.language, &[]).count();
    // Within a quoted text it would be no comment.
    let is_comment = count(&insert(&report.text, &alone)) == count(&report.text) + 1;
    alone.into_iter().next().filter(|_| is_comment)
}

/// JSON has no comments.
fn is_json(report: &FileReport) -> bool {
    report.language == Language::Yaml && report.text.trim_start().starts_with(['{', '['])
}

/// Returns the comment that allows these rules for the line that begins at `start`; `None` outside of SQL and YAML.
fn comment(
    report: &FileReport,
    blocks: &[(Language, Range<usize>)],
    start: usize,
    rules: &BTreeSet<&str>,
    reason: &str,
) -> Option<String> {
    let block = blocks.iter().find(|(_, block)| block.contains(&start) || block.start == start);
    let mark = match block.map_or(report.language, |(language, _)| *language) {
        Language::Sql => "--",
        Language::Yaml => "#",
        Language::Markdown => return None,
    };
    let line = &report.text[start..];
    // A fenced block may stand in a quote.
    let is_indent = |c: char| matches!(c, ' ' | '\t') || (c == '>' && report.language == Language::Markdown);
    let indent = &line[..line.len() - line.trim_start_matches(is_indent).len()];
    let ending = if report.text.contains("\r\n") { "\r\n" } else { "\n" };
    let rules = rules.iter().copied().collect::<Vec<_>>().join(", ");
    Some(format!("{indent}{mark} velo: allow({rules}) {reason}{ending}"))
}

/// Inserts comments at the beginnings of lines, which are in order.
fn insert(text: &str, comments: &[(usize, String)]) -> String {
    let (mut after, mut copied) = (String::with_capacity(text.len() + comments.len() * 80), 0);
    for (start, comment) in comments {
        after.push_str(&text[copied..*start]);
        after.push_str(comment);
        copied = *start;
    }
    after.push_str(&text[copied..]);
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, NoFiles, Options};

    fn report(name: &str, text: &str) -> FileReport {
        let language = Language::of_file_name(name).expect("a language");
        FileReport {
            name: name.to_owned(),
            text: text.to_owned(),
            language,
            statements: Vec::new(),
            parts: Vec::new(),
            findings: Document::read(name, text, language, &NoFiles).check(&Options::default()),
        }
    }

    #[test]
    fn what_is_allowed_is_found_no_more() {
        for (name, text) in [
            (
                "a.sql",
                "CREATE STREAM s AS SELECT * FROM t\nWITH (\n  'batch.size' = '0', 'batch.sise' = '1'\n);\n",
            ),
            ("a.yaml", "batch:\r\n  size: 0\r\nfailure_strategy: FailBatch\r\n"),
            ("a.md", "Text\n```sql\nWITH ('batch.size' = '0');\n```\n"),
        ] {
            let before = report(name, text);
            assert!(!before.findings.is_empty(), "{name}");
            let text = allowed(&before, "not  now\n").expect("comments");
            assert!(text.contains(") not now"), "{text}");
            assert_eq!(report(name, &text).findings, [], "{text}");
        }
    }

    #[test]
    fn a_quoted_text_gets_no_comment() {
        let text = "CREATE STREAM s AS SELECT 'a\nb' FROM t WITH ('failure_strategy' = 'FailBatch', 'batch.size' = '0');\n";
        assert_eq!(allowed(&report("a.sql", text), "so"), None, "its line begins within a text");
        let more = format!("{text}WITH ('batch.size' = '0');\n");
        let after = allowed(&report("a.sql", &more), "so").expect("the other one");
        assert!(after.starts_with(text), "{after}");
    }

    #[test]
    fn one_finding_is_allowed_by_one_comment() {
        let report = report("a.sql", "SELECT 1;\n  WITH ('batch.size' = '0', 'batch.sise' = '1');\n");
        let unknown =
            report.findings.iter().find(|finding| finding.rule == "unknown-key").expect("it is found");
        let (at, comment) = comment_for(&report, unknown, "why").expect("a comment");
        assert_eq!((at, comment.as_str()), (10, "  -- velo: allow(unknown-key) why\n"));
    }

    #[test]
    fn json_and_clean_texts_stay_as_they_are() {
        assert_eq!(allowed(&report("a.json", "{\"batch\": {\"size\": 0}}"), "so"), None);
        assert_eq!(allowed(&report("a.sql", "SELECT 1;"), "so"), None);
    }
}
