//! The schema of one value: exactly what the parser takes, and placeholders.

use serde_json::{Value as Json, json};

use super::pattern;
use crate::strategy::{FailureStrategy, OnExhausted, StrategyKind, Words};
use crate::value::{Kind, SHORTEST};

/// `${NAME}`, `{{ name }}` and their like: what they stand for is known when the job is deployed.
const PLACEHOLDER: &str = "\\$\\{|\\{\\{|\\{%|%\\(|<%|\\$\\(|^\\s*\\$[A-Za-z]";

/// The schema of a kind of value.
pub(super) fn schema(kind: Kind) -> Json {
    match kind {
        Kind::Boolean => any_of(vec![
            json!({"type": "boolean"}),
            json!({"enum": ["true", "false"]}),
            json!({"enum": [0, 1]}),
            text(BOOLEAN, "true or false"),
        ]),
        Kind::Integer { min, max, unit } => any_of(vec![
            json!({"type": "integer", "minimum": min, "maximum": max}),
            text(&pattern::integer(min, max), &format!("a whole number of {unit}, {min} to {max}")),
        ]),
        Kind::Duration { min } => {
            let message = "a number and a unit: ms, s, m, h or d, up to 365d, as in 500ms";
            let mut duration = text(&pattern::duration(), message);
            if min == SHORTEST {
                duration["not"] = json!({"pattern": pattern::no_duration()});
            }
            any_of(vec![duration])
        }
        Kind::Strategy => words::<StrategyKind>(),
        Kind::FailureStrategy => words::<FailureStrategy>(),
        Kind::OnExhausted => words::<OnExhausted>(),
        Kind::Topic => {
            let message = "1 to 249 of letters, digits, '.', '_' and '-'";
            let mut topic = text("^\\s*[A-Za-z0-9._-]{1,249}\\s*$", message);
            topic["not"] = json!({"pattern": "^\\s*\\.{1,2}\\s*$"});
            // A number or a switch without quotes is a name, too.
            any_of(vec![json!({"type": ["integer", "boolean"]}), topic])
        }
    }
}

/// What else is read as a switch, with a note from lint.
const BOOLEAN: &str =
    "^\\s*([tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[yY][eE][sS]|[nN][oO]|[oO][nN]|[oO][fF][fF]|0|1)\\s*$";

fn text(pattern: &str, message: &str) -> Json {
    json!({"type": "string", "pattern": pattern, "patternErrorMessage": format!("Expected {message}.")})
}

fn words<W: Words>() -> Json {
    let words: Vec<_> = W::ALL.iter().map(|word| word.word()).collect();
    let docs: Vec<_> = W::ALL.iter().map(|word| word.doc()).collect();
    any_of(vec![
        json!({"enum": words, "enumDescriptions": docs, "markdownEnumDescriptions": docs}),
        text(&pattern::words::<W>(), &format!("one of {}", words.join(", "))),
    ])
}

/// Any of `ways` to write a value, or a placeholder for it.
fn any_of(mut ways: Vec<Json>) -> Json {
    ways.push(json!({"type": "string", "pattern": PLACEHOLDER}));
    json!({"anyOf": ways})
}
