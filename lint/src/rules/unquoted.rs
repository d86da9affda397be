//! `unquoted`: a key or a value of ours without quotes.

use serde::Serialize;
use velo_schema::value::Parsed;

use crate::finding::Fix;
use crate::rule::{Found, Rule};
use crate::scan::{FaultKind, Form, RawValue, Text};
use crate::severity::Severity;
use crate::span::Span;
use crate::unit::{Item, Mistake, Reading};

/// A key or a value without quotes.
pub const RULE: Rule = Rule {
    id: "unquoted",
    severity: Severity::Warning,
    summary: "A key or a value without quotes.",
    why: "Most SQL parsers read a dotted key without quotes as a column reference, and a word without quotes as an identifier.",
    example: "WITH (batch.size = '500')",
    better: "WITH ('batch.size' = '500')",
    check: |unit, out| {
        let is_half_quoted = |text: &Text| {
            unit.faults.iter().any(|Mistake { fault, .. }| {
                fault.kind == FaultKind::UnterminatedString
                    && fault.span.start <= text.span.start
                    && text.span.end <= fault.span.end
            })
        };
        let of_sql = |item: &&Item<'_>| unit.clauses[item.clause].clause.form == Form::Sql;
        for item in unit.items.iter().filter(of_sql) {
            let value = match &item.raw.value {
                RawValue::Text(value) => Some(value),
                _ => None,
            };
            for (is_key, text) in [(true, Some(&item.raw.key)), (false, value)] {
                let Some(text) = text.filter(|text| !text.quoted && !is_half_quoted(text)) else { continue };
                let spelled = match &item.reading {
                    Reading::Known(Parsed { canonical: Some(canonical), .. }) if !is_key => canonical,
                    _ => &unit.text[text.span.clone()],
                };
                let fix = Fix::replace(true, text.span.clone(), format!("'{spelled}'"));
                out.add_fixable(&RULE, Span::here(text.span.clone()), Unquoted { is_key }, Some(fix));
            }
        }
    },
};

/// A key or a value without quotes.
#[derive(Debug, Serialize)]
struct Unquoted {
    /// Whether it is the key.
    is_key: bool,
}

impl Found for Unquoted {
    fn message(&self) -> String {
        match self {
            Self { is_key: true } => "the key must be in quotes".to_owned(),
            Self { is_key: false } => "the value must be in quotes".to_owned(),
        }
    }
}
