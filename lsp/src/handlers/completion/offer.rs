//! A place in a statement in, the completion items for it out: keys that are not set, their values, and sets of settings.

use std::collections::BTreeSet;

use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionItemTextEdit, Documentation, InsertTextFormat, TextEdit,
};
use velo_lint::unit::Item;
use velo_lint::{Route, Unit};
use velo_schema::keys::{KEYS, Key, KeyDef, Scopes};
use velo_schema::shape::Shape;
use velo_schema::strategy::Words;
use velo_schema::value::Kind;
use velo_schema::{FailureStrategy, OnExhausted, Scope, StrategyKind, reference, starting_point};

use super::place::{Place, Slot, Syntax};
use crate::capabilities::Feature;
use crate::convert::markdown;
use crate::handlers::view::View;

/// What is offered in a statement.
pub(super) struct Offer<'a> {
    pub view: &'a View<'a>,
    pub unit: &'a Unit<'a>,
}

impl Offer<'_> {
    pub(super) fn items(&self, place: Place) -> Vec<CompletionItem> {
        match place {
            Place::Value { key, slot } => self.values(&key, &slot),
            Place::Key { path, written, slot, is_line } => {
                let mut items = self.keys(&path, &written, &slot);
                if is_line {
                    items.extend(self.snippets(&slot));
                }
                items
            }
        }
    }

    /// The keys that are not set yet. Those of the strategy in force come first.
    fn keys(&self, path: &str, written: &str, slot: &Slot) -> Vec<CompletionItem> {
        let whole = format!("{path}{written}");
        let (scope, length) = self.unit.scope_of(&whole);
        // What stands around the key is not written again.
        let rest_of_path = path.get(length..).unwrap_or_default();
        let prefix = whole[..length].get(path.len()..).unwrap_or_default();
        let strategy = self.unit.config(&scope).strategy.kind();
        let is_free = |def: &&KeyDef| {
            let is_it = |item: &&Item<'_>| item.key == def.key && item.scope == scope;
            let is_here = |item: &Item<'_>| {
                item.key_span.file == self.view.file
                    && slot.bytes.start <= item.key_span.range.start
                    && item.key_span.range.end <= slot.bytes.end
                    && !slot.bytes.is_empty()
            };
            let is_set = self.unit.items.iter().filter(is_it).any(|item| !is_here(item));
            !is_set && (scope == Scope::Job || def.scopes == Scopes::Every)
        };
        let item = |(index, def): (usize, &KeyDef)| {
            let name = format!("{prefix}{}", def.name.strip_prefix(rest_of_path)?);
            let rank = u8::from(!def.applies_to(strategy));
            let shape = if slot.syntax == Syntax::Sql { Shape::With } else { Shape::Yaml };
            let about = markdown(reference::hover(def, shape));
            let after = self.value_of(slot, def.kind);
            let has_cursor = after.contains("$0");
            Some(CompletionItem {
                kind: Some(CompletionItemKind::Property),
                detail: Some(reference::takes(def)),
                documentation: Some(Documentation::MarkupContent(about)),
                sort_text: Some(format!("{rank}{index:03}")),
                filter_text: Some(self.compared(slot, &name)),
                insert_text_format: (has_cursor && self.has_snippets()).then_some(InsertTextFormat::Snippet),
                text_edit: Some(
                    self.edit(slot, format!("{}{}{after}", slot.before, in_snippet(&name, has_cursor))),
                ),
                ..plain(name)
            })
        };
        let mut items: Vec<_> = KEYS.iter().filter(is_free).enumerate().filter_map(item).collect();
        if scope == Scope::Job && path.is_empty() && slot.syntax == Syntax::Sql {
            items.extend(self.prefixes(slot));
        }
        items
    }

    /// The beginnings of keys that are for a side, or for a source or sink only.
    fn prefixes(&self, slot: &Slot) -> Vec<CompletionItem> {
        let names = self.unit.statement.names.iter().map(|name| name.text.as_str());
        let mut seen = BTreeSet::new();
        let prefixes = ["source", "sink"].into_iter().chain(names).filter(|name| seen.insert(*name));
        let item = |(index, name): (usize, &str)| CompletionItem {
            kind: Some(CompletionItemKind::Module),
            detail: Some(format!("settings of {name} only")),
            sort_text: Some(format!("2{index:03}")),
            filter_text: Some(self.compared(slot, &format!("{name}."))),
            text_edit: Some(self.edit(slot, format!("{}{name}.{}", slot.before, slot.close))),
            ..plain(format!("{name}."))
        };
        prefixes.enumerate().map(item).collect()
    }

    /// Returns the text after a key, with the place of the cursor if the client has snippets.
    fn value_of(&self, slot: &Slot, kind: Kind) -> String {
        let value = if slot.syntax == Syntax::Json && is_text(kind) { "\"$0\"" } else { "$0" };
        let after = slot.after.replace("$0", value);
        if self.has_snippets() { after } else { after.replace("$0", "") }
    }

    fn has_snippets(&self) -> bool {
        self.view.state.client.has(Feature::Snippets)
    }

    fn values(&self, key: &str, slot: &Slot) -> Vec<CompletionItem> {
        let (_, length) = self.unit.scope_of(key);
        let Some(key) = Key::from_name(&key[length..]) else { return Vec::new() };
        let is_bare = slot.syntax == Syntax::Json && !is_text(key.def().kind) && slot.before == "\"";
        let (before, after) = if is_bare {
            ("", slot.after.trim_start_matches('"'))
        } else {
            (slot.before.as_str(), slot.after.as_str())
        };
        let item = |(index, (value, about)): (usize, (String, String))| CompletionItem {
            kind: Some(CompletionItemKind::Value),
            detail: Some(about),
            sort_text: Some(format!("{index:03}")),
            filter_text: Some(self.compared(slot, &value)),
            text_edit: Some(self.edit(slot, format!("{before}{value}{after}"))),
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
    fn snippets(&self, slot: &Slot) -> Vec<CompletionItem> {
        if self.unit.items.iter().any(|item| item.key == Key::BatchStrategy) {
            return Vec::new();
        }
        let item = |strategy: &StrategyKind| {
            let line = |(name, value): (Key, &str)| match slot.syntax {
                Syntax::Sql => format!("'{name}' = '{value}'"),
                Syntax::Yaml | Syntax::Json => format!("{name}: {value}"),
            };
            let separator = if slot.syntax == Syntax::Sql { ",\n" } else { "\n" };
            let is_free = |(key, _): &(Key, &str)| {
                !self.unit.items.iter().any(|item| item.key == *key && item.scope == Scope::Job)
            };
            let free = starting_point(*strategy).into_iter().filter(is_free);
            let mut lines = free.map(line).collect::<Vec<_>>().join(separator);
            if slot.after.ends_with(',') {
                lines.push(',');
            }
            CompletionItem {
                kind: Some(CompletionItemKind::Snippet),
                detail: Some(strategy.doc().to_owned()),
                sort_text: Some(format!("3{}", strategy.word())),
                filter_text: Some(strategy.word().to_owned()),
                text_edit: Some(self.edit(slot, lines)),
                ..plain(format!("{}: all settings", strategy.word()))
            }
        };
        StrategyKind::ALL.iter().map(item).collect()
    }

    /// What clients compare with the text that is replaced: all of that, with the quote that it begins with.
    fn compared(&self, slot: &Slot, text: &str) -> String {
        let replaced = &self.view.open.text[slot.bytes.clone()];
        let quote = &replaced[..usize::from(replaced.starts_with(['\'', '"']))];
        format!("{quote}{text}")
    }

    fn edit(&self, slot: &Slot, new_text: String) -> CompletionItemTextEdit {
        let range = self.view.places().range(&slot.bytes);
        CompletionItemTextEdit::TextEdit(TextEdit { range, new_text })
    }
}

/// True if JSON has the values of this kind in quotes.
fn is_text(kind: Kind) -> bool {
    !matches!(kind, Kind::Integer { .. } | Kind::Boolean)
}

/// A text as it is written in a snippet, if it is one.
fn in_snippet(text: &str, is_snippet: bool) -> String {
    if is_snippet {
        text.replace('\\', "\\\\").replace('$', "\\$").replace('}', "\\}")
    } else {
        text.to_owned()
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
