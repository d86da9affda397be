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

/// A cursor over a part of a text. Cloning it is how one looks ahead.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether a comment within a comment is one; given up once that leaves a comment without end.
    comments_nest: bool,
    /// Whether a block of a template language may still find its end; given up once one does not.
    templates_end: bool,
    /// How many more dollar quotes without end are searched for to the end of the text.
    dollar_searches: u8,
}

impl<'a> Lexer<'a> {
    /// A lexer over `range` of `text`; spans count from the start of `text`.
    #[must_use]
    pub fn new(text: &'a str, range: Range<usize>) -> Self {
        const DOLLAR_SEARCHES: u8 = 8;
        Self {
            bytes: &text.as_bytes()[..range.end],
            at: range.start,
            comments_nest: true,
            templates_end: true,
            dollar_searches: DOLLAR_SEARCHES,
        }
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
                [b'-', b'-', ..] => self.at += memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()),
                [b'/', b'*', ..] => self.at += self.comment_length(),
                // Comments of a template language, which may hold half a quote.
                [b'{', b'#', tail @ ..] if self.templates_end => {
                    let Some(end) = memmem::find(tail, b"#}") else {
                        self.templates_end = false;
                        return;
                    };
                    self.at += end + 4;
                }
                // Blocks of a template language; what they hold is not SQL.
                [b'{', b'%', tail @ ..] if self.templates_end => {
                    self.templates_end = memmem::find(tail, b"%}").is_some_and(|end| {
                        self.at += end + 4;
                        true
                    });
                    if !self.templates_end {
                        crate::steps::add(tail.len());
                        return;
                    }
                }
                _ => match blank_length(rest) {
                    0 => return,
                    length => self.at += length,
                },
            }
        }
    }

    /// The length of the comment that starts here. Some dialects nest comments and some do not;
    /// where nesting finds no end, the first end is the end.
    fn comment_length(&mut self) -> usize {
        let rest = &self.bytes[self.at..];
        let mut depth = 0_usize;
        let mut at = 0;
        while self.comments_nest {
            match rest[at..] {
                [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
                [b'*', b'/', ..] if depth == 1 => return at + 2,
                [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
                [] => self.comments_nest = false,
                [_, ref tail @ ..] => at += 1 + memchr2(b'/', b'*', tail).unwrap_or(tail.len()),
            }
        }
        memmem::find(&rest[2..], b"*/").map_or(rest.len(), |end| end + 4)
    }

    fn quoted(&self, quote: u8) -> Token {
        let start = self.at;
        let mut from = start + 1;
        while let Some(found) = memchr(quote, &self.bytes[from..]) {
            let end = from + found + 1;
            let next = self.bytes.get(end);
            let is_doubled = next == Some(&quote);
            // Some dialects escape with a backslash; others end a text with one, before a comma.
            let backslashes =
                self.bytes[start + 1..end - 1].iter().rev().take_while(|b| **b == b'\\').count();
            let is_escaped = backslashes % 2 == 1 && next.is_some_and(u8::is_ascii_alphanumeric);
            if !is_doubled && !is_escaped {
                return Token { kind: TokenKind::Quoted { closed: true }, span: start..end };
            }
            from = if is_doubled { end + 1 } else { end };
        }
        crate::steps::add(self.bytes.len() - start);
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

    fn dollar_quoted(&mut self) -> Option<Token> {
        self.dollar_searches.checked_sub(1)?;
        let rest = &self.bytes[self.at..];
        let tag_end = 1 + rest[1..].iter().position(|b| !is_word(*b) || *b == b'$')?;
        let tag = rest[tag_end..].starts_with(b"$").then(|| &rest[..=tag_end])?;
        let Some(found) = memmem::find(&rest[tag.len()..], tag) else {
            crate::steps::add(rest.len());
            self.dollar_searches -= 1;
            return None;
        };
        let end = found + 2 * tag.len();
        Some(Token { kind: TokenKind::DollarQuoted, span: self.at..self.at + end })
    }
}

/// The length of the blank that `rest` starts with: ASCII's, and those that come with pasted text.
fn blank_length(rest: &[u8]) -> usize {
    match rest {
        [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0B => 1,
        // No-break space.
        [0xC2, 0xA0, ..] => 2,
        // Byte order mark, zero-width space, ideographic space.
        [0xEF, 0xBB, 0xBF, ..] | [0xE2, 0x80, 0x8B, ..] | [0xE3, 0x80, 0x80, ..] => 3,
        _ => 0,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

/// The comments of `range` that run to the end of their line, in order.
#[must_use]
pub fn line_comments(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut lexer = Lexer::new(text, range);
    loop {
        let before = lexer.at;
        let token = lexer.next();
        let gap = before..token.as_ref().map_or(lexer.at, |token| token.span.start);
        comments_of_gap(text, gap, &mut found);
        if token.is_none() {
            return found;
        }
    }
}

/// The line comments in a gap between tokens, which is blanks and comments only.
fn comments_of_gap(text: &str, gap: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut lexer = Lexer::new(text, gap);
    while lexer.at < lexer.bytes.len() {
        let rest = &lexer.bytes[lexer.at..];
        let length = match rest {
            [b'-', b'-', ..] => {
                let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                found.push(lexer.at..lexer.at + length);
                length
            }
            [b'/', b'*', ..] => lexer.comment_length(),
            [b'{', b'%', tail @ ..] => memmem::find(tail, b"%}").map_or(rest.len(), |end| end + 4),
            [b'{', b'#', tail @ ..] => memmem::find(tail, b"#}").map_or(rest.len(), |end| end + 4),
            _ => 1,
        };
        lexer.at += length;
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let from = self.at;
        self.skip_blanks_and_comments();
        crate::steps::add(self.at - from + 1);
        let first = *self.bytes.get(self.at)?;
        let dollar_quoted = if first == b'$' { self.dollar_quoted() } else { None };
        let token = match first {
            b'\'' | b'"' | b'`' => self.quoted(first),
            _ if dollar_quoted.is_some() => dollar_quoted?,
            _ if is_word(first) => {
                let rest = &self.bytes[self.at..];
                let mut length = 0;
                while length < rest.len() && is_word(rest[length]) && blank_length(&rest[length..]) == 0 {
                    length += 1;
                }
                Token { kind: TokenKind::Word, span: self.at..self.at + length }
            }
            _ => Token { kind: TokenKind::Symbol(first), span: self.at..self.at + 1 },
        };
        self.at = token.span.end;
        crate::steps::add(token.span.len());
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        Lexer::new(sql, 0..sql.len()).map(|token| &sql[token.span]).collect()
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
    fn comments_nest_where_that_gives_them_an_end() {
        assert_eq!(texts("a /* b /* c */ d */ e"), ["a", "e"]);
        assert_eq!(texts("a /* b /* c */ d"), ["a", "d"]);
    }

    #[test]
    fn a_backslash_escapes_a_quote_only_before_more_of_the_text() {
        assert_eq!(texts("'it\\'s' 'C:\\', 'x'"), ["'it\\'s'", "'C:\\'", ",", "'x'"]);
    }

    #[test]
    fn pasted_blanks_and_template_blocks_are_blanks() {
        assert_eq!(texts("a\u{a0}b {% if x %}c"), ["a", "b", "c"]);
    }

    #[test]
    fn a_dollar_that_opens_nothing_is_part_of_a_word() {
        assert_eq!(texts("$1 ${a} $x$"), ["$1", "$", "{", "a", "}", "$x$"]);
    }
}
