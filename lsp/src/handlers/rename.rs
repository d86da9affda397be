//! Rename of a source or a sink: its name in all statements that use it, the columns that are named with it, and the
//! settings that begin with it, also in the configuration files that these statements name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use lsp_server::ErrorCode;
use lsp_types::{PrepareRenamePlaceholder, PrepareRenameResult, WorkspaceEdit};
use velo_lint::lexer::{Lexer, Token, TokenKind};
use velo_lint::{Document, Edit, LineIndex, Unit};
use velo_schema::Scope;

use super::view::{Error, View};
use crate::capabilities::Feature;
use crate::convert::{Edits, Places, uri, workspace_edit};
use crate::links::text_of;

/// Words that are no names without quotes, or mean something else before a key.
const RESERVED: [&str; 16] = [
    "source", "sink", "as", "create", "from", "group", "insert", "into", "join", "on", "order", "select",
    "table", "values", "where", "with",
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
            if is_used(&unit, new) && is_used(&unit, &name) {
                return refuse(format!(
                    "'{new}' is the name of another source or sink of the same statement"
                ));
            }
            for Place { file, span, text } in places(&document, &unit, &name, new) {
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
    names.into_iter().any(|known| known.text.eq_ignore_ascii_case(name))
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
            Scope::Named(name) => Some((name.clone(), prefix(&view.open.text, item, name)?)),
            _ => None,
        });
        found.into_iter().find(|(_, span)| is_at(span))
    })
}

/// The bytes of a name where it stands before a key: at its beginning, or as the mapping around it.
fn prefix(text: &str, item: &velo_lint::unit::Item<'_>, name: &str) -> Option<Range<usize>> {
    let short = name.rsplit('.').next().unwrap_or(name);
    let key = &item.key_span.range;
    let begins = |name: &str| {
        let span = key.start..key.start + name.len();
        let is_it = text.get(span.clone()).is_some_and(|written| written.eq_ignore_ascii_case(name));
        (is_it && text[span.end..].starts_with('.')).then_some(span)
    };
    let is_around = |name: &str| {
        let top = item.raw.top.as_ref().map(|top| top.span.clone()).filter(|top| top != key)?;
        let written = text.get(top.clone())?;
        let is_it = written.eq_ignore_ascii_case(name);
        let is_longer = || {
            written.get(..name.len() + 1).is_some_and(|start| start.eq_ignore_ascii_case(&format!("{name}.")))
        };
        (is_it || is_longer()).then(|| top.start..top.start + name.len())
    };
    [name, short].into_iter().find_map(|name| begins(name).or_else(|| is_around(name)))
}

/// A place that is renamed, and what to put there.
struct Place {
    /// The number of its text in the document.
    file: usize,
    span: Range<usize>,
    text: String,
}

/// Returns all places of a statement and its files that name something.
fn places(document: &Document, unit: &Unit<'_>, name: &str, new: &str) -> Vec<Place> {
    let place = |file: usize, span: Range<usize>, text: &str| Place { file, span, text: text.to_owned() };
    let mut places = Vec::new();
    let names = unit.statement.names.iter().chain(&unit.statement.name);
    let mut names: Vec<_> =
        names.filter(|known| known.text.eq_ignore_ascii_case(name)).map(|known| &known.span).collect();
    names.sort_by_key(|span| span.start);
    names.dedup();
    places.extend(names.iter().map(|span| place(0, (*span).clone(), new)));
    if !names.is_empty() {
        let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
        let columns = columns(document.text(0), unit, &last(name));
        places.extend(columns.into_iter().map(|span| place(0, span, &last(new))));
    }
    for item in &unit.items {
        let file = item.key_span.file;
        if matches!(&item.scope, Scope::Named(scope) if scope.eq_ignore_ascii_case(name))
            && let Some(span) = prefix(document.text(file), item, name)
        {
            places.push(place(file, span, new));
        }
    }
    places
}

/// The places of a statement where a name stands before the dot of a column. If it is an alias, its columns are not those of
/// the source.
fn columns(text: &str, unit: &Unit<'_>, name: &str) -> Vec<Range<usize>> {
    let end = unit
        .statement
        .clauses
        .iter()
        .map(|clause| clause.span.start)
        .min()
        .unwrap_or(unit.statement.span.end);
    let names: Vec<_> = unit.statement.names.iter().map(|name| &name.outer).collect();
    let is_source = |at: usize| names.iter().any(|outer| outer.contains(&at));
    let mut found = Vec::new();
    let mut before: Option<Token> = None;
    let mut lexer = Lexer::new(text, unit.statement.span.start..end);
    while let Some(token) = lexer.next() {
        // What a template prints is not a column.
        if let Some(length) = text[token.span.start..end].strip_prefix("{{").and_then(|rest| rest.find("}}"))
        {
            lexer.seek(token.span.start + length + 4);
            before = None;
            continue;
        }
        let is_name = matches!(token.kind, TokenKind::Word | TokenKind::Quoted { .. })
            && text[token.inner()].eq_ignore_ascii_case(name)
            && !is_source(token.span.start);
        let follows_dot = before.as_ref().is_some_and(|before| before.is(b'.'));
        if is_name && !follows_dot {
            let is_column = lexer.peek().is_some_and(|next| next.is(b'.'));
            let is_alias = before.as_ref().is_some_and(|before| {
                let is_as = text[before.span.clone()].eq_ignore_ascii_case("as");
                is_as || is_source(before.span.end - 1)
            });
            if is_column {
                found.push(token.inner());
            } else if is_alias {
                return Vec::new();
            }
        }
        before = Some(token);
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
