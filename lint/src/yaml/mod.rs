//! YAML or JSON text in; its settings as a clause of dotted keys out, if it holds settings of ours.
//!
//! Nested mappings become dotted keys (`batch: {size: 5}` is `batch.size`), each value keeps its
//! bytes. Aliases and merge keys stand for what they name. Whether a document is ours at all is
//! decided here: most YAML files that say `batch`, `source` or `timeout` belong to somebody else.

mod comments;
mod flat;
mod node;
mod ours;
mod reader;
mod scalar;
#[cfg(test)]
mod tests;

use std::ops::Range;

use granit_parser::{Event, Parser};
use velo_schema::neighbours::SCHEMA_KEY;

use self::comments::without_comments;
pub(crate) use self::ours::names_our_schema;
use self::reader::Reader;
pub(crate) use self::scalar::resolved;
use crate::ownership::Names;
use crate::scan::Statement;
use crate::template;

/// The documents of `range` that hold settings of ours, each as a statement with one clause.
#[must_use]
pub fn documents(text: &str, range: Range<usize>) -> Vec<Statement> {
    // Nothing of ours can stand where none of these words does.
    let has = |word: &str| memchr::memmem::find(text[range.clone()].as_bytes(), word.as_bytes()).is_some();
    let names_a_schema = || has(SCHEMA_KEY.0) && has(SCHEMA_KEY.1);
    if has("batch") || has("failure_strategy") || names_a_schema() {
        read(text, range, None)
    } else {
        Vec::new()
    }
}

/// Returns the documents of a configuration file that a statement names. Every key of ours in it counts, also after the name of
/// one of the statement's sources or sinks.
#[must_use]
pub fn declared(text: &str, names: &Names) -> Vec<Statement> {
    read(text, 0..text.len(), Some(names))
}

fn read(text: &str, range: Range<usize>, declared: Option<&Names>) -> Vec<Statement> {
    let body = &*without_comments(&text[range.clone()]);
    let (found, is_whole) = parse(text, range.start, body, declared);
    // The syntax of a template language is not YAML's, but what is between its tags may be.
    if is_whole || !template::has_tag(body) {
        return found;
    }
    let template::Plain { text: plain, is_open } = template::without_tags(body);
    let (mut found, _) = parse(text, range.start, &plain, declared);
    found.retain(|statement| statement.clauses.iter().all(|clause| clause.faults.is_empty()));
    for clause in found.iter_mut().flat_map(|statement| &mut statement.clauses) {
        clause.is_open |= is_open;
    }
    found
}

/// Reads `body`, which stands at `base` of `text`; true if it could be read to its end.
fn parse(text: &str, base: usize, body: &str, declared: Option<&Names>) -> (Vec<Statement>, bool) {
    crate::steps::add(body.len());
    let mut reader = Reader::new(text, base, declared);
    let options = granit_parser::options! { emit_unresolved_aliases: true, emit_comments: false };
    let mut is_whole = true;
    for event in Parser::new_from_str_with_options(body, options) {
        match event {
            Ok((Event::UnresolvedAlias(name), span)) => {
                let at = span.start.byte_offset().unwrap_or(body.len()).min(body.len());
                let reason = format!("no anchor is called '{name}'");
                reader.break_off(base + body.floor_char_boundary(at), reason);
                is_whole = false;
                break;
            }
            Ok((event, span)) => reader.event(event, &span),
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(body.len()).min(body.len());
                reader.break_off(base + body.floor_char_boundary(at), error.info());
                is_whole = false;
                break;
            }
        }
    }
    reader.end_document(base + body.len());
    (reader.found, is_whole)
}

/// The comments of `range`, in order.
#[must_use]
pub fn comments(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let body = &text[range.clone()];
    let (found, is_whole) = parse_comments(body, range.start);
    if is_whole || !template::has_tag(body) {
        return found;
    }
    parse_comments(&template::without_tags(body).text, range.start).0
}

/// The comments of `body`, which stands at `base`, and whether it could be read to its end.
fn parse_comments(body: &str, base: usize) -> (Vec<Range<usize>>, bool) {
    let (mut found, mut is_whole) = (Vec::new(), true);
    for event in Parser::new_from_str(body) {
        match event {
            Ok((Event::Comment(..), span)) => {
                let bytes = span.byte_range().unwrap_or_default();
                found.push(base + bytes.start..base + bytes.end);
            }
            Ok(_) => {}
            Err(_) => {
                is_whole = false;
                break;
            }
        }
    }
    found.sort_by_key(|comment| comment.start);
    (found, is_whole)
}
