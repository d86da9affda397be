//! Values that their keys do not take: what several rules find, each another kind of error.

use serde::Serialize;
use velo_schema::format_duration;
use velo_schema::keys::Key;
use velo_schema::value::{MAX_DURATION, ValueError};

use crate::finding::Fix;
use crate::rule::{Findings, Found, Rule};
use crate::target::Target;
use crate::unit::{Item, Reading, Unit};
use crate::wording::{did_you_mean, one_line};

/// A value that its key does not take.
#[derive(Debug, Serialize)]
struct WrongValue<'a> {
    /// The key.
    key: Key,
    /// The value as written.
    value: &'a str,
    /// Why the key does not take it.
    error: &'a ValueError,
}

impl Found for WrongValue<'_> {
    fn message(&self) -> String {
        message(self.key.name(), self.value, self.error)
    }
}

/// Adds a finding for every value whose error `is_mine` claims.
pub(super) fn value_findings(
    unit: &Unit<'_>,
    rule: &Rule,
    findings: &mut Findings,
    is_mine: impl Fn(&Item<'_>, &ValueError) -> bool,
) {
    for item in unit.items.iter().filter(|item| !item.in_placeholder) {
        if let Reading::Wrong(error) = &item.reading
            && is_mine(item, error)
        {
            add_wrong_value(rule, findings, unit, item, error);
        }
    }
}

/// Adds a finding at an invalid value, with the values that were probably meant.
pub(super) fn add_wrong_value(
    rule: &Rule,
    findings: &mut Findings,
    unit: &Unit<'_>,
    item: &Item<'_>,
    error: &ValueError,
) {
    let at = &item.value_span;
    let replace = |text: String| Fix::replace(false, at.range.clone(), text);
    let found = WrongValue { key: item.key, value: item.value, error };
    let (fix, alternatives) = match error {
        ValueError::UnknownWord { nearest: Some(near), .. } => (Some(replace((*near).to_owned())), vec![]),
        // Coming from an engine that reads bare numbers, there is one reading.
        ValueError::DurationWithoutUnit { number } if unit.options.target == Some(Target::Guide) => {
            let unit = if item.key == Key::RetryBackoff { "ms" } else { "s" };
            (Some(replace(format!("{number}{unit}"))), vec![])
        }
        ValueError::DurationWithoutUnit { number } => {
            (None, vec![replace(format!("{number}ms")), replace(format!("{number}s"))])
        }
        ValueError::SizeWithUnit { decimal, binary } if decimal == binary => {
            (Some(replace(decimal.to_string())), vec![])
        }
        ValueError::SizeWithUnit { decimal, binary } => {
            (None, vec![replace(decimal.to_string()), replace(binary.to_string())])
        }
        _ => (None, vec![]),
    };
    // What is offered must be a value itself.
    let is_value = |fix: &Fix| fix.edits.iter().all(|edit| item.key.def().parse(&edit.text).is_ok());
    let alternatives: Vec<_> = alternatives.into_iter().filter(is_value).collect();
    if alternatives.is_empty() {
        findings.add_fixable(rule, at.clone(), found, fix.filter(is_value));
    } else {
        findings.add_choice(rule, at.clone(), found, alternatives);
    }
}

fn message(key: &str, value: &str, error: &ValueError) -> String {
    let value = one_line(value);
    match error {
        ValueError::Empty => format!("'{key}' has an empty value"),
        ValueError::NotABoolean => format!("'{value}' is neither true nor false"),
        ValueError::UnknownWord { nearest: Some(nearest), .. } => {
            format!("'{value}' is not a value of '{key}'{}", did_you_mean(Some(nearest)))
        }
        ValueError::UnknownWord { expected, nearest: None } => {
            format!("'{value}' is not a value of '{key}', which takes {}", expected.join(", "))
        }
        ValueError::NotAnInteger { unit } => format!("'{value}' is not a whole number of {unit}"),
        ValueError::SizeWithUnit { decimal, binary } => {
            format!("'{key}' is a bare number of bytes; '{value}' can mean {decimal} or {binary}")
        }
        ValueError::OutOfRange { min, max } => {
            format!("'{value}' is out of range: '{key}' takes {min} to {max}")
        }
        ValueError::DurationWithoutUnit { number } if number.starts_with('-') => {
            format!("'{number}' is negative and has no unit; durations are a number and ms, s, m, h or d")
        }
        ValueError::DurationWithoutUnit { number } => {
            format!("'{number}' has no unit, and is read as milliseconds by some and as seconds by others")
        }
        ValueError::InvalidDuration => format!(
            "'{value}' is not a duration: a number and ms, s, m, h or d, up to {}, as in '500ms'",
            format_duration(MAX_DURATION)
        ),
        other => format!("'{value}': {other}"),
    }
}
