//! `velo keys`: the table of keys, or one in full.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;
use velo_schema::json_schema::Shape;
use velo_schema::keys::{KEYS, Key, KeyDef};
use velo_schema::reference;

use crate::args::DocsFormat;
use crate::render::plan::table;

pub(crate) fn run(key: Option<&str>, format: DocsFormat) -> Result<ExitCode> {
    let defs: Vec<&KeyDef> = match key {
        None => KEYS.iter().collect(),
        Some(name) => match Key::from_name(name) {
            Some(key) => vec![key.def()],
            None => bail!("there is no key '{name}'; {}", hint(name)),
        },
    };
    let mut out = anstream::stdout().lock();
    match format {
        DocsFormat::Markdown if key.is_none() => write!(out, "{}", reference::page())?,
        DocsFormat::Markdown => {
            for def in defs {
                writeln!(out, "## {}\n\n{}", def.name, reference::hover(def, Shape::With))?;
            }
        }
        DocsFormat::Json => {
            serde_json::to_writer_pretty(&mut out, &defs.into_iter().map(json).collect::<Vec<_>>())?;
            writeln!(out)?;
        }
        DocsFormat::Text if key.is_some() => {
            for def in defs {
                write!(out, "{}", explain(def))?;
            }
        }
        DocsFormat::Text => {
            let mut table = table(&["key", "type", "default", "used by", "what it does"]);
            for def in defs {
                let (takes, used_by) = (reference::takes(def), reference::used_by(def));
                table.add_row([def.name, &takes, reference::default(def), &used_by, def.doc]);
            }
            writeln!(out, "{table}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The key that was most probably meant.
fn hint(name: &str) -> String {
    let folded = name.to_ascii_lowercase();
    let bare = folded.strip_prefix("source.").or_else(|| folded.strip_prefix("sink.")).unwrap_or(&folded);
    match velo_schema::nearest(bare, KEYS.iter().map(|def| def.name)).filter(|(edits, _)| *edits <= 3) {
        Some((0, key)) => format!("without its scope it is '{key}'"),
        Some((_, key)) => format!("did you mean '{key}'?"),
        None => "velo keys lists them".to_owned(),
    }
}

fn explain(def: &KeyDef) -> String {
    let required = def.required_when.map_or(String::new(), |when| format!("required  when {}\n", when.doc()));
    format!(
        "{}\n\n{}\n\ntype      {}\ndefault   {}\nexample   '{}' = '{}'\nused by   {}\nscopes    {}\n{required}origin    {}\n",
        def.name,
        def.doc,
        reference::takes(def),
        reference::default(def),
        def.name,
        def.example,
        reference::used_by(def),
        reference::scopes(def),
        def.origin.word(),
    )
}

fn json(def: &KeyDef) -> serde_json::Value {
    json!({
        "key": def.name,
        "takes": reference::takes(def),
        "unit": def.kind.unit(),
        "default": def.default,
        "example": def.example,
        "used_by": reference::used_by(def),
        "scopes": reference::scopes(def),
        "required_when": def.required_when.map(velo_schema::keys::RequiredWhen::doc),
        "doc": def.doc,
        "origin": def.origin.word(),
    })
}
