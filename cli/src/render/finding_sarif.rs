//! Findings as a SARIF 2.1.0 log, which code scanners and editors read.

use std::collections::HashMap;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use velo_lint::rule::Rule;
use velo_lint::rules::RULES;
use velo_lint::{Finding, Fix, Lines, Severity};

use crate::commands::Checked;

/// What stands as it is in the path of a URI.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// The log of one run.
pub(crate) fn log(checked: &[Checked]) -> Value {
    let results: Vec<_> = checked.iter().flat_map(results).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "velo lint",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": RULES.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
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

fn results(file: &Checked) -> Vec<Value> {
    let lines = Lines::new(&file.text);
    let uri = uri(&file.name);
    let mut seen = HashMap::new();
    let mut result = |finding: &Finding| {
        let line = line_of(&file.text, lines.line_start(finding.span.start));
        let occurrence = seen.entry((finding.rule, line)).or_insert(0_u32);
        *occurrence += 1;
        let fixes: Vec<_> = finding.fix.iter().chain(&finding.alternatives).collect();
        json!({
            "ruleId": finding.rule,
            "ruleIndex": RULES.iter().position(|rule| rule.id == finding.rule),
            "level": level(finding.severity),
            "message": {"text": finding.message},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": uri},
                "region": region(&lines, finding.span.start, finding.span.end),
            }}],
            "partialFingerprints": {"veloLint/v1": fingerprint(finding.rule, &file.name, line, *occurrence)},
            "fixes": fixes.iter().map(|fix| sarif_fix(&uri, &lines, fix)).collect::<Vec<_>>(),
        })
    };
    file.findings.iter().map(&mut result).collect()
}

fn region(lines: &Lines<'_>, start: usize, end: usize) -> Value {
    let (from, to) = (lines.position(start), lines.position(end));
    json!({
        "startLine": from.line, "startColumn": from.column,
        "endLine": to.line, "endColumn": to.column,
        "byteOffset": start, "byteLength": end - start,
    })
}

fn sarif_fix(uri: &str, lines: &Lines<'_>, fix: &Fix) -> Value {
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

/// Below the working directory a relative URI, elsewhere one of the file itself.
fn uri(name: &str) -> String {
    let path = Path::new(name);
    let here = std::env::current_dir().unwrap_or_default();
    let path = path.strip_prefix(&here).unwrap_or(path);
    let path = path.strip_prefix(".").unwrap_or(path);
    let text = path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
    let encoded = utf8_percent_encode(&text, PATH).to_string();
    if path.is_absolute() { format!("file://{encoded}") } else { encoded }
}

/// The line that begins at `start`, of a very long one its beginning.
fn line_of(text: &str, start: usize) -> &str {
    const MOST: usize = 500;
    let most = text.floor_char_boundary(text.len().min(start + MOST));
    let line = &text[start..most];
    line.split('\n').next().unwrap_or_default().trim()
}

/// The same for as long as the rule, the file and the line are, wherever the line moves to.
fn fingerprint(rule: &str, file: &str, line: &str, occurrence: u32) -> String {
    // FNV-1a, which is the same in every release and on every machine.
    let bytes = [rule, file, line, &occurrence.to_string()].join("\n");
    let hash = bytes.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
