//! A place in one of the texts that are checked together.

use std::ops::Range;

/// Some bytes of a text: the one that is checked, or a configuration file that it names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Span {
    /// 0 for the text itself, `n` for the `n`th file that it names.
    pub file: usize,
    /// The bytes.
    pub range: Range<usize>,
}

impl Span {
    /// A place in the text itself.
    #[must_use]
    pub fn here(range: Range<usize>) -> Self {
        Self { file: 0, range }
    }
}
