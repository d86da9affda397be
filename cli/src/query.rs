//! The query of a statement: `SELECT * FROM source` is executed, everything else is refused by name.

use anyhow::{Result, bail};
use sqlparser::ast::{
    GroupByExpr, Query, Select, SelectItem, SetExpr, Statement, TableFactor, TableWithJoins,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

/// The source that a `SELECT *` reads.
pub(crate) fn source(query: &str) -> Result<String> {
    let query = without_emit_changes(query.trim());
    let statements = Parser::parse_sql(&GenericDialect {}, query)
        .map_err(|error| anyhow::anyhow!("the query is not understood: {error}"))?;
    let [Statement::Query(query)] = statements.as_slice() else {
        bail!("what follows AS is not a single query");
    };
    if let Some(construct) = refused_of_query(query) {
        return refuse(construct);
    }
    let SetExpr::Select(select) = query.body.as_ref() else {
        return refuse("UNION, VALUES or a nested query");
    };
    if let Some(construct) = refused_of_select(select) {
        return refuse(construct);
    }
    let [TableWithJoins { relation, joins }] = select.from.as_slice() else {
        return refuse(if select.from.is_empty() { "a query without FROM" } else { "several sources" });
    };
    if !joins.is_empty() {
        return refuse("JOIN");
    }
    let TableFactor::Table { name, args: None, .. } = relation else {
        return refuse("a source that is not a name");
    };
    let last = name.0.last().and_then(|part| part.as_ident());
    match last {
        Some(ident) => Ok(ident.value.clone()),
        None => refuse("a source that is not a name"),
    }
}

fn refuse<T>(construct: &str) -> Result<T> {
    bail!("the query uses {construct}; velo run executes SELECT * FROM one source")
}

/// `EMIT CHANGES` says what is the case anyway: results are emitted as they change.
fn without_emit_changes(query: &str) -> &str {
    let words: Vec<_> = query.split_whitespace().rev().take(2).collect();
    let emits = matches!(words.as_slice(), [changes, emit]
        if changes.eq_ignore_ascii_case("changes") && emit.eq_ignore_ascii_case("emit"));
    if !emits {
        return query;
    }
    let before = query[..query.len() - words[0].len()].trim_end();
    before[..before.len() - words[1].len()].trim_end()
}

fn refused_of_query(query: &Query) -> Option<&'static str> {
    [
        (query.with.is_some(), "a common table expression (WITH … AS)"),
        (query.order_by.is_some(), "ORDER BY"),
        (query.limit_clause.is_some(), "LIMIT"),
        (query.fetch.is_some(), "FETCH"),
        (!query.locks.is_empty(), "FOR UPDATE"),
    ]
    .into_iter()
    .find_map(|(used, construct)| used.then_some(construct))
}

fn refused_of_select(select: &Select) -> Option<&'static str> {
    let is_star = match select.projection.as_slice() {
        [SelectItem::Wildcard(options)] => {
            options.opt_ilike.is_none()
                && options.opt_exclude.is_none()
                && options.opt_except.is_none()
                && options.opt_replace.is_none()
                && options.opt_rename.is_none()
        }
        _ => false,
    };
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
    };
    [
        (select.distinct.is_some(), "DISTINCT"),
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "INTO"),
        (select.selection.is_some(), "WHERE"),
        (grouped, "GROUP BY"),
        (select.having.is_some(), "HAVING"),
        (!select.named_window.is_empty(), "WINDOW"),
        (select.qualify.is_some(), "QUALIFY"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (!is_star, "a list of columns or expressions"),
    ]
    .into_iter()
    .find_map(|(used, construct)| used.then_some(construct))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn select_star_names_its_source() {
        assert_eq!(source(" SELECT * FROM orders ").unwrap(), "orders");
        assert_eq!(source("select * from db.orders emit changes").unwrap(), "orders");
        assert_eq!(source("SELECT * FROM \"Orders\"\nEMIT\nCHANGES").unwrap(), "Orders");
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for (query, construct) in [
            ("SELECT a FROM t", "columns"),
            ("SELECT * FROM t WHERE a > 1", "WHERE"),
            ("SELECT * FROM t GROUP BY a", "GROUP BY"),
            ("SELECT * FROM t JOIN u ON t.a = u.a", "JOIN"),
            ("SELECT * FROM t, u", "several sources"),
            ("SELECT * FROM t UNION SELECT * FROM u", "UNION"),
            ("SELECT DISTINCT * FROM t", "DISTINCT"),
            ("SELECT * FROM t ORDER BY a", "ORDER BY"),
            ("SELECT * FROM t LIMIT 5", "LIMIT"),
            ("WITH x AS (SELECT 1) SELECT * FROM x", "common table expression"),
            ("SELECT * FROM (SELECT * FROM t)", "not a name"),
            ("SELECT * EXCEPT (a) FROM t", "columns"),
            ("SELECT * FROM t WHERE", "not understood"),
            ("DELETE FROM t", "not a single query"),
        ] {
            let error = source(query).unwrap_err().to_string();
            assert!(error.contains(construct), "{query}: {error}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let query = format!("SELECT * FROM {}t{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(source(&query).is_err());
    }
}
