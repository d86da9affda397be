//! Document symbols: the statements of a text, and the settings of each.

use lsp_types::{DocumentSymbol, SymbolKind};

use super::View;

/// Returns the statements with settings of ours.
#[allow(deprecated, reason = "a field of the protocol that must be given")]
pub(crate) fn symbols(view: &View<'_>) -> Vec<DocumentSymbol> {
    let places = view.open.places(view.encoding);
    let mut symbols = Vec::new();
    for unit in view.document.units(view.options).filter(velo_lint::Unit::is_ours) {
        let own = unit.items.iter().filter(|item| item.key_span.file == 0);
        let children: Vec<_> = own
            .map(|item| {
                let end = item.value_span.range.end.max(item.key_span.range.end);
                DocumentSymbol {
                    name: item.qualified(),
                    detail: Some(item.value.to_owned()),
                    kind: SymbolKind::Property,
                    tags: None,
                    deprecated: None,
                    range: places.range(&(item.key_span.range.start..end)),
                    selection_range: places.range(&item.key_span.range),
                    children: None,
                }
            })
            .collect();
        let statement = unit.statement;
        let name = statement.name.as_ref();
        let selection = name.map_or(statement.span.start..statement.span.start, |name| name.span.clone());
        symbols.push(DocumentSymbol {
            name: name.map_or_else(|| "settings".to_owned(), |name| name.text.clone()),
            detail: None,
            kind: SymbolKind::Object,
            tags: None,
            deprecated: None,
            range: places.range(&statement.span),
            selection_range: places.range(&selection),
            children: Some(children),
        });
    }
    symbols
}
