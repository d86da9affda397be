//! `velo plan`: what each statement's settings mean.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use velo_lint::{Document, Lines, Options, Unit};
use velo_schema::Plan;
use velo_schema::keys::Key;

use crate::args::{PlanArgs, PlanFormat};
use crate::input::{files, read};
use crate::render::plan::{PlanView, explain, plan_table, sides};
use crate::statement::print_errors;

pub(crate) fn run(args: &PlanArgs) -> Result<ExitCode> {
    let key = args.explain.as_deref().map(|name| {
        Key::from_name(name).with_context(|| format!("there is no key '{name}'; velo keys lists them"))
    });
    let key = key.transpose()?;
    let mut views = Vec::new();
    for file in files(&args.files) {
        let input = read(&file?, None)?;
        let document = input.document();
        if print_errors(&document) {
            return Ok(ExitCode::FAILURE);
        }
        views.extend(plans(&document, args.record_size));
    }
    let mut out = anstream::stdout().lock();
    match (key, args.format) {
        (Some(key), _) => {
            for view in &views {
                writeln!(out, "{}", explain(view, key))?;
            }
        }
        (None, PlanFormat::Json) => {
            let views: Vec<_> = views.iter().map(PlanView::json).collect();
            serde_json::to_writer_pretty(&mut out, &views)?;
            writeln!(out)?;
        }
        (None, PlanFormat::Table) if views.is_empty() => {}
        (None, PlanFormat::Table) => writeln!(out, "{}", plan_table(&views))?,
    }
    if views.is_empty() {
        anstream::eprintln!("no statement has batch or failure settings, or a query to plan");
    }
    Ok(ExitCode::SUCCESS)
}

/// The plans of all statements that have settings of ours, or a query and no settings at all.
fn plans(document: &Document, record_bytes: Option<u64>) -> Vec<PlanView> {
    let lines = Lines::new(document.text(0));
    let options = Options::default();
    let view = |unit: Unit<'_>| {
        let statement = unit.statement;
        let is_planned = unit.is_ours() || (statement.query.is_some() && unit.foreign.is_empty());
        is_planned.then(|| {
            let (source, job, sink) = sides(&unit);
            PlanView {
                statement: statement.name.as_ref().map(|name| name.text.clone()),
                file: document.name(0).to_owned(),
                line: lines.position(statement.span.start).line,
                plan: Plan::of(&source.config(), record_bytes),
                source,
                job,
                sink,
            }
        })
    };
    document.units(&options).filter_map(view).collect()
}
