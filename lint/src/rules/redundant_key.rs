//! `redundant-key`: a scoped key that says what holds anyway.

use serde::Serialize;
use velo_schema::Scope;

use super::target_ignores::is_read_by_velostream;
use crate::finding::Fix;
use crate::rule::{Found, Rule};
use crate::scan::{Form, RawValue};
use crate::severity::Severity;
use crate::target::Target;
use crate::unit::{Item, Reading, Unit};

/// A key of a source or sink that repeats an inherited value.
pub const RULE: Rule = Rule {
    id: "redundant-key",
    severity: Severity::Warning,
    summary: "A key of a source or sink that repeats an inherited value.",
    why: "The key has no effect now. If the inherited value is changed later, this key keeps the old value.",
    example: "WITH ('batch.size' = '500', 'source.batch.size' = '500')",
    better: "WITH ('batch.size' = '500', 'source.batch.size' = '1000')",
    check: |unit, out| {
        for item in unit.effective_items().filter(|item| item.scope != Scope::Job) {
            let Some(wider) = unit.inherited(item) else { continue };
            let (Reading::Known(own), Reading::Known(inherited)) = (&item.reading, &wider.reading) else {
                continue;
            };
            // An anchor that both scopes use is written once.
            let is_shared = item.key_span == wider.key_span;
            // Of two values, nobody knows which is meant.
            let is_certain =
                !unit.is_repeated(item) && !item.in_placeholder && !wider.in_placeholder && !is_shared;
            // To the engine that reads this scope alone, nothing is repeated.
            let is_only_one =
                unit.options.target == Some(Target::Velostream01) && is_read_by_velostream(item);
            if own.value == inherited.value && is_certain && !is_only_one {
                let detail = RedundantKey { key: item.qualified(), from: wider.scope.clone() };
                out.add_fixable(&RULE, item.key_span.clone(), detail, removal(unit, item));
            }
        }
    },
};

/// A key that says what holds anyway.
#[derive(Debug, Serialize)]
struct RedundantKey {
    /// The key, with its scope.
    key: String,
    /// Where the value would come from.
    from: Scope,
}

impl Found for RedundantKey {
    fn message(&self) -> String {
        let Self { key, from } = self;
        format!("'{key}' repeats the value that it inherits from the {from}")
    }
}

/// Takes an entry out of its clause, with its comma and, if nothing else stands there, its line.
fn removal(unit: &Unit<'_>, item: &Item<'_>) -> Option<Fix> {
    let part = unit.clauses[item.clause];
    let RawValue::Text(value) = &item.raw.value else { return None };
    if part.clause.form != Form::Sql {
        return None;
    }
    let (mut start, mut end) = (item.raw.key.outer().start, value.outer().end);
    let blank = |c: char| c.is_ascii_whitespace();
    let (before, after) = (&part.text[..start], &part.text[end..]);
    if let Some(rest) = after.trim_start_matches(blank).strip_prefix(',') {
        let line = rest.trim_start_matches([' ', '\t']);
        let begins_line = before.trim_end_matches([' ', '\t']).ends_with('\n');
        let newline = if line.starts_with("\r\n") { 2 } else { usize::from(line.starts_with('\n')) };
        end = part.text.len() - line.len();
        if begins_line && newline > 0 {
            start = before.trim_end_matches([' ', '\t']).len();
            end += newline;
        }
    } else {
        // The last entry: the comma before it would be left over.
        let rest = before.trim_end_matches(blank).strip_suffix(',')?;
        start = rest.len();
        // A comment may end with a comma, too.
        let line = &rest[rest.rfind('\n').map_or(0, |at| at + 1)..];
        if line.contains("--") {
            return None;
        }
    }
    // Whatever engine the statement is for, its only entry of this key must not go.
    Some(Fix::replace(!is_read_by_velostream(item), start..end, ""))
}
