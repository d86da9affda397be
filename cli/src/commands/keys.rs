//! `velo keys`: the table of keys, or one in full.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use velo_schema::format_duration;
use velo_schema::keys::{KEYS, Key, KeyDef, Relevance, Scopes};
use velo_schema::value::{Kind, MAX_DURATION};

use crate::render::plan::table;

pub(crate) fn run(key: Option<&str>) -> Result<ExitCode> {
    let mut out = anstream::stdout().lock();
    let Some(name) = key else {
        let mut table = table(&["key", "type", "default", "used by", "what it does"]);
        for def in KEYS {
            let default = def.default.unwrap_or("(computed)");
            table.add_row([def.name, &kind(def.kind), default, &used_by(def), def.doc]);
        }
        writeln!(out, "{table}")?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(key) = Key::from_name(name) else {
        bail!("there is no key '{name}'; velo keys lists them");
    };
    write!(out, "{}", explain(key.def()))?;
    Ok(ExitCode::SUCCESS)
}

fn explain(def: &KeyDef) -> String {
    let scopes = match def.scopes {
        Scopes::Every => "the job, source., sink., or a source or sink by name",
        Scopes::JobOnly => "the job",
    };
    let required = def.required_when.map_or(String::new(), |when| format!("required  when {}\n", when.doc()));
    format!(
        "{}\n\n{}\n\ntype      {}\ndefault   {}\nexample   '{}' = '{}'\nused by   {}\nscopes    {scopes}\n{required}origin    {}\n",
        def.name,
        def.doc,
        kind(def.kind),
        def.default.unwrap_or("(computed)"),
        def.name,
        def.example,
        used_by(def),
        def.origin.word(),
    )
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Integer { min, max, unit } if max >= i64::MAX as u64 => format!("{unit}, at least {min}"),
        Kind::Integer { min, max, unit } => format!("{unit}, {min} to {max}"),
        Kind::Duration { min } => {
            format!("duration, {} to {}", format_duration(min), format_duration(MAX_DURATION))
        }
        Kind::Topic => kind.name().to_owned(),
        _ => kind.words().join(", "),
    }
}

fn used_by(def: &KeyDef) -> String {
    match def.relevance {
        Relevance::Always => "every job".to_owned(),
        Relevance::Strategies(strategies) => {
            strategies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        Relevance::Retries => "RetryWithBackoff".to_owned(),
        Relevance::DeadLetters => "SendToDLQ".to_owned(),
    }
}
