//! Completion in clauses and configuration files: keys that fit the strategy first, the values of a key, and a set of
//! settings for each strategy.

use std::ops::Range;

use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionItemTextEdit, Documentation, InsertTextFormat, TextEdit,
};
use velo_lint::scan::{Clause, Form, RawEntry, RawValue};
use velo_lint::{Route, Unit};
use velo_schema::keys::{KEYS, Key, KeyDef, Scopes};
use velo_schema::shape::Shape;
use velo_schema::strategy::Words;
use velo_schema::value::Kind;
use velo_schema::{FailureStrategy, OnExhausted, Scope, StrategyKind, reference, starting_point};

use super::View;
use crate::convert::markdown;

/// What stands at a place.
enum At<'a> {
    /// A key, of which these bytes may be replaced.
    Key(Range<usize>),
    /// The value of an entry.
    Value(&'a RawEntry, Range<usize>),
    /// A place for a new entry.
    Gap,
}

/// Returns what can stand at a place.
pub(crate) fn completion(view: &View<'_>, offset: usize) -> Vec<CompletionItem> {
    let text = &view.open.text;
    for unit in view.document.units(view.options) {
        let is_at = |clause: &&Clause| (clause.span.start..=clause.span.end).contains(&offset);
        let Some(clause) = unit.statement.clauses.iter().find(is_at) else { continue };
        let place = Place { view, unit: &unit, clause };
        return match at(text, clause, offset) {
            At::Key(bytes) => place.keys(&bytes, false),
            At::Value(entry, bytes) => place.values(entry, &bytes),
            At::Gap
                if clause.form == Form::Sql && offset <= text[..clause.span.end].find('(').unwrap_or(0) =>
            {
                Vec::new()
            }
            At::Gap => {
                let mut items = place.keys(&(offset..offset), true);
                items.extend(place.snippets(offset));
                items
            }
        };
    }
    Vec::new()
}

fn at<'a>(text: &str, clause: &'a Clause, offset: usize) -> At<'a> {
    for entry in &clause.entries {
        if (entry.key.span.start..=entry.key.span.end).contains(&offset) {
            return At::Key(entry.key.span.clone());
        }
        match &entry.value {
            RawValue::Text(value) if (value.span.start..=value.span.end).contains(&offset) => {
                return At::Value(entry, value.span.clone());
            }
            // `'key' = ` and `key: ` without a value.
            RawValue::Missing if offset >= entry.key.span.end => {
                let between =
                    text[entry.key.outer().end..].get(..offset.saturating_sub(entry.key.outer().end));
                let is_behind_sign = between.is_some_and(|between| {
                    let sign = if clause.form == Form::Sql { '=' } else { ':' };
                    between.contains(sign) && !between.contains(['\n', ','])
                });
                if is_behind_sign {
                    return At::Value(entry, offset..offset);
                }
            }
            _ => {}
        }
    }
    At::Gap
}

/// A place in a clause.
struct Place<'a> {
    view: &'a View<'a>,
    unit: &'a Unit<'a>,
    clause: &'a Clause,
}

impl Place<'_> {
    /// The keys that are not set yet. Those of the strategy in force come first.
    fn keys(&self, bytes: &Range<usize>, is_new: bool) -> Vec<CompletionItem> {
        let written = &self.view.open.text[bytes.clone()];
        let (prefix, scope) = match written.split_once('.') {
            Some(("source", _)) => ("source.", Scope::Source),
            Some(("sink", _)) => ("sink.", Scope::Sink),
            _ => ("", Scope::Job),
        };
        let strategy = self.unit.config(&scope).strategy.kind();
        let is_free = |def: &&KeyDef| {
            let is_set = self
                .unit
                .items
                .iter()
                .any(|item| item.key == def.key && item.scope == scope && item.key_span.range != *bytes);
            !is_set && (prefix.is_empty() || def.scopes == Scopes::Every)
        };
        let item = |(index, def): (usize, &KeyDef)| {
            let name = format!("{prefix}{}", def.name);
            let rank = u8::from(!def.applies_to(strategy));
            let is_snippet = is_new && self.view.has_snippets;
            let cursor = if is_snippet { "$0" } else { "" };
            let new_text = match (self.clause.form, is_new) {
                (_, false) => name.clone(),
                (Form::Sql, true) => format!("'{name}' = '{cursor}'"),
                (Form::Yaml, true) => format!("{name}: {cursor}"),
            };
            CompletionItem {
                kind: Some(CompletionItemKind::Property),
                detail: Some(reference::takes(def)),
                documentation: Some(Documentation::MarkupContent(markdown(reference::hover(
                    def,
                    self.shape(),
                )))),
                sort_text: Some(format!("{rank}{index:03}")),
                filter_text: is_new.then(|| name.clone()),
                insert_text_format: is_snippet.then_some(InsertTextFormat::Snippet),
                text_edit: Some(self.edit(bytes, new_text)),
                ..plain(name)
            }
        };
        KEYS.iter().filter(is_free).enumerate().map(item).collect()
    }

    fn values(&self, entry: &RawEntry, bytes: &Range<usize>) -> Vec<CompletionItem> {
        let name = entry.name(&self.view.open.text);
        let of_entry = |item: &&velo_lint::unit::Item<'_>| std::ptr::eq(item.raw, entry);
        let known = self.unit.items.iter().find(of_entry).map(|item| item.key);
        let Some(key) = known.or_else(|| Key::from_name(name)) else { return Vec::new() };
        let is_quoted = matches!(&entry.value, RawValue::Text(text) if text.quoted);
        let write = |value: &str| {
            if self.clause.form == Form::Sql && !is_quoted { format!("'{value}'") } else { value.to_owned() }
        };
        let item = |(index, (value, about)): (usize, (String, String))| CompletionItem {
            kind: Some(CompletionItemKind::Value),
            detail: Some(about),
            sort_text: Some(format!("{index:03}")),
            text_edit: Some(self.edit(bytes, write(&value))),
            ..plain(value)
        };
        self.offers(key).into_iter().enumerate().map(item).collect()
    }

    /// The values to offer for a key, each with a word about it.
    fn offers(&self, key: Key) -> Vec<(String, String)> {
        fn words<W: Words>() -> Vec<(String, String)> {
            W::ALL.iter().map(|word| (word.word().to_owned(), word.doc().to_owned())).collect()
        }
        let def = key.def();
        match def.kind {
            Kind::Strategy => words::<StrategyKind>(),
            Kind::FailureStrategy => words::<FailureStrategy>(),
            Kind::OnExhausted => words::<OnExhausted>(),
            Kind::Boolean => ["true", "false"].map(|value| (value.to_owned(), String::new())).into(),
            Kind::Topic => {
                let sources = Route::all(self.unit).into_iter().filter_map(|route| route.source?.topic.name);
                sources
                    .map(|topic| (format!("{topic}.dlq"), "the source's topic with .dlq".to_owned()))
                    .collect()
            }
            Kind::Integer { .. } | Kind::Duration { .. } => {
                let mut offers: Vec<(String, String)> = Vec::new();
                let default = def.default.map(|value| (value, "default"));
                let others = std::iter::once(def.example).chain(def.search.iter().copied());
                for (value, about) in default.into_iter().chain(others.map(|value| (value, ""))) {
                    if !offers.iter().any(|(known, _)| known == value) {
                        offers.push((value.to_owned(), about.to_owned()));
                    }
                }
                offers
            }
        }
    }

    /// A complete set of settings for each strategy, if no strategy is set yet.
    fn snippets(&self, offset: usize) -> Vec<CompletionItem> {
        if self.unit.items.iter().any(|item| item.key == Key::BatchStrategy) {
            return Vec::new();
        }
        let item = |strategy: &StrategyKind| {
            let line = |(name, value): (Key, &str)| match self.clause.form {
                Form::Sql => format!("'{name}' = '{value}'"),
                Form::Yaml => format!("{name}: {value}"),
            };
            let separator = if self.clause.form == Form::Sql { ",\n" } else { "\n" };
            let lines: Vec<_> = starting_point(*strategy).into_iter().map(line).collect();
            CompletionItem {
                kind: Some(CompletionItemKind::Snippet),
                detail: Some(strategy.doc().to_owned()),
                sort_text: Some(format!("2{}", strategy.word())),
                text_edit: Some(self.edit(&(offset..offset), lines.join(separator))),
                ..plain(format!("{}: all settings", strategy.word()))
            }
        };
        StrategyKind::ALL.iter().map(item).collect()
    }

    fn edit(&self, bytes: &Range<usize>, new_text: String) -> CompletionItemTextEdit {
        let range = self.view.open.places(self.view.encoding).range(bytes);
        CompletionItemTextEdit::TextEdit(TextEdit { range, new_text })
    }

    fn shape(&self) -> Shape {
        match self.clause.form {
            Form::Sql => Shape::With,
            Form::Yaml => Shape::Yaml,
        }
    }
}

#[allow(deprecated, reason = "a field of the protocol that must be given")]
fn plain(label: String) -> CompletionItem {
    CompletionItem {
        label,
        label_details: None,
        kind: None,
        tags: None,
        detail: None,
        documentation: None,
        deprecated: None,
        preselect: None,
        sort_text: None,
        filter_text: None,
        insert_text: None,
        insert_text_format: None,
        insert_text_mode: None,
        text_edit: None,
        text_edit_text: None,
        additional_text_edits: None,
        commit_characters: None,
        command: None,
        data: None,
    }
}
