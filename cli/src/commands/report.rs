//! `velo report`: what a run has written, for people again.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;
use velo_advisor::{Advice, Evidence, recommend};
use velo_engine::report::Report;

use super::run::summary;
use crate::input::read;
use crate::render::advice;

pub(crate) fn run(file: &Path) -> Result<ExitCode> {
    let input = read(file, None)?;
    let name = &input.name;
    let text = match serde_json::from_str::<Json>(&input.text) {
        Ok(json) if json.get("candidates").is_some() => {
            let read = serde_json::from_value::<Advice>(json);
            advice::whole(&read.with_context(|| format!("{name}: advice of another version"))?)
        }
        Ok(json) if json.get("ledger").is_some() => {
            let read = serde_json::from_value::<Report>(json);
            format!("{}\n", summary(&read.with_context(|| format!("{name}: a report of another version"))?))
        }
        Ok(json) if json.get("sample").is_none() => {
            bail!("{name} is neither a report of velo run nor advice or trials of velo advise")
        }
        _ => {
            let evidence = Evidence::read(input.text.as_bytes()).with_context(|| {
                format!("{name} is neither a report of velo run nor advice or trials of velo advise")
            })?;
            advice::whole(&recommend(&evidence, evidence.header.wishes))
        }
    };
    let mut out = anstream::stdout().lock();
    write!(out, "{text}")?;
    Ok(ExitCode::SUCCESS)
}
