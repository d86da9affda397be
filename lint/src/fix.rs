//! Findings with fixes in, the fixed text out.

use crate::finding::{Finding, Fix};

/// What came of applying fixes to a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// The text with the fixes applied.
    pub text: String,
    /// How many were applied.
    pub applied: usize,
}

/// Applies the fixes of `findings` to `text`, which they were found in.
///
/// Of two fixes that touch the same bytes the first is applied; the other is found again in the
/// fixed text if it is still needed. Fixes that may change the meaning are left out unless `with_unsafe`.
#[must_use]
pub fn apply(text: &str, findings: &[Finding], with_unsafe: bool) -> Fixed {
    let wanted = |fix: &&Fix| fix.safe || with_unsafe;
    let mut fixes: Vec<_> =
        findings.iter().filter_map(|finding| finding.fix.as_ref()).filter(wanted).collect();
    fixes.sort_by_key(|fix| fix.edits.first().map(|edit| (edit.span.start, edit.span.end)));
    let mut after = String::with_capacity(text.len());
    let (mut copied, mut applied) = (0, 0);
    for fix in fixes {
        // Two insertions at one place would have no order.
        let is_free = fix
            .edits
            .first()
            .is_some_and(|edit| edit.span.start >= copied && (edit.span.start > copied || applied == 0));
        let in_order = fix.edits.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start);
        if !is_free || !in_order {
            continue;
        }
        for edit in &fix.edits {
            after.push_str(&text[copied..edit.span.start]);
            after.push_str(&edit.text);
            copied = edit.span.end;
        }
        applied += 1;
    }
    after.push_str(&text[copied..]);
    Fixed { text: after, applied }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    fn finding(fix: Fix) -> Finding {
        let span = fix.edits[0].span.clone();
        Finding {
            rule: "r",
            severity: Severity::Error,
            file: 0,
            span,
            message: String::new(),
            data: serde_json::Value::Null,
            fix: Some(fix),
            alternatives: Vec::new(),
            related: None,
        }
    }

    #[test]
    fn fixes_that_overlap_are_not_both_applied() {
        let findings = [
            finding(Fix::replace(true, 2..4, "X")),
            finding(Fix::replace(true, 0..3, "Y")),
            finding(Fix::replace(false, 5..6, "Z")),
        ];
        assert_eq!(apply("abcdef", &findings, false), Fixed { text: "Ydef".into(), applied: 1 });
        assert_eq!(apply("abcdef", &findings, true), Fixed { text: "YdeZ".into(), applied: 2 });
    }
}
