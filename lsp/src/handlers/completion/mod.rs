//! Completion in clauses and configuration files: keys that fit the strategy first, the values of a key, and a set of
//! settings for each strategy.

mod place;
mod sql;
mod yaml;

use std::ops::Range;

use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionItemTextEdit, Documentation, InsertTextFormat, TextEdit,
};
use velo_lint::ownership::is_foreign_clause;
use velo_lint::scan::{Clause, FaultKind, Form, Statement};
use velo_lint::{Document, Language, Route, Unit, blocks};
use velo_schema::keys::{KEYS, Key, KeyDef, Scopes};
use velo_schema::shape::Shape;
use velo_schema::strategy::Words;
use velo_schema::value::Kind;
use velo_schema::{FailureStrategy, OnExhausted, Scope, StrategyKind, reference, starting_point};

use self::place::{Place, Slot, Syntax};
use super::view::View;
use crate::capabilities::Feature;
use crate::convert::markdown;

/// Returns what can stand at a place.
pub(crate) fn completion(view: &View<'_>, offset: usize) -> Vec<CompletionItem> {
    let text = &view.open.text;
    let blocks = blocks(text, view.open.language);
    let is_at = |(_, block): &&(Language, Range<usize>)| (block.start..=block.end).contains(&offset);
    match blocks.iter().find(is_at) {
        Some((Language::Sql, _)) => in_sql(view, offset),
        Some((_, block)) => in_yaml(view, offset, block),
        None => Vec::new(),
    }
}

fn in_sql(view: &View<'_>, offset: usize) -> Vec<CompletionItem> {
    let text = &view.open.text;
    // What is written may stand behind the statement as it is read.
    let Some(place) = last_unit(view, view.document, offset, |unit| clause_place(view, unit, offset)) else {
        return Vec::new();
    };
    let (place, unit) = place;
    let slot = place.slot();
    let is_half = matches!(&place, Place::Key { .. }) && slot.after.contains('=');
    if !is_half {
        return Offer { view, unit: &unit }.items(place);
    }
    // A key that is half written may hide those that follow.
    let quote = usize::from(slot.before.is_empty() && text[..slot.bytes.start].ends_with(['\'', '"', '`']));
    let (document, _) =
        view.state.read(view.open, &blanked(text, &(slot.bytes.start - quote..slot.bytes.end)));
    let is_around = |unit: &Unit<'_>| {
        let mut clauses = unit.clauses.iter().filter(|part| part.file == 0).map(|part| &part.clause.span);
        clauses.any(|span| (span.start..=span.end).contains(&offset)).then_some(())
    };
    match last_unit(view, &document, offset, is_around) {
        Some(((), whole)) => Offer { view, unit: &whole }.items(place),
        None => Offer { view, unit: &unit }.items(place),
    }
}

/// The last statement up to a place for which `of` returns something.
fn last_unit<'a, T>(
    view: &View<'a>,
    document: &'a Document,
    offset: usize,
    of: impl Fn(&Unit<'_>) -> Option<T>,
) -> Option<(T, Unit<'a>)> {
    let starts = document.statements().iter().map(|statement| statement.span.start);
    let nearest = starts.take_while(|start| *start <= offset).last().unwrap_or(0);
    let is_near =
        move |statement: &Statement| statement.span.start <= offset && nearest <= statement.span.end;
    document.units_of(view.options, is_near).filter_map(|unit| Some((of(&unit)?, unit))).last()
}

/// What can be written at a place of a statement; `None` if the place is in none of its clauses.
fn clause_place(view: &View<'_>, unit: &Unit<'_>, offset: usize) -> Option<Place> {
    let text = &view.open.text;
    let is_near = |clause: &&Clause| {
        let is_behind = clause.span.end < offset;
        clause.span.start <= offset && !(is_behind && text[clause.span.end..offset].contains(';'))
    };
    let clauses = view.clauses(unit).map(|part| part.clause);
    let clause = clauses.filter(is_near).max_by_key(|clause| clause.span.start)?;
    let is_ours = clause.form == Form::Sql && !is_foreign_clause(text, clause);
    if is_ours { sql::place(text, &clause.span, offset) } else { None }
}

/// Returns what can stand at a place of a YAML or JSON text.
fn in_yaml(view: &View<'_>, offset: usize, block: &Range<usize>) -> Vec<CompletionItem> {
    let text = &view.open.text;
    let own = &text[block.clone()];
    let Some(place) = yaml::place(own, offset - block.start).map(|place| place.moved(block.start)) else {
        return Vec::new();
    };
    // What is half written may change the meaning of all that follows, so the text is read without it if that helps.
    let line = text[..offset].rfind('\n').map_or(0, |end| end + 1)
        ..offset + text[offset..].find(['\n', '\r']).unwrap_or(text.len() - offset);
    let mut texts = vec![blanked(text, &place.slot().bytes), text.clone()];
    if !yaml::is_in_brackets(own, offset - block.start) {
        texts.insert(0, blanked(text, &line));
    }
    for text in texts {
        let (document, file) = view.state.read(view.open, &text);
        let clauses = |unit: &Unit<'_>| {
            let of_file =
                unit.clauses.iter().filter(|part| part.file == file && part.clause.form == Form::Yaml);
            of_file
                .map(|part| part.clause.span.clone())
                .filter(|span| block.contains(&span.start))
                .collect::<Vec<_>>()
        };
        let is_whole = |unit: &Unit<'_>| {
            let is_broken = |kind: FaultKind| kind == FaultKind::InvalidYaml;
            !unit.faults.iter().any(|mistake| mistake.file == file && is_broken(mistake.fault.kind))
        };
        let units: Vec<_> =
            document.units(view.options).filter(|unit| is_whole(unit) && !clauses(unit).is_empty()).collect();
        let is_here =
            |unit: &&Unit<'_>| clauses(unit).iter().any(|span| (span.start..=span.end).contains(&offset));
        // The only document may begin behind the cursor.
        let only = || units.first().filter(|_| units.len() == 1 || file > 0);
        if let Some(unit) = units.iter().find(is_here).or_else(only) {
            return Offer { view, unit }.items(place);
        }
    }
    // A file that is surely ours may have no settings yet.
    let is_named = view.state.links.namers(&view.open.path).next().is_some();
    let is_ours = is_named || OURS.iter().any(|ending| view.open.name.ends_with(ending));
    let is_said = matches!(&place, Place::Value { key, .. } if SAYS_OURS.iter().any(|own| own.name() == key));
    if !(is_ours || is_said) {
        return Vec::new();
    }
    let statement = Statement::default();
    Offer { view, unit: &Unit::new(text, &statement) }.items(place)
}

/// The endings of files that are surely ours.
const OURS: [&str; 3] = [".velo.yaml", ".velo.yml", ".velo.json"];

/// The keys whose values say that a file is ours.
const SAYS_OURS: [Key; 2] = [Key::FailureStrategy, Key::BatchStrategy];

/// A text with blanks in place of some bytes.
fn blanked(text: &str, bytes: &Range<usize>) -> String {
    let mut blanked = text.to_owned();
    blanked.replace_range(bytes.clone(), &" ".repeat(bytes.len()));
    blanked
}

/// What is offered in a statement.
struct Offer<'a> {
    view: &'a View<'a>,
    unit: &'a Unit<'a>,
}

impl Offer<'_> {
    fn items(&self, place: Place) -> Vec<CompletionItem> {
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
        let own = &self.view.open.text[slot.bytes.clone()];
        let is_free = |def: &&KeyDef| {
            let is_it = |item: &&velo_lint::unit::Item<'_>| item.key == def.key && item.scope == scope;
            let is_here = |item: &velo_lint::unit::Item<'_>| {
                item.key_span.file == self.view.file
                    && slot.bytes.start <= item.key_span.range.start
                    && item.key_span.range.end <= slot.bytes.end
                    && !own.is_empty()
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
                filter_text: Some(format!("{}{name}", opening_quote(own))),
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
        let mut prefixes: Vec<_> = ["source", "sink"].into_iter().chain(names).collect();
        let mut seen = Vec::new();
        prefixes.retain(|name| {
            !seen.contains(name) && {
                seen.push(*name);
                true
            }
        });
        let item = |(index, name): (usize, &str)| CompletionItem {
            kind: Some(CompletionItemKind::Module),
            detail: Some(format!("settings of {name} only")),
            sort_text: Some(format!("2{index:03}")),
            filter_text: Some(format!("{}{name}.", opening_quote(&self.view.open.text[slot.bytes.clone()]))),
            text_edit: Some(self.edit(slot, format!("{}{name}.{}", slot.before, slot.close))),
            ..plain(format!("{name}."))
        };
        prefixes.into_iter().enumerate().map(item).collect()
    }

    /// What goes behind a key: with the place of the cursor if the client has snippets.
    fn value_of(&self, slot: &Slot, kind: Kind) -> String {
        let is_text = !matches!(kind, Kind::Integer { .. } | Kind::Boolean);
        let value = if slot.syntax == Syntax::Json && is_text { "\"$0\"" } else { "$0" };
        let after = slot.after.replace("$0", value);
        if self.has_snippets() { after } else { after.replace("$0", "") }
    }

    fn has_snippets(&self) -> bool {
        self.view.state.client.has(Feature::Snippets)
    }

    fn values(&self, key: &str, slot: &Slot) -> Vec<CompletionItem> {
        let (_, length) = self.unit.scope_of(key);
        let Some(key) = Key::from_name(&key[length..]) else { return Vec::new() };
        let is_text = !matches!(key.def().kind, Kind::Integer { .. } | Kind::Boolean);
        let is_bare = slot.syntax == Syntax::Json && !is_text && slot.before == "\"";
        let (before, after) = if is_bare {
            ("", slot.after.trim_start_matches('"'))
        } else {
            (slot.before.as_str(), slot.after.as_str())
        };
        let item = |(index, (value, about)): (usize, (String, String))| CompletionItem {
            kind: Some(CompletionItemKind::Value),
            detail: Some(about),
            sort_text: Some(format!("{index:03}")),
            filter_text: Some(format!("{}{value}", opening_quote(&self.view.open.text[slot.bytes.clone()]))),
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

    fn edit(&self, slot: &Slot, new_text: String) -> CompletionItemTextEdit {
        let range = self.view.places().range(&slot.bytes);
        CompletionItemTextEdit::TextEdit(TextEdit { range, new_text })
    }
}

/// A text as it is written in a snippet, if it is one.
fn in_snippet(text: &str, is_snippet: bool) -> String {
    if is_snippet {
        text.replace('\\', "\\\\").replace('$', "\\$").replace('}', "\\}")
    } else {
        text.to_owned()
    }
}

/// The quote that the replaced text begins with. Clients compare what they filter by with all of it.
fn opening_quote(replaced: &str) -> &str {
    &replaced[..usize::from(replaced.starts_with(['\'', '"']))]
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
