//! `velo schema`: JSON Schema of the keys, or of a command's output.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use velo_schema::json_schema::{Draft, Shape, root_schema, settings_schema};

use crate::args::{DraftArg, SchemaArgs, SchemaOf, ShapeArg};
use crate::render::letters::Letters;
use crate::render::plan::JsonPlan;

pub(crate) fn run(args: &SchemaArgs) -> Result<ExitCode> {
    let draft = match args.draft {
        DraftArg::Draft2020 => Draft::Draft2020_12,
        DraftArg::Draft7 => Draft::Draft7,
    };
    let shape = match args.shape {
        ShapeArg::With => Shape::With,
        ShapeArg::Yaml => Shape::Yaml,
    };
    let schema = match args.of {
        None => settings_schema(shape, draft),
        Some(SchemaOf::Lint) => root_schema::<Vec<velo_report::json::JsonFinding>>(draft),
        Some(SchemaOf::Plan) => root_schema::<Vec<JsonPlan>>(draft),
        Some(SchemaOf::Run) => root_schema::<velo_engine::report::Report>(draft),
        Some(SchemaOf::Dlq) => root_schema::<Letters>(draft),
        Some(SchemaOf::Exec) => root_schema::<velo_engine::process::exec::Protocol>(draft),
        Some(SchemaOf::Baseline) => root_schema::<velo_lint::baseline::Baseline>(draft),
        Some(SchemaOf::Settings) => velo_lint::settings::json_schema(draft),
        Some(SchemaOf::Advise) => root_schema::<velo_advisor::Advice>(draft),
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &schema)?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}
