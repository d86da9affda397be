//! Tokens after `WITH (` in, the clause out. Notes every mistake and reads on.

use std::ops::Range;

use velo_schema::neighbours::SCHEMA_KEY;
use velo_schema::placeholder::placeholder;

use super::clause::{Clause, Fault, FaultKind, Form, RawEntry, RawValue, Text};
use crate::lexer::{Lexer, Token, TokenKind};
use crate::template::{has_tag, includes_others};

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
pub(super) fn read(text: &str, lexer: &Lexer<'_>, start: usize, from: usize) -> Clause {
    let mut lexer = lexer.clone();
    lexer.seek(from);
    let mut reader = Reader {
        text,
        lexer,
        entries: Vec::new(),
        faults: Vec::new(),
        comma: None,
        end: from,
        is_open: false,
        has_open_value: false,
    };
    reader.run();
    let end = reader.lexer.position();
    let is_blank = reader.entries.is_empty() && reader.faults.is_empty();
    if is_blank && !has_tag(&text[from..end]) {
        reader.clause_fault(FaultKind::Empty, start..start + "WITH".len());
    }
    let is_open = reader.is_open || includes_others(&text[from..end]);
    Clause { is_open, ..Clause::new(Form::Sql, start..end, reader.entries, reader.faults) }
}

struct Reader<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    entries: Vec<RawEntry>,
    faults: Vec<Fault>,
    /// Where the last comma stands, if no entry has followed it.
    comma: Option<Range<usize>>,
    /// The end of the last entry, value or sign that was read.
    end: usize,
    /// True if something stands there that may become any number of entries.
    is_open: bool,
    /// True if a value has ended with more opening brackets than closing ones.
    has_open_value: bool,
}

impl Reader<'_> {
    fn run(&mut self) {
        while let Some(token) = self.lexer.peek() {
            match token.kind {
                TokenKind::Symbol(b')') => {
                    self.next();
                    let comma = self.comma.take();
                    if let Some(comma) = comma.filter(|comma| !self.has_tag(comma.end..token.span.start)) {
                        self.clause_fault(FaultKind::TrailingComma, comma);
                    }
                    return;
                }
                TokenKind::Symbol(b';') => break,
                TokenKind::Symbol(b',') => {
                    let follows_nothing = self.comma.is_some() || self.entries.is_empty();
                    let before = self.comma.as_ref().map_or(self.end, |comma| comma.end);
                    self.lexer.next();
                    // An entry that a template leaves out may have stood there.
                    if follows_nothing && !self.has_tag(before..token.span.start) {
                        self.clause_fault(FaultKind::TrailingComma, token.span.clone());
                    }
                    self.comma = Some(token.span).filter(|_| !follows_nothing);
                }
                TokenKind::Word if self.at_next_statement() => break,
                _ => {
                    self.comma = None;
                    self.entry();
                }
            }
        }
        let end = self.end;
        let kind = if self.has_open_value { FaultKind::UnclosedValue } else { FaultKind::Unclosed };
        self.clause_fault(kind, end..end);
    }

    /// Takes a token and remembers where it ended.
    fn next(&mut self) -> Option<Token> {
        let token = self.lexer.next()?;
        self.end = token.span.end;
        Some(token)
    }

    /// True if a template tag stands in `range`, which is a gap between two tokens.
    fn has_tag(&self, range: Range<usize>) -> bool {
        self.text.get(range).is_some_and(has_tag)
    }

    /// True if a template tag stands before the next token.
    fn is_at_tag(&self) -> bool {
        self.lexer.peek().is_some_and(|next| self.has_tag(self.end..next.span.start))
    }

    fn clause_fault(&mut self, kind: FaultKind, span: Range<usize>) {
        self.faults.push(Fault::new(kind, span, None));
    }

    fn fault(&mut self, kind: FaultKind, span: Range<usize>, entry: usize) {
        self.faults.push(Fault::new(kind, span, Some(entry)));
    }

    fn at_next_statement(&self) -> bool {
        let mut ahead = self.lexer.clone();
        let is_keyword = ahead.next().is_some_and(|token| {
            let word = &self.text[token.span.clone()];
            token.kind == TokenKind::Word && NEXT_STATEMENT.iter().any(|k| word.eq_ignore_ascii_case(k))
        });
        is_keyword && !ahead.next().is_some_and(|next| next.is(b'='))
    }

    /// Whether an entry can end here.
    fn at_end_of_entry(&self) -> bool {
        self.lexer.peek().is_none_or(|next| {
            matches!(next.kind, TokenKind::Symbol(b',' | b')' | b';')) || self.at_next_statement()
        })
    }

    /// Whether a key and its `=` come next.
    fn at_entry(&self) -> bool {
        let mut ahead = Reader {
            text: self.text,
            lexer: self.lexer.clone(),
            entries: Vec::new(),
            faults: Vec::new(),
            comma: None,
            end: self.end,
            is_open: false,
            has_open_value: false,
        };
        let Some(key) = ahead.key() else { return false };
        let holds_equals = key.quoted && self.text[key.span.clone()].contains('=');
        let mut rest = ahead.lexer.clone();
        let next = rest.next();
        let equals = next.as_ref().is_some_and(|token| token.is(b'='));
        // Two texts without anything between them, of which the first reads like a key.
        let reads_like_key = key.quoted && self.text[key.span.clone()].contains(['.', '_']);
        let lacks_equals = reads_like_key && next.as_ref().is_some_and(Token::is_quoted);
        holds_equals || lacks_equals || (equals && !rest.next().is_some_and(|token| token.is(b'=')))
    }

    fn entry(&mut self) {
        let index = self.entries.len();
        let Some(key) = self.key() else { return };
        let name = &self.text[key.span.clone()];
        // `$schema` names a schema, and stands for nothing else.
        let is_placeholder = name != SCHEMA_KEY.0
            && (placeholder(name).is_some() || (!key.quoted && name.starts_with(['{', '$', '<', '@'])));
        self.is_open |= is_placeholder;
        if let Some(key) = self.key_without_closing_quote(&key) {
            self.entries.push(RawEntry::new(key, RawValue::Unknown));
            self.entries[index].value = self.value(index);
            return;
        }
        if self.skip_lost_opening_quote(&key) {
            self.fault(FaultKind::UnterminatedString, key.span.clone(), index);
            self.entries.push(RawEntry::new(key, RawValue::Unknown));
            self.entries[index].value = self.value(index);
            return;
        }
        let (quoted, gap) = (key.quoted, key.outer().end);
        self.entries.push(RawEntry::new(key, RawValue::Missing));
        if self.at_end_of_entry() {
            return;
        }
        let Some(next) = self.lexer.peek() else { return };
        if next.is(b'=') {
            self.next();
            // `==` and `=>` are read as what they are meant to be.
            if self.lexer.peek().is_some_and(|token| token.is(b'>') || token.is(b'=')) {
                self.next();
            }
        } else if quoted && self.is_at_tag() {
            // A template chooses between keys, or between entries.
        } else if quoted {
            let colon = next.is(b':').then(|| self.next()).flatten();
            let span = colon.map_or(gap..gap, |colon| colon.span);
            self.fault(FaultKind::MissingEquals, span, index);
        } else {
            self.skip_expression();
            self.entries[index].value = RawValue::NotAnOption;
            return;
        }
        self.entries[index].value = self.value(index);
    }

    /// `'key = 'value'`: the key's closing quote is missing, so it ran to the value's opening one.
    /// Goes back to that quote.
    fn key_without_closing_quote(&mut self, key: &Text) -> Option<Text> {
        let content = &self.text[key.span.clone()];
        let (name, rest) = content.split_once('=').filter(|_| key.quoted)?;
        let name = name.trim_end();
        let is_one = rest.trim().is_empty() && !name.is_empty() && !name.contains(char::is_whitespace);
        is_one.then_some(())?;
        let span = key.span.start..key.span.start + name.len();
        let index = self.entries.len();
        self.fault(FaultKind::UnterminatedString, key.span.start - 1..span.end, index);
        self.lexer.seek(key.span.end);
        Some(Text { span, quoted: false })
    }

    /// `key' = 'value'`: the key's opening quote is missing. Goes to the value's opening quote.
    fn skip_lost_opening_quote(&mut self, key: &Text) -> bool {
        let Some(next) = self.lexer.peek().filter(|next| next.is_quoted() && !key.quoted) else {
            return false;
        };
        let is_gap = next.span.start == key.span.end && self.text[next.inner()].trim() == "=";
        if is_gap {
            self.lexer.seek(next.inner().end);
        }
        is_gap
    }

    fn key(&mut self) -> Option<Text> {
        let mut token = self.next()?;
        if is_stray_quote(&token) {
            // The key lost its closing quote.
            let index = self.entries.len();
            self.fault(FaultKind::UnterminatedString, token.span.clone(), index);
            token = self.next()?;
        }
        if token.is_quoted() {
            if token.kind == (TokenKind::Quoted { closed: false }) {
                let index = self.entries.len();
                self.fault(FaultKind::UnterminatedString, token.span.clone(), index);
                // What seems to be the key may be all the rest of the line.
                return Some(Text { span: token.inner(), quoted: false });
            }
            return Some(Text { span: token.inner(), quoted: true });
        }
        let mut span = token.span;
        while let Some(next) = self.lexer.peek() {
            let part = next.kind == TokenKind::Word || next.is(b'.') || next.is(b'-');
            if !part || next.span.start != span.end {
                break;
            }
            self.next();
            span.end = next.span.end;
        }
        Some(Text { span, quoted: false })
    }

    fn value(&mut self, entry: usize) -> RawValue {
        if self.at_end_of_entry() {
            return RawValue::Missing;
        }
        let Some(first) = self.lexer.peek() else { return RawValue::Missing };
        if is_stray_quote(&first) {
            return self.unterminated(&first, entry);
        }
        if !first.is_quoted() {
            return self.expression(entry);
        }
        if first.kind == (TokenKind::Quoted { closed: false }) {
            self.next();
            self.fault(FaultKind::UnterminatedString, first.span, entry);
            return RawValue::Unknown;
        }
        self.next();
        let value = RawValue::Text(Text { span: first.inner(), quoted: true });
        if self.at_end_of_entry() {
            return value;
        }
        if self.at_entry() {
            if !self.is_at_tag() {
                self.fault(FaultKind::MissingComma, first.span.end..first.span.end, entry);
            }
            return value;
        }
        let Some(next) = self.lexer.peek() else { return value };
        // `'60' ${MORE}`, `'60' {{ more }}`: the value is there, and more may follow it.
        if self.text[next.span.clone()].starts_with(['$', '{', '<']) {
            self.is_open = true;
            self.skip_expression();
            return value;
        }
        if self.cut_unterminated(&first, &next, entry) {
            return RawValue::Unknown;
        }
        self.skip_expression();
        RawValue::Unknown
    }

    /// A value whose closing quote is missing ends with its entry, or with its line.
    fn unterminated(&mut self, quote: &Token, entry: usize) -> RawValue {
        let rest = &self.text[quote.span.end..];
        let end = quote.span.end + rest.find([',', '\n', '\r', ')', ';']).unwrap_or(rest.len());
        self.lexer.seek(end);
        self.end = quote.span.start + self.text[quote.span.start..end].trim_end().len();
        self.fault(FaultKind::UnterminatedString, quote.span.start..self.end, entry);
        RawValue::Unknown
    }

    /// A forgotten closing quote makes a text run on to the next one, with the rest of the clause
    /// glued behind it. Such a text is cut where its entry ended, and reading goes on from there.
    fn cut_unterminated(&mut self, text: &Token, next: &Token, entry: usize) -> bool {
        let is_glued = next.span.start == text.span.end && matches!(next.kind, TokenKind::Word);
        let content = &self.text[text.inner()];
        let Some(cut) =
            content.find([',', '\n', '\r', ')', ';']).filter(|_| is_glued || content.contains('\n'))
        else {
            return false;
        };
        let kept = content[..cut].trim_end().len();
        let start = text.inner().start;
        self.fault(FaultKind::UnterminatedString, text.span.start..start + kept, entry);
        self.end = start + kept;
        self.lexer.seek(start + cut);
        true
    }

    /// A bare value: a number, a word, a call; to the next comma, bracket or entry.
    fn expression(&mut self, entry: usize) -> RawValue {
        let Some(first) = self.lexer.peek() else { return RawValue::Missing };
        let start = first.span.start;
        let mut depth = 0_usize;
        let mut tokens = 0;
        while let Some(token) = self.lexer.peek() {
            let glued = tokens > 0 && token.span.start == self.end;
            match token.kind {
                TokenKind::Symbol(b';') => break,
                TokenKind::Symbol(b',' | b')') if depth == 0 => break,
                TokenKind::Symbol(b'(' | b'[' | b'{') => depth += 1,
                TokenKind::Symbol(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
                TokenKind::Symbol(b'\'' | b'"' | b'`') if is_stray_quote(&token) => {
                    self.fault(FaultKind::UnterminatedString, token.span.clone(), entry);
                    self.next();
                    return RawValue::Unknown;
                }
                // `500', …`: the opening quote is missing, and the closing one opens the rest.
                TokenKind::Quoted { .. } if glued && depth == 0 && self.opens_rest(&token) => {
                    self.fault(FaultKind::UnterminatedString, token.span.start..token.span.start + 1, entry);
                    self.lexer.seek(token.span.start + 1);
                    return RawValue::Unknown;
                }
                TokenKind::Quoted { .. } | TokenKind::Word if depth == 0 && tokens > 0 && !glued => {
                    if self.at_next_statement() {
                        break;
                    }
                    if self.at_entry() {
                        let end = self.end;
                        if !self.is_at_tag() {
                            self.fault(FaultKind::MissingComma, end..end, entry);
                        }
                        break;
                    }
                }
                _ => {}
            }
            self.next();
            tokens += 1;
        }
        self.has_open_value |= depth > 0;
        let span = start..self.end;
        let is_plain =
            self.text[span.clone()].bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-+ ".contains(&b));
        if is_plain { RawValue::Text(Text { span, quoted: false }) } else { RawValue::Unknown }
    }

    /// Whether a quoted text begins as the rest of a clause does.
    fn opens_rest(&self, token: &Token) -> bool {
        let content = self.text[token.inner()].trim_start();
        content.starts_with([',', ')', ';']) || content.is_empty()
    }

    fn skip_expression(&mut self) {
        let faults = self.faults.len();
        self.expression(0);
        self.faults.truncate(faults);
    }
}

/// True for a quote that opens nothing.
fn is_stray_quote(token: &Token) -> bool {
    matches!(token.kind, TokenKind::Symbol(b'\'' | b'"' | b'`'))
}
