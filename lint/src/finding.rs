//! A finding: which rule, where, what is wrong as a sentence and as data, and how to fix it.

use std::cmp::Ordering;
use std::ops::Range;

use serde_json::Value;

use crate::severity::Severity;

/// A finding in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The text it is in: 0 for the one that was checked, `n` for the `n`th file that it names.
    pub file: usize,
    /// The bytes it is about; empty where something is missing.
    pub span: Range<usize>,
    /// One or two sentences: what is wrong, why it matters, what to do.
    pub message: String,
    /// What the message consists of, by name.
    pub data: Value,
    /// The change that fixes it, if there is one obvious way.
    pub fix: Option<Fix>,
    /// The changes of which each fixes it, if only the author knows which one is meant.
    pub alternatives: Vec<Fix>,
    /// Another place of the same text that it is about.
    pub related: Option<Related>,
}

/// A place that a finding is about besides its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The bytes.
    pub span: Range<usize>,
    /// What stands there.
    pub what: &'static str,
}

impl Finding {
    /// Returns true if another finding of the same rule is at the same place.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        (self.file, self.rule) == (other.file, other.rule) && self.span == other.span
    }

    /// The same finding in a text with `bytes` more in front.
    #[must_use]
    pub(crate) fn moved(&self, bytes: usize) -> Self {
        let mut moved = self.clone();
        let fixes = moved.fix.iter_mut().chain(&mut moved.alternatives);
        let edits = fixes.flat_map(|fix| &mut fix.edits).map(|edit| &mut edit.span);
        for span in
            edits.chain([&mut moved.span]).chain(moved.related.iter_mut().map(|other| &mut other.span))
        {
            *span = span.start + bytes..span.end + bytes;
        }
        moved
    }

    /// The order that findings are reported in: by file, place and rule.
    #[must_use]
    pub fn in_order(&self, other: &Self) -> Ordering {
        let key = |finding: &Self| (finding.file, finding.span.start, finding.span.end, finding.rule);
        key(self).cmp(&key(other))
    }
}

/// A change that fixes a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// Whether the change keeps the meaning for sure.
    pub safe: bool,
    /// What to replace.
    pub edits: Vec<Edit>,
}

/// A replacement of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The bytes to replace.
    pub span: Range<usize>,
    /// What with.
    pub text: String,
}

impl Fix {
    /// A single replacement.
    #[must_use]
    pub fn replace(safe: bool, span: Range<usize>, text: impl Into<String>) -> Self {
        Self { safe, edits: vec![Edit { span, text: text.into() }] }
    }
}
