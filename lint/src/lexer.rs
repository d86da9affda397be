//! Bytes of SQL in, tokens with their byte ranges out. Never fails, never allocates, never looks back.
//!
//! It knows as much SQL as it takes to tell code from strings and comments, in every dialect that
//! streaming SQL is written in; what the code means is the scanner's business.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A bare word or number: letters, digits, `_`, `$`, anything beyond ASCII.
    Word,
    /// `'…'` or `"…"` or `` `…` ``; the quote is the first byte of the token.
    Quoted {
        /// Whether the closing quote is there.
        closed: bool,
    },
    /// `$tag$…$tag$`.
    DollarQuoted,
    /// Any other single byte: punctuation.
    Symbol(u8),
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes, quotes included.
    pub span: Range<usize>,
}

impl Token {
    /// Whether the token is the symbol `byte`.
    #[must_use]
    pub fn is(&self, byte: u8) -> bool {
        self.kind == TokenKind::Symbol(byte)
    }

    /// Whether the token is a quoted text.
    #[must_use]
    pub fn is_quoted(&self) -> bool {
        matches!(self.kind, TokenKind::Quoted { .. })
    }

    /// The bytes between the quotes of a quoted token, else the token itself.
    #[must_use]
    pub fn inner(&self) -> Range<usize> {
        match self.kind {
            TokenKind::Quoted { closed: true } => self.span.start + 1..self.span.end - 1,
            TokenKind::Quoted { closed: false } => self.span.start + 1..self.span.end,
            _ => self.span.clone(),
        }
    }
}

/// Where a quoted text ends that is not closed on its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strings {
    /// At the next quote, over any number of lines, as SQL has it.
    SpanLines,
    /// At the end of the line: how to go on reading after a forgotten quote.
    EndWithLine,
}

/// A cursor over a part of a text. Cloning it is how one looks ahead.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    strings: Strings,
}

impl<'a> Lexer<'a> {
    /// A lexer over `range` of `text`; spans count from the start of `text`.
    #[must_use]
    pub fn new(text: &'a str, range: Range<usize>, strings: Strings) -> Self {
        Self { bytes: &text.as_bytes()[..range.end], at: range.start, strings }
    }

    /// The same place, with another end for texts that are not closed on their line.
    #[must_use]
    pub fn with_strings(self, strings: Strings) -> Self {
        Self { strings, ..self }
    }

    /// Where the next token is looked for.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Goes on at `position`.
    pub fn seek(&mut self, position: usize) {
        self.at = position;
    }

    /// The next token without taking it.
    #[must_use]
    pub fn peek(&self) -> Option<Token> {
        self.clone().next()
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = &self.bytes[self.at..];
            match rest {
                [b'-', b'-', ..] => self.at += memchr(b'\n', rest).unwrap_or(rest.len()),
                [b'/', b'*', tail @ ..] => {
                    self.at += memmem::find(tail, b"*/").map_or(rest.len(), |end| end + 4);
                }
                // The byte order mark, which some editors leave at the start of a file.
                [0xEF, 0xBB, 0xBF, ..] => self.at += 3,
                [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0B => self.at += 1,
                _ => return,
            }
        }
    }

    fn quoted(&self, quote: u8) -> Token {
        let start = self.at;
        let mut from = start + 1;
        let limit = match self.strings {
            Strings::SpanLines => self.bytes.len(),
            Strings::EndWithLine => {
                memchr2(b'\n', b'\r', &self.bytes[start..]).map_or(self.bytes.len(), |end| start + end)
            }
        };
        while let Some(found) = memchr(quote, &self.bytes[from..limit]) {
            let end = from + found + 1;
            if self.bytes.get(end) != Some(&quote) {
                return Token { kind: TokenKind::Quoted { closed: true }, span: start..end };
            }
            from = end + 1; // a doubled quote stands for itself
        }
        let end = self.unclosed_end(start);
        Token { kind: TokenKind::Quoted { closed: false }, span: start..end }
    }

    /// An unclosed text ends with its line, less what most probably stood behind the missing quote.
    fn unclosed_end(&self, start: usize) -> usize {
        let rest = &self.bytes[start + 1..];
        let line = &rest[..memchr2(b'\n', b'\r', rest).unwrap_or(rest.len())];
        let kept = line.iter().rposition(|b| !matches!(b, b' ' | b'\t' | b',' | b')' | b';'));
        start + 1 + kept.map_or(0, |last| last + 1)
    }

    fn dollar_quoted(&self) -> Option<Token> {
        let rest = &self.bytes[self.at..];
        let tag_end = 1 + rest[1..].iter().position(|b| !is_word(*b) || *b == b'$')?;
        let tag = rest[tag_end..].starts_with(b"$").then(|| &rest[..=tag_end])?;
        let end = memmem::find(&rest[tag.len()..], tag)? + 2 * tag.len();
        Some(Token { kind: TokenKind::DollarQuoted, span: self.at..self.at + end })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blanks_and_comments();
        let first = *self.bytes.get(self.at)?;
        let dollar_quoted = if first == b'$' { self.dollar_quoted() } else { None };
        let token = match first {
            b'\'' | b'"' | b'`' => self.quoted(first),
            _ if dollar_quoted.is_some() => dollar_quoted?,
            _ if is_word(first) => {
                let rest = &self.bytes[self.at..];
                let length = rest.iter().position(|b| !is_word(*b)).unwrap_or(rest.len());
                Token { kind: TokenKind::Word, span: self.at..self.at + length }
            }
            _ => Token { kind: TokenKind::Symbol(first), span: self.at..self.at + 1 },
        };
        self.at = token.span.end;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        Lexer::new(sql, 0..sql.len(), Strings::SpanLines).map(|token| &sql[token.span]).collect()
    }

    #[test]
    fn strings_and_comments_hide_what_they_hold() {
        assert_eq!(
            texts("a -- 'b'\n/* \"c */ 'd;''e' \"f\" `g` $x$ 'h' $x$ 1.5"),
            ["a", "'d;''e'", "\"f\"", "`g`", "$x$ 'h' $x$", "1", ".", "5"]
        );
    }

    #[test]
    fn a_text_that_is_never_closed_ends_with_its_line() {
        assert_eq!(texts("'a = b,\nc"), ["'a = b", ",", "c"]);
        assert_eq!(texts("'"), ["'"]);
        assert_eq!(texts("/* open"), Vec::<&str>::new());
    }

    #[test]
    fn a_dollar_that_opens_nothing_is_part_of_a_word() {
        assert_eq!(texts("$1 ${a} $x$"), ["$1", "$", "{", "a", "}", "$x$"]);
    }
}
