//! `velo run`: runs a statement between two topics and reports the result.

mod announce;
mod dry;
mod exit;
mod fetching;
mod full;
mod job;
mod member;
mod memory;
mod report_file;
mod resolve;
mod summary;
mod topics;
mod watch;

use std::process::ExitCode;

use anyhow::{Context, Result};
use velo_engine::Control;
use velo_engine::process::exec::MOST_ANSWER_BYTES;
use velo_lint::{Options, Route, Unit};

use self::announce::announce;
use self::dry::dry_run;
use self::exit::{Signalled, finish};
use self::full::{Ended, full_run};
use self::member::member;
use self::memory::give_memory_back;
use self::report_file::may_be_written;
use self::resolve::job;
pub(super) use self::summary::summary;
use crate::args::RunArgs;
use crate::exit::EXIT_USAGE;
use crate::input::read;
use crate::kafka::settings;
use crate::project::Projects;
use crate::statement::{document, print_errors, refuse, select};
use crate::{log, query};

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    if args.memory_limit.is_some() {
        give_memory_back();
    }
    log::start(&args.log);
    if let Some(path) = &args.report {
        may_be_written(path)?;
    }
    let settings = settings(&args.broker)?;
    let input = read(&args.file, &Projects::nearest())?;
    let document = document(&input, &args.vars);
    if print_errors(&document) {
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let number = select(&document, args.statement.as_deref())?;
    let options = Options::default();
    let unit = document.units(&options).nth(number).context("the selected statement")?;
    query::check(unit.text, unit.statement).with_context(|| of_statement(&unit))?;
    let route = Route::first(&unit);
    refuse(&document, &unit, &route)?;
    let job = job(&unit, &route, args).with_context(|| of_statement(&unit))?;
    let control = Control::default();
    let signals = Signalled::listen(&control)?;
    announce(&job, args);
    let report = if args.dry_run {
        dry_run(&settings, &job, args, member(job.config.clone(), args, control, MOST_ANSWER_BYTES))?
    } else {
        match full_run(&settings, &job, args, &control)? {
            Ended::Ran(report) => *report,
            Ended::Checked(code) => return Ok(code),
        }
    };
    Ok(finish(args, &report, &signals))
}

fn of_statement(unit: &Unit<'_>) -> String {
    format!("statement '{}'", unit.statement.name.as_ref().map_or("", |name| &name.text))
}
