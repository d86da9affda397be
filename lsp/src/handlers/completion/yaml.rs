//! A place in a YAML or JSON text: what can be written there.

use std::ops::Range;

use super::place::{Place, Slot, Syntax, is_of_key, word};

/// Returns what can be written at `offset`.
pub(super) fn place(text: &str, offset: usize) -> Option<Place> {
    match brackets(text, offset)? {
        around if !around.opened.is_empty() => in_brackets(text, offset, &around),
        _ => in_lines(text, offset),
    }
}

/// The brackets around a place.
struct Around {
    /// Where each open `{` or `[` stands.
    opened: Vec<usize>,
    /// Where the entry begins: after the last comma or bracket.
    entry: usize,
    /// Where its colon stands.
    colon: Option<usize>,
}

/// Finds the brackets around a place. Returns `None` in a comment.
fn brackets(text: &str, offset: usize) -> Option<Around> {
    let mut around = Around { opened: Vec::new(), entry: 0, colon: None };
    let mut quote = None;
    let (mut is_comment, mut is_escaped) = (false, false);
    let mut before = '\n';
    for (at, c) in text[..offset].char_indices() {
        // In block scalars and plain texts, quotes and brackets mean nothing; those open a value.
        let opens = before.is_whitespace() || matches!(before, '{' | '[' | ',' | ':');
        match (quote, c) {
            _ if is_comment => is_comment = c != '\n',
            (Some('"'), '\\') if !is_escaped => {
                is_escaped = true;
                before = c;
                continue;
            }
            (Some(open), _) if c == open && !is_escaped => quote = None,
            // A text without end ends with its line.
            (Some(_), '\n') => quote = None,
            (None, '"' | '\'') if opens => quote = Some(c),
            (None, '#') if before.is_whitespace() => is_comment = true,
            (None, '{' | '[') if opens => {
                around.opened.push(at);
                (around.entry, around.colon) = (at + 1, None);
            }
            (None, '}' | ']') => drop(around.opened.pop()),
            (None, ',') => (around.entry, around.colon) = (at + 1, None),
            (None, ':') if around.colon.is_none() => around.colon = Some(at),
            _ => {}
        }
        is_escaped = false;
        before = c;
    }
    (!is_comment).then_some(around)
}

/// Returns true if a place is in `{…}` or `[…]`.
pub(super) fn is_in_brackets(text: &str, offset: usize) -> bool {
    brackets(text, offset).is_some_and(|around| !around.opened.is_empty())
}

/// A place in a mapping that is written with lines and indents.
fn in_lines(text: &str, offset: usize) -> Option<Place> {
    let start = text[..offset].rfind('\n').map_or(0, |end| end + 1);
    let line = &text[start..offset];
    let indent = line.len() - line.trim_start_matches(' ').len();
    let path = path_above(&text[..start], indent);
    if let Some((key, value)) = split(line) {
        let bytes = value_bytes(text, offset, start + line.len() - value.len());
        let before = if text[..bytes.start].ends_with(':') { " " } else { "" };
        return Some(Place::Value {
            key: format!("{path}{key}"),
            slot: slot(bytes, before, "", Syntax::Yaml),
        });
    }
    let (written, quote) = without_quote(&line[indent..]);
    if !written.chars().all(is_of_key) {
        return None;
    }
    let (bytes, after) = rest_of_key(text, offset, quote);
    let is_line = bytes.is_empty() && path.is_empty() && quote.is_none();
    let slot = slot(bytes, "", &after, Syntax::Yaml);
    Some(Place::Key { path, written: written.to_owned(), slot, is_line })
}

/// A text without the quote that it begins with, and the quote.
fn without_quote(text: &str) -> (&str, Option<char>) {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    (&text[quote.map_or(0, char::len_utf8)..], quote)
}

/// The bytes of the key around `offset`, with its closing quote if it has no value, and the text after the new one.
fn rest_of_key(text: &str, offset: usize, quote: Option<char>) -> (Range<usize>, String) {
    let mut bytes = word(text, offset, is_of_key);
    let closing = quote.filter(|quote| text[bytes.end..].starts_with(*quote));
    let behind = text[bytes.end + closing.map_or(0, char::len_utf8)..].trim_start_matches([' ', '\t']);
    if behind.starts_with(':') {
        return (bytes, String::new());
    }
    bytes.end += closing.map_or(0, char::len_utf8);
    (bytes, format!("{}: $0", quote.map(String::from).unwrap_or_default()))
}

fn slot(bytes: Range<usize>, before: &str, after: &str, syntax: Syntax) -> Slot {
    Slot { bytes, before: before.to_owned(), after: after.to_owned(), close: String::new(), syntax }
}

/// The names of the mappings around a line with this indent, each followed by a dot.
fn path_above(above: &str, indent: usize) -> String {
    let mut names = Vec::new();
    let mut indent = indent;
    for line in above.lines().rev() {
        let content = line.trim_start_matches(' ');
        if line.starts_with("---") {
            break;
        }
        let depth = line.len() - content.len();
        if content.trim().is_empty() || content.starts_with('#') || depth >= indent {
            continue;
        }
        let Some((name, _)) = split(content) else { continue };
        names.push(name.to_owned());
        indent = depth;
        if depth == 0 {
            break;
        }
    }
    names.iter().rev().fold(String::new(), |path, name| path + name + ".")
}

/// Splits a line into its key and the text after the colon.
fn split(line: &str) -> Option<(&str, &str)> {
    let content = line.trim_start();
    let colon = content
        .match_indices(':')
        .map(|(at, _)| at)
        .find(|at| content[at + 1..].chars().next().is_none_or(char::is_whitespace))?;
    let key = content[..colon].trim().trim_matches(['"', '\'']);
    (!key.is_empty() && !key.starts_with('#')).then(|| (key, content[colon + 1..].trim_start()))
}

/// The bytes of the value that goes on around `offset` and begins at `start`.
fn value_bytes(text: &str, offset: usize, start: usize) -> Range<usize> {
    let start = start.min(offset);
    let rest = &text[offset..];
    let line = &rest[..rest.find(['\n', '\r']).unwrap_or(rest.len())];
    let value = line.split(" #").next().unwrap_or(line).trim_end();
    start..offset + value.len()
}

/// A place in `{…}`.
fn in_brackets(text: &str, offset: usize, around: &Around) -> Option<Place> {
    let opened = &around.opened;
    let innermost = *opened.last()?;
    if !text[innermost..].starts_with('{') {
        return None;
    }
    let is_json = text.trim_start().starts_with('{');
    let syntax = if is_json { Syntax::Json } else { Syntax::Yaml };
    let path: Option<String> =
        opened.iter().filter(|at| text[**at..].starts_with('{')).map(|at| name_before(text, *at)).collect();
    let path = path?;
    // A mapping in lines may be around those in brackets.
    let first = opened[0];
    let start = text[..first].rfind('\n').map_or(0, |end| end + 1);
    let indent = text[start..].len() - text[start..].trim_start_matches(' ').len();
    let path = if is_json { path } else { path_above(&text[..start], indent) + &path };
    let entry = &text[around.entry.max(innermost + 1)..offset];
    if let Some(colon) = around.colon {
        let (key, value) = (&text[around.entry..colon], &text[colon + 1..offset]);
        let key = key.trim().trim_matches(['"', '\'']);
        let slot = value_in_brackets(text, offset, value, syntax)?;
        return Some(Place::Value { key: format!("{path}{key}"), slot });
    }
    let (written, quote) = without_quote(entry.trim_start());
    if !written.chars().all(is_of_key) {
        return None;
    }
    let needs_quotes = is_json && quote.is_none();
    let (bytes, after) = rest_of_key(text, offset, quote.or(needs_quotes.then_some('"')));
    let mut slot = slot(bytes, if needs_quotes { "\"" } else { "" }, &after, syntax);
    let is_followed =
        text[slot.bytes.end..].trim_start().starts_with(|c: char| matches!(c, '"' | '\'') || is_of_key(c));
    if !slot.after.is_empty() && is_followed {
        slot.after.push(',');
    }
    Some(Place::Key { path, written: written.to_owned(), slot, is_line: false })
}

/// The bytes of a value in `{…}` of which `value` is written before `offset`, and the quotes that it lacks.
fn value_in_brackets(text: &str, offset: usize, value: &str, syntax: Syntax) -> Option<Slot> {
    let needs_blank = value.is_empty() && syntax == Syntax::Yaml;
    let value = value.trim_start();
    let (inside, quote) = without_quote(value);
    let line = &text[offset..offset + text[offset..].find(['\n', '\r']).unwrap_or(text.len() - offset)];
    if let Some(quote) = quote {
        // Behind its closing quote, a value is complete.
        if inside.contains(quote) {
            return None;
        }
        let start = offset - inside.len();
        let end = line.find(quote);
        let is_of_value = |c: char| is_of_key(c) || matches!(c, '$' | ':');
        let open_end = || word(text, offset, is_of_value).end;
        let closed = end.map(|end| offset + end + quote.len_utf8());
        let comma = if is_followed(&text[closed.unwrap_or_else(open_end)..]) { "," } else { "" };
        let bytes = start
            ..closed
                .filter(|_| comma == ",")
                .unwrap_or_else(|| end.map_or_else(open_end, |end| offset + end));
        let quote = if end.is_some() && comma.is_empty() { String::new() } else { quote.to_string() };
        return Some(slot(bytes, "", &format!("{quote}{comma}"), syntax));
    }
    let bytes = word(text, offset, is_of_key);
    // Behind a blank, a value is complete; in front of a quote there is one.
    let rest = text[bytes.end..].trim_start_matches([' ', '\t']);
    let is_at_value = rest.starts_with(|c: char| matches!(c, '"' | '\'' | '{' | '[') || is_of_key(c));
    if offset - bytes.start != inside.len() || is_at_value {
        return None;
    }
    let comma = if is_followed(&text[bytes.end..]) { "," } else { "" };
    let (before, after) = match syntax {
        Syntax::Json => ("\"", "\""),
        _ if needs_blank => (" ", ""),
        _ => ("", ""),
    };
    Some(slot(bytes, before, &format!("{after}{comma}"), syntax))
}

/// True if another entry follows without a comma.
fn is_followed(rest: &str) -> bool {
    rest.trim_start().starts_with(|c: char| matches!(c, '"' | '\'') || is_of_key(c))
}

/// The name whose value begins with the bracket at `at`, followed by a dot; nothing for the outermost one. `None` in a
/// list.
fn name_before(text: &str, at: usize) -> Option<String> {
    let before = text[..at].trim_end();
    let Some(before) = before.strip_suffix(':') else {
        return before.is_empty().then(String::new);
    };
    let before = before.trim_end().trim_end_matches(['"', '\'']);
    let bytes = word(before, before.len(), is_of_key);
    Some(format!("{}.", &before[bytes]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(marked: &str) -> Option<Place> {
        let offset = marked.find('|').expect("a mark");
        place(&marked.replacen('|', "", 1), offset)
    }

    /// The mappings around the `|` and what is written of the key, or the key of the value; and the text with `new`.
    fn after(marked: &str, new: &str) -> Option<(String, String)> {
        let text = marked.replacen('|', "", 1);
        let (about, slot) = match at(marked)? {
            Place::Key { path, written, slot, .. } => (format!("{path}:{written}"), slot),
            Place::Value { key, slot } => (format!("={key}"), slot),
        };
        let around = (&text[..slot.bytes.start], &text[slot.bytes.end..]);
        Some((about, format!("{}{}{new}{}{}", around.0, slot.before, slot.after, around.1)))
    }

    #[test]
    fn keys_know_the_mappings_around_them() {
        for (marked, about, expected) in [
            ("|", ":", "K: $0"),
            ("batch:\n  si|", "batch.:si", "batch:\n  K: $0"),
            (
                "batch:\n  strategy: fixed_size\n  si|ze: 5\n",
                "batch.:si",
                "batch:\n  strategy: fixed_size\n  K: 5\n",
            ),
            (
                "source:\n  # why\n  batch:\n\n    |\n",
                "source.batch.:",
                "source:\n  # why\n  batch:\n\n    K: $0\n",
            ),
            ("batch:\n  size: 5\nfail|", ":fail", "batch:\n  size: 5\nK: $0"),
            ("batch.si|: 5", ":batch.si", "K: 5"),
            ("batch: {si|}", "batch.:si", "batch: {K: $0}"),
            ("source:\n  batch: {size: 5, |}\n", "source.batch.:", "source:\n  batch: {size: 5, K: $0}\n"),
            ("{\"batch\": {|}}", "batch.:", "{\"batch\": {\"K\": $0}}"),
            ("{\"batch\": {\"si|\": 5}}", "batch.:si", "{\"batch\": {\"K\": 5}}"),
            ("{\"batch\": {\"si|\"}}", "batch.:si", "{\"batch\": {\"K\": $0}}"),
            ("{\n  |\n  \"a\": 5}", ":", "{\n  \"K\": $0,\n  \"a\": 5}"),
            ("a: 5\n'ba|'", ":ba", "a: 5\n'K': $0"),
            ("batch: {'|'}", "batch.:", "batch: {'K': $0}"),
        ] {
            let after = after(marked, "K").unwrap_or_else(|| panic!("{marked}"));
            assert_eq!(after, (about.to_owned(), expected.to_owned()), "{marked}");
        }
    }

    #[test]
    fn values_know_their_keys() {
        for (marked, about, expected) in [
            ("batch:\n  strategy: |\n", "=batch.strategy", "batch:\n  strategy: V\n"),
            ("batch:\n  strategy: fi|xed # why\n", "=batch.strategy", "batch:\n  strategy: V # why\n"),
            ("batch: {strategy: |}", "=batch.strategy", "batch: {strategy: V}"),
            ("batch: {strategy:|}", "=batch.strategy", "batch: {strategy: V}"),
            ("batch:\n  strategy:|", "=batch.strategy", "batch:\n  strategy: V"),
            ("{\"strategy\": |\n \"size\": 5}", "=strategy", "{\"strategy\": \"V\",\n \"size\": 5}"),
            ("{\"strategy\": \"|\"\n \"size\": 5}", "=strategy", "{\"strategy\": \"V\",\n \"size\": 5}"),
            ("{\"note\": \"a, b|\"}", "=note", "{\"note\": \"V\"}"),
            ("{\"batch\": {\"strategy\": \"fi|}}", "=batch.strategy", "{\"batch\": {\"strategy\": \"V\"}}"),
            ("{\"batch\": {\"strategy\": |}}", "=batch.strategy", "{\"batch\": {\"strategy\": \"V\"}}"),
            ("{\"batch\": {\"strategy\": \"fi|\"}}", "=batch.strategy", "{\"batch\": {\"strategy\": \"V\"}}"),
        ] {
            let after = after(marked, "V").unwrap_or_else(|| panic!("{marked}"));
            assert_eq!(after, (about.to_owned(), expected.to_owned()), "{marked}");
        }
    }

    #[test]
    fn comments_and_lists_have_nothing() {
        for marked in [
            "batch:\n  # si|\n",
            "size: 5 # |",
            "a: [|]",
            "- |a b",
            "{\"strategy\": \"fixed_size\"|}",
            "{\"strategy\": \"fixed_size\"\n |}",
            "{strategy: 'fixed_size'|}",
            "{\"size\": 5 |}",
            "{\"size\":| 5}",
            "{a: 5, size:| 5}",
        ] {
            assert_eq!(at(marked), None, "{marked}");
        }
    }
}
