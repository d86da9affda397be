//! Document symbols: the statements of a text, and the settings of each.

use lsp_types::{DocumentSymbol, SymbolKind};

use super::view::View;

/// Returns the statements with settings of ours.
#[allow(deprecated, reason = "a field of the protocol that must be given")]
pub(crate) fn symbols(view: &View<'_>) -> Vec<DocumentSymbol> {
    let places = view.places();
    let mut symbols = Vec::new();
    for unit in view.units(0..view.open.text.len()).filter(velo_lint::Unit::is_ours) {
        let own = unit.items.iter().filter(|item| item.key_span.file == view.file);
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
        // Several statements may name one configuration file.
        if view.file > 0 {
            return children;
        }
        let statement = unit.statement;
        let name = statement.name.as_ref().filter(|name| !name.text.is_empty());
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
