//! Comments and commands that run to the end of their line: `#`, `//`, `\echo`, `REM`.
//!
//! Each of these marks is an operator or a name elsewhere. A mark that may be either counts as a comment
//! unless that would hide a clause.

use super::{Lexer, blank_length, is_word, line_length};

/// A clause further behind on the line is not looked for.
const NEAR: usize = 256;

impl Lexer<'_> {
    /// The length of the comment or client command that begins here; `None` if there is none.
    pub(super) fn remark_length(&mut self) -> Option<usize> {
        let rest = &self.bytes[self.at..];
        let before = &self.bytes[..self.at];
        let blank = before.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let before = &before[..before.len() - blank];
        let begins_line = before.is_empty() || before.ends_with(b"\n") || before.ends_with(b"\r");
        let begins_line = begins_line || before.ends_with("\u{feff}".as_bytes());
        let is_apart = begins_line || blank > 0 || before.ends_with(b";");
        let (is_comment, is_certain) = match rest {
            [b'#', b'>' | b'[' | b'{', ..] => (false, false),
            [b'#', next, ..] if begins_line => (!(is_word(*next) && names_a_table(before)), true),
            [b'#', next, ..] => {
                let is_apart = is_apart || before.ends_with(b",") || before.ends_with(b"(");
                let is_spaced = next.is_ascii_whitespace() || *next == b'#';
                (is_apart && (is_spaced || before.ends_with(b";")), false)
            }
            [b'#'] => (true, true),
            [b'/', b'/', ..] => (begins_line || (is_apart && !before.ends_with(b":")), begins_line),
            [b'\\', next, ..] => (is_apart && (next.is_ascii_alphabetic() || *next == b'!'), begins_line),
            [b'.' | b'!', next, ..] => (self.is_fresh && begins_line && next.is_ascii_alphabetic(), true),
            _ => (self.is_fresh && begins_line && is_client_word(rest), true),
        };
        if !is_comment || self.at < self.clause_ahead {
            return None;
        }
        let is_certain =
            is_certain || before.ends_with(b",") || before.ends_with(b";") || before.ends_with(b"(");
        let near = &rest[..rest.len().min(NEAR)];
        let line = &near[..line_length(near)];
        crate::steps::add(line.len());
        if !is_certain && let Some(clause) = opening(line) {
            self.clause_ahead = self.at + clause;
            return None;
        }
        let length = line_length(rest);
        crate::steps::add(length);
        Some(length)
    }
}

/// Words that begin a command of `SQL*Plus` and its relatives, whose rest of the line is free text.
fn is_client_word(rest: &[u8]) -> bool {
    let length = rest.iter().take_while(|byte| is_word(**byte)).count();
    let known: [&[u8]; 3] = [b"rem", b"remark", b"prompt"];
    known.iter().any(|word| rest[..length].eq_ignore_ascii_case(word))
        && rest.get(length).is_none_or(u8::is_ascii_whitespace)
}

/// True if what comes next is the name of a table, as `#temporary` is one.
fn names_a_table(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    let length = before.iter().rev().take_while(|byte| is_word(**byte)).count();
    let word = &before[before.len() - length..];
    let known: [&[u8]; 5] = [b"from", b"join", b"into", b"table", b"update"];
    let line = before.rsplit(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    // The word of a comment says nothing.
    let is_comment = line.windows(2).any(|pair| pair == b"--") || line.contains(&b'#');
    !is_comment && (before.ends_with(b".") || known.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// Where `WITH (` stands in `text`: the offset of its `WITH`.
pub(super) fn opening(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'(', &text[from..]) {
        let open = from + found;
        if let Some(with) = with_before(text, open) {
            return Some(with);
        }
        from = open + 1;
    }
    None
}

/// Where the `WITH` before the bracket at `open` begins.
pub(super) fn with_before(text: &[u8], open: usize) -> Option<usize> {
    let before = text[..open].trim_ascii_end();
    let start = before.len().checked_sub(4)?;
    let is_with = before[start..].eq_ignore_ascii_case(b"with");
    let is_whole = start == 0 || !is_word(before[start - 1]) || blank_length(&before[start - 1..]) > 0;
    (is_with && is_whole).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(sql: &str) -> Vec<&str> {
        Lexer::new(sql, 0..sql.len()).map(|token| &sql[token.span]).collect()
    }

    #[test]
    fn comments_of_every_dialect_hide_their_apostrophes() {
        for text in [
            "a # don't\nb",
            "a\n# don't\nb",
            "a\n  #don't\nb",
            "a // don't\nb",
            "a\n//don't\nb",
            "a\n\\echo don't\nb",
            "a \\gexec don't\nb",
        ] {
            assert_eq!(words(text), ["a", "b"], "{text}");
        }
        for text in
            ["REM don't\nb", "prompt don't\nb", ".print don't\nb", "!sh echo don't\nb", "#!/bin/x 'y\nb"]
        {
            assert_eq!(words(text), ["b"], "{text}");
            assert_eq!(words(&format!("a;\n{text}")), ["a", ";", "b"], "{text}");
        }
    }

    #[test]
    fn operators_and_names_are_none() {
        for text in [
            "a #> 'b'",
            "a\n  #>> 'b'",
            "a #- b",
            "x.#t",
            "kafka://t",
            "a/b",
            "p\\q",
            "x rem 1",
            "a.b",
            "a != b",
        ] {
            assert!(words(text).len() >= 3, "{text}: {:?}", words(text));
        }
        assert_eq!(words("a FROM\n  #tmp t"), ["a", "FROM", "#", "tmp", "t"]);
        assert_eq!(words("a\n rem b"), ["a", "rem", "b"], "in the middle of a statement");
    }

    #[test]
    fn an_operator_does_not_hide_a_clause() {
        assert_eq!(words("a # b WITH ('k')"), ["a", "#", "b", "WITH", "(", "'k'", ")"]);
        assert_eq!(words("a; # b WITH ('k')"), ["a", ";"]);
        assert_eq!(words("a // b with ('k')").len(), 8);
    }

    #[test]
    fn an_opening_is_a_whole_word_and_a_bracket() {
        assert_eq!(opening(b"x wItH  ("), Some(2));
        for none in ["swith (", "with x (", "(", "with"] {
            assert_eq!(opening(none.as_bytes()), None, "{none}");
        }
    }
}
