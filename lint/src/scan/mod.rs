//! SQL text in; its statements and their `WITH (…)` clauses out, with the byte range of everything.
//!
//! Knows no keys. Reads what it can and says what was wrong as [`Fault`]s; it never gives up.

mod clause;

use std::ops::Range;

use memchr::memmem;

use crate::lexer::{Lexer, Token, TokenKind};

pub use clause::{Clause, Fault, FaultKind, Form, RawEntry, RawValue, Text};

/// A statement, or what stands alone as one (a bare `WITH (…)` fragment).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    /// From its first token to its `;` or the next statement.
    pub span: Range<usize>,
    /// The name behind `CREATE STREAM`, `INSERT INTO`, `START JOB` and their like.
    pub name: Option<Name>,
    /// Whether it is a `CREATE STREAM` or a `CREATE TABLE`.
    pub creates_stream: bool,
    /// Sources and sinks that the statement names, the statement's own name included.
    pub names: Vec<Name>,
    /// The query: from behind `AS` to the statement's last clause or its end.
    pub query: Option<Range<usize>>,
    /// Its option clauses, in order.
    pub clauses: Vec<Clause>,
}

/// An identifier, the last part of it where it is qualified, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The bytes between the quotes.
    pub span: Range<usize>,
    /// The identifier.
    pub text: String,
    /// Whether it is written to; else it is read.
    pub is_sink: bool,
}

/// The statements of `range` of `text` that have an option clause or a name.
#[must_use]
pub fn statements(text: &str, range: Range<usize>) -> Vec<Statement> {
    let mut scanner = Scanner {
        text,
        lexer: Lexer::new(text, range),
        current: Statement::default(),
        depth: 0,
        query_open: false,
        copies_end: true,
        found: Vec::new(),
    };
    scanner.run();
    scanner.found
}

struct Scanner<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    current: Statement,
    depth: usize,
    /// `AS` has been read and no clause has ended the query.
    query_open: bool,
    /// Whether copied data may still find its end; given up once some does not.
    copies_end: bool,
    found: Vec<Statement>,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some(token) = self.lexer.next() {
            match token.kind {
                TokenKind::Symbol(b';') => {
                    self.skip_copied_data(&token);
                    self.end_statement(token.span.start);
                    continue;
                }
                TokenKind::Symbol(b'(') => self.depth += 1,
                TokenKind::Symbol(b')') => self.depth = self.depth.saturating_sub(1),
                TokenKind::Word => self.word(&token),
                _ => {}
            }
            self.extend(&token.span);
        }
        let end = self.current.span.end;
        self.end_statement(end);
    }

    fn extend(&mut self, span: &Range<usize>) {
        if self.current.span.is_empty() {
            self.current.span = span.clone();
        }
        self.current.span.end = self.current.span.end.max(span.end);
    }

    fn word(&mut self, token: &Token) {
        let word = &self.text[token.span.clone()];
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        if is("with") {
            self.option_clause(token);
        } else if (is("create") || is("insert")) && self.starts_statement() {
            self.end_statement(token.span.start);
            self.extend(&token.span);
            if is("create") {
                self.created_name();
            }
        } else if (is("start") || is("deploy")) && self.current.span.is_empty() {
            self.created_name();
        } else if is("into") {
            let name = self.identifier(true);
            if self.current.name.is_none() {
                self.current.name.clone_from(&name);
            }
            self.current.names.extend(name);
        } else if is("from") || is("join") || (is("table") && self.depth > 0) {
            self.sources();
        } else if is("as") && self.depth == 0 && self.current.name.is_some() && self.current.query.is_none() {
            self.current.query = Some(token.span.end..token.span.end);
            self.query_open = true;
        }
    }

    /// A statement may follow another without a `;` once that one has had its clause.
    fn starts_statement(&self) -> bool {
        self.current.span.is_empty() || !self.current.clauses.is_empty()
    }

    fn end_statement(&mut self, end: usize) {
        let mut done = std::mem::take(&mut self.current);
        if self.query_open
            && let Some(query) = &mut done.query
        {
            query.end = end.max(query.start);
        }
        self.query_open = false;
        self.depth = 0;
        if !done.clauses.is_empty() || done.name.is_some() {
            self.found.push(done);
        }
    }

    /// The name in `CREATE [OR REPLACE] [words] STREAM [IF NOT EXISTS] name`, `START JOB name`.
    fn created_name(&mut self) {
        const KINDS: &[&str] =
            &["stream", "table", "sink", "source", "view", "job", "flow", "topic", "pipeline", "query"];
        const MODIFIER_LIMIT: usize = 6;
        for _ in 0..MODIFIER_LIMIT {
            let Some(token) = self.lexer.peek().filter(|token| token.kind == TokenKind::Word) else { return };
            self.lexer.next();
            let word = &self.text[token.span.clone()];
            if KINDS.iter().any(|kind| word.eq_ignore_ascii_case(kind)) {
                self.current.creates_stream =
                    ["stream", "table"].iter().any(|k| word.eq_ignore_ascii_case(k));
                // `CREATE SOURCE STREAM name`: one kind says more of another.
                self.skip_words(KINDS);
                self.skip_words(&["if", "not", "exists"]);
                let name = self.identifier(true);
                self.current.name.clone_from(&name);
                self.current.names.extend(name);
                return;
            }
        }
    }

    fn skip_words(&mut self, words: &[&str]) {
        while let Some(next) = self.lexer.peek().filter(|token| token.kind == TokenKind::Word) {
            if !words.iter().any(|word| self.text[next.span.clone()].eq_ignore_ascii_case(word)) {
                return;
            }
            self.lexer.next();
        }
    }

    /// What is read: `a`, `a AS x, b y`.
    fn sources(&mut self) {
        loop {
            let name = self.identifier(false);
            let found = name.is_some();
            self.current.names.extend(name);
            // Another source follows a comma, behind an alias or none.
            let mut ahead = self.lexer.clone();
            let mut next = ahead.next();
            for _ in 0..2 {
                let is_alias = next.as_ref().is_some_and(|token| token.kind == TokenKind::Word);
                if is_alias {
                    next = ahead.next();
                }
            }
            let Some(comma) = next.filter(|token| token.is(b',') && found) else { return };
            self.lexer.seek(comma.span.end);
        }
    }

    /// Behind `COPY … FROM stdin;` come lines of data, up to one with `\.`.
    fn skip_copied_data(&mut self, end: &Token) {
        let statement = self.text.get(self.current.span.clone()).unwrap_or_default();
        let copies = statement.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("copy"));
        if copies && self.copies_end && statement.to_ascii_lowercase().contains("stdin") {
            let rest = &self.text.as_bytes()[end.span.end..];
            match memmem::find(rest, b"\n\\.") {
                Some(found) => self.lexer.seek(end.span.end + found + 3),
                None => self.copies_end = false,
            }
        }
    }

    /// The identifier that comes next, its last part where it has several; nothing is taken if none does.
    fn identifier(&mut self, is_sink: bool) -> Option<Name> {
        let mut name = None;
        loop {
            let token = self.lexer.peek()?;
            let is_keyword =
                |word: &str| ["select", "lateral", "unnest"].iter().any(|k| word.eq_ignore_ascii_case(k));
            let is_word = token.kind == TokenKind::Word && !is_keyword(&self.text[token.span.clone()]);
            if !is_word && !token.is_quoted() {
                return name;
            }
            self.lexer.next();
            self.extend(&token.span);
            name = Some(Name { span: token.inner(), text: self.text[token.inner()].to_owned(), is_sink });
            if !self.lexer.peek().is_some_and(|token| token.is(b'.')) {
                return name;
            }
            self.lexer.next();
        }
    }

    fn option_clause(&mut self, with: &Token) {
        let Some(open) = self.lexer.peek().filter(|token| token.is(b'(')) else { return };
        if !clause::opens_options(self.text, &self.lexer) {
            return;
        }
        let clause = clause::read(self.text, &self.lexer, with.span.start, open.span.end);
        self.lexer.seek(clause.span.end);
        if self.depth == 0 {
            if self.query_open
                && let Some(query) = &mut self.current.query
            {
                query.end = with.span.start;
            }
            self.query_open = false;
        }
        self.extend(&clause.span);
        self.current.clauses.push(clause);
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(names, ["s", "orders", "rates", "out_topic"]);
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

    #[test]
    fn brackets_without_end_are_read_in_one_pass() {
        let sql = "(".repeat(200_000) + " WITH ('batch.size' = '1')";
        assert_eq!(scan(&sql)[0].clauses.len(), 1);
    }
}
