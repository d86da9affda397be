//! An entry of ours as the rules see it: its place and its key in, what its value says out.

use velo_schema::Scope;
use velo_schema::keys::Key;
use velo_schema::placeholder::{Placeholder, placeholder};
use velo_schema::value::{Parsed, ValueError};

use super::Part;
use crate::scan::{Form, RawEntry, RawValue};
use crate::span::Span;
use crate::variables::Expanded;

/// An entry of ours.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    /// Its scope.
    pub scope: Scope,
    /// Its key.
    pub key: Key,
    /// Which clause it stands in.
    pub clause: usize,
    /// The entry as it stands.
    pub raw: &'a RawEntry,
    /// Where the key stands, without quotes.
    pub key_span: Span,
    /// Its value's text; for a placeholder, the default inside of it.
    pub value: &'a str,
    /// Where that text stands.
    pub value_span: Span,
    /// Whether it is the default inside of a placeholder.
    pub in_placeholder: bool,
    /// The value of its placeholders, if they are filled in.
    pub filled_in: Option<&'a Expanded>,
    /// What it says.
    pub reading: Reading,
}

/// What a value says.
#[derive(Debug, Clone)]
pub enum Reading {
    /// A value.
    Known(Parsed),
    /// No value of its key.
    Wrong(ValueError),
    /// Not known before the job is deployed.
    Open,
    /// There is none.
    Missing,
}

impl<'a> Item<'a> {
    pub(super) fn new(part: Part<'a>, scope: Scope, key: Key, clause: usize, raw: &'a RawEntry) -> Self {
        let at = |range| Span { file: part.file, range };
        let key_span = at(raw.key.span.clone());
        let item = |value, value_span, in_placeholder, reading| Self {
            scope,
            key,
            clause,
            raw,
            key_span: key_span.clone(),
            value,
            value_span,
            in_placeholder,
            filled_in: None,
            reading,
        };
        let (span, is_plain) = match &raw.value {
            RawValue::Text(value) => (value.span.clone(), part.clause.form == Form::Yaml && !value.quoted),
            RawValue::Unknown | RawValue::NotAnOption => {
                return item("", key_span.clone(), false, Reading::Open);
            }
            RawValue::Missing => return item("", key_span.clone(), false, Reading::Missing),
        };
        let whole = &part.text[span.clone()];
        let read = |value: &str| {
            let meant = if is_plain { crate::yaml::resolved(value) } else { value.into() };
            match key.def().parse(&meant) {
                Ok(parsed) => Reading::Known(parsed),
                Err(error) => Reading::Wrong(error),
            }
        };
        let is_default = matches!(placeholder(whole), Some(Placeholder::Default(..)));
        // The default of a single placeholder has a place of its own.
        let filled_in =
            part.expanded(span.start).filter(|expanded| !(expanded.used.is_empty() && is_default));
        match filled_in {
            Some(expanded) if expanded.open.is_empty() => {
                let reading = read(&expanded.text);
                return Self { filled_in, ..item(&expanded.text, at(span), false, reading) };
            }
            Some(_) => return Self { filled_in, ..item(whole, at(span), true, Reading::Open) },
            None => {}
        }
        let (value, start, in_placeholder) = match placeholder(whole) {
            Some(Placeholder::Unknown) => return item(whole, at(span), true, Reading::Open),
            Some(Placeholder::Default(default, offset)) => (default, span.start + offset, true),
            None => (whole, span.start, false),
        };
        let reading = read(value);
        item(value, at(start..start + value.len()), in_placeholder, reading)
    }

    /// The entry with its value, if that is known.
    #[must_use]
    pub fn entry(&self) -> Option<velo_schema::Entry> {
        match &self.reading {
            Reading::Known(parsed) => Some(velo_schema::Entry {
                scope: self.scope.clone(),
                key: self.key,
                value: parsed.value.clone(),
            }),
            Reading::Wrong(_) | Reading::Open | Reading::Missing => None,
        }
    }

    /// The key with its scope, as written.
    #[must_use]
    pub fn qualified(&self) -> String {
        self.scope.qualify(self.key)
    }
}
