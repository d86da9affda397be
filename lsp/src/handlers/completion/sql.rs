//! A place in a `WITH (…)` clause: what can be written there.

use std::ops::Range;

use velo_lint::lexer::{Lexer, Token, TokenKind};

use super::place::{Place, Slot, Syntax, is_of_key, word};

/// What is expected next in a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Key,
    Sign,
    Value,
    Comma,
}

/// Returns what can be written at `offset` in the clause `clause`, from its `WITH` up to and including its bracket.
pub(super) fn place(text: &str, clause: &Range<usize>, offset: usize) -> Option<Place> {
    let open = clause.start + text[clause.clone()].find('(')? + 1;
    if offset < open || (offset >= clause.end && text[..clause.end].ends_with(')')) {
        return None;
    }
    let end = clause.end.max(offset);
    let mut next = Next::Key;
    let mut key = String::new();
    let mut key_start = open;
    let mut last = open;
    for token in Lexer::new(text, open..end) {
        // In front of a quote, an entry can be inserted.
        let is_at_word = token.span.start == offset && token.kind == TokenKind::Word;
        if token.span.start >= offset && !is_at_word {
            break;
        }
        if offset <= token.span.end && is_part_of_word(&token) {
            return at_token(text, &token, offset, next, key);
        }
        last = token.span.end;
        next = match (next, token.kind) {
            (_, TokenKind::Symbol(b',')) => Next::Key,
            (Next::Sign, TokenKind::Symbol(b'=')) => Next::Value,
            // The parts of a key without quotes.
            (Next::Sign, TokenKind::Symbol(b'.')) => {
                key.push('.');
                Next::Key
            }
            (Next::Key, TokenKind::Word | TokenKind::Quoted { .. }) => {
                if !key.ends_with('.') {
                    key.clear();
                    key_start = token.span.start;
                }
                key += &text[token.inner()];
                Next::Sign
            }
            // Behind a value, and behind what cannot be read.
            _ => Next::Comma,
        };
    }
    if is_in_comment(&text[last..offset]) {
        return None;
    }
    let behind = &text[offset..end];
    match next {
        // `source.` without quotes.
        Next::Key if key.ends_with('.') && last == offset => {
            Some(key_place(text, key, key_start..offset, ("'", "'")))
        }
        Next::Key if key.ends_with('.') => None,
        Next::Key => Some(key_place(text, String::new(), offset..offset, ("'", "'"))),
        Next::Value => {
            // In front of a value there is none to write.
            let rest = behind.trim_start_matches([' ', '\t']);
            let is_next_line =
                rest.is_empty() || rest.starts_with(['\n', '\r', ')', ',', ';', '-', '/', '#']);
            is_next_line.then(|| value_place(text, key, offset..offset, ("'", "'")))
        }
        Next::Sign | Next::Comma => None,
    }
}

fn is_part_of_word(token: &Token) -> bool {
    matches!(token.kind, TokenKind::Word | TokenKind::Quoted { .. })
}

/// What can be written in a token, of which the part before `offset` is written.
fn at_token(text: &str, token: &Token, offset: usize, next: Next, key: String) -> Option<Place> {
    let quote = match token.kind {
        // A text that goes on in the next line lacks its quote: the one there opens another text.
        TokenKind::Quoted { closed } => {
            let is_line = !text[token.inner()].contains('\n');
            Some((&text[token.span.start..=token.span.start], closed && is_line))
        }
        _ => None,
    };
    let inner = token.inner();
    // A text over several lines is seldom one.
    let is_outside = !(inner.start..=inner.end).contains(&offset);
    if quote.is_some() && (is_outside || text[inner.start..offset].contains('\n')) {
        return None;
    }
    match (next, quote) {
        (Next::Key, Some((quote, true))) => {
            let written = text[inner.start..offset].to_owned();
            if follows(text, token.span.end) == Follows::Sign {
                let slot = Slot { close: String::new(), ..slot(inner, "", "") };
                return Some(Place::Key { path: String::new(), written, slot, is_line: false });
            }
            Some(key_place(text, written, inner.start..token.span.end, ("", quote)))
        }
        (Next::Key, quote) => {
            let bytes = word(text, offset, is_of_key);
            // A key without quotes consists of several tokens.
            let start = if quote.is_some() { bytes.start.max(inner.start) } else { bytes.start };
            let bytes = start..bytes.end;
            let quotes = quote.map_or(("'", "'"), |(quote, _)| ("", quote));
            Some(key_place(text, text[bytes.start..offset].to_owned(), bytes, quotes))
        }
        (Next::Value, Some((_, true))) => Some(Place::Value { key, slot: slot(inner, "", "") }),
        (Next::Value, quote) => {
            let is_part = |c| is_of_key(c) || (quote.is_some() && matches!(c, '$' | '{' | '}' | ':'));
            let bytes = word(text, offset, is_part);
            let bytes = bytes.start.max(inner.start)..bytes.end;
            let quotes = quote.map_or(("'", "'"), |(quote, _)| ("", quote));
            Some(value_place(text, key, bytes, quotes))
        }
        (Next::Sign | Next::Comma, _) => None,
    }
}

/// A place for a key between `quotes`, with the sign and the value that are missing, and the comma if another entry follows.
fn key_place(text: &str, written: String, bytes: Range<usize>, (before, close): (&str, &str)) -> Place {
    let is_line = before == "'" && bytes.is_empty();
    let mut after = close.to_owned();
    let follows = follows(text, bytes.end);
    if follows != Follows::Sign {
        after += " = '$0'";
        after += follows.comma();
    }
    let slot = Slot { close: format!("{close}{}", follows.comma()), ..slot(bytes, before, &after) };
    Place::Key { path: String::new(), written, slot, is_line }
}

/// A place for a value between `quotes`, with the comma if another entry follows.
fn value_place(text: &str, key: String, bytes: Range<usize>, (before, after): (&str, &str)) -> Place {
    let after = format!("{after}{}", follows(text, bytes.end).comma());
    Place::Value { key, slot: slot(bytes, before, &after) }
}

/// The next token, comments aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// The sign between a key and its value.
    Sign,
    /// Another entry.
    Entry,
    /// A comma, the end of the clause, or of the text.
    End,
}

impl Follows {
    /// The comma in front of it.
    fn comma(self) -> &'static str {
        if self == Self::Entry { "," } else { "" }
    }
}

fn follows(text: &str, at: usize) -> Follows {
    match Lexer::new(text, at..text.len()).next().map(|token| token.kind) {
        Some(TokenKind::Symbol(b'=')) => Follows::Sign,
        Some(TokenKind::Word | TokenKind::Quoted { .. } | TokenKind::Symbol(b'\'' | b'"' | b'`')) => {
            Follows::Entry
        }
        _ => Follows::End,
    }
}

fn slot(bytes: Range<usize>, before: &str, after: &str) -> Slot {
    Slot {
        bytes,
        before: before.to_owned(),
        after: after.to_owned(),
        close: after.to_owned(),
        syntax: Syntax::Sql,
    }
}

/// True if a comment begins in what lies between two tokens and goes on to its end.
fn is_in_comment(gap: &str) -> bool {
    let line = gap.rsplit('\n').next().unwrap_or(gap);
    let is_block = gap.rfind("/*").is_some_and(|start| !gap[start..].contains("*/"));
    is_block || line.contains("--") || line.contains('#') || line.contains("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of the `|` in a text that is one clause.
    fn at(marked: &str) -> Option<Place> {
        let offset = marked.find('|').expect("a mark");
        let text = marked.replacen('|', "", 1);
        let start = text.find("WITH").expect("a clause");
        let end = text.find(");").map_or(text.trim_end().len(), |end| end + 1);
        place(&text, &(start..end), offset)
    }

    /// The text after `new` was written at the `|`.
    fn after(marked: &str, new: &str) -> Option<String> {
        let text = marked.replacen('|', "", 1);
        let (Place::Key { slot, .. } | Place::Value { slot, .. }) = at(marked)?;
        Some(format!(
            "{}{}{new}{}{}",
            &text[..slot.bytes.start],
            slot.before,
            slot.after,
            &text[slot.bytes.end..]
        ))
    }

    #[test]
    fn a_key_is_written_with_what_it_lacks() {
        for (marked, expected) in [
            ("WITH (|);", "WITH ('K' = '$0');"),
            ("WITH (\n  |", "WITH (\n  'K' = '$0'"),
            ("WITH (ba|);", "WITH ('K' = '$0');"),
            ("WITH (batch.s|i = '5');", "WITH ('K' = '5');"),
            ("WITH ('|');", "WITH ('K' = '$0');"),
            ("WITH ('batch.m|' = '1');", "WITH ('K' = '1');"),
            ("WITH ('batch.m|\n);", "WITH ('K' = '$0'\n);"),
            ("WITH ('a' = 'b', |'c' = 'd');", "WITH ('a' = 'b', 'K' = '$0','c' = 'd');"),
            ("WITH (| 'c' = 'd');", "WITH ('K' = '$0', 'c' = 'd');"),
            ("WITH ('a' = 'b',\n  |\n);", "WITH ('a' = 'b',\n  'K' = '$0'\n);"),
            ("WITH (source.|);", "WITH ('K' = '$0');"),
            ("WITH (source.|\n 'c' = 'd');", "WITH ('K' = '$0',\n 'c' = 'd');"),
            ("WITH (|  a=5);", "WITH ('K' = '$0',  a=5);"),
            ("WITH (| -- why\n 'c' = 'd');", "WITH ('K' = '$0', -- why\n 'c' = 'd');"),
            ("WITH ('ba|' /* x */ = '5');", "WITH ('K' /* x */ = '5');"),
        ] {
            assert_eq!(after(marked, "K").as_deref(), Some(expected), "{marked}");
            assert!(matches!(at(marked), Some(Place::Key { .. })), "{marked}");
        }
    }

    #[test]
    fn a_value_is_written_with_the_quotes_it_lacks() {
        for (marked, expected) in [
            ("WITH ('a' = |);", "WITH ('a' = 'V');"),
            ("WITH ('a' = 'fi|');", "WITH ('a' = 'V');"),
            ("WITH ('a' = 'fi|\n, 'b' = 'c');", "WITH ('a' = 'V'\n, 'b' = 'c');"),
            ("WITH (a = fi|);", "WITH (a = 'V');"),
            ("WITH (source.a = |);", "WITH (source.a = 'V');"),
            ("WITH ('a' = |\n  'b' = 'c');", "WITH ('a' = 'V',\n  'b' = 'c');"),
        ] {
            assert_eq!(after(marked, "V").as_deref(), Some(expected), "{marked}");
            let Some(Place::Value { key, .. }) = at(marked) else { panic!("{marked}") };
            assert!(key == "a" || key == "source.a", "{key}");
        }
    }

    #[test]
    fn the_beginning_of_a_key_has_its_quotes() {
        for (marked, expected) in [
            ("WITH ('|');", "WITH ('source.');"),
            ("WITH ('so|' = '5');", "WITH ('source.' = '5');"),
            ("WITH (so|);", "WITH ('source.');"),
            ("WITH ('a' = 'b', |'c' = 'd');", "WITH ('a' = 'b', 'source.','c' = 'd');"),
        ] {
            let text = marked.replacen('|', "", 1);
            let Some(Place::Key { slot, .. }) = at(marked) else { panic!("{marked}") };
            let (start, end) = (&text[..slot.bytes.start], &text[slot.bytes.end..]);
            assert_eq!(format!("{start}{}source.{}{end}", slot.before, slot.close), expected);
        }
    }

    #[test]
    fn elsewhere_nothing_can_be_written() {
        for marked in [
            "WITH |('a' = 'b');",
            "WI|TH ('a' = 'b');",
            "WITH ('a' |= 'b');",
            "WITH ('a' = 'b' |);",
            "WITH ('a' =|'b');",
            "WITH (source. |);",
            "WITH ('a' = 'b')|;",
            "WITH (-- a|\n);",
            "WITH (/* a| */);",
        ] {
            assert_eq!(at(marked), None, "{marked}");
        }
        let elsewhere = "SELECT COUNT(*) FROM t WITH |('a' = 'b');";
        assert_eq!(at(elsewhere), None);
    }
}
