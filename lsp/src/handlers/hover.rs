//! Hover: a place in, what its key means and what follows from it out.

use std::ops::Range;

use lsp_types::{Contents, Hover};
use velo_lint::Unit;
use velo_lint::ownership::Owner;
use velo_lint::scan::Form;
use velo_lint::unit::{Item, Reading};
use velo_schema::keys::Key;
use velo_schema::shape::Shape;
use velo_schema::{Plan, Scope, reference};

use super::hints::facts;
use super::view::View;
use crate::convert::markdown;

/// Returns what is known of the entry at a place.
pub(crate) fn hover(view: &View<'_>, offset: usize) -> Option<Hover> {
    let here = offset..offset;
    view.units(here.clone()).find_map(|unit| {
        let is_at =
            |item: &&Item<'_>| view.is_at(&item.key_span, &here) || view.is_at(&item.value_span, &here);
        let Some(item) = unit.items.iter().find(is_at) else { return meant(view, &unit, &here) };
        let shape = match unit.clauses[item.clause].clause.form {
            Form::Sql => Shape::With,
            Form::Yaml => Shape::Yaml,
        };
        let about = reference::hover(item.key.def(), shape);
        let text = format!("**{}**\n\n{about}\n\n{}", item.qualified(), meaning(view, &unit, item));
        let span = if view.is_at(&item.key_span, &here) { &item.key_span } else { &item.value_span };
        let range = view.places().range(&span.range);
        Some(Hover { contents: Contents::MarkupContent(markdown(text)), range: Some(range) })
    })
}

/// Returns the key that is most probably meant by one that does not exist.
fn meant(view: &View<'_>, unit: &Unit<'_>, here: &Range<usize>) -> Option<Hover> {
    let stranger = unit.strangers.iter().find(|stranger| view.is_at(&stranger.span, here))?;
    let (Owner::NearMiss(near) | Owner::Unknown(Some(near))) = &stranger.owner else { return None };
    let (_, length) = unit.scope_of(near);
    let key = Key::from_name(&near[length..])?;
    let about = reference::hover(key.def(), Shape::With);
    let text = format!("`{}` is not a key. Did you mean **{near}**?\n\n{about}", stranger.key);
    let range = view.places().range(&stranger.span.range);
    Some(Hover { contents: Contents::MarkupContent(markdown(text)), range: Some(range) })
}

/// Describes what an entry does in its statement.
fn meaning(view: &View<'_>, unit: &Unit<'_>, item: &Item<'_>) -> String {
    match &item.reading {
        Reading::Wrong(error) => return format!("`{}`: {error}", item.value),
        Reading::Open => return "Its value is known when the job is deployed.".to_owned(),
        Reading::Missing => return "It has no value.".to_owned(),
        Reading::Known(_) => {}
    }
    let users = unit.users(item);
    if users.is_empty() {
        return "It has no effect here: other entries set the key wherever it would apply.".to_owned();
    }
    let config = unit.config(&item.scope);
    let strategy = config.strategy.kind();
    if !item.key.def().applies_to(strategy) {
        return format!("It has no effect here: the strategy is {strategy}.");
    }
    let is_of = |scope: &Scope| match scope {
        Scope::Job => "the job".to_owned(),
        Scope::Source => "sources".to_owned(),
        Scope::Sink => "sinks".to_owned(),
        Scope::Named(name) => name.clone(),
    };
    let users = users.iter().map(is_of).collect::<Vec<_>>().join(", ");
    let plan = Plan::of(&config, view.options.record_bytes);
    format!("Here, it applies to {users}, with this result:\n\n{}", facts(&plan))
}
