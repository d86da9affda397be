//! Checks that the query of a statement is `SELECT * FROM source`, and rejects any other construct by name.

use std::ops::Range;

use anyhow::{Result, bail};
use sqlparser::ast::{
    GroupByExpr, Query, Select, SelectItem, SetExpr, Statement as SqlStatement, TableFactor, TableWithJoins,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use velo_lint::Statement;
use velo_lint::scan::Name;

/// Checks that the query is `SELECT *` from one source. The source names that lint has found are replaced by plain words
/// before parsing, so that every spelling of a name is accepted.
///
/// # Errors
/// If the query cannot be parsed or uses another construct.
pub(crate) fn check(text: &str, statement: &Statement) -> Result<()> {
    let Some(query) = &statement.query else { bail!("the statement has no query") };
    let sources: Vec<_> = statement.names.iter().filter(|name| !name.is_sink).collect();
    let numbered = parseable(text, query.clone(), statement, &sources);
    let numbered = without_emit_changes(numbered.trim());
    let parsed = Parser::parse_sql(&GenericDialect {}, numbered).map_err(|error| {
        let named =
            |message: String, (number, name): (usize, &&Name)| message.replace(&stand_in(number), &name.text);
        let message = sources.iter().enumerate().rev().fold(error.to_string(), named);
        anyhow::anyhow!("cannot parse the query: {message}")
    })?;
    let [SqlStatement::Query(query)] = parsed.as_slice() else {
        bail!("expected a single query after AS");
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
    if sources.len() != 1 || name.to_string() != stand_in(0) {
        return refuse("a source that is not a name");
    }
    Ok(())
}

/// Returns the query with a plain word in place of each source, and without its `INTO`.
fn parseable(text: &str, query: Range<usize>, statement: &Statement, sources: &[&Name]) -> String {
    let of_sources = sources.iter().enumerate().map(|(number, name)| (name.outer.clone(), stand_in(number)));
    let of_into = statement.into.iter().map(|into| (into.clone(), " ".to_owned()));
    let is_inside =
        |(range, _): &(Range<usize>, String)| query.start <= range.start && range.end <= query.end;
    let mut edits: Vec<_> = of_sources.chain(of_into).filter(is_inside).collect();
    edits.sort_by_key(|(range, _)| range.start);
    let mut parseable = text[query.clone()].to_owned();
    for (range, word) in edits.into_iter().rev() {
        parseable.replace_range(range.start - query.start..range.end - query.start, &word);
    }
    parseable
}

fn stand_in(number: usize) -> String {
    format!("velo_source_{number}")
}

fn refuse<T>(construct: &str) -> Result<T> {
    bail!("the query uses {construct}; velo run executes SELECT * FROM one source")
}

/// Removes `EMIT CHANGES`, which has no effect: results are always emitted as they change.
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

    /// The source of a query that can be run.
    fn source(query: &str) -> Result<String> {
        let text = format!("CREATE STREAM s AS {query}");
        let statement = velo_lint::statements(&text, velo_lint::Language::Sql).remove(0);
        check(&text, &statement)?;
        Ok(statement.sources()[0].text.clone())
    }

    #[test]
    fn select_star_from_one_source_can_be_run() {
        for (query, name) in [
            (" SELECT * FROM orders ", "orders"),
            ("select * from prod.orders emit changes", "prod.orders"),
            ("SELECT * FROM \"Orders\"\nEMIT\nCHANGES", "Orders"),
            ("SELECT * FROM \"prod.orders\" AS o INTO out", "prod.orders"),
            ("SELECT * FROM `a b`.[c d] EMIT CHANGES INTO kafka://out", "a b.c d"),
            ("SELECT * FROM orders-eu-1 o", "orders-eu-1"),
            ("SELECT * FROM kafka://broker:9092/orders", "orders"),
        ] {
            assert_eq!(source(query).expect(query), name);
        }
        for text in [
            "INSERT INTO out SELECT * FROM orders;",
            "START JOB j AS INSERT INTO out (a) SELECT * FROM orders",
        ] {
            let statement = velo_lint::statements(text, velo_lint::Language::Sql).remove(0);
            check(text, &statement).expect(text);
        }
    }

    /// What sqlparser finds in the `FROM` clauses of a query, each source once.
    fn tables(query: &str) -> Vec<String> {
        let parsed = Parser::parse_sql(&GenericDialect {}, query).expect(query);
        let [SqlStatement::Query(query)] = parsed.as_slice() else { panic!("{query}: no query") };
        let mut found = Vec::new();
        of_body(&query.body, &mut found);
        found.sort();
        found.dedup();
        found
    }

    fn of_body(body: &SetExpr, found: &mut Vec<String>) {
        match body {
            SetExpr::Select(select) => select.from.iter().for_each(|from| of_joins(from, found)),
            SetExpr::SetOperation { left, right, .. } => {
                of_body(left, found);
                of_body(right, found);
            }
            SetExpr::Query(query) => of_body(&query.body, found),
            _ => {}
        }
    }

    fn of_joins(from: &TableWithJoins, found: &mut Vec<String>) {
        let joined = from.joins.iter().map(|join| &join.relation);
        for relation in joined.chain([&from.relation]) {
            match relation {
                TableFactor::Table { name, args: None, .. } => {
                    let parts = name.0.iter().filter_map(|part| part.as_ident());
                    found.push(parts.map(|part| part.value.as_str()).collect::<Vec<_>>().join("."));
                }
                TableFactor::Derived { subquery, .. } => of_body(&subquery.body, found),
                TableFactor::NestedJoin { table_with_joins, .. } => of_joins(table_with_joins, found),
                _ => {}
            }
        }
    }

    /// Two readers of one grammar: lint's, which takes any dialect, and sqlparser's.
    #[test]
    fn lint_and_sqlparser_find_the_same_sources() {
        for query in [
            "SELECT * FROM orders",
            "SELECT * FROM prod.orders AS o, \"eu.clicks\" c JOIN `users` u ON o.id = u.id",
            "SELECT EXTRACT(HOUR FROM ts), TRIM(BOTH 'x' FROM y), SUBSTRING(a FROM 1) FROM t",
            "SELECT a IS DISTINCT FROM b FROM t WHERE c IS NOT DISTINCT FROM d",
            "SELECT * FROM a UNION ALL SELECT * FROM b UNION SELECT * FROM c",
            "SELECT * FROM (SELECT * FROM a WHERE x IN (1, 2)) z CROSS JOIN c",
            "SELECT max(x) AS m FROM t GROUP BY a, b ORDER BY c, d",
            "SELECT * FROM ((a JOIN b ON true) JOIN c ON true)",
            "SELECT * FROM t, LATERAL (SELECT * FROM u WHERE u.id = t.id) x",
            "SELECT * FROM w LEFT JOIN x USING (a, b), y, generate_series(1, 2) g, UNNEST(z) u",
        ] {
            let text = format!("CREATE STREAM s AS {query}");
            let statement = velo_lint::statements(&text, velo_lint::Language::Sql).remove(0);
            let mut ours: Vec<_> = statement.sources().iter().map(|name| name.text.clone()).collect();
            ours.sort();
            assert_eq!(ours, tables(query), "{query}");
        }
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
            ("SELECT * FROM t WHERE", "cannot parse the query"),
            ("DELETE FROM t", "a single query"),
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
