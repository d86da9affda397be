//! The table of keys in words: for the terminal, for editors, for the reference page.

use crate::keys::{KEYS, KeyDef, Relevance, Scopes};
use crate::shape::Shape;
use crate::strategy::{FailureStrategy, OnExhausted, StrategyKind, Words};
use crate::units::format_duration;
use crate::value::{DURATION_UNITS, Kind, MAX_DURATION, SHORTEST};

/// What a key takes: its type, unit and bounds.
#[must_use]
pub fn takes(def: &KeyDef) -> String {
    match def.kind {
        Kind::Integer { min, max, unit } if max >= i64::MAX as u64 => format!("{unit}, at least {min}"),
        Kind::Integer { min, max, unit } => format!("{unit}, {min} to {max}"),
        Kind::Duration { min } if min == SHORTEST => {
            format!("duration, more than 0, to {}", format_duration(MAX_DURATION))
        }
        Kind::Duration { min } => {
            format!("duration, {} to {}", format_duration(min), format_duration(MAX_DURATION))
        }
        Kind::Topic => def.kind.name().to_owned(),
        Kind::Boolean | Kind::Strategy | Kind::FailureStrategy | Kind::OnExhausted => {
            def.kind.words().join(", ")
        }
    }
}

/// The strategies under which a key means something.
#[must_use]
pub fn used_by(def: &KeyDef) -> String {
    match def.relevance {
        Relevance::Always => "every job".to_owned(),
        Relevance::Strategies(strategies) if strategies.len() == StrategyKind::ALL.len() => {
            "every strategy".to_owned()
        }
        Relevance::Strategies(strategies) => {
            strategies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        Relevance::Retries => "RetryWithBackoff".to_owned(),
        Relevance::DeadLetters => "SendToDLQ, and RetryWithBackoff with on_exhausted SendToDLQ".to_owned(),
    }
}

/// Where a key may stand.
#[must_use]
pub fn scopes(def: &KeyDef) -> &'static str {
    match def.scopes {
        Scopes::Every => "the job, source., sink., or a source or sink by name",
        Scopes::JobOnly => "the job",
    }
}

/// The default, or that it is computed.
#[must_use]
pub fn default(def: &KeyDef) -> &'static str {
    def.default.unwrap_or("(computed)")
}

/// Describes a key for somebody who points at it in an editor, with an example in the shape of the file.
#[must_use]
pub fn hover(def: &KeyDef, shape: Shape) -> String {
    format!(
        "{}\n\n- **takes** {}\n- **default** `{}`\n- **used by** {}\n- **scopes** {}{}\n\n{}",
        def.doc,
        takes(def),
        default(def),
        used_by(def),
        scopes(def),
        def.required_when.map_or(String::new(), |when| format!("\n- **required** when {}", when.doc())),
        example(def, shape)
    )
}

/// The example as it is written in a shape.
fn example(def: &KeyDef, shape: Shape) -> String {
    match (shape, def.name.split_once('.')) {
        (Shape::With, _) => format!("`'{}' = '{}'`", def.name, def.example),
        (Shape::Yaml, None) => format!("```yaml\n{}: {}\n```", def.name, def.example),
        (Shape::Yaml, Some((group, name))) => format!("```yaml\n{group}:\n  {name}: {}\n```", def.example),
    }
}

/// The page of all keys.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Reference\n\nEvery key, with what it takes and when it means something. `velo keys [KEY]` prints the \
         same.\n\nA key without a prefix is the job's. Behind `source.` or `sink.` it holds for that side, behind \
         the name of a\nsource or sink for that one; a side inherits what it does not set, and a name beats its \
         side.\n\n| key | takes | default | used by |\n| --- | --- | --- | --- |\n",
    );
    for def in KEYS {
        let anchor = def.name.replace('.', "");
        let (name, default) = (def.name, default(def));
        page += &format!("| [`{name}`](#{anchor}) | {} | `{default}` | {} |\n", takes(def), used_by(def));
    }
    for def in KEYS {
        page += &format!("\n## {}\n\n{}\n\n", def.name, def.doc);
        page += &format!("- takes: {}\n- default: `{}`\n", takes(def), default(def));
        page += &format!("- used by: {}\n- scopes: {}\n", used_by(def), scopes(def));
        if let Some(when) = def.required_when {
            page += &format!("- required when {}\n", when.doc());
        }
        page +=
            &format!("- origin: {}\n- example: `'{}' = '{}'`\n", def.origin.word(), def.name, def.example);
    }
    page += "\n## Durations\n\nA number, whole or with a point, and a unit, with or without a blank between them. A bare \
             number is refused:\nit is read as milliseconds by some engines and as seconds by others.\n\n";
    let mut factors: Vec<_> = DURATION_UNITS.iter().map(|(_, factor)| *factor).collect();
    factors.dedup();
    for factor in factors {
        let spellings =
            DURATION_UNITS.iter().filter(|(_, of)| *of == factor).map(|(unit, _)| format!("`{unit}`"));
        page += &format!("- {}\n", spellings.collect::<Vec<_>>().join(", "));
    }
    page += &words::<StrategyKind>("Batch strategies");
    page += &words::<FailureStrategy>("Failure strategies");
    page += &words::<OnExhausted>("After the last retry");
    page
}

fn words<W: Words>(title: &str) -> String {
    let lines = W::ALL.iter().map(|word| format!("- `{}`: {}\n", word.word(), word.doc()));
    format!("\n## {title}\n\n{}", lines.collect::<String>())
}
