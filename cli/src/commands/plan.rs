//! `velo plan`: what each statement's settings mean.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use velo_lint::{Document, LineIndex, Options, Refusal, Route, Unit, refusals, rules};
use velo_schema::Plan;
use velo_schema::keys::Key;

use crate::args::{PlanArgs, PlanFormat};
use crate::dead_letters;
use crate::exit::EXIT_USAGE;
use crate::input::{Listed, list, read};
use crate::project::Projects;
use crate::render::plan::{PlanView, explain, plan_table};
use crate::render::style;
use crate::statement::{document, print_errors, reasons};

pub(crate) fn run(args: &PlanArgs) -> Result<ExitCode> {
    let key = args.explain.as_deref().map(|name| {
        Key::from_name(name).with_context(|| format!("there is no key '{name}'; velo keys lists them"))
    });
    let key = key.transpose()?;
    let is_text = !matches!(args.format, PlanFormat::Json);
    ensure!(key.is_none() || is_text, "--explain prints text only; leave out --format json");
    let mut planned = Planned::default();
    let projects = Projects::nearest();
    let Listed { files, errors, .. } = list(&args.files, &projects);
    let texts = files.iter().map(|file| read(file, &projects)).chain(errors.into_iter().map(Err));
    for text in texts {
        match text {
            Ok(source) => {
                let record_size = args.record_size.or(projects.settings(&source.name).options.record_bytes);
                planned.add(&document(&source, &args.vars), record_size);
            }
            Err(error) => {
                anstream::eprintln!("{} {error:#}", style::error("error:"));
                planned.is_unread = true;
            }
        }
    }
    projects.check()?;
    let Planned { views, has_errors, is_unread } = planned;
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
    if views.is_empty() && !has_errors && !is_unread {
        anstream::eprintln!("no statement has batch or failure settings, or a query to plan");
    }
    Ok(match (is_unread, has_errors) {
        (true, _) => ExitCode::from(EXIT_USAGE),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    })
}

/// What has been planned of the files, and what could not be.
#[derive(Default)]
struct Planned {
    views: Vec<PlanView>,
    has_errors: bool,
    is_unread: bool,
}

impl Planned {
    /// Adds the plans of all statements that have settings of ours, or a query and no settings at all. The errors
    /// of the others are printed.
    fn add(&mut self, document: &Document, record_bytes: Option<u64>) {
        self.has_errors |= print_errors(document);
        let options = Options::default();
        for unit in document.units(&options) {
            let has_query = unit.statement.query.is_some();
            let is_ours = unit.is_ours() || (has_query && unit.foreign.is_empty());
            let may_be_ours = has_query && unit.statement.creates_stream;
            if !(is_ours || may_be_ours) || !rules::errors(&unit).is_empty() {
                continue;
            }
            for route in Route::all(&unit) {
                let (open, mut refused): (Vec<_>, Vec<_>) =
                    refusals(&unit, &route).into_iter().partition(|refusal| refusal.why.is_open());
                refused.retain(|refusal| is_ours || refusal.why.is_near_ours());
                // Only what could be run is refused: a clause on its own may be part of anything.
                if has_query && !refused.is_empty() {
                    anstream::eprintln!("{} {}", style::error("error:"), reasons(document, &refused));
                    self.has_errors = true;
                    break;
                }
                if is_ours {
                    self.views.push(view(document, &unit, route, open, record_bytes));
                }
            }
        }
    }
}

fn view(
    document: &Document,
    unit: &Unit<'_>,
    route: Route,
    open: Vec<Refusal>,
    record_bytes: Option<u64>,
) -> PlanView {
    let place = |file: usize, offset| LineIndex::new(document.text(file)).position(offset);
    let of_open = |Refusal { span, why }: Refusal| {
        (why, document.name(span.file).to_owned(), place(span.file, span.range.start))
    };
    PlanView {
        statement: unit.statement.name.as_ref().map(|name| name.text.clone()),
        file: document.name(0).to_owned(),
        line: place(0, unit.statement.span.start).line,
        plan: Plan::of(&route.at_source.config(), record_bytes),
        dlq_topics: dead_letters::topics(&route),
        job: route.in_job.config(),
        sink: route.at_sink.config(),
        source: route.at_source,
        from: route.source,
        to: route.sink,
        open: open.into_iter().map(of_open).collect(),
    }
}
