//! Completion in clauses and configuration files: keys that fit the strategy first, the values of a key, and a set of
//! settings for each strategy.

mod offer;
mod place;
mod sql;
mod yaml;

use std::ops::Range;

use lsp_types::CompletionItem;
use velo_lint::ownership::is_foreign_clause;
use velo_lint::scan::{Clause, FaultKind, Form, Statement};
use velo_lint::{Document, Language, Unit, blocks};
use velo_schema::keys::Key;

use self::offer::Offer;
use self::place::Place;
use super::view::View;

/// Returns the completion items for a place.
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
    // The cursor may be after the end of the statement as far as it can be parsed.
    let Some(place) = last_unit(view, view.document, offset, |unit| clause_place(view, unit, offset)) else {
        return Vec::new();
    };
    let (place, unit) = place;
    let slot = place.slot();
    let is_half = matches!(&place, Place::Key { .. }) && slot.after.contains('=');
    if !is_half {
        return Offer { view, unit: &unit }.items(place);
    }
    // A half-written key can hide the keys that follow.
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

/// Returns the completion items for a place of a YAML or JSON text.
fn in_yaml(view: &View<'_>, offset: usize, block: &Range<usize>) -> Vec<CompletionItem> {
    let text = &view.open.text;
    let own = &text[block.clone()];
    let Some(place) = yaml::place(own, offset - block.start).map(|place| place.moved(block.start)) else {
        return Vec::new();
    };
    // A half-written key or value can break the rest of the text, so the text without it is tried first.
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
        // The only document may begin after the cursor.
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
