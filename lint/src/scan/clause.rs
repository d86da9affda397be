//! One `WITH (…)` clause: its entries, and what is wrong with its syntax.

use std::ops::Range;

use crate::lexer::{Lexer, Strings, Token, TokenKind};

/// An option clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// From `WITH` to behind the closing bracket, or to where reading stopped.
    pub span: Range<usize>,
    /// Its entries, in order.
    pub entries: Vec<RawEntry>,
    /// What is wrong with its syntax, in order.
    pub faults: Vec<Fault>,
}

/// A key and its value as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// The key.
    pub key: Text,
    /// The value, where there is one that could be read.
    pub value: Option<Text>,
}

/// A text and whether it stood in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The bytes, without quotes.
    pub span: Range<usize>,
    /// Whether there were quotes.
    pub quoted: bool,
}

impl Text {
    /// The bytes with their quotes.
    #[must_use]
    pub fn outer(&self) -> Range<usize> {
        if self.quoted { self.span.start - 1..self.span.end + 1 } else { self.span.clone() }
    }
}

/// A mistake in a clause's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub kind: FaultKind,
    /// Where.
    pub span: Range<usize>,
    /// The entry it belongs to, by index.
    pub entry: usize,
}

/// The mistakes in a clause's syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A quote that is opened and not closed.
    UnterminatedString,
    /// Two entries with nothing between them.
    MissingComma,
    /// A key and a value with nothing between them.
    MissingEquals,
    /// A comma with no entry behind it.
    TrailingComma,
    /// The closing bracket is missing.
    Unclosed,
}

/// Words that begin something else, so that a clause which meets one has lost its bracket.
const NEXT_STATEMENT: &[&str] = &["create", "insert", "select", "drop", "alter", "emit", "start"];

/// Whether what follows the bracket at `lexer` is options, and not a query, a hint or a method.
pub(super) fn opens_options(text: &str, lexer: &Lexer<'_>) -> bool {
    let mut ahead = lexer.clone();
    ahead.next();
    let Some(first) = ahead.next() else { return true };
    if first.kind != TokenKind::Word {
        return true;
    }
    let second = ahead.next();
    let bare = second.is_some_and(|token| token.is(b')') || token.is(b',') || token.is(b'('));
    !(bare || text[first.span].eq_ignore_ascii_case("select"))
}

/// Reads the clause whose first entry is at `from`.
///
/// A forgotten quote turns the rest of a clause inside out. So a clause that makes no sense while
/// one of its texts runs over lines is read again with texts that end with their line.
pub(super) fn read(text: &str, lexer: &Lexer<'_>, start: usize, from: usize) -> Clause {
    let mut lexer = lexer.clone();
    lexer.seek(from);
    let mut reader = Reader::new(text, lexer.clone(), Strings::SpanLines);
    reader.run();
    if reader.runs_over_lines && !reader.faults.is_empty() {
        reader = Reader::new(text, lexer, Strings::EndWithLine);
        reader.run();
    }
    let end = reader.lexer.position();
    Clause { span: start..end, entries: reader.entries, faults: reader.faults }
}

struct Reader<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    entries: Vec<RawEntry>,
    faults: Vec<Fault>,
    /// Where the last comma stands, if no entry has followed it.
    comma: Option<Range<usize>>,
    runs_over_lines: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, lexer: Lexer<'a>, strings: Strings) -> Self {
        Self {
            text,
            lexer: lexer.with_strings(strings),
            entries: Vec::new(),
            faults: Vec::new(),
            comma: None,
            runs_over_lines: false,
        }
    }

    fn run(&mut self) {
        while let Some(token) = self.lexer.peek() {
            match token.kind {
                TokenKind::Symbol(b')') => {
                    self.lexer.next();
                    if let Some(comma) = self.comma.take().filter(|_| !self.entries.is_empty()) {
                        self.fault_of_last(FaultKind::TrailingComma, comma);
                    }
                    return;
                }
                TokenKind::Symbol(b';') => return self.unclosed(),
                TokenKind::Symbol(b',') => {
                    self.lexer.next();
                    self.comma = Some(token.span);
                }
                TokenKind::Word if self.is_next_statement(&token) => return self.unclosed(),
                _ => {
                    self.comma = None;
                    self.entry();
                }
            }
        }
        self.unclosed();
    }

    fn unclosed(&mut self) {
        let last = self.entries.last();
        let end = last.map_or(self.lexer.position(), |e| e.value.as_ref().unwrap_or(&e.key).outer().end);
        let end = end.min(self.text.len());
        self.fault_of_last(FaultKind::Unclosed, end..end);
    }

    fn is_next_statement(&self, token: &Token) -> bool {
        let word = &self.text[token.span.clone()];
        let mut ahead = self.lexer.clone();
        ahead.next();
        NEXT_STATEMENT.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
            && !ahead.next().is_some_and(|next| next.is(b'='))
    }

    fn fault_of_last(&mut self, kind: FaultKind, span: Range<usize>) {
        let entry = self.entries.len().saturating_sub(1);
        self.faults.push(Fault { kind, span, entry });
    }

    fn entry(&mut self) {
        let Some(key) = self.key() else { return };
        let index = self.entries.len();
        if self.split_at_equals(&key) {
            return;
        }
        let gap = key.outer().end;
        self.entries.push(RawEntry { key, value: None });
        let Some(next) = self.lexer.peek() else { return };
        if next.is(b'=') {
            self.lexer.next();
            if self.lexer.peek().is_some_and(|token| token.is(b'>')) {
                self.lexer.next();
            }
        } else if next.is_quoted() && self.entries[index].key.quoted {
            self.faults.push(Fault { kind: FaultKind::MissingEquals, span: gap..gap, entry: index });
        } else {
            // `key: value`, `key value`: not how our options are written.
            self.skip_expression();
            return;
        }
        self.entries[index].value = self.value(index);
    }

    /// `'key = 'value',`: the key's own closing quote is missing, and the rest of the line with it.
    fn split_at_equals(&mut self, key: &Text) -> bool {
        let content = &self.text[key.span.clone()];
        let Some(equals) = content.find('=').filter(|_| key.quoted) else { return false };
        let name = content[..equals].trim_end();
        let span = key.span.start..key.span.start + name.len();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return false;
        }
        let quote = key.span.start - 1..span.end;
        self.entries.push(RawEntry { key: Text { span, quoted: false }, value: None });
        self.fault_of_last(FaultKind::UnterminatedString, quote);
        let rest = &self.text[key.span.start..];
        let line = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let line_end = key.span.start + line;
        if self.lexer.position() < line_end {
            let tail = rest[..line].trim_end_matches([' ', '\t', ',', ')', ';']).len();
            self.lexer.seek((key.span.start + tail).max(self.lexer.position()));
        }
        true
    }

    fn quoted(&mut self, token: &Token) -> Text {
        if token.kind == (TokenKind::Quoted { closed: false }) {
            self.faults.push(Fault {
                kind: FaultKind::UnterminatedString,
                span: token.span.clone(),
                entry: self.entries.len().saturating_sub(1),
            });
        }
        self.runs_over_lines |= self.text[token.span.clone()].contains('\n');
        Text { span: token.inner(), quoted: true }
    }

    fn key(&mut self) -> Option<Text> {
        let token = self.lexer.next()?;
        if token.is_quoted() {
            return Some(self.quoted(&token));
        }
        let mut span = token.span;
        while let Some(next) = self.lexer.peek() {
            let part = next.kind == TokenKind::Word || next.is(b'.') || next.is(b'-');
            if !part || next.span.start != span.end {
                break;
            }
            self.lexer.next();
            span.end = next.span.end;
        }
        Some(Text { span, quoted: false })
    }

    fn value(&mut self, entry: usize) -> Option<Text> {
        let first = self.lexer.peek()?;
        if first.is(b',') || first.is(b')') || first.is(b';') {
            return None;
        }
        if !first.is_quoted() {
            return self.expression(entry);
        }
        self.lexer.next();
        let unclosed = first.kind == TokenKind::Quoted { closed: false };
        let value = self.quoted(&first);
        match self.lexer.peek() {
            Some(next) if next.is(b',') || next.is(b')') || next.is(b';') => {}
            Some(_) if self.at_entry() => self.missing_comma(entry, first.span.end, unclosed),
            Some(_) => {
                self.skip_expression();
                return None;
            }
            None => {}
        }
        // The text of a value whose quote is missing is a guess: it is not checked.
        (!unclosed).then_some(value)
    }

    fn missing_comma(&mut self, entry: usize, at: usize, unclosed: bool) {
        // What is missing behind an unclosed quote most probably stands inside of it.
        if !unclosed {
            self.faults.push(Fault { kind: FaultKind::MissingComma, span: at..at, entry });
        }
    }

    /// Whether a quoted or bare key and its `=` come next.
    fn at_entry(&self) -> bool {
        let mut ahead = Reader {
            text: self.text,
            lexer: self.lexer.clone(),
            entries: Vec::new(),
            faults: Vec::new(),
            comma: None,
            runs_over_lines: false,
        };
        let key = ahead.key();
        key.is_some_and(|key| {
            let unclosed_key = key.quoted && self.text[key.span].contains('=');
            unclosed_key || ahead.lexer.peek().is_some_and(|token| token.is(b'='))
        })
    }

    /// A bare value: a number, a word, a call; to the next comma, bracket or entry.
    fn expression(&mut self, entry: usize) -> Option<Text> {
        let start = self.lexer.peek()?.span.start;
        let mut end = start;
        let mut depth = 0_usize;
        while let Some(token) = self.lexer.peek() {
            match token.kind {
                TokenKind::Symbol(b',' | b')' | b';') if depth == 0 => break,
                TokenKind::Symbol(b';') => break,
                TokenKind::Symbol(b'(' | b'[' | b'{') => depth += 1,
                TokenKind::Symbol(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
                TokenKind::Quoted { .. } if depth == 0 && end > start && self.at_entry() => {
                    self.missing_comma(entry, end, false);
                    break;
                }
                _ => {}
            }
            self.lexer.next();
            end = token.span.end;
        }
        Some(Text { span: start..end, quoted: false })
    }

    fn skip_expression(&mut self) {
        let entry = self.entries.len().saturating_sub(1);
        let faults = self.faults.len();
        self.expression(entry);
        self.faults.truncate(faults);
    }
}
