//! Tags of template languages: bytes at `{%`, `{{`, `<%` or `<#` in, what the tag does out.
//!
//! Knows the control tags of Jinja and its relatives (Liquid, Twig, Tera), Go templates, Handlebars,
//! ERB, EJS and `FreeMarker`. Which entries a clause has depends on them; [`Branches`] says how.

mod branches;

use memchr::memmem;

pub(crate) use branches::Branches;

/// What a tag does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagKind {
    /// Begins a block whose content may be absent, repeated or followed by alternatives.
    Open,
    /// Begins a block whose content is always there.
    OpenPlain,
    /// Begins the next alternative of the innermost block.
    Next {
        /// True if nothing follows from the conditions before: a plain `else`.
        is_last: bool,
    },
    /// Ends the innermost block.
    End,
    /// Inserts the text of another template.
    Include,
    /// A comment, or a statement that prints nothing.
    Other,
    /// Prints a value.
    Output,
}

/// A tag at the start of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    /// What it does.
    pub kind: TagKind,
    /// Its length in bytes.
    pub length: usize,
}

/// Opening and closing marks of tags, in the order in which they are tried.
const MARKS: &[(&str, &str)] =
    &[("{#", "#}"), ("{%", "%}"), ("{{!--", "--}}"), ("{{", "}}"), ("<%", "%>"), ("</#", ">"), ("<#", ">")];

/// The marks of the tag that `rest` begins with.
fn marks(rest: &[u8]) -> Option<(&'static str, &'static str)> {
    MARKS.iter().copied().find(|(open, _)| rest.starts_with(open.as_bytes()))
}

/// A tag whose closing mark is missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Endless;

/// The tag that `rest` begins with, or `None`.
pub(crate) fn tag(rest: &[u8]) -> Option<Result<Tag, Endless>> {
    let (open, close) = marks(rest)?;
    let body = &rest[open.len()..];
    let Some(end) = memmem::find(body, close.as_bytes()) else {
        crate::steps::add(body.len());
        return Some(Err(Endless));
    };
    crate::steps::add(end);
    let length = open.len() + end + close.len();
    let body = std::str::from_utf8(&body[..end]).ok()?;
    Some(Ok(Tag { kind: kind(open, body)?, length }))
}

/// True if a template decides what is in `text`: it holds a tag other than a comment or an assignment.
pub(crate) fn has_tag(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr2(b'{', b'<', rest) {
        let length = match tag(&rest[at..]) {
            Some(Ok(Tag { kind: TagKind::Other, length })) => length,
            Some(_) => return true,
            None => 1,
        };
        rest = &rest[at + length..];
    }
    false
}

/// True if `text` inserts another template.
pub(crate) fn includes_others(text: &str) -> bool {
    has_tag(text) && Branches::of(text, 0..text.len()).includes_others()
}

/// A text without its tags.
pub(crate) struct Plain {
    /// Every byte in its place: blanks for what prints nothing, letters for what prints something.
    pub text: String,
    /// True if a tag may stand for whole lines.
    pub is_open: bool,
}

/// Takes the tags out of `text`.
pub(crate) fn without_tags(text: &str) -> Plain {
    let mut bytes = text.as_bytes().to_vec();
    let (mut at, mut endless, mut is_open) = (0, 0, false);
    while let Some(found) = memchr::memchr2(b'{', b'<', &bytes[at..]).filter(|_| endless < 8) {
        at += found;
        let (kind, end) = match tag(&text.as_bytes()[at..]) {
            Some(Ok(Tag { kind, length })) => (kind, at + length),
            Some(Err(Endless)) => {
                (endless, at) = (endless + 1, at + 1);
                continue;
            }
            None => {
                at += 1;
                continue;
            }
        };
        let is_alone = stands_alone(text, at..end);
        is_open |= kind == TagKind::Include || (kind == TagKind::Output && is_alone);
        let with = if kind == TagKind::Output && !is_alone { b'x' } else { b' ' };
        bytes[at..end].iter_mut().filter(|byte| !matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = with);
        at = end;
    }
    Plain { text: String::from_utf8(bytes).unwrap_or_default(), is_open }
}

/// True if nothing else stands on the lines of `range`.
fn stands_alone(text: &str, range: std::ops::Range<usize>) -> bool {
    let before = text[..range.start].trim_end_matches([' ', '\t']);
    let behind = text[range.end..].trim_start_matches([' ', '\t']);
    (before.is_empty() || before.ends_with('\n')) && (behind.is_empty() || behind.starts_with(['\n', '\r']))
}

fn kind(open: &str, body: &str) -> Option<TagKind> {
    let body = body.trim_matches(['-', '~', '+', ' ', '\t', '\r', '\n']);
    match open {
        "{#" | "{{!--" => Some(TagKind::Other),
        "{%" => Some(jinja(word(body), body)),
        "{{" => Some(braces(body)),
        "<%" => Some(erb(body)),
        "</#" => matches!(word(body), "if" | "list" | "switch" | "items" | "macro").then_some(TagKind::End),
        _ => freemarker(word(body), body),
    }
}

/// The first word of a tag.
fn word(body: &str) -> &str {
    let end = body.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(body.len());
    &body[..end]
}

fn jinja(word: &str, body: &str) -> TagKind {
    match word {
        "if" | "unless" | "for" | "case" | "switch" | "ifchanged" | "ifversion" | "tablerow" => TagKind::Open,
        "elif" | "elsif" | "elseif" | "when" => TagKind::Next { is_last: false },
        "else" => TagKind::Next { is_last: body == "else" },
        "endif" | "endunless" | "endfor" | "endcase" | "endswitch" | "endifchanged" | "endifversion"
        | "endtablerow" => TagKind::End,
        "include" | "render" | "call" => TagKind::Include,
        _ => TagKind::Other,
    }
}

/// Go templates and Handlebars, whose control tags look like output.
fn braces(body: &str) -> TagKind {
    if body.starts_with("/*") || body.starts_with('!') {
        return TagKind::Other;
    }
    if let Some(block) = body.strip_prefix('#') {
        let is_plain = matches!(word(block), "with" | "let");
        return if is_plain { TagKind::OpenPlain } else { TagKind::Open };
    }
    if body.starts_with('/') {
        return TagKind::End;
    }
    if body.starts_with('>') {
        return TagKind::Include;
    }
    if body == "^" {
        return TagKind::Next { is_last: true };
    }
    if body.starts_with('^') {
        return TagKind::Open;
    }
    let is_assignment = body.starts_with('$') && body.contains('=');
    // `{{ with }}` and `{{ if }}` alone are names of variables.
    let has_more = body.len() > word(body).len();
    match word(body) {
        "if" | "range" | "with" if has_more => TagKind::Open,
        "define" | "block" if has_more => TagKind::OpenPlain,
        "else" => TagKind::Next { is_last: body == "else" },
        "end" if body == "end" => TagKind::End,
        "template" | "include" if has_more => TagKind::Include,
        _ if is_assignment => TagKind::Other,
        _ => TagKind::Output,
    }
}

/// ERB and EJS: code between tags.
fn erb(body: &str) -> TagKind {
    if body.starts_with(['=', '-']) {
        return TagKind::Output;
    }
    if body.starts_with(['#', '%']) {
        return TagKind::Other;
    }
    let (closes, code) = match body.strip_prefix('}') {
        Some(code) => (true, code.trim_start()),
        None => (false, body),
    };
    match word(code) {
        "else" | "elsif" | "when" | "elif" => {
            let condition = code.trim_start_matches("else").trim_start_matches(['{', ':', ' ']);
            TagKind::Next { is_last: word(code) == "else" && condition.is_empty() }
        }
        "end" => TagKind::End,
        "if" | "unless" | "for" | "while" | "case" if !closes => TagKind::Open,
        _ if closes => TagKind::End,
        _ if code.ends_with('{') || code.contains(" do |") || code.ends_with(" do") => TagKind::Open,
        _ => TagKind::Other,
    }
}

fn freemarker(word: &str, body: &str) -> Option<TagKind> {
    match word {
        "if" | "list" | "switch" => Some(TagKind::Open),
        "elseif" | "case" => Some(TagKind::Next { is_last: false }),
        "else" | "default" => Some(TagKind::Next { is_last: true }),
        "include" => Some(TagKind::Include),
        "assign" | "local" | "import" => Some(TagKind::Other),
        _ if body.starts_with("--") => Some(TagKind::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_taken_out_in_place() {
        let Plain { text, is_open } = without_tags("a: {{ b }}\n{% if c %}\nd: e{% endif %}\n{{ f }}\n");
        assert_eq!(text, "a: xxxxxxx\n          \nd: e           \n       \n");
        assert!(is_open);
    }

    fn kind(text: &str) -> Option<TagKind> {
        let tag = tag(text.as_bytes())?.expect("it ends");
        assert_eq!(tag.length, text.len(), "{text}");
        Some(tag.kind)
    }

    #[test]
    fn control_tags_of_every_language_are_known() {
        for open in [
            "{% if x %}",
            "{%- for k in ks -%}",
            "{{ if .Live }}",
            "{{- range .Xs -}}",
            "{{#if live}}",
            "{{#each xs}}",
            "<% if live %>",
            "<% xs.each do |x| %>",
            "<% if (live) { %>",
            "<#if live>",
        ] {
            assert_eq!(kind(open), Some(TagKind::Open), "{open}");
        }
        for (next, is_last) in [
            ("{% elif y %}", false),
            ("{%- else -%}", true),
            ("{{ else if .Y }}", false),
            ("{{- else }}", true),
            ("{{else}}", true),
            ("<% elsif y %>", false),
            ("<% } else { %>", true),
            ("<#else>", true),
        ] {
            assert_eq!(kind(next), Some(TagKind::Next { is_last }), "{next}");
        }
        for end in ["{% endif %}", "{{ end }}", "{{/if}}", "<% end %>", "<% } %>", "</#if>"] {
            assert_eq!(kind(end), Some(TagKind::End), "{end}");
        }
        for output in ["{{ size }}", "{{ with }}", "{{ .Values.size | quote }}", "<%= size %>"] {
            assert_eq!(kind(output), Some(TagKind::Output), "{output}");
        }
        for other in ["{% set x = 1 %}", "{# it's #}", "{{/* it's */}}", "{{ $x := 1 }}", "{% macro m() %}"] {
            assert_eq!(kind(other), Some(TagKind::Other), "{other}");
        }
        assert_eq!(kind("{% include 'x' %}"), Some(TagKind::Include));
        for none in ["{x}", "<#>", "a"] {
            assert_eq!(tag(none.as_bytes()), None, "{none}");
        }
        assert_eq!(tag(b"{% if"), Some(Err(Endless)));
    }
}
