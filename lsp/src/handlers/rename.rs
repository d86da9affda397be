//! Rename of a source or a sink: its name in all statements of the text that use it, the columns that are named with it,
//! and the settings that begin with it, also in the configuration files of these statements.

use std::collections::BTreeMap;
use std::ops::Range;

use lsp_server::ErrorCode;
use lsp_types::{PrepareRenamePlaceholder, PrepareRenameResult, WorkspaceEdit};
use velo_lint::lexer::{Lexer, TokenKind};
use velo_lint::scan::Name;
use velo_lint::{Edit, LineIndex, Unit};
use velo_schema::Scope;

use super::view::{Error, View};
use crate::capabilities::Feature;
use crate::convert::{Edits, Places, uri, workspace_edit};

/// A place that is renamed.
struct Place {
    /// The number of its text in the document.
    file: usize,
    span: Range<usize>,
}

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
    if let Some(why) = refused(new) {
        return Err(Error::new(ErrorCode::InvalidParams, why));
    }
    let mut texts: BTreeMap<usize, Vec<Edit>> = BTreeMap::new();
    for unit in view.units(0..view.open.text.len()) {
        for Place { file, span } in places(view, &unit, &name) {
            let edits = texts.entry(file).or_default();
            // Several statements may name one file.
            if !edits.iter().any(|edit| edit.span == span) {
                edits.push(Edit { span, text: new.to_owned() });
            }
        }
    }
    let edits = |(file, edits): (usize, Vec<Edit>)| edits_of(view, file, &edits);
    let texts = texts.into_iter().filter_map(edits).collect();
    Ok(Some(workspace_edit(texts, view.state.client.has(Feature::VersionedEdits))))
}

/// Says why a text can be no name here.
fn refused(new: &str) -> Option<String> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '{' | '}' | ':');
    let is_name =
        !new.is_empty() && new.chars().all(is_plain) && !new.starts_with('.') && !new.ends_with('.');
    (!is_name)
        .then(|| format!("'{new}' is no name of a source or sink: use letters, digits, '_', '-' and '.'"))
}

/// Returns the name of a source or sink at a place, and its bytes.
fn name_at(view: &View<'_>, offset: usize) -> Option<(String, Range<usize>)> {
    let here = offset..offset;
    view.units(here.clone()).find_map(|unit| {
        let is_at = |span: &Range<usize>| span.start <= here.end && here.start <= span.end;
        let names = unit.statement.names.iter().chain(&unit.statement.name);
        let of_statement = names.filter(|_| view.file == 0).find(|name| is_at(&name.span));
        if let Some(name) = of_statement {
            return Some((name.text.clone(), name.span.clone()));
        }
        let keys = unit.items.iter().filter(|item| item.key_span.file == view.file);
        keys.filter_map(|item| match &item.scope {
            Scope::Named(name) => Some((name.clone(), prefix(&view.open.text, &item.key_span.range, name)?)),
            _ => None,
        })
        .find(|(_, span)| is_at(span))
    })
}

/// The bytes of a name at the beginning of a key.
fn prefix(text: &str, key: &Range<usize>, name: &str) -> Option<Range<usize>> {
    let short = name.rsplit('.').next().unwrap_or(name);
    let of = |name: &str| {
        let span = key.start..key.start + name.len();
        let is_it = text.get(span.clone()).is_some_and(|written| written.eq_ignore_ascii_case(name));
        (is_it && text[span.end..].starts_with('.')).then_some(span)
    };
    of(name).or_else(|| of(short))
}

/// Returns all places of a statement and its files that name something.
fn places(view: &View<'_>, unit: &Unit<'_>, name: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let is_it = |other: &&Name| other.text.eq_ignore_ascii_case(name);
    let mut names: Vec<_> = unit
        .statement
        .names
        .iter()
        .chain(&unit.statement.name)
        .filter(is_it)
        .map(|name| &name.span)
        .collect();
    names.sort_by_key(|span| span.start);
    names.dedup();
    places.extend(names.iter().map(|span| Place { file: 0, span: (*span).clone() }));
    if !names.is_empty() {
        places.extend(columns(view, unit, name).map(|span| Place { file: 0, span }));
    }
    for item in &unit.items {
        let file = item.key_span.file;
        if matches!(&item.scope, Scope::Named(scope) if scope.eq_ignore_ascii_case(name))
            && let Some(span) = prefix(view.document.text(file), &item.key_span.range, name)
        {
            places.push(Place { file, span });
        }
    }
    places
}

/// The places of a query where a name stands before the dot of a column.
fn columns<'a>(
    view: &'a View<'_>,
    unit: &Unit<'_>,
    name: &'a str,
) -> impl Iterator<Item = Range<usize>> + 'a {
    let text = view.document.text(0);
    let query = unit.statement.query.clone().unwrap_or(0..0);
    let names: Vec<_> = unit.statement.names.iter().map(|name| name.span.clone()).collect();
    let mut lexer = Lexer::new(text, query);
    let mut before_is_dot = false;
    std::iter::from_fn(move || {
        while let Some(token) = lexer.next() {
            let is_name = matches!(token.kind, TokenKind::Word | TokenKind::Quoted { .. })
                && text[token.inner()].eq_ignore_ascii_case(name);
            let is_column = is_name && !before_is_dot && lexer.peek().is_some_and(|next| next.is(b'.'));
            before_is_dot = token.is(b'.');
            let inner = token.inner();
            if is_column && !names.iter().any(|span| span.contains(&inner.start)) {
                return Some(inner);
            }
        }
        None
    })
}

/// Returns the edits of a text of the document as the protocol has them.
fn edits_of(view: &View<'_>, file: usize, edits: &[Edit]) -> Option<Edits> {
    let state = view.state;
    let name = view.document.name(file);
    let path = state.host.files().canonical(name);
    if let Some(open) = state.open.at(&path) {
        let places = open.places(state.client.encoding);
        let changes = edits.iter().map(|edit| places.edit(edit)).collect();
        return Some(Edits { uri: open.uri.clone(), version: Some(open.version), changes });
    }
    let (uri, lines) = (uri(&path)?, LineIndex::of_buffer(view.document.text(file)));
    let places = Places { lines: &lines, uri: &uri, encoding: state.client.encoding };
    let changes = edits.iter().map(|edit| places.edit(edit)).collect();
    Some(Edits { uri: uri.clone(), version: None, changes })
}
