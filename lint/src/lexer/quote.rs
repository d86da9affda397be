//! One quoted text: where it ends, by the dialect that its own bytes speak.

use memchr::{memchr, memmem, memrchr};

use super::{Lexer, Other, Token, TokenKind, is_word, line_length};

/// Marks between which a template language prints a value; quotes in between are its own.
const PRINTED: &[(&[u8], &[u8])] =
    &[(b"{{", b"}}"), (b"{%", b"%}"), (b"<%", b"%>"), (b"${", b"}"), (b"#{", b"}")];

impl Lexer<'_> {
    /// The quoted text that begins here, or its quote alone if that opens nothing.
    pub(super) fn quoted(&mut self, quote: u8) -> Token {
        let start = self.at;
        let other = self.others.binary_search_by_key(&start, |(at, _)| *at).map(|index| self.others[index].1);
        if other == Ok(Other::Stray) || (quote == b'\'' && self.is_contraction()) {
            return self.symbol(quote);
        }
        let end = if other == Ok(Other::Escapes) || self.has_escapes() {
            self.escaped_end(quote)
        } else {
            self.raw_end(quote).or_else(|| self.plain_end(quote))
        };
        if let Some(end) = end {
            return Token { kind: TokenKind::Quoted { closed: true }, span: start..end };
        }
        crate::steps::add(self.bytes.len() - start);
        Token { kind: TokenKind::Quoted { closed: false }, span: start..self.unclosed_end(start) }
    }

    /// True for the apostrophe of `don't` and `it's`: no text begins like that.
    fn is_contraction(&self) -> bool {
        let before = &self.bytes[..self.at];
        let rest = &self.bytes[self.at + 1..];
        let length = rest.iter().take(3).take_while(|byte| is_word(**byte)).count();
        let endings: [&[u8]; 7] = [b"t", b"s", b"d", b"m", b"re", b"ve", b"ll"];
        let ends_word =
            rest.get(length).is_none_or(|byte| byte.is_ascii_whitespace() || b",.;:!?)".contains(byte));
        endings.contains(&&rest[..length]) && ends_word && ends_in_word(before)
    }

    /// The letters that stand before a quote, if they are all of a word.
    fn prefix(&self) -> &[u8] {
        const LONGEST: usize = 3;
        let before = &self.bytes[..self.at];
        let length = before.iter().rev().take(LONGEST).take_while(|byte| is_word(**byte)).count();
        &before[before.len() - length..]
    }

    /// True for `E'…'`, `r'…'` and `rb'…'`, in which a backslash always keeps the next byte.
    fn has_escapes(&self) -> bool {
        let prefixes: [&[u8]; 4] = [b"e", b"r", b"rb", b"br"];
        prefixes.iter().any(|prefix| self.prefix().eq_ignore_ascii_case(prefix))
    }

    /// The end of `q'[…]'` or `nq'[…]'`, as Oracle writes them.
    fn raw_end(&self, quote: u8) -> Option<usize> {
        let is_raw = [b"q".as_slice(), b"nq"].iter().any(|known| self.prefix().eq_ignore_ascii_case(known));
        let open = *self.bytes.get(self.at + 1).filter(|_| quote == b'\'' && is_raw)?;
        let close = match open {
            b'[' => b']',
            b'(' => b')',
            b'{' => b'}',
            b'<' => b'>',
            other if !is_word(other) && !other.is_ascii_whitespace() && other != b'\'' => other,
            _ => return None,
        };
        let from = self.at + 2;
        let found = memmem::find(&self.bytes[from..], &[close, quote]);
        crate::steps::add(found.unwrap_or(0));
        found.map(|found| from + found + 2)
    }

    /// The end of a text in which a backslash always keeps the next byte.
    fn escaped_end(&self, quote: u8) -> Option<usize> {
        let mut from = self.at + 1;
        while let Some(found) = memchr(quote, self.bytes.get(from..)?) {
            let end = from + found + 1;
            let is_doubled = self.bytes.get(end) == Some(&quote);
            if self.backslashes(end - 1) % 2 == 1 {
                from = end;
            } else if is_doubled {
                from = end + 1;
            } else {
                return Some(end);
            }
        }
        None
    }

    /// How many backslashes of the text stand directly before `at`.
    fn backslashes(&self, at: usize) -> usize {
        self.bytes[self.at + 1..at].iter().rev().take_while(|byte| **byte == b'\\').count()
    }

    /// The end of a text whose dialect is not known. Some escape with a backslash; others end a text
    /// with one, before a comma.
    fn plain_end(&self, quote: u8) -> Option<usize> {
        let mut from = self.at + 1;
        let mut is_escaping = false;
        while let Some(found) = memchr(quote, self.bytes.get(from..)?) {
            let end = from + found + 1;
            let next = self.bytes.get(end);
            let is_doubled = next == Some(&quote);
            let has_backslash = self.backslashes(end - 1) % 2 == 1;
            is_escaping |= has_backslash && is_doubled;
            let is_escaped = has_backslash && next.is_some_and(u8::is_ascii_alphanumeric);
            if is_doubled || is_escaped {
                from = if is_doubled { end + 1 } else { end };
            } else if let Some(printed) = self.printed_end(end - 1) {
                from = printed;
            } else {
                return Some(self.unglued_end(quote, end, is_escaping));
            }
        }
        is_escaping.then(|| self.escaped_end(quote)).flatten()
    }

    /// The end of what a template prints within this text on one line, if `at` lies in it.
    fn printed_end(&self, at: usize) -> Option<usize> {
        const LONGEST: usize = 256;
        let content = &self.bytes[(self.at + 1).max(at.saturating_sub(LONGEST))..at];
        let line = content.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let last = memrchr(b'{', line).into_iter().chain(memrchr(b'%', line)).max()?;
        let (_, close) = PRINTED.iter().find(|(open, _)| line[..=last].ends_with(open))?;
        let inside = &line[last + 1..];
        let is_open = !inside.trim_ascii().is_empty() && memmem::find(inside, close).is_none();
        let rest = &self.bytes[at..self.bytes.len().min(at + LONGEST)];
        let end = memmem::find(&rest[..line_length(rest)], close).filter(|_| is_open)?;
        Some(at + end + close.len())
    }

    /// A closing quote that is glued to a word is next to never SQL. If a backslash escapes a quote, or
    /// three quotes delimit the text, and that gives it an end which is not glued, it is taken.
    fn unglued_end(&self, quote: u8, end: usize, is_escaping: bool) -> usize {
        let is_glued = |end: usize| self.bytes.get(end).is_some_and(|byte| is_word(*byte) || *byte == b'\\');
        let escaped = || self.escaped_end(quote).filter(|_| is_escaping);
        // `'\''` on one line is a text of its own before it is the beginning of one over several lines.
        let has_lines = |end: usize| memchr(b'\n', &self.bytes[self.at..end]).is_some();
        if is_escaping && has_lines(end) {
            return escaped().filter(|other| !has_lines(*other)).unwrap_or(end);
        }
        if !is_glued(end) {
            return end;
        }
        let three = [quote; 3];
        let tripled = || {
            let content = self.bytes[self.at..].strip_prefix(&three)?;
            let found = memmem::find(content, &three);
            crate::steps::add(found.unwrap_or(0));
            found.map(|found| self.at + found + 6)
        };
        escaped().or_else(tripled).filter(|other| !is_glued(*other)).unwrap_or(end)
    }

    /// An unclosed text ends with its line, less what most probably stood behind the missing quote.
    fn unclosed_end(&self, start: usize) -> usize {
        let rest = &self.bytes[start + 1..];
        let line = &rest[..line_length(rest)];
        let kept = line.iter().rposition(|b| !matches!(b, b' ' | b'\t' | b',' | b')' | b';'));
        start + 1 + kept.map_or(0, |last| last + 1)
    }

    /// `[O'Brien]`: a name in brackets with half a quote in it. Other brackets are punctuation.
    pub(super) fn bracketed(&self) -> Option<Token> {
        const LONGEST: usize = 128;
        let rest = &self.bytes[self.at + 1..];
        let is_of_name = |byte: &u8| is_word(*byte) || b" '-.&#\"`".contains(byte);
        let length = rest.iter().take(LONGEST).take_while(|byte| is_of_name(byte)).count();
        let name = &rest[..length];
        let is_half = |quote: u8| name.iter().fold(false, |is_half, byte| is_half ^ (*byte == quote));
        let is_name = rest.get(length) == Some(&b']')
            && name.first().is_some_and(|first| is_word(*first))
            && b"'\"`".iter().any(|quote| is_half(*quote));
        let span = self.at..self.at + length + 2;
        is_name.then_some(Token { kind: TokenKind::Quoted { closed: true }, span })
    }
}

/// True if `before` ends in a word; the prefix of a string is none.
pub(super) fn ends_in_word(before: &[u8]) -> bool {
    const PREFIXES: &[&str] =
        &["e", "n", "b", "x", "u", "r", "q", "nq", "rb", "br", "date", "time", "timestamp", "interval"];
    let length = before.iter().rev().take(10).take_while(|byte| is_word(**byte)).count();
    let word = &before[before.len() - length..];
    length > 0 && !PREFIXES.iter().any(|prefix| word.eq_ignore_ascii_case(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        Lexer::new(sql, 0..sql.len()).map(|token| &sql[token.span]).collect()
    }

    #[test]
    fn a_backslash_escapes_a_quote_only_before_more_of_the_text() {
        assert_eq!(texts("'it\\'s' 'C:\\', 'x'"), ["'it\\'s'", "'C:\\'", ",", "'x'"]);
        assert_eq!(texts("'\\'' AS a, 'b'"), ["'\\''", "AS", "a", ",", "'b'"]);
        assert_eq!(
            texts("'10\\%' ESCAPE '\\' WITH ('k')"),
            ["'10\\%'", "ESCAPE", "'\\'", "WITH", "(", "'k'", ")"]
        );
    }

    #[test]
    fn strings_of_every_dialect_end_where_they_do() {
        assert_eq!(texts("E'a\\' b' c"), ["E", "'a\\' b'", "c"]);
        assert_eq!(texts("q'[it's]' a nq'!don't!' b"), ["q", "'[it's]'", "a", "nq", "'!don't!'", "b"]);
        assert_eq!(texts("'''it's''' a"), ["'''it's'''", "a"]);
        assert_eq!(texts("\"\"\"say \"x\" now\"\"\" a"), ["\"\"\"say \"x\" now\"\"\"", "a"]);
        assert_eq!(texts("'''' a '''x'' y' b"), ["''''", "a", "'''x'' y'", "b"]);
        assert_eq!(texts("[O'Brien] a ['x', 'y']"), ["[O'Brien]", "a", "[", "'x'", ",", "'y'", "]"]);
    }

    #[test]
    fn an_apostrophe_of_english_opens_nothing() {
        assert_eq!(
            texts("don't, it's we'll 'x'"),
            ["don", "'", "t", ",", "it", "'", "s", "we", "'", "ll", "'x'"]
        );
        assert_eq!(texts("N't ' AS'x' a='s'"), ["N", "'t '", "AS", "'x'", "a", "=", "'s'"]);
    }

    #[test]
    fn quotes_of_a_template_are_its_own() {
        assert_eq!(texts("'{{ var('size', 5) }}' a"), ["'{{ var('size', 5) }}'", "a"]);
        assert_eq!(texts("'<%= ENV['X'] %>ms' a"), ["'<%= ENV['X'] %>ms'", "a"]);
        assert_eq!(texts("('{{', '}}') a"), ["(", "'{{'", ",", "'}}'", ")", "a"]);
    }
}
