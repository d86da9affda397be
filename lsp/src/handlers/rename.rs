//! Rename of a source or a sink: its name in all statements that use it, the columns that are named with it, and the
//! settings that begin with it, also in the configuration files that these statements name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use lsp_server::ErrorCode;
use lsp_types::{PrepareRenamePlaceholder, PrepareRenameResult, WorkspaceEdit};
use velo_lint::lexer::{Lexer, Token, TokenKind};
use velo_lint::scan::Text;
use velo_lint::{Document, Edit, LineIndex, Unit};
use velo_schema::Scope;

use super::view::{Error, View};
use crate::capabilities::Feature;
use crate::convert::{Edits, Places, uri, workspace_edit};
use crate::links::text_of;

/// Words that are no names without quotes, or mean something else before a key.
const RESERVED: [&str; 34] = [
    "source", "sink", "and", "as", "case", "create", "cross", "emit", "from", "full", "group", "having",
    "inner", "insert", "into", "join", "left", "limit", "not", "null", "on", "or", "order", "right",
    "select", "set", "table", "union", "using", "values", "when", "where", "window", "with",
];

/// Returns the bytes of the name at a place, if it can be renamed.
pub(crate) fn prepare(view: &View<'_>, offset: usize) -> Option<PrepareRenameResult> {
    name_at(view, offset).map(|(name, span)| {
        let range = view.places().range(&span);
        PrepareRenameResult::from(PrepareRenamePlaceholder { range, placeholder: name })
    })
}

/// Renames what is named at a place.
pub(crate) fn rename(view: &View<'_>, offset: usize, new: &str) -> Result<Option<WorkspaceEdit>, Error> {
    let Some((name, _)) = name_at(view, offset) else { return Ok(None) };
    let refuse = |why: String| Err(Error::new(ErrorCode::InvalidParams, why));
    if !is_name(new) {
        return refuse(format!(
            "'{new}' is no name of a source or sink: use letters, digits and '_', with '.' between the parts, and none of \
             SQL's words"
        ));
    }
    let mut texts: BTreeMap<String, Renamed> = BTreeMap::new();
    let mut done = BTreeSet::new();
    let mut open = BTreeSet::from([path_of(view, view.document, 0)]);
    while let Some(path) = open.pop_first() {
        let Some((title, text, language)) = text_of(&path, view.state.host, view.state.open) else {
            continue;
        };
        let files = view.state.open.over(view.state.host.files());
        let document = Document::read(&title, &text, language, &files);
        for unit in document.units(view.options) {
            let is_taken = is_used(&unit, new) || has_alias(document.text(0), &unit, new);
            if is_taken && !is_same(new, &name) && is_used(&unit, &name) {
                return refuse(format!("'{new}' is another name in the same statement"));
            }
            for Place { file, span, text, is_possible } in places(&document, &unit, &name, new) {
                if !is_possible {
                    let file = document.name(file);
                    return refuse(format!(
                        "{file} has '{name}' as nested mappings: only its last part can be renamed"
                    ));
                }
                let path = path_of(view, &document, file);
                // What is changed there has to be changed in all texts that name it.
                open.extend(
                    view.state.links.namers(&path).filter(|namer| !done.contains(*namer)).map(str::to_owned),
                );
                let renamed = texts.entry(path).or_insert_with(|| Renamed::of(document.text(file)));
                if !renamed.edits.iter().any(|edit| edit.span == span) {
                    renamed.edits.push(Edit { span, text });
                }
            }
        }
        done.insert(path.clone());
        open.remove(&path);
    }
    let texts = texts.into_iter().filter_map(|(path, renamed)| edits_of(view, &path, &renamed)).collect();
    Ok(Some(workspace_edit(texts, view.state.client.has(Feature::VersionedEdits))))
}

/// A text in which something is renamed.
struct Renamed {
    text: String,
    edits: Vec<Edit>,
}

impl Renamed {
    fn of(text: &str) -> Self {
        Self { text: text.to_owned(), edits: Vec::new() }
    }
}

fn path_of(view: &View<'_>, document: &Document, file: usize) -> String {
    view.state.host.files().canonical(document.name(file))
}

/// True if a text can be a name without quotes: words, which may have placeholders, with dots between them.
fn is_name(new: &str) -> bool {
    let is_of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '{' | '}');
    let is_word = |part: &str| {
        let count = |c: char| part.matches(c).count();
        let begins = part.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$'));
        begins
            && part.chars().all(is_of_word)
            && count('{') == count('}')
            && count('{') == part.matches("${").count()
    };
    new.split('.').all(is_word) && !RESERVED.iter().any(|word| new.eq_ignore_ascii_case(word))
}

/// True if a statement reads or writes what is called this.
fn is_used(unit: &Unit<'_>, name: &str) -> bool {
    let names = unit.statement.names.iter().chain(&unit.statement.name);
    names.into_iter().any(|known| is_same(&known.text, name))
}

/// Returns the name of a source or sink at a place, and its bytes.
fn name_at(view: &View<'_>, offset: usize) -> Option<(String, Range<usize>)> {
    let here = offset..offset;
    let is_at = |span: &Range<usize>| span.start <= here.end && here.start <= span.end;
    view.units(here.clone()).find_map(|unit| {
        let names = unit.statement.names.iter().chain(&unit.statement.name);
        let of_statement = names.filter(|_| view.file == 0).find(|name| is_at(&name.span));
        if let Some(name) = of_statement {
            return Some((name.text.clone(), name.span.clone()));
        }
        let keys = unit.items.iter().filter(|item| item.key_span.file == view.file);
        let found = keys.filter_map(|item| match &item.scope {
            Scope::Named(name) => {
                let found = prefix(&view.open.text, &item.key_span.range, &item.raw.outer, name)?;
                Some((name.clone(), found.span))
            }
            _ => None,
        });
        found.into_iter().find(|(_, span)| is_at(span))
    })
}

/// A name in front of a key.
struct Prefix {
    /// The bytes of the name, or of its last part.
    span: Range<usize>,
    /// True if the other parts are mappings around it.
    is_nested: bool,
}

/// Returns the name in front of a key: at the beginning of the key, or as the mappings around it.
fn prefix(text: &str, key: &Range<usize>, outer: &[Text], name: &str) -> Option<Prefix> {
    let short = name.rsplit('.').next().unwrap_or(name);
    let begins = |name: &str| {
        let written = text.get(key.clone())?;
        let length =
            written.match_indices('.').map(|(at, _)| at).find(|at| is_same(&written[..*at], name))?;
        Some(Prefix { span: key.start..key.start + length, is_nested: false })
    };
    let is_around = |name: &str| {
        let mut path = String::new();
        for around in outer {
            let written = &text[around.span.clone()];
            // `t.batch:` is a mapping, too.
            let within = written.match_indices('.').map(|(at, _)| at).chain([written.len()]);
            for length in within {
                if is_same(&format!("{path}{}", &written[..length]), name) {
                    let span = around.span.start..around.span.start + length;
                    return Some(Prefix { span, is_nested: !path.is_empty() });
                }
            }
            path = format!("{path}{written}.");
        }
        None
    };
    [name, short].into_iter().find_map(|name| begins(name).or_else(|| is_around(name)))
}

/// Names are the same in upper and lower case.
fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// A place that is renamed, and what to put there.
struct Place {
    /// The number of its text in the document.
    file: usize,
    span: Range<usize>,
    text: String,
    /// False if other mappings would have to be renamed, too.
    is_possible: bool,
}

/// Returns all places of a statement and its files that name something.
fn places(document: &Document, unit: &Unit<'_>, name: &str, new: &str) -> Vec<Place> {
    let place =
        |span: Range<usize>, text: &str| Place { file: 0, span, text: text.to_owned(), is_possible: true };
    let mut places = Vec::new();
    let names = unit.statement.names.iter().chain(&unit.statement.name);
    let mut names: Vec<_> =
        names.filter(|known| is_same(&known.text, name)).map(|known| &known.span).collect();
    names.sort_by_key(|span| span.start);
    names.dedup();
    places.extend(names.iter().map(|span| place((*span).clone(), new)));
    let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let leading =
        |name: &str| name.rsplit_once('.').map(|(leading, _)| leading.to_owned()).unwrap_or_default();
    if !names.is_empty() {
        for (span, is_whole) in columns(document.text(0), unit, name) {
            places.push(place(span, &if is_whole { new.to_owned() } else { last(new) }));
        }
    }
    let items = unit.items.iter().map(|item| (&item.scope, &item.key_span, item.raw.outer.as_slice()));
    let of_scope = items.filter(|(scope, ..)| matches!(scope, Scope::Named(scope) if is_same(scope, name)));
    let of_scope = of_scope.map(|(_, span, outer)| (span, outer));
    let strangers = unit.strangers.iter().filter(
        |stranger| matches!(unit.scope_of(stranger.key).0, Scope::Named(scope) if is_same(&scope, name)),
    );
    for (span, outer) in of_scope.chain(strangers.map(|stranger| (&stranger.span, [].as_slice()))) {
        let text = document.text(span.file);
        if let Some(Prefix { span: renamed, is_nested }) = prefix(text, &span.range, outer, name) {
            // One of several mappings, or a short name, is the last part only.
            let is_part = !is_same(&text[renamed.clone()], name);
            let text = if is_part { last(new) } else { new.to_owned() };
            let is_possible = !is_nested || is_same(&leading(new), &leading(name));
            places.push(Place { file: span.file, span: renamed, text, is_possible });
        }
    }
    places
}

/// The tokens of a statement before its clauses, without what templates print.
fn tokens(text: &str, unit: &Unit<'_>) -> Vec<Token> {
    let clauses = unit.statement.clauses.iter().map(|clause| clause.span.start);
    let end = clauses.min().unwrap_or(unit.statement.span.end);
    let mut lexer = Lexer::new(text, unit.statement.span.start..end);
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next() {
        match text[token.span.start..end].strip_prefix("{{").and_then(|rest| rest.find("}}")) {
            Some(length) => lexer.seek(token.span.start + length + 4),
            None => tokens.push(token),
        }
    }
    tokens
}

/// True if a statement has an alias or a common table expression of this name.
fn has_alias(text: &str, unit: &Unit<'_>, name: &str) -> bool {
    let tokens = tokens(text, unit);
    let is_source = |at: usize| unit.statement.names.iter().any(|name| name.outer.contains(&at));
    let is = |token: &Token, word: &str| text[token.inner()].eq_ignore_ascii_case(word);
    tokens.iter().enumerate().any(|(index, token)| {
        let (before, next) = (index.checked_sub(1).map(|before| &tokens[before]), tokens.get(index + 1));
        let follows = before.is_some_and(|before| is(before, "as") || is_source(before.span.end - 1));
        let is_named = next.is_some_and(|next| is(next, "as"));
        let is_column =
            next.is_some_and(|next| next.is(b'.')) || before.is_some_and(|before| before.is(b'.'));
        let is_word = matches!(token.kind, TokenKind::Word | TokenKind::Quoted { .. });
        is_word
            && !is_source(token.span.start)
            && !is_column
            && is_same(&text[token.inner()], name)
            && (follows || is_named)
    })
}

/// The places of a statement where a name, or its last part, stands before the dot of a column; true if it is the whole name.
/// The columns of an alias are not those of the source.
fn columns(text: &str, unit: &Unit<'_>, name: &str) -> Vec<(Range<usize>, bool)> {
    let parts: Vec<_> = name.split('.').collect();
    let last = parts.last().copied().unwrap_or(name);
    if has_alias(text, unit, last) {
        return Vec::new();
    }
    let tokens = tokens(text, unit);
    let is_source = |at: usize| unit.statement.names.iter().any(|name| name.outer.contains(&at));
    // Where a name of these parts ends that begins with the token of this index, if a dot follows it.
    let ends = |index: usize, parts: &[&str]| {
        let names = tokens[index..].iter().step_by(2).zip(parts);
        let are_same = names.clone().count() == parts.len()
            && names.clone().all(|(token, part)| is_same(&text[token.inner()], part));
        let dots = tokens[index + 1..].iter().step_by(2).take(parts.len());
        let is_column =
            are_same && dots.clone().count() == parts.len() && dots.clone().all(|token| token.is(b'.'));
        is_column.then(|| tokens[index + 2 * (parts.len() - 1)].inner().end)
    };
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let follows_dot = index > 0 && tokens[index - 1].is(b'.');
        let is_word = matches!(token.kind, TokenKind::Word | TokenKind::Quoted { .. });
        if !is_word || follows_dot || is_source(token.span.start) {
            continue;
        }
        let start = token.inner().start;
        if let Some(end) = ends(index, &parts) {
            found.push((start..end, true));
        } else if let Some(end) = ends(index, &[last]) {
            found.push((start..end, false));
        }
    }
    found
}

/// Returns the edits of a text as the protocol has them.
fn edits_of(view: &View<'_>, path: &str, renamed: &Renamed) -> Option<Edits> {
    let state = view.state;
    let (uri, version, lines) = match state.open.at(path) {
        Some(open) => (open.uri.clone(), Some(open.version), open.lines.clone()),
        None => (uri(path)?, None, LineIndex::of_buffer(&renamed.text)),
    };
    let places = Places { lines: &lines, uri: &uri, encoding: state.client.encoding };
    let changes = renamed.edits.iter().map(|edit| places.edit(edit)).collect();
    Some(Edits { uri: uri.clone(), version, changes })
}
