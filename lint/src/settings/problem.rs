//! What is wrong in velo.toml, and values that are read or wrong.

use toml::Spanned;
use toml::de::DeValue;

/// An error with its byte offset.
pub(super) struct Problem {
    pub at: usize,
    pub message: String,
}

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

pub(super) fn text_of<'v>(value: &'v Value<'_>, expected: &str) -> Result<&'v str, Problem> {
    value.get_ref().as_str().ok_or_else(|| wrong(value, expected))
}

pub(super) fn word<T>(
    value: &Value<'_>,
    words: &[&str],
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, Problem> {
    let expected = || wrong(value, &format!("one of {}", words.join(", ")));
    value.get_ref().as_str().and_then(read).ok_or_else(expected)
}

pub(super) fn wrong(value: &Value<'_>, expected: &str) -> Problem {
    Problem { at: value.span().start, message: format!("expected {expected}") }
}
