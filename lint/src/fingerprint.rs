//! What identifies a finding when its line moves: a report in, a fingerprint a finding out.

use rustc_hash::FxHashMap as HashMap;

use crate::line_index::LineIndex;
use crate::workspace::FileReport;

/// Returns the fingerprint of each finding of a report. `name` is the name of the file.
///
/// A fingerprint stays the same for as long as the rule, the name of the file and the text of the line do, wherever
/// the line moves. Equal lines with the same finding are numbered in their order.
#[must_use]
pub fn fingerprints(report: &FileReport, name: &str) -> Vec<String> {
    let lines = LineIndex::new(&report.text);
    let mut seen = HashMap::default();
    let mut fingerprint = |finding: &crate::Finding| {
        let line = line_of(&report.text, lines.line_start(finding.span.start));
        let occurrence = seen.entry((finding.rule, line)).or_insert(0_u32);
        *occurrence += 1;
        hash(&[finding.rule, name, line, &occurrence.to_string()])
    };
    report.findings.iter().map(&mut fingerprint).collect()
}

/// Returns the line that begins at `start`, without the blanks around it; of a very long one the beginning.
fn line_of(text: &str, start: usize) -> &str {
    const MOST: usize = 500;
    let most = text.floor_char_boundary(text.len().min(start + MOST));
    let line = &text[start..most];
    line.split('\n').next().unwrap_or_default().trim()
}

/// FNV-1a, which is the same in every release and on every machine.
fn hash(parts: &[&str]) -> String {
    let hash = parts.join("\n").bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
