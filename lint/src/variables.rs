//! Placeholders: a text with `${X}`, `${X:default}` or `${X:-default}` and the variables that are set in; the
//! text with their values, and what is still open, out.

use std::collections::BTreeMap;

use velo_schema::placeholder::{Placeholder, placeholder};

/// The variables that are set, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl FromIterator<(String, String)> for Variables {
    /// Of two variables with one name the later is set.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// A text whose placeholders are filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The text. What is open stands in it as it was written.
    pub text: String,
    /// The variables whose values stand in it.
    pub used: Vec<String>,
    /// The placeholders that have neither a value nor a default, and those of template languages.
    pub open: Vec<String>,
}

/// Placeholders in the default of a placeholder, and so on.
const DEEPEST: usize = 8;

impl Variables {
    /// Fills in `text`; `None` if there is no placeholder in it.
    ///
    /// The value of a variable goes before the default. An empty variable counts as not set before `:-`, and as
    /// set before `:`, as in shells and in Java properties. Values are not filled in again.
    #[must_use]
    pub fn expand(&self, text: &str) -> Option<Expanded> {
        let has_variables = text.contains("${");
        if !has_variables && placeholder(text).is_none() {
            return None;
        }
        let mut expanded = Expanded::default();
        // What stands around the placeholders may be another language's.
        let mut around = String::new();
        self.fill(text, DEEPEST, &mut expanded, &mut around);
        if placeholder(&around).is_some() {
            expanded.open.push(text.to_owned());
        }
        Some(expanded)
    }

    fn fill(&self, text: &str, depth: usize, into: &mut Expanded, around: &mut String) {
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, tail) = rest.split_at(start);
            into.text.push_str(before);
            around.push_str(before);
            let Some(length) = length(tail) else {
                into.text.push_str(tail);
                into.open.push(tail.to_owned());
                return;
            };
            let whole = &tail[..length];
            match self.value(&whole[2..length - 1]) {
                Value::Set(name, value) => {
                    into.text.push_str(value);
                    into.used.push(name.to_owned());
                }
                Value::Default(default) if depth > 0 => self.fill(default, depth - 1, into, around),
                Value::Default(_) | Value::Open => {
                    into.text.push_str(whole);
                    into.open.push(whole.to_owned());
                }
            }
            rest = &tail[length..];
        }
        into.text.push_str(rest);
        around.push_str(rest);
    }

    /// What stands for the inside of a placeholder.
    fn value<'a>(&'a self, inside: &'a str) -> Value<'a> {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        let end = inside.find(|c| !is_name(c)).unwrap_or(inside.len());
        let (name, behind) = inside.split_at(end);
        let set = self.0.get_key_value(name).map(|(name, value)| (name.as_str(), value.as_str()));
        let is_shells = behind.starts_with(":-");
        let default = match behind.strip_prefix(':') {
            _ if name.is_empty() => return Value::Open,
            None if behind.is_empty() => None,
            None => return Value::Open,
            Some(message) if message.starts_with('?') => {
                return set
                    .filter(|(_, value)| !value.is_empty())
                    .map_or(Value::Open, |(name, value)| Value::Set(name, value));
            }
            // `${file:/path}` and `${A:+other}` mean something else than a default.
            Some(_) if !has_default(name, behind) => return Value::Open,
            Some(default) => Some(default.strip_prefix('-').unwrap_or(default)),
        };
        match (set, default) {
            (Some((_, "")), Some(default)) if is_shells => Value::Default(default),
            (Some((name, value)), _) => Value::Set(name, value),
            (None, Some(default)) => Value::Default(default),
            (None, None) => Value::Open,
        }
    }
}

enum Value<'a> {
    Set(&'a str, &'a str),
    Default(&'a str),
    Open,
}

/// Whether a default is behind the colon, going by the two characters that say so: the rest may be nested.
fn has_default(name: &str, behind: &str) -> bool {
    let mark: String = behind.chars().chain(['-']).take(2).collect();
    matches!(placeholder(&format!("${{{name}{mark}}}")), Some(Placeholder::Default(..)))
}

/// The length of the placeholder that `tail` begins with, to the brace that closes it.
fn length(tail: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in tail.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at + 1),
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Option<Expanded> {
        let set = [("SIZE", "500"), ("EMPTY", ""), ("DLQ", "${SIZE}"), ("a.b-c", "x")];
        set.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Variables>()
            .expand(text)
    }

    #[test]
    fn a_variable_goes_before_its_default() {
        for (text, expected) in [
            ("${SIZE}", "500"),
            ("${SIZE:100}", "500"),
            ("${SIZE:-100}", "500"),
            ("${NONE:100}", "100"),
            ("${NONE:-100}", "100"),
            ("${NONE:-}", ""),
            ("${EMPTY:-100}", "100"),
            ("${EMPTY:100}", ""),
            ("${EMPTY}", ""),
            (" ${SIZE} ms", " 500 ms"),
            ("a-${SIZE}-${NONE:-b}", "a-500-b"),
            ("${NONE:-${SIZE:-5}}", "500"),
            ("${NONE:${NONE:-5}}ms", "5ms"),
            ("${SIZE:?set it}", "500"),
            ("${a.b-c}", "x"),
            ("${NONE:-a:b}", "a:b"),
            // Values are taken as they are.
            ("${DLQ}", "${SIZE}"),
        ] {
            let expanded = expand(text).expect(text);
            assert_eq!((expanded.text.as_str(), expanded.open.len()), (expected, 0), "{text}");
        }
        assert_eq!(expand("500"), None);
    }

    #[test]
    fn what_has_no_value_is_open() {
        for (text, open) in [
            ("${NONE}", "${NONE}"),
            ("a-${NONE}-${SIZE}", "${NONE}"),
            ("${NONE:-${OTHER}}", "${OTHER}"),
            ("${NONE:?set it}", "${NONE:?set it}"),
            ("${env:SIZE}", "${env:SIZE}"),
            ("${file:/etc/size}", "${file:/etc/size}"),
            ("${SIZE", "${SIZE"),
            ("${}", "${}"),
            ("${a b}", "${a b}"),
            ("$SIZE", "$SIZE"),
            ("{{ size }}", "{{ size }}"),
            ("${SIZE} {{ size }}", "${SIZE} {{ size }}"),
        ] {
            assert_eq!(expand(text).expect(text).open, [open], "{text}");
        }
        let deep = "${N:-".repeat(100) + &"}".repeat(100);
        assert_eq!(expand(&deep).expect("placeholders").open.len(), 1);
    }
}
