//! Bytes of SQL in, tokens with their byte ranges out. Never fails, never looks back.
//!
//! Knows as much SQL as it takes to tell code from strings and comments, in every dialect that streaming
//! SQL is written in: comments of four kinds, client commands, escapes, raw and triple-quoted strings,
//! bracketed names, template tags. If a quote can be read in two ways, [`Reading`] decides which one.

mod line;
mod quote;
mod reading;
mod split;

use std::ops::Range;

use memchr::{memchr2, memmem};

use crate::template::{self, Endless, Tag, TagKind};

pub use reading::{Other, Reading};
pub use split::piece;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A bare word or number: letters, digits, `_`, `$`, anything beyond ASCII.
    Word,
    /// `'…'`, `"…"`, `` `…` `` or `[…]`; the quote is the first byte of the token.
    Quoted {
        /// True if the closing quote is there.
        closed: bool,
    },
    /// `$tag$…$tag$`.
    DollarQuoted,
    /// Any other single byte: punctuation.
    Symbol(u8),
}

/// A token and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes, quotes included.
    pub span: Range<usize>,
}

impl Token {
    /// True if the token is the symbol `byte`.
    #[must_use]
    pub fn is(&self, byte: u8) -> bool {
        self.kind == TokenKind::Symbol(byte)
    }

    /// True if the token is a quoted text.
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

/// A cursor over a part of a text. Clone it to look ahead.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Quotes that have another meaning than the obvious one, in order.
    others: &'a [(usize, Other)],
    /// True if a statement can begin here.
    is_fresh: bool,
    /// A clause that begins behind here on the same line; up to it, nothing is a comment by guess.
    clause_ahead: usize,
    /// Where the last tag that prints something ends; within it there are no others.
    printed_end: usize,
    searches: Searches,
}

/// What is still searched for to the end of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Searches {
    /// True if a comment within a comment is one; given up once that leaves a comment without end.
    comments_nest: bool,
    /// How many more template tags without end are searched for.
    tags: u8,
    /// How many more dollar quotes without end are searched for.
    dollars: u8,
}

/// What lies between two tokens.
struct Gap {
    length: usize,
    is_line_comment: bool,
}

impl<'a> Lexer<'a> {
    /// A lexer over `range` of `text` that takes every quote at its face value; spans count from the
    /// start of `text`.
    #[must_use]
    pub fn new(text: &'a str, range: Range<usize>) -> Self {
        const SEARCHES: u8 = 8;
        Self {
            bytes: &text.as_bytes()[..range.end],
            at: range.start,
            others: &[],
            is_fresh: true,
            clause_ahead: 0,
            printed_end: 0,
            searches: Searches { comments_nest: true, tags: SEARCHES, dollars: SEARCHES },
        }
    }

    /// The same with the quotes as `reading` has them.
    #[must_use]
    pub fn with(text: &'a str, range: Range<usize>, reading: &'a Reading) -> Self {
        Self { others: reading.others(), ..Self::new(text, range) }
    }

    /// Where the next token is looked for.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Goes on at `position`.
    pub fn seek(&mut self, position: usize) {
        self.at = position;
        self.is_fresh = false;
    }

    /// The next token without taking it.
    #[must_use]
    pub fn peek(&self) -> Option<Token> {
        self.clone().next()
    }

    /// The blank, the comment or the tag that comes next.
    fn gap(&mut self) -> Option<Gap> {
        let rest = &self.bytes[self.at..];
        let first = *rest.first()?;
        if CLASSES[usize::from(first)] == Class::Word && !self.is_fresh {
            return None;
        }
        let blank = blanks_length(rest);
        let (length, is_line_comment) = match rest {
            _ if blank > 0 => (blank, false),
            [b'-', b'-', ..] => (line_length(rest), true),
            [b'/', b'*', ..] => (self.comment_length()?, false),
            [b'{' | b'<', ..] => (self.tag_length(rest)?, false),
            [b'#', ..] | [b'/', b'/', ..] => (self.remark_length()?, true),
            [b'\\' | b'.' | b'!', ..] => (self.remark_length()?, false),
            _ if self.is_fresh && first.is_ascii_alphabetic() => (self.remark_length()?, false),
            _ => return None,
        };
        self.at += length;
        crate::steps::add(length);
        Some(Gap { length, is_line_comment })
    }

    /// The length of a template tag that prints nothing: its content is not SQL.
    fn tag_length(&mut self, rest: &[u8]) -> Option<usize> {
        if self.at < self.printed_end || self.searches.tags == 0 {
            return None;
        }
        match template::tag(rest)? {
            Ok(Tag { kind: TagKind::Output, length }) => {
                self.printed_end = self.at + length;
                None
            }
            Ok(tag) => Some(tag.length),
            Err(Endless) => {
                self.searches.tags -= 1;
                None
            }
        }
    }

    /// The length of the comment that starts here. Some dialects nest comments and some do not; if
    /// nesting finds no end, the first end is the end. `None` if `/*` only ends a path, as in
    /// `s3://bucket/*`.
    fn comment_length(&mut self) -> Option<usize> {
        let rest = &self.bytes[self.at..];
        let mut depth = 0_usize;
        let mut at = 0;
        while self.searches.comments_nest {
            match rest[at..] {
                [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
                [b'*', b'/', ..] if depth == 1 => return Some(at + 2),
                [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
                [] => {
                    crate::steps::add(rest.len());
                    self.searches.comments_nest = false;
                }
                [_, ref tail @ ..] => at += 1 + memchr2(b'/', b'*', tail).unwrap_or(tail.len()),
            }
        }
        let end = memmem::find(&rest[2..], b"*/").map(|end| end + 4);
        let before = self.at.checked_sub(1).map(|before| self.bytes[before]);
        let ends_path = before.is_some_and(|byte| is_word(byte) || byte == b'/');
        if end.is_none() && ends_path { None } else { Some(end.unwrap_or(rest.len())) }
    }

    fn dollar_quoted(&mut self) -> Option<Token> {
        self.searches.dollars.checked_sub(1)?;
        let rest = &self.bytes[self.at..];
        let tag_end = 1 + rest[1..].iter().position(|b| !is_word(*b) || *b == b'$')?;
        let tag = rest[tag_end..].starts_with(b"$").then(|| &rest[..=tag_end])?;
        let Some(found) = memmem::find(&rest[tag.len()..], tag) else {
            crate::steps::add(rest.len());
            self.searches.dollars -= 1;
            return None;
        };
        let end = found + 2 * tag.len();
        Some(Token { kind: TokenKind::DollarQuoted, span: self.at..self.at + end })
    }

    fn word(&self) -> Token {
        let rest = &self.bytes[self.at..];
        let mut length = 0;
        while let Some(byte) = rest.get(length) {
            match CLASSES[usize::from(*byte)] {
                Class::Word => {}
                Class::WordOrBlank if blank_length(&rest[length..]) == 0 => {}
                _ => break,
            }
            length += 1;
        }
        Token { kind: TokenKind::Word, span: self.at..self.at + length }
    }

    fn token(&mut self) -> Option<Token> {
        let first = *self.bytes.get(self.at)?;
        let dollar_quoted = if first == b'$' { self.dollar_quoted() } else { None };
        let token = match first {
            b'\'' | b'"' | b'`' => self.quoted(first),
            b'[' => self.bracketed().unwrap_or(self.symbol(first)),
            _ if dollar_quoted.is_some() => dollar_quoted?,
            _ if is_word(first) => self.word(),
            _ => self.symbol(first),
        };
        self.at = token.span.end;
        // A line with nothing but `/` ends a statement, too.
        self.is_fresh = matches!(first, b';' | b'/');
        crate::steps::add(token.span.len());
        Some(token)
    }

    fn symbol(&self, byte: u8) -> Token {
        Token { kind: TokenKind::Symbol(byte), span: self.at..self.at + 1 }
    }
}

/// The length of the line that `rest` begins in, without its end.
fn line_length(rest: &[u8]) -> usize {
    memchr2(b'\n', b'\r', rest).unwrap_or(rest.len())
}

/// What a byte can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A word, or it goes on in one.
    Word,
    /// The same, or a blank of several bytes.
    WordOrBlank,
    /// A blank of ASCII.
    Blank,
    Other,
}

static CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0_u8;
    loop {
        classes[byte as usize] = match byte {
            0xC2 | 0xE2 | 0xE3 | 0xEF => Class::WordOrBlank,
            b'_' | b'$' | 0x80.. => Class::Word,
            _ if byte.is_ascii_alphanumeric() => Class::Word,
            0x0B => Class::Blank,
            _ if byte.is_ascii_whitespace() => Class::Blank,
            _ => Class::Other,
        };
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

/// The length of all blanks that `rest` starts with.
fn blanks_length(rest: &[u8]) -> usize {
    let ascii = rest.iter().take_while(|byte| CLASSES[usize::from(**byte)] == Class::Blank).count();
    if ascii > 0 { ascii } else { blank_length(rest) }
}

/// The length of the blank that `rest` starts with: ASCII's, and those that come with pasted text.
fn blank_length(rest: &[u8]) -> usize {
    match rest {
        [byte, ..] if CLASSES[usize::from(*byte)] == Class::Blank => 1,
        // No-break space.
        [0xC2, 0xA0, ..] => 2,
        // Byte order mark, zero-width space, ideographic space.
        [0xEF, 0xBB, 0xBF, ..] | [0xE2, 0x80, 0x8B, ..] | [0xE3, 0x80, 0x80, ..] => 3,
        _ => 0,
    }
}

fn is_word(byte: u8) -> bool {
    matches!(CLASSES[usize::from(byte)], Class::Word | Class::WordOrBlank)
}

/// The comments of `range` that run to the end of their line, in order.
#[must_use]
pub fn line_comments(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let reading = Reading::of(text, range.clone());
    let mut found = Vec::new();
    let mut lexer = Lexer::with(text, range, &reading);
    loop {
        while let Some(gap) = lexer.gap() {
            if gap.is_line_comment {
                found.push(lexer.at - gap.length..lexer.at);
            }
        }
        if lexer.token().is_none() {
            return found;
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        while self.gap().is_some() {}
        crate::steps::add(1);
        self.token()
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
    fn a_path_does_not_begin_a_comment() {
        assert_eq!(texts("s3/x/* a"), ["s3", "/", "x", "/", "*", "a"]);
        assert_eq!(texts("a/* b */ c"), ["a", "c"]);
    }

    #[test]
    fn pasted_blanks_and_template_blocks_are_blanks() {
        assert_eq!(texts("a\u{a0}b {% if x %}c"), ["a", "b", "c"]);
        assert_eq!(texts("a {{- if .Live }} b {{ else }} c {{ end }}<% if x %>d"), ["a", "b", "c", "d"]);
        assert_eq!(texts("a {{/* it's */}} b {# it's #}"), ["a", "b"]);
        assert_eq!(texts("{{ x }}"), ["{", "{", "x", "}", "}"]);
    }

    #[test]
    fn a_dollar_that_opens_nothing_is_part_of_a_word() {
        assert_eq!(texts("$1 ${a} $x$"), ["$1", "$", "{", "a", "}", "$x$"]);
    }
}
