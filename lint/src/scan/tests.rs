//! What is a statement, a name, a source, a query.

use super::*;

fn scan(sql: &str) -> Vec<Statement> {
    statements(sql, 0..sql.len())
}

fn keys<'a>(sql: &'a str, statement: &Statement) -> Vec<&'a str> {
    let entries = statement.clauses.iter().flat_map(|clause| &clause.entries);
    entries.map(|entry| &sql[entry.key.span.clone()]).collect()
}

#[test]
fn statements_clauses_and_names_of_streaming_sql() {
    let sql = "-- 'a'\nCREATE STREAM IF NOT EXISTS s AS SELECT ';' FROM db.orders o JOIN `rates` r \
               WITHIN 5 MINUTES ON o.id = r.id WINDOW TUMBLING (5s) EMIT CHANGES INTO out_topic \
               WITH ('batch.size' = '5', \"x\" = 'y;z');\nWITH ('batch.size' = '6');";
    let found = scan(sql);
    assert_eq!(found.len(), 2);
    let names: Vec<_> = found[0].names.iter().map(|name| name.text.as_str()).collect();
    assert_eq!(names, ["s", "db.orders", "rates", "out_topic"]);
    assert_eq!(keys(sql, &found[0]), ["batch.size", "x"]);
    assert_eq!(keys(sql, &found[1]), ["batch.size"]);
    let query = &sql[found[0].query.clone().unwrap()];
    assert!(query.starts_with(" SELECT ';'") && query.ends_with("out_topic "), "{query}");
}

#[test]
fn what_only_looks_like_options_is_left_alone() {
    for sql in [
        "SELECT * FROM t WITH (NOLOCK)",
        "SELECT * FROM t WITH (INDEX(ix), NOLOCK)",
        "WITH (SELECT 1) SELECT 2",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "CREATE INDEX i ON t USING hnsw (v) ",
    ] {
        assert!(scan(sql).iter().all(|s| s.clauses.is_empty()), "{sql}");
    }
}

#[test]
fn statements_may_follow_each_other_without_a_semicolon() {
    let sql = "CREATE STREAM a AS SELECT * FROM x WITH ('k' = 'v')\n\
               CREATE STREAM b AS SELECT * FROM y WITH ('k' = 'v')";
    let names: Vec<_> = scan(sql).into_iter().map(|s| s.name.unwrap().text).collect();
    assert_eq!(names, ["a", "b"]);
}

/// The sources and the sinks of the first statement.
fn ends(sql: &str) -> (Vec<String>, Vec<String>) {
    let texts = |names: Vec<&Name>| names.into_iter().map(|name| name.text.clone()).collect();
    let found = scan(sql);
    (texts(found[0].sources()), texts(found[0].sinks()))
}

#[test]
fn sources_are_what_the_grammar_reads_from() {
    for (query, expected) in [
        ("SELECT EXTRACT(HOUR FROM ts) FROM orders", "orders"),
        ("SELECT TRIM(BOTH x FROM y), SUBSTRING(a FROM 1 FOR 2), OVERLAY(a PLACING b FROM c) FROM t", "t"),
        ("SELECT a IS DISTINCT FROM b, a IS NOT DISTINCT FROM c FROM t WHERE a IS DISTINCT FROM d", "t"),
        ("SELECT NTH_VALUE(a, 2) FROM LAST OVER (PARTITION BY b) FROM t", "t"),
        ("SELECT DISTINCT a FROM t", "t"),
        ("SELECT t.from, t.join, t.into FROM t", "t"),
        ("SELECT * FROM a JOIN b ON a.x = b.x LEFT JOIN c USING (x, y), d", "a b c d"),
        ("SELECT * FROM a, b AS x, c y WHERE f(x, y) GROUP BY u, v ORDER BY w, z", "a b c"),
        (
            "SELECT * FROM ((a JOIN b ON true) JOIN (SELECT * FROM c WHERE x IN (SELECT y FROM d)) e ON true)",
            "a b c d",
        ),
        ("SELECT x, (SELECT max(EXTRACT(DAY FROM u.ts)) FROM u) FROM t", "u t"),
        ("SELECT * FROM a UNION ALL SELECT * FROM b EXCEPT (SELECT * FROM c)", "a b c"),
        ("SELECT * FROM a, a x JOIN a y ON true", "a"),
        ("SELECT * FROM UNNEST(ARRAY[1, 2]) AS n(x), t, generate_series(1, 10) g", "t"),
        ("SELECT * FROM t, LATERAL (SELECT * FROM u) x CROSS JOIN LATERAL f(t.a)", "t u"),
        ("SELECT * FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))", "orders"),
        ("SELECT * FROM TABLE(HOP(DATA => TABLE orders, TIMECOL => DESCRIPTOR(ts), SIZE => x))", "orders"),
        (
            "SELECT * FROM TUMBLE(orders, ts, INTERVAL '1' MINUTE) JOIN HOP(clicks, ts, a, b) h ON true",
            "orders clicks",
        ),
        ("SELECT * FROM STREAM(live.orders)", "live.orders"),
        ("SELECT * FROM ROWS FROM (f(1), g(2)) JOIN ONLY t ON true", "t"),
        ("SELECT * FROM logs LEFT ARRAY JOIN tags AS tag", "logs"),
        ("SELECT * FROM a LATERAL VIEW explode(x) v AS p, q", "a"),
        (
            "WITH x AS (SELECT * FROM orders), y (a, b) AS (SELECT * FROM x JOIN users u ON true) \
          SELECT * FROM y, X",
            "orders users",
        ),
        ("WITH orders AS (SELECT * FROM orders) SELECT * FROM orders", "orders"),
        ("WITH RECURSIVE t (n) AS (SELECT * FROM seed UNION ALL SELECT * FROM t) SELECT * FROM t", "seed"),
        ("SELECT * FROM (WITH x AS (SELECT * FROM a) SELECT * FROM x) JOIN x ON true", "a x"),
        ("WITH \"x\" AS MATERIALIZED (SELECT * FROM a) SELECT * FROM x", "a"),
        ("SELECT CAST(a AS TIMESTAMP WITH TIME ZONE) FROM t", "t"),
        ("SELECT * FROM orders o WITHIN (5 MINUTES, 1 HOUR) EMIT CHANGES", "orders"),
        (
            "SELECT * FROM prod.orders JOIN \"eu.clicks\" ON true JOIN `a b` ON true",
            "prod.orders eu.clicks a b",
        ),
        ("SELECT * FROM kafka://orders JOIN kafka://broker:9092/prod.clicks ON true", "orders prod.clicks"),
        ("SELECT * FROM ${ENV}_orders, {{ source('a', 'b') }}", "${ENV}_orders {{ source('a', 'b') }}"),
        ("FROM t", "t"),
        ("SELECT 1", ""),
    ] {
        for (statement, sink) in [
            (format!("CREATE STREAM out AS {query} WITH ('batch.size' = '5');"), "out"),
            (format!("CREATE STREAM s AS {query} INTO out WITH ('batch.size' = '5');"), "out"),
            (format!("INSERT INTO out {query};"), "out"),
            (format!("START JOB j AS INSERT INTO db.out (a, b) {query} WITH ('a' = 'b')"), "db.out"),
        ] {
            let (sources, sinks) = ends(&statement);
            assert_eq!(sources.join(" "), expected, "{statement}");
            assert_eq!(sinks, [sink], "{statement}");
        }
    }
}

#[test]
fn the_query_is_what_is_behind_as_or_insert_into() {
    for (sql, expected) in [
        ("CREATE TABLE s AS SELECT a AS b FROM t WITH ('k' = 'v')", " SELECT a AS b FROM t "),
        ("INSERT INTO o (a, b) SELECT a AS b FROM t;", "SELECT a AS b FROM t"),
        (
            "INSERT OVERWRITE TABLE o WITH x AS (SELECT 1) SELECT * FROM x",
            "WITH x AS (SELECT 1) SELECT * FROM x",
        ),
        ("START JOB j AS INSERT INTO o SELECT * FROM t WITH ('k' = 'v')", "SELECT * FROM t "),
    ] {
        let query = scan(sql)[0].query.clone().expect(sql);
        assert_eq!(&sql[query], expected);
    }
    for sql in ["INSERT INTO o VALUES (1)", "CREATE STREAM s (a INT) WITH ('k' = 'v')"] {
        assert_eq!(scan(sql)[0].query, None, "{sql}");
    }
}

#[test]
fn brackets_without_end_are_read_in_one_pass() {
    let sql = "(".repeat(200_000) + " WITH ('batch.size' = '1')";
    assert_eq!(scan(&sql)[0].clauses.len(), 1);
}
