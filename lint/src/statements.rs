//! A text of any language in, its statements out.

use std::borrow::Cow;
use std::ops::Range;

use crate::language::Language;
use crate::scan::{self, Statement};
use crate::{markdown, yaml};

/// Returns the parts of a text that are SQL or YAML.
#[must_use]
pub fn blocks(text: &str, language: Language) -> Vec<(Language, Range<usize>)> {
    match language {
        Language::Sql | Language::Yaml => vec![(language, 0..text.len())],
        Language::Markdown => markdown::blocks(text),
    }
}

/// Every statement of `text` that has a name or an option clause, and every document with settings
/// of ours, in order.
#[must_use]
pub fn statements(text: &str, language: Language) -> Vec<Statement> {
    let blocks = blocks(text, language);
    let clean = match language {
        Language::Markdown => markdown::without_quotes(text, &blocks),
        Language::Sql | Language::Yaml => Cow::Borrowed(text),
    };
    let read = |(language, range)| match language {
        Language::Sql => scan::statements(&clean, range),
        Language::Yaml | Language::Markdown => yaml::documents(&clean, range),
    };
    blocks.into_iter().flat_map(read).collect()
}
