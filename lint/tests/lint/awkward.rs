//! Awkward quotes are sown before every clause, and into it: what is found stays the same.

use velo_lint::lexer::Lexer;
use velo_lint::{Document, Language, NoFiles};

use super::fixtures::{Fixture, all};

/// Lines that hold half a quote for a reader who does not know their dialect.
const LINES: &[&str] = &[
    "# don't",
    "#don't, and it's \"so",
    "// don't",
    "//don't `so",
    "-- don't",
    "/* don't */",
    "{# don't #}",
    "{{/* don't */}}",
    "<%# don't %>",
];

/// Lines that are comments to nobody we know.
const UNKNOWN: &[&str] = &[
    "% don't",
    "% O'Brien",
    "% O'Brien's, can't, 'tis",
    "SELECT 'x', 'y z' AS b, \"it's\" FROM u; % don't",
    "% don't, can't, won't",
    "% the users' choice",
    "% 6\" of pipe",
    "% a ` too many",
];

/// Lines that clients read, which stand between statements.
const COMMANDS: &[&str] =
    &["\\echo don't", "\\set x 'it", "REM don't", "PROMPT it's \"so", "!echo don't", ".print don't"];

/// Statements whose strings and names look unbalanced.
const STATEMENTS: &[&str] = &[
    "SELECT '\\'' AS a;",
    "SELECT '\\'', 'b' AS a;",
    "SELECT 'C:\\' AS a, 'b\\' c', 'd' AS e;",
    "SELECT E'it\\' s' AS a;",
    "SELECT q'[it's]', nq'{don't}' FROM dual;",
    "SELECT '''it's''', \"\"\"say \"x\" now\"\"\" AS a;",
    "SELECT r'\\'' AS a;",
    "SELECT [O'Brien] FROM [the users' table];",
    "SELECT '{{ f('x', \"y\") }}' AS a;",
];

type Found = Vec<(&'static str, usize, usize)>;

/// What is found, at places from which the sown text is taken out again.
fn found(text: &str, fixture: &Fixture, back: impl Fn(usize) -> usize) -> Found {
    let findings = Document::read("", text, Language::Sql, &NoFiles).check(&fixture.options);
    findings.into_iter().map(|f| (f.rule, back(f.span.start), back(f.span.end))).collect()
}

/// Sows `what` at `places`, and compares what is found: if it is balanced to a reader who knows its
/// dialect, nothing more may be.
fn sow(fixture: &Fixture, places: &[usize], what: &str, is_balanced: bool, wrong: &mut Vec<String>) {
    let mut text = fixture.text.clone();
    for at in places.iter().rev() {
        text.insert_str(*at, what);
    }
    let back = |at: usize| {
        let is_before = |(index, place): &(usize, &usize)| **place + index * what.len() < at;
        at - places.iter().enumerate().filter(is_before).count() * what.len()
    };
    let (before, mut after) = (found(&fixture.text, fixture, |at| at), found(&text, fixture, back));
    after.retain(|(rule, ..)| is_balanced || *rule != "unterminated-string");
    if before != after {
        let missing: Vec<_> = before.iter().filter(|f| !after.contains(f)).collect();
        let extra: Vec<_> = after.iter().filter(|f| !before.contains(f)).collect();
        wrong.push(format!("{}: {what:?}: missing {missing:?}, not expected {extra:?}", fixture.name));
    }
}

fn fixtures() -> impl Iterator<Item = Fixture> {
    // A quote that is missing already may be balanced by an awkward one; a suppression is for the next line.
    all().into_iter().filter(|fixture| {
        let is_balanced = !fixture.expects("unterminated-string") && !fixture.expects("unclosed-clause");
        let is_plain = !fixture.text.contains("velo: allow") && !fixture.name.contains("unfinished");
        // Of a clause whose only key is misspelt nothing tells that it is one.
        let is_plain = is_plain && !fixture.name.contains("near-miss-key_6");
        fixture.language == Language::Sql && is_balanced && is_plain
    })
}

fn begins_line(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end_matches([' ', '\t', '\u{feff}']);
    before.is_empty() || before.ends_with('\n')
}

fn has_clause_in_string(text: &str) -> bool {
    let mut quoted = Lexer::new(text, 0..text.len()).filter(velo_lint::lexer::Token::is_quoted);
    quoted.any(|token| text[token.span].to_ascii_lowercase().contains("with"))
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}

#[test]
fn awkward_quotes_before_a_clause_hide_nothing() {
    let mut wrong = Vec::new();
    for fixture in fixtures() {
        let statements = velo_lint::statements(&fixture.text, Language::Sql);
        let with_clause = statements.iter().filter(|statement| !statement.clauses.is_empty());
        let starts = with_clause.map(|statement| statement.span.start);
        let starts: Vec<_> = starts.filter(|at| begins_line(&fixture.text, *at)).collect();
        let clauses = statements.iter().flat_map(|statement| &statement.clauses);
        let clauses: Vec<_> = clauses.map(|clause| clause.span.start).collect();
        let is_hard = |text: &&str| text.contains("b\\'") && has_clause_in_string(&fixture.text);
        for text in [LINES, STATEMENTS].concat().into_iter().filter(|text| !is_hard(text)) {
            sow(&fixture, &starts, &format!("{text}\n"), true, &mut wrong);
        }
        let follows = |at: &usize| fixture.text[..*at].trim_end().ends_with(';');
        let behind: Vec<_> = starts.iter().copied().filter(follows).collect();
        for text in COMMANDS {
            sow(&fixture, &behind, &format!("{text}\n"), true, &mut wrong);
        }
        for line in LINES {
            sow(&fixture, &clauses, &format!("\n{line}\n"), true, &mut wrong);
        }
        // Nobody knows that these are comments, so their quotes may be reported; and a clause in a string
        // may be code.
        for line in UNKNOWN.iter().filter(|_| !has_clause_in_string(&fixture.text)) {
            sow(&fixture, &starts, &format!("{line}\n"), false, &mut wrong);
            if !line.contains(';') {
                sow(&fixture, &clauses, &format!("\n{line}\n"), false, &mut wrong);
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn awkward_comments_within_a_clause_hide_nothing() {
    let mut wrong = Vec::new();
    for fixture in fixtures() {
        let statements = velo_lint::statements(&fixture.text, Language::Sql);
        let clauses = statements.iter().flat_map(|statement| &statement.clauses);
        let keys = clauses.flat_map(|clause| &clause.entries).map(|entry| entry.key.outer().start);
        let keys: Vec<_> = keys.filter(|at| begins_line(&fixture.text, *at)).collect();
        for line in LINES {
            sow(&fixture, &keys, &format!("{line}\n"), true, &mut wrong);
        }
    }
    assert_none(&wrong);
}
