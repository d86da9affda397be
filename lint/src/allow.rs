//! Comments that accept what is there: a report and a reason in, the text with a comment for each finding out.

use std::collections::{BTreeMap, BTreeSet};

use crate::language::Language;
use crate::line_index::LineIndex;
use crate::rules::unused_suppression;
use crate::statements::blocks;
use crate::workspace::FileReport;

/// Adds a comment before each line that has findings, which allows their rules and gives the reason. Returns `None` if
/// nothing can be added: JSON has no comments.
///
/// A line may begin within a quoted text, where a comment is no comment, so the result has to be checked.
#[must_use]
pub fn allowed(report: &FileReport, reason: &str) -> Option<String> {
    let is_json = report.language == Language::Yaml && report.text.trim_start().starts_with(['{', '[']);
    if is_json {
        return None;
    }
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = LineIndex::new(&report.text);
    let blocks = blocks(&report.text, report.language);
    let mut rules: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for finding in report.findings.iter().filter(|finding| finding.rule != unused_suppression::RULE.id) {
        rules.entry(lines.line_start(finding.span.start)).or_default().insert(finding.rule);
    }
    if rules.is_empty() {
        return None;
    }
    let ending = if report.text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut text = String::with_capacity(report.text.len() + rules.len() * 80);
    let mut copied = 0;
    for (start, rules) in rules {
        let language = blocks.iter().find(|(_, block)| block.contains(&start) || block.start == start);
        let mark = match language.map_or(report.language, |(language, _)| *language) {
            Language::Sql => "--",
            Language::Yaml => "#",
            Language::Markdown => continue,
        };
        text.push_str(&report.text[copied..start]);
        let line = &report.text[start..];
        // A fenced block may stand in a quote.
        let is_indent =
            |c: char| matches!(c, ' ' | '\t') || (c == '>' && report.language == Language::Markdown);
        let indent = &line[..line.len() - line.trim_start_matches(is_indent).len()];
        let rules: Vec<_> = rules.into_iter().collect();
        text.push_str(&format!("{indent}{mark} velo: allow({}) {reason}{ending}", rules.join(", ")));
        copied = start;
    }
    text.push_str(&report.text[copied..]);
    Some(text)
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
    fn json_and_clean_texts_stay_as_they_are() {
        assert_eq!(allowed(&report("a.json", "{\"batch\": {\"size\": 0}}"), "so"), None);
        assert_eq!(allowed(&report("a.sql", "SELECT 1;"), "so"), None);
    }
}
