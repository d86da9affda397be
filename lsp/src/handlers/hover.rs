//! Hover: a place in, what its key means and what holds there out.

use lsp_types::{Contents, Hover};
use velo_lint::scan::Form;
use velo_lint::unit::{Item, Reading};
use velo_schema::reference;
use velo_schema::shape::Shape;

use super::View;
use crate::convert::markdown;

/// Returns what is known of the entry at a place.
pub(crate) fn hover(view: &View<'_>, offset: usize) -> Option<Hover> {
    view.document.units(view.options).find_map(|unit| {
        let is_at = |item: &&Item<'_>| {
            let spans = [&item.key_span, &item.value_span];
            spans.iter().any(|span| span.file == 0 && (span.range.start..=span.range.end).contains(&offset))
        };
        let item = unit.items.iter().find(is_at)?;
        let shape = match unit.clauses[item.clause].clause.form {
            Form::Sql => Shape::With,
            Form::Yaml => Shape::Yaml,
        };
        let mut text = format!("**{}**\n\n{}", item.qualified(), reference::hover(item.key.def(), shape));
        if let Reading::Wrong(error) = &item.reading {
            text += &format!("\n\n`{}`: {error}", item.value);
        }
        let span = if item.key_span.range.contains(&offset) { &item.key_span } else { &item.value_span };
        let range = view.open.places(view.encoding).range(&span.range);
        Some(Hover { contents: Contents::MarkupContent(markdown(text)), range: Some(range) })
    })
}
