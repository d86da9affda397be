//! What holds for any text: no panic, spans on character boundaries, one pass.

use std::sync::Arc;

use proptest::prelude::*;
use velo_lint::lexer::{Lexer, TokenKind};
use velo_lint::{Document, Incremental, Language, LineIndex, NoFiles, Options, fixed, lint, statements};

/// Pieces that clauses are made of, so that random texts meet the parser's every branch.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "WITH",
        " (",
        "(",
        ")",
        "'",
        "\"",
        "`",
        "=",
        ",",
        ";",
        "\n",
        "\r\n",
        "--",
        "/*",
        "*/",
        " ",
        "'batch.size'",
        "'batch.strategy'",
        "'batch.timeout' = '1000'",
        "'fixed_size'",
        "'100'",
        "batch.size",
        "source.",
        "CREATE STREAM s AS",
        "SELECT * FROM t",
        "${A:5}",
        "ö",
        "\u{feff}",
        "$$",
        "100",
        "'batch.sise' 'x'",
        "# ",
        "// ",
        "\\",
        "don't",
        "q'[",
        "[O'B]",
        "{{ ",
        "}}",
        "{% if x %}",
        "{% else %}",
        "{% endif %}",
        "WITH ('batch.size' = '5', ",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Pieces that configuration files are made of.
fn yaml_pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "batch:",
        "\n",
        "\n  ",
        "\n    ",
        "strategy: ",
        "size: ",
        "timeout: ",
        "failure_strategy: ",
        "source:",
        "sink: ",
        "fixed_size",
        "FixedSize",
        "FailBatch",
        "500",
        "1000",
        "'",
        "\"",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&a ",
        "*a",
        "<<: ",
        "- ",
        "# velo: allow(inert-key)",
        "|",
        "---\n",
        "\t",
        "ö",
        "\u{feff}",
        ": ",
        "${A:x}",
        "\r\n",
        "batch.sise: 5",
        "window: 5s",
        "!t ",
        "? ",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

const LANGUAGES: [Language; 3] = [Language::Sql, Language::Yaml, Language::Markdown];

/// That every span of every finding lies in the text, on character boundaries.
fn spans_lie_in(text: &str, language: Language) -> Result<(), TestCaseError> {
    let lines = LineIndex::new(text);
    for finding in lint(text, language) {
        let fixes = finding.fix.iter().chain(&finding.alternatives);
        let edits = fixes.flat_map(|fix| &fix.edits).map(|edit| &edit.span);
        for span in edits.chain([&finding.span]) {
            prop_assert!(text.get(span.clone()).is_some(), "{span:?} in {text:?}");
            prop_assert!(lines.position(span.end).column > 0);
        }
    }
    Ok(())
}

/// That what is mended stays as it is, and has nothing left of what was mended.
fn mending_is_final(text: &str, language: Language) -> Result<(), TestCaseError> {
    for with_unsafe in [false, true] {
        let options = Options::default();
        let once = fixed(text, language, &options, with_unsafe);
        let again = fixed(&once, language, &options, with_unsafe);
        prop_assert_eq!(&again, &once, "fixed again from {:?}", text);
        let left = lint(&once, language)
            .into_iter()
            .filter_map(|finding| finding.fix)
            .filter(|fix| fix.safe || with_unsafe);
        prop_assert_eq!(left.count(), 0, "left to fix in {:?}, from {:?}", once, text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lint_never_panics_and_its_spans_lie_in_the_text(sql in pieces(), yaml in yaml_pieces()) {
        let markdown = format!("# x\n```sql\n{sql}\n```\n> ```yaml\n> {yaml}\n");
        for text in [&sql, &yaml, &markdown] {
            for language in LANGUAGES {
                spans_lie_in(text, language)?;
            }
        }
    }

    #[test]
    fn lint_never_panics_on_any_text(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for language in LANGUAGES {
            spans_lie_in(&text, language)?;
            spans_lie_in(&String::from_utf8_lossy(&bytes), language)?;
        }
    }

    #[test]
    fn mending_is_final_in_any_text(sql in pieces(), yaml in yaml_pieces()) {
        mending_is_final(&sql, Language::Sql)?;
        mending_is_final(&yaml, Language::Yaml)?;
    }

    #[test]
    fn tokens_follow_each_other_and_cover_all_but_blanks_and_comments(text in pieces()) {
        let mut end = 0;
        for token in Lexer::new(&text, 0..text.len()) {
            prop_assert!(token.span.start >= end && token.span.end > token.span.start);
            prop_assert!(text.get(token.span.clone()).is_some());
            end = token.span.end;
        }
    }
}

#[test]
fn mending_is_final_in_every_fixture() {
    for fixture in super::fixtures::all() {
        mending_is_final(&fixture.text, fixture.language)
            .unwrap_or_else(|error| panic!("{}: {error}", fixture.name));
    }
}

/// Texts whose parts could each be looked at once too often.
fn growing(times: usize) -> Vec<(&'static str, Language, String)> {
    let repeat = |text: &str| text.repeat(times);
    let numbered = |text: &str| (0..times).map(|n| text.replace('#', &n.to_string())).collect::<String>();
    vec![
        (
            "statements",
            Language::Sql,
            repeat("CREATE STREAM s AS SELECT * FROM t WITH ('batch.size' = '0');\n"),
        ),
        (
            "clauses of one statement",
            Language::Sql,
            format!("SELECT * FROM t {};", repeat("JOIN u WITH ('batch.size' = '5') ")),
        ),
        ("entries", Language::Sql, format!("WITH ({} 'batch.size' = '5');", numbered("'batch.x#' = '5', "))),
        (
            "foreign entries",
            Language::Sql,
            format!("WITH ({} 'batch.size' = '5');", numbered("'other.x#' = '5', ")),
        ),
        (
            "equal entries",
            Language::Sql,
            format!("WITH ({} 'batch.enable' = 'no');", repeat("'batch.size' = '5', ")),
        ),
        (
            "named sources",
            Language::Sql,
            format!(
                "CREATE STREAM s AS SELECT * FROM {} z WITH ({} 'batch.size' = '5');",
                numbered("t#, "),
                numbered("'t#.batch.size' = '#0', ")
            ),
        ),
        (
            "common table expressions",
            Language::Sql,
            format!(
                "CREATE STREAM s AS WITH {} z AS (SELECT 1) SELECT * FROM z WITH ('batch.size' = '0');",
                numbered("c# AS (SELECT * FROM t), ")
            ),
        ),
        (
            "sources in brackets",
            Language::Sql,
            format!("CREATE STREAM s AS {}", repeat("SELECT * FROM (a, (")) + "WITH ('batch.size' = '0')",
        ),
        (
            "dotted names",
            Language::Sql,
            format!(
                "SELECT * FROM {} z WITH ({} 'batch.size' = '5');",
                numbered("a.t#.b, "),
                numbered("'a.t#.b.batch.size' = '#0', ")
            ),
        ),
        (
            "topics",
            Language::Sql,
            format!(
                "CREATE STREAM s AS SELECT * FROM {} z WITH ({} 'failure_strategy' = 'SendToDLQ', 'dlq.topic' = 'x');",
                numbered("t#, "),
                numbered("'t#.topic' = 'x#', ")
            ),
        ),
        ("missing commas", Language::Sql, format!("WITH ({});", numbered("'batch.x#' = '5' "))),
        ("open quotes", Language::Sql, repeat("WITH ('batch.size' = 'x)\n")),
        ("quotes", Language::Sql, repeat("'")),
        ("open brackets", Language::Sql, repeat("WITH ('batch.size' = (")),
        ("brackets", Language::Sql, repeat("(")),
        ("open comments", Language::Sql, repeat("/* ")),
        ("dollars", Language::Sql, numbered("$a#$ ")),
        ("template blocks", Language::Sql, repeat("{% ")),
        ("words", Language::Sql, repeat("WITH ")),
        (
            "apostrophes",
            Language::Sql,
            repeat("% don't\nCREATE STREAM s AS SELECT 'x' FROM t WITH ('batch.size' = '5');\n"),
        ),
        ("apostrophes without a clause", Language::Sql, repeat("% don't x\n")),
        (
            "apostrophes before one clause",
            Language::Sql,
            repeat("% don't x\n") + "% don't WITH ('batch.size' = '0')",
        ),
        ("escaped quotes", Language::Sql, repeat("'\\'' ")),
        ("doubled quotes", Language::Sql, repeat("'x''WITH (''k")),
        ("operators that are comments elsewhere", Language::Sql, repeat("a # b WITH (c) ")),
        ("output tags without end", Language::Sql, repeat("{{ ")),
        ("braces", Language::Sql, repeat("{") + "}}"),
        ("templates in strings", Language::Sql, repeat("'{{x'}}' ")),
        (
            "branches",
            Language::Sql,
            format!(
                "WITH ({} 'failure_strategy' = 'FailBatch');",
                numbered("{% if a# %}'batch.size' = '#', {% endif %}\n")
            ),
        ),
        (
            "branches that began before",
            Language::Sql,
            format!("WITH ({});", repeat("'batch.size' = '5', {% else %}{% endif %}")),
        ),
        ("nested branches", Language::Sql, format!("WITH ({} 'batch.size' = '5');", repeat("{% if a %} "))),
        ("silenced", Language::Sql, repeat("-- velo: allow(out-of-range) x\nWITH ('batch.size' = '0');\n")),
        (
            "waiting comments",
            Language::Sql,
            repeat("-- velo: allow(out-of-range) x\n") + "WITH ('batch.size' = '0');\n",
        ),
        (
            "blocks",
            Language::Markdown,
            repeat("```sql\nWITH ('batch.size' = '0');\n```\n> ```yaml\n> batch: {size: 0}\n\n"),
        ),
        ("documents", Language::Yaml, repeat("---\nbatch: {strategy: fixed_size, size: 0}\n")),
        (
            "yaml entries",
            Language::Yaml,
            format!("failure_strategy: FailBatch\n{}", numbered("x#: {batch: 5}\n")),
        ),
        (
            "aliases",
            Language::Yaml,
            format!("a: &a {{strategy: fixed_size}}\nbatch: *a\n{}", numbered("x#: *a\n")),
        ),
        (
            "merges",
            Language::Yaml,
            format!(
                "a: &a {{strategy: fixed_size}}\nbatch: {{<<: *a}}\n{}",
                numbered("x#: {batch: {<<: [*a, *a, {size: 5}]}}\n")
            ),
        ),
        (
            "chains of merges",
            Language::Yaml,
            format!("failure_strategy: FailBatch\na: &a {{x: 1}}\n{}", numbered("x: &a {<<: *a, y: 1}\n")),
        ),
        (
            "silenced mappings",
            Language::Yaml,
            format!("batch:\n  strategy: fixed_size\n{}", repeat("# velo: allow-block(inert-key)\n")),
        ),
    ]
}

/// Ten times the text is at most twelve times the work, counted in steps.
#[test]
fn the_work_grows_with_the_text() {
    let steps = |text: &str, language| {
        let before = velo_lint::steps::taken();
        let lines = LineIndex::new(text);
        for finding in lint(text, language) {
            assert!(lines.position(finding.span.start).line > 0);
        }
        velo_lint::steps::taken() - before
    };
    for ((name, language, small), (.., large)) in growing(200).into_iter().zip(growing(2000)) {
        let (small_steps, large_steps) = (steps(&small, language), steps(&large, language));
        assert!(small_steps > 100, "{name}: nothing is counted");
        assert!(large_steps <= 12 * small_steps, "{name}: {small_steps} steps, then {large_steps}");
    }
}

/// sqlparser's tokenizer is an independent reader of the same dialect-free core of SQL.
#[test]
fn words_and_strings_are_those_of_sqlparser() {
    use sqlparser::dialect::GenericDialect;
    use sqlparser::tokenizer::{Token, Tokenizer};

    for sql in [
        "CREATE STREAM s AS SELECT a, 'it''s -- no comment' FROM t /* 'x' */ WHERE b > 0.8 WITH ('k' = 'v;w');",
        "SELECT \"quoted ident\", `other` FROM x -- 'tail\nWHERE y = 'z'",
        "INSERT INTO o SELECT * FROM i EMIT CHANGES",
    ] {
        let ours: Vec<String> = Lexer::new(sql, 0..sql.len())
            .filter(|token| token.is_quoted() || token.kind == TokenKind::Word)
            .map(|token| sql[token.inner()].to_owned())
            .collect();
        let theirs: Vec<String> = Tokenizer::new(&GenericDialect {}, sql)
            .tokenize()
            .unwrap()
            .into_iter()
            .flat_map(|token| match token {
                Token::Word(word) => vec![word.value],
                Token::SingleQuotedString(text) => vec![text.replace('\'', "''")],
                // Digits around a decimal point are two words to us: no option is a bare decimal.
                Token::Number(text, _) => text.split('.').map(str::to_owned).collect(),
                _ => vec![],
            })
            .collect();
        assert_eq!(ours, theirs, "{sql}");
    }
}

#[test]
fn statements_are_found_behind_anything() {
    let noise = "SELECT '(((' -- WITH ('batch.size' = 'x')\n /* ; */;\n".repeat(1000);
    let text = format!("{noise}CREATE STREAM s AS SELECT * FROM t WITH ('batch.size' = '5');");
    let named = |found: &[velo_lint::Statement]| found.iter().filter(|s| s.name.is_some()).count();
    assert_eq!(named(&statements(&text, Language::Sql)), 1);
}

/// Statements, and pieces of them, as they come and go while somebody writes.
fn edits() -> impl Strategy<Value = Vec<(usize, usize, String)>> {
    let statement = prop::sample::select(vec![
        "CREATE STREAM s AS SELECT * FROM t WITH ('batch.size' = '5');\n".to_owned(),
        "WITH ('batch.sise' = '5'); -- why\n".to_owned(),
        "-- velo: allow(unknown-key) known\nWITH ('batch.sise' = '5');\n".to_owned(),
        "INSERT INTO a SELECT 'ö' FROM b;\r\n".to_owned(),
        ";\n".to_owned(),
        "'".to_owned(),
    ]);
    let piece = prop_oneof![4 => statement, 1 => pieces()];
    prop::collection::vec((0..1000_usize, 0..100_usize, piece), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn a_text_that_changes_has_the_findings_of_the_whole_text(edits in edits()) {
        let options = Arc::default();
        let mut incremental = Incremental::default();
        let mut text = String::new();
        for (from, bytes, with) in edits {
            let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
            let start = boundary(from % (text.len() + 1)).unwrap_or(0);
            let end = boundary(start + bytes % 60).unwrap_or(0).max(start);
            text.replace_range(start..end, &with);
            if let Some(found) = incremental.check(&text, &options) {
                let document = Document::read("", &text, Language::Sql, &NoFiles);
                prop_assert_eq!(found.statements, document.spans(0), "{:?}", &text);
                prop_assert_eq!(found.findings, document.check(&options), "{:?}", &text);
            }
        }
    }
}

#[test]
fn most_fixtures_can_be_checked_piece_by_piece() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/sql");
    let (mut pieces, mut all) = (0, 0);
    for verdict in ["good", "bad"] {
        for file in
            std::fs::read_dir(folder.join(verdict)).expect("a folder").map(|file| file.expect("a file"))
        {
            let Ok(text) = std::fs::read_to_string(file.path()) else { continue };
            let options = Arc::default();
            all += 1;
            if let Some(found) = Incremental::default().check(&text, &options) {
                let document = Document::read("", &text, Language::Sql, &NoFiles);
                assert_eq!(found.findings, document.check(&options), "{}", file.path().display());
                pieces += 1;
            }
        }
    }
    assert!(all > 100 && pieces * 3 > all * 2, "{pieces} of {all}");
}
