//! `velo report`: prints a saved run report, advice or trials file as text.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use velo_advisor::{Advice, Evidence, recommend};
use velo_engine::report::Report;

use super::run::summary;
use crate::input::read;
use crate::project::Projects;
use crate::render::advice;

const EXPECTED: &str = "expected a report of velo run, or advice or trials of velo advise";

pub(crate) fn run(file: &Path) -> Result<ExitCode> {
    let input = read(file, &Projects::nearest())?;
    let name = &input.name;
    let text = match serde_json::from_str::<Json>(&input.text) {
        Ok(json) if json.get("candidates").is_some() => advice::whole(&decode::<Advice>(json, name)?),
        Ok(json) if json.get("ledger").is_some() => {
            format!("{}\n", summary(&decode::<Report>(json, name)?))
        }
        Ok(json) if json.get("sample").is_none() => {
            bail!("{name}: {EXPECTED}")
        }
        _ => {
            let evidence =
                Evidence::read(input.text.as_bytes()).with_context(|| format!("{name}: {EXPECTED}"))?;
            advice::whole(&recommend(&evidence, evidence.header.wishes))
        }
    };
    let mut out = anstream::stdout().lock();
    write!(out, "{text}")?;
    Ok(ExitCode::SUCCESS)
}

fn decode<T: DeserializeOwned>(json: Json, name: &str) -> Result<T> {
    serde_json::from_value(json)
        .with_context(|| format!("{name}: the file was written by another version of velo"))
}
