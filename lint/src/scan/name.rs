//! The name of a source or sink: SQL at its first byte in; the name, quoted, dotted or filled in later, out.

use std::ops::Range;

use crate::lexer::{Lexer, TokenKind};

/// A source or a sink as the statement names it, without quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Name {
    /// The bytes of the name: between the quotes, or all parts of a dotted name.
    pub span: Range<usize>,
    /// The bytes with their quotes, and with the scheme and the host of a URI.
    pub outer: Range<usize>,
    /// The name: all parts of a dotted name, with dots between them. Topic names may have dots.
    pub text: String,
    /// The last part of a dotted name, unless quotes make one part of it.
    pub short: Option<String>,
    /// The whole URI, if the name is written as one.
    pub uri: Option<String>,
    /// True if it is written to; otherwise it is read.
    pub is_sink: bool,
}

/// Words that cannot be names, because a query or a list of values follows them.
const NO_NAMES: &[&str] = &["select", "values"];

/// Reads the name at the lexer's position and moves behind it; reads nothing if there is none.
pub(super) fn read(text: &str, lexer: &mut Lexer<'_>, is_sink: bool) -> Option<Name> {
    let mut parts: Vec<Part> = Vec::new();
    while let Some(part) = part(text, lexer) {
        lexer.seek(part.outer.end);
        crate::steps::add(part.outer.len());
        let is_uri = text[part.inner.clone()].contains("://");
        parts.push(part);
        if is_uri || !lexer.peek().is_some_and(|token| token.is(b'.')) {
            break;
        }
        lexer.next();
    }
    Some(Name { is_sink, ..assemble(text, &parts)? })
}

struct Part {
    outer: Range<usize>,
    inner: Range<usize>,
}

/// The part at the lexer's position: `a`, `"a"`, `` `a` ``, `[a]`, `a-b`, `${A}_b`, `kafka://a`.
fn part(text: &str, lexer: &Lexer<'_>) -> Option<Part> {
    let token = lexer.peek()?;
    let start = token.span.start;
    if token.is_quoted() {
        return Some(Part { inner: token.inner(), outer: token.span });
    }
    if token.is(b'[') {
        let line = text[start..].lines().next().unwrap_or_default();
        let end = start + line.find(']').filter(|end| *end > 1)?;
        return Some(Part { inner: start + 1..end, outer: start..end + 1 });
    }
    let is_bare = token.kind == TokenKind::Word || text[start..].starts_with("{{");
    let end = start + if is_bare { bare_length(&text[start..]) } else { 0 };
    let is_name = !NO_NAMES.iter().any(|word| text[start..end].eq_ignore_ascii_case(word));
    (end > start && is_name).then_some(Part { inner: start..end, outer: start..end })
}

/// The length of a name without quotes. Nothing else than a name can follow `FROM` or `INTO`, so hyphens and
/// placeholders within it belong to it.
fn bare_length(rest: &str) -> usize {
    let mut end = 0;
    loop {
        let tail = &rest[end..];
        let next = tail.chars().next();
        end += match next {
            Some('$') if tail.starts_with("${") => placeholder_length(tail),
            Some('{') if tail.starts_with("{{") => tail.find("}}").map_or(0, |end| end + 2),
            Some('-') if end > 0 && tail[1..].starts_with(|c| is_word(c) || c == '$') => 1,
            Some(':') if end > 0 && tail.starts_with("://") => {
                return end + tail.find(ends_uri).unwrap_or(tail.len());
            }
            Some(c) if is_word(c) => c.len_utf8(),
            _ => 0,
        };
        if rest.len() - end == tail.len() {
            return end;
        }
    }
}

fn is_word(c: char) -> bool {
    let is_blank = c.is_whitespace() || matches!(c, '\u{200b}' | '\u{feff}');
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || (!c.is_ascii() && !is_blank)
}

fn ends_uri(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ')' | ';' | '\'' | '"' | '`')
}

/// The length of `${…}` with the placeholders inside of it; just the `$` if it has no end on its line.
fn placeholder_length(tail: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in tail.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth = depth.saturating_sub(1),
            b'\n' | b'\r' => break,
            _ => {}
        }
    }
    1
}

fn assemble(text: &str, parts: &[Part]) -> Option<Name> {
    let (first, last) = (parts.first()?, parts.last()?);
    let outer = first.outer.start..last.outer.end;
    let of = |part: &Part| &text[part.inner.clone()];
    if let [part] = parts {
        let (span, uri) = match topic_of_uri(of(part)) {
            Some(topic) => {
                let start = part.inner.start;
                (start + topic.start..start + topic.end, Some(of(part).to_owned()))
            }
            None => (part.inner.clone(), None),
        };
        let text = text[span.clone()].to_owned();
        return Some(Name { span, outer, text, uri, ..Name::default() });
    }
    let joined = parts.iter().map(of).collect::<Vec<_>>().join(".");
    let short = Some(of(last).to_owned());
    Some(Name { span: outer.clone(), outer, text: joined, short, ..Name::default() })
}

/// The topic in `kafka://topic` and `kafka://broker:9092/topic`; of another scheme, the whole URI.
fn topic_of_uri(uri: &str) -> Option<Range<usize>> {
    let (scheme, rest) = uri.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("kafka") {
        return Some(0..uri.len());
    }
    let path = rest.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let start = uri.len() - rest.len() + path.rfind('/').map_or(0, |slash| slash + 1);
    let end = uri.len() - rest.len() + path.len();
    Some(if start < end { start..end } else { 0..uri.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(sql: &str) -> (String, Option<String>, &str) {
        let mut lexer = Lexer::new(sql, 0..sql.len());
        let name = read(sql, &mut lexer, false).unwrap_or_default();
        (name.text, name.short, &sql[lexer.position()..])
    }

    #[test]
    fn a_name_has_all_its_parts_however_they_are_quoted() {
        let short = |text: &str| Some(text.to_owned());
        assert_eq!(name("orders o"), ("orders".into(), None, " o"));
        assert_eq!(name("\"prod.orders\""), ("prod.orders".into(), None, ""));
        assert_eq!(name("`prod`.\"eu orders\";"), ("prod.eu orders".into(), short("eu orders"), ";"));
        assert_eq!(name("a . b.c, d"), ("a.b.c".into(), short("c"), ", d"));
        assert_eq!(name("[my orders] x"), ("my orders".into(), None, " x"));
        assert_eq!(name("clicks-eu-1--x"), ("clicks-eu-1".into(), None, "--x"));
        assert_eq!(name("${ENV:-dev}_orders.v${N}"), ("${ENV:-dev}_orders.v${N}".into(), short("v${N}"), ""));
        assert_eq!(name("{{ ref('orders') }} o"), ("{{ ref('orders') }}".into(), None, " o"));
        assert_eq!(name("bestellungen_für ö"), ("bestellungen_für".into(), None, " ö"));
        for none in ["(SELECT", "select 1", ", b", ""] {
            assert_eq!(name(none).0, "", "{none}");
        }
    }

    #[test]
    fn the_topic_of_a_kafka_uri_is_its_last_part() {
        let read = |sql: &str| {
            let name = read(sql, &mut Lexer::new(sql, 0..sql.len()), false).unwrap();
            (name.text, name.uri, sql[name.outer].to_owned())
        };
        for (sql, topic, uri) in [
            ("kafka://orders WHERE", "orders", "kafka://orders"),
            ("kafka://broker:9092/prod.orders?a=b)", "prod.orders", "kafka://broker:9092/prod.orders?a=b"),
            ("'KAFKA://broker/orders/'", "orders", "KAFKA://broker/orders/"),
            ("file:///tmp/x.json;", "file:///tmp/x.json", "file:///tmp/x.json"),
            ("kafka:// x", "kafka://", "kafka://"),
        ] {
            let (name, found, outer) = read(sql);
            assert_eq!((name.as_str(), found.as_deref()), (topic, Some(uri)), "{sql}");
            assert!(sql.starts_with(&outer), "{sql}");
        }
    }
}
