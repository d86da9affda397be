//! What holds for any text: no panic, spans on character boundaries, one pass.

use proptest::prelude::*;
use velo_lint::lexer::{Lexer, TokenKind};
use velo_lint::{Language, Lines, lint, statements};

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
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lint_never_panics_and_its_spans_lie_in_the_text(text in pieces()) {
        for language in [Language::Sql, Language::Markdown] {
            let lines = Lines::new(&text);
            for finding in lint(&text, language) {
                let edits = finding.fix.iter().flat_map(|fix| &fix.edits).map(|edit| &edit.span);
                for span in edits.chain([&finding.span]) {
                    prop_assert!(text.get(span.clone()).is_some(), "{span:?} in {text:?}");
                    prop_assert!(lines.position(span.end).column > 0);
                }
            }
        }
    }

    #[test]
    fn lint_never_panics_on_any_text(text in ".{0,200}") {
        for language in [Language::Sql, Language::Markdown] {
            for finding in lint(&text, language) {
                prop_assert!(text.get(finding.span).is_some());
            }
        }
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
