//! Placeholders: a value in, what is filled in later out, with the default that it may name.

/// What stands in a value that is filled in later: `${VAR}`, `${VAR:default}`, `${VAR:-default}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder<'a> {
    /// Nothing is known of the value.
    Unknown,
    /// The default that holds where the variable is not set, and its byte offset in the text.
    Default(&'a str, usize),
}

/// What begins a placeholder of other template languages, whose defaults we cannot read.
const TEMPLATES: &[&str] = &["{{", "{%", "%(", "<%", "$(", "#{", "%{", "@{", "$[", "[["];

/// The placeholders of template languages wherever they stand in a text, as a regular expression of ECMA 262: what
/// [`placeholder`] finds but for `${…}`.
pub(crate) const TEMPLATE_PATTERN: &str = concat!(
    r"\{\{|\{%|%\(|<%|\$\(|#\{|%\{|@\{|\$\[|\[\[",
    r"|(?:^|[^$])\{[A-Za-z0-9_.:-]*\}|@[A-Za-z_][A-Za-z0-9_.-]*@|%[A-Za-z_][A-Za-z0-9_.-]*%"
);

/// Texts that stand for something else as a whole, likewise.
pub(crate) const WHOLE_PATTERN: &str =
    r"\$[A-Za-z_][\s\S]*|[:&@?][A-Za-z0-9_]*|%[sd]|__[A-Za-z0-9_]+__|<[A-Za-z_][A-Za-z0-9_ .-]*>";

/// Providers of `${provider:path}`, where what stands behind the colon is no default.
const PROVIDERS: &[&str] =
    &["env", "file", "directory", "secret", "secrets", "secretmanager", "vault", "sys"];

/// The placeholder in `text`, if there is one.
#[must_use]
pub fn placeholder(text: &str) -> Option<Placeholder<'_>> {
    // Nearly every value is such a text, and no placeholder.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'.' | b'-');
    if text.bytes().all(is_plain) {
        return None;
    }
    if TEMPLATES.iter().any(|template| text.contains(template))
        || is_filled_in(text.trim())
        || has_marks(text)
    {
        return Some(Placeholder::Unknown);
    }
    let inside = text.trim().strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let parts = inside.filter(|inside| !inside.contains("${")).and_then(|inside| inside.split_once(':'));
    let has_default = |(name, default): &(&str, &str)| {
        // `${A:?message}` and `${A:+other}` say something else than a default.
        !PROVIDERS.contains(name) && !default.starts_with(['?', '+'])
    };
    let Some((_, default)) = parts.filter(has_default) else {
        return text.contains("${").then_some(Placeholder::Unknown);
    };
    let default = default.strip_prefix('-').unwrap_or(default);
    let offset = text.len() - text.trim_start().len() + text.trim().len() - 1 - default.len();
    Some(Placeholder::Default(default, offset))
}

/// True if all of `text` stands for something else: `$SIZE`, `:size`, `&size`, `@size`, `?`, `%s`,
/// `__SIZE__`, `<size>`.
fn is_filled_in(text: &str) -> bool {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let begins = |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_dunder = |text: &str| {
        let name = text.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
        name.is_some_and(|name| !name.is_empty() && is_name(name))
    };
    let is_angled = |text: &str| {
        let name = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        name.is_some_and(|name| begins(name) && is_name(&name.replace([' ', '.', '-'], "_")))
    };
    text.strip_prefix('$').is_some_and(begins)
        || text.strip_prefix([':', '&', '@', '?']).is_some_and(is_name)
        || matches!(text, "%s" | "%d")
        || is_dunder(text)
        || is_angled(text)
}

/// True if `text` holds a name between the marks of a template: `{size}`, `@size@`, `%SIZE%`.
fn has_marks(text: &str) -> bool {
    let is_between = |open: char, close: char, more: &str, is_named: bool| {
        text.match_indices(open).any(|(at, _)| {
            let rest = &text[at + open.len_utf8()..];
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c) || more.contains(c);
            let end = rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
            let is_name = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || !is_named;
            rest[end..].starts_with(close) && is_name && !text[..at].ends_with('$')
        })
    };
    is_between('{', '}', ":", false) || is_between('@', '@', "", true) || is_between('%', '%', "", true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_give_their_default_and_its_place() {
        assert_eq!(placeholder("${SIZE}"), Some(Placeholder::Unknown));
        assert_eq!(placeholder("${SIZE:100}"), Some(Placeholder::Default("100", 7)));
        assert_eq!(placeholder(" ${SIZE:-100}"), Some(Placeholder::Default("100", 9)));
        for open in ["a-${B}", "{{ size }}", "%(size)s", "$SIZE", "${env:SIZE}", "${SIZE:?set it}"] {
            assert_eq!(placeholder(open), Some(Placeholder::Unknown), "{open}");
        }
        for open in [
            "{batch_size}",
            "{0}",
            "{}ms",
            "@size@",
            "%SIZE%",
            "#{size}",
            "<%= size %>",
            "$(size)",
            "%(size)s",
            "%{size}",
            "@{size}",
            "$[size]",
            "[[size]]",
            ":size",
            "&size",
            "@size",
            "?",
            "%s",
            "__SIZE__",
            "<size in records>",
        ] {
            assert_eq!(placeholder(open), Some(Placeholder::Unknown), "{open}");
        }
        for value in
            ["100", "50%", "5 s", "a@b", "<5", "{5", "{a b}", "a_b", "__a", "orders.dlq", "%", "<>", "@"]
        {
            let is_one = matches!(value, "@");
            assert_eq!(placeholder(value).is_some(), is_one, "{value}");
        }
    }
}
