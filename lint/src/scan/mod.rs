//! SQL text in; its statements and their `WITH (…)` clauses out, with the byte range of everything.
//!
//! Knows no keys. Reads what it can and says what was wrong as [`Fault`]s; it never gives up.

mod clause;
mod clause_reader;
mod frames;
mod name;
#[cfg(test)]
mod tests;
mod unbalanced;

use rustc_hash::FxHashSet as HashSet;
use std::ops::Range;

use memchr::memmem;

use self::frames::Frames;
use crate::lexer::{Lexer, Reading, Token, TokenKind};

pub use clause::{Clause, Fault, FaultKind, Form, RawEntry, RawValue, Text};
pub use name::Name;

/// A statement, or what stands alone as one (a bare `WITH (…)` fragment).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    /// From its first token to its `;` or the next statement.
    pub span: Range<usize>,
    /// The name behind `CREATE STREAM`, `INSERT INTO`, `START JOB` and their like.
    pub name: Option<Name>,
    /// Whether it is a `CREATE STREAM` or a `CREATE TABLE`.
    pub creates_stream: bool,
    /// Sources and sinks that the statement names, the statement's own name included. The names of common
    /// table expressions, of functions and of columns are none.
    pub names: Vec<Name>,
    /// The last `INTO` with its name.
    pub into: Option<Range<usize>>,
    /// The query: from behind `AS`, or from its `SELECT` behind `INSERT INTO`, to the statement's last clause or
    /// its end.
    pub query: Option<Range<usize>>,
    /// Its option clauses, in order.
    pub clauses: Vec<Clause>,
}

impl Statement {
    /// The sources: every name that is read, once.
    #[must_use]
    pub fn sources(&self) -> Vec<&Name> {
        let mut seen = HashSet::default();
        self.names.iter().filter(|name| !name.is_sink && seen.insert(name.text.as_str())).collect()
    }

    /// The sinks: the names behind `INTO`, otherwise the statement's own name.
    #[must_use]
    pub fn sinks(&self) -> Vec<&Name> {
        let own = self.name.as_ref();
        let is_own = |name: &Name| own.is_some_and(|own| own.outer == name.outer);
        let mut seen = HashSet::default();
        let sinks = self.names.iter().filter(|name| name.is_sink && !is_own(name));
        let named: Vec<_> = sinks.filter(|name| seen.insert(name.text.as_str())).collect();
        if named.is_empty() { own.into_iter().collect() } else { named }
    }
}

/// The statements of `range` of `text` that have an option clause or a name.
#[must_use]
pub fn statements(text: &str, range: Range<usize>) -> Vec<Statement> {
    let reading = Reading::of(text, range.clone());
    let mut scanner = Scanner::new(text, range, &reading);
    scanner.run();
    let mut found = scanner.found;
    unbalanced::add(&mut found, reading.unbalanced());
    found
}

/// True if a text ends with the end of a statement, and every quote and bracket of its clauses has its end, so that what
/// follows it is read as if it stood alone.
#[must_use]
pub fn ends_with_statement(text: &str) -> bool {
    let reading = Reading::of(text, 0..text.len());
    let mut scanner = Scanner::new(text, 0..text.len(), &reading);
    scanner.run();
    let is_open = |fault: &Fault| {
        matches!(fault.kind, FaultKind::UnterminatedString | FaultKind::Unclosed | FaultKind::UnclosedValue)
    };
    let mut clauses = scanner.found.iter().flat_map(|statement| &statement.clauses);
    scanner.ended_at.is_some() && !clauses.any(|clause| clause.faults.iter().any(is_open))
}

struct Scanner<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    current: Statement,
    frames: Frames,
    before: Before,
    /// `AS` has been read and no clause has ended the query.
    query_open: bool,
    /// `INSERT INTO` has been read, and its query has not begun.
    inserts: bool,
    /// Whether copied data may still find its end; given up once some does not.
    copies_end: bool,
    /// The end of the last token, if it was a `;`.
    ended_at: Option<usize>,
    found: Vec<Statement>,
}

/// The two tokens before the current one; each is empty unless it is a word.
#[derive(Debug, Default)]
struct Before {
    last: Range<usize>,
    last_but_one: Range<usize>,
    /// The end of the last one if it is a dot: a word glued to it is the name of a column.
    dot: Option<usize>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, range: Range<usize>, reading: &'a Reading) -> Self {
        Self {
            text: &text[..range.end],
            lexer: Lexer::with(text, range, reading),
            current: Statement::default(),
            frames: Frames::default(),
            before: Before::default(),
            query_open: false,
            inserts: false,
            copies_end: true,
            ended_at: None,
            found: Vec::new(),
        }
    }

    fn run(&mut self) {
        while let Some(token) = self.lexer.next() {
            self.ended_at = token.is(b';').then_some(token.span.end);
            match token.kind {
                TokenKind::Symbol(b';') => {
                    self.skip_copied_data(&token);
                    self.end_statement(token.span.start);
                    continue;
                }
                TokenKind::Symbol(b'(') => self.frames.open(),
                TokenKind::Symbol(b')') => self.frames.close(),
                TokenKind::Symbol(b',') => self.frames.comma(),
                TokenKind::Word if self.before.dot == Some(token.span.start) => {}
                TokenKind::Word => self.word(&token),
                TokenKind::Quoted { .. } | TokenKind::Symbol(_) if self.frames.awaits_source() => {
                    self.source(&token);
                }
                TokenKind::Quoted { .. } => self.frames.quoted(&self.text[token.inner()]),
                _ => self.frames.symbol(),
            }
            self.extend(&token.span);
            self.remember(&token);
        }
        let end = self.current.span.end;
        self.end_statement(end);
    }

    fn remember(&mut self, token: &Token) {
        let word = if token.kind == TokenKind::Word { token.span.clone() } else { 0..0 };
        self.before.last_but_one = std::mem::replace(&mut self.before.last, word);
        self.before.dot = token.is(b'.').then_some(token.span.end);
    }

    /// Whether the word before the current one is `keyword`.
    fn follows(&self, keyword: &str) -> bool {
        self.text[self.before.last.clone()].eq_ignore_ascii_case(keyword)
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
            self.with(token);
        } else if (is("create") || is("insert")) && self.starts_statement() {
            self.end_statement(token.span.start);
            self.extend(&token.span);
            if is("create") {
                self.created_name();
            }
        } else if (is("start") || is("deploy")) && self.current.span.is_empty() {
            self.created_name();
        } else if self.frames.cte_word(word) {
            // It belongs to the head of a common table expression.
        } else if is("select") {
            self.frames.select();
            self.query_of_insert(token.span.start);
        } else if is("from") {
            self.from();
        } else if self.frames.awaits_source() {
            self.source(token);
        } else if is("into") || (is("overwrite") && self.follows("insert")) {
            self.into(token);
        } else if is("join") && !self.follows("array") {
            self.frames.from();
        } else if is("table") {
            self.frames.table();
        } else if is("as")
            && self.frames.depth() == 0
            && self.current.name.is_some()
            && self.current.query.is_none()
        {
            self.current.query = Some(token.span.end..token.span.end);
            self.query_open = true;
        } else {
            self.frames.other_word(word);
        }
    }

    /// A statement may follow another without a `;` once that one has had its clause, and anything that
    /// names nothing: an `EXPLAIN`, a comment of an unknown dialect.
    fn starts_statement(&self) -> bool {
        let names_nothing = self.current.name.is_none() && self.current.names.is_empty();
        (names_nothing && self.frames.depth() == 0) || !self.current.clauses.is_empty()
    }

    fn end_statement(&mut self, end: usize) {
        let mut done = std::mem::take(&mut self.current);
        if self.query_open
            && let Some(query) = &mut done.query
        {
            query.end = end.max(query.start);
        }
        self.query_open = false;
        self.inserts = false;
        self.frames = Frames::default();
        self.before = Before::default();
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
                let name = self.name(true);
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

    /// The name that comes next, if one does.
    fn name(&mut self, is_sink: bool) -> Option<Name> {
        let name = name::read(self.text, &mut self.lexer, is_sink)?;
        self.extend(&name.outer);
        Some(name)
    }

    /// `FROM` before a source. `a IS DISTINCT FROM b` compares, and `NTH_VALUE(a, 2) FROM LAST OVER (…)` counts.
    fn from(&mut self) {
        let compares = self.follows("distinct")
            && ["is", "not"]
                .iter()
                .any(|word| self.text[self.before.last_but_one.clone()].eq_ignore_ascii_case(word));
        let mut ahead = self.lexer.clone();
        let mut is_ahead = |words: &[&str]| {
            let next = ahead.next().map_or("", |token| &self.text[token.span]);
            words.iter().any(|word| next.eq_ignore_ascii_case(word))
        };
        let counts = is_ahead(&["first", "last"]) && is_ahead(&["over", "respect", "ignore"]);
        if !compares && !counts {
            self.frames.from();
        }
    }

    /// What stands where a source is awaited: `token` is its first, or a word before it.
    fn source(&mut self, token: &Token) {
        let word = &self.text[token.span.clone()];
        let is = |keyword: &str| token.kind == TokenKind::Word && word.eq_ignore_ascii_case(keyword);
        let calls = |lexer: &Lexer<'_>| lexer.peek().is_some_and(|next| next.is(b'('));
        // `LATERAL (…)`, `ONLY a`, `TABLE a`, `ROWS FROM (…)`.
        let is_rows = || {
            let next = self.lexer.peek().map_or(0..0, |next| next.span);
            is("rows") && self.text[next].eq_ignore_ascii_case("from")
        };
        if is("lateral") || is("only") || (is("table") && !calls(&self.lexer)) || is_rows() {
            return;
        }
        self.lexer.seek(token.span.start);
        let Some(name) = self.name(false) else {
            self.lexer.seek(token.span.end);
            return self.frames.source_done();
        };
        if calls(&self.lexer) {
            return self.frames.calls(&name.text);
        }
        self.frames.source_done();
        // `DATA => TABLE orders` names an argument.
        let is_argument = self.lexer.peek().is_some_and(|next| next.is(b'='));
        let is_cte = name.short.is_none() && name.uri.is_none() && self.frames.is_cte(&name.text);
        if !is_argument && !is_cte {
            self.current.names.push(name);
        }
    }

    fn into(&mut self, into: &Token) {
        if !self.frames.takes_into() {
            return;
        }
        self.inserts |= self.follows("insert") && self.frames.depth() == 0;
        self.skip_words(&["into", "table"]);
        let Some(name) = self.name(true) else { return };
        self.current.into = Some(into.span.start..name.outer.end);
        if self.current.name.is_none() {
            self.current.name = Some(name.clone());
        }
        self.current.names.push(name);
    }

    /// The query of `INSERT INTO name [(columns)]` begins at `start`.
    fn query_of_insert(&mut self, start: usize) {
        if self.frames.depth() == 0 && self.current.name.is_some() && std::mem::take(&mut self.inserts) {
            self.current.query = Some(start..start);
            self.query_open = true;
        }
    }

    /// `WITH` before options, common table expressions, or words that are neither.
    fn with(&mut self, with: &Token) {
        if self.lexer.peek().is_some_and(|next| next.is(b'(')) {
            return self.option_clause(with);
        }
        let mut ahead = self.lexer.clone();
        let name = ahead.next();
        let is_name = |token: &Token| token.kind == TokenKind::Word || token.is_quoted();
        if name.as_ref().is_some_and(is_name) {
            self.frames.with();
            let as_or_columns = |token: Token| token.is(b'(') || token.kind == TokenKind::Word;
            if ahead.next().is_some_and(as_or_columns) {
                self.query_of_insert(with.span.start);
            }
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

    fn option_clause(&mut self, with: &Token) {
        let Some(open) = self.lexer.peek().filter(|token| token.is(b'(')) else { return };
        if !clause_reader::opens_options(self.text, &self.lexer) {
            return;
        }
        let clause = clause_reader::read(self.text, &self.lexer, with.span.start, open.span.end);
        self.lexer.seek(clause.span.end);
        if self.frames.depth() == 0 {
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
