//! The schema of one value: what the parser takes in the spelling that lint wants, and placeholders.
//!
//! It has no title, no examples and no alternatives: editors show those of `annotations.rs` once.

use serde_json::{Value as Json, json};

use super::pattern;
use crate::strategy::{FailureStrategy, OnExhausted, StrategyKind, Words};
use crate::value::{Kind, SHORTEST};

/// The schema of a kind of value.
pub(super) fn schema(kind: Kind) -> Json {
    match kind {
        Kind::Boolean => text(&["boolean", "string"], "true|false", "true or false"),
        Kind::Integer { min, max, unit } => {
            let message = format!("a whole number of {unit}, {min} to {max}");
            let mut integer = text(&["integer", "string"], &pattern::integer(min, max), &message);
            integer["minimum"] = json!(min);
            integer["maximum"] = json!(max);
            integer
        }
        Kind::Duration { min } => {
            let (pattern, least) =
                if min == SHORTEST { (pattern::span(), "more than 0") } else { (pattern::duration(), "0ms") };
            let message = format!("a number and a unit (ms, s, m, h or d), {least} to 365d, as in 500ms");
            text(&["string"], &pattern, &message)
        }
        Kind::Strategy => words::<StrategyKind>(),
        Kind::FailureStrategy => words::<FailureStrategy>(),
        Kind::OnExhausted => words::<OnExhausted>(),
        // A number or a switch without quotes is a name, too.
        Kind::Topic => text(
            &["string", "number", "boolean"],
            "(?!\\.{1,2}\\s*\\}?\\s*$)[A-Za-z0-9._-]{1,249}",
            "a topic name: 1 to 249 of letters, digits, '.', '_' and '-'",
        ),
    }
}

/// Values that say false.
pub(super) fn no() -> Json {
    let pattern = format!("^(?:\\s*false\\s*|{})$", pattern::with_default("false"));
    json!({"if": {"type": "string"}, "then": {"pattern": pattern}, "else": {"const": false}})
}

/// Values that say true or false, and do not leave it open.
pub(super) fn yes_or_no() -> Json {
    let pattern = format!("^(?:\\s*(?:true|false)\\s*|{})$", pattern::with_default("true|false"));
    json!({"type": ["boolean", "string"], "pattern": pattern})
}

fn text(types: &[&str], value: &str, message: &str) -> Json {
    let types = if let [only] = types { json!(only) } else { json!(types) };
    let message = format!("Expected {message}.");
    json!({"type": types, "pattern": pattern::value(value), "patternErrorMessage": message})
}

/// One of some words: what is in any other way right is left alone, so that editors can list the words.
fn words<W: Words>() -> Json {
    let words: Vec<_> = W::ALL.iter().map(|word| word.word()).collect();
    let docs: Vec<_> = W::ALL.iter().map(|word| word.doc()).collect();
    let any = words.join("|");
    let open = pattern::open();
    let default = pattern::with_default(&any);
    let other_ways = format!("^(?:\\s+(?:{any})\\s*|(?:{any})\\s+|{default}|{open})$");
    json!({
        "type": "string",
        "if": {"pattern": other_ways},
        "else": {"enum": words, "enumDescriptions": docs, "markdownEnumDescriptions": docs},
    })
}
