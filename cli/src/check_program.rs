//! The two check programs: lint, resolve, plan and execute every block of a fixture, and compare the result with the
//! expectation in the line before the block.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use velo_engine::JobConfig;
use velo_lint::{Document, Language, Options, Severity, Unit};
use velo_schema::{Failure, FailureStrategy, format_duration};

use crate::check_runs;
use crate::input::{Disk, read};
use crate::project::Projects;
use crate::render::plan::{sides, table};

/// A check program: its built-in blocks, and the description that it compares.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The blocks to check if no file is given.
    blocks: &'static str,
    describe: fn(&Unit<'_>) -> String,
}

/// Checks strategy, poll size, tier and longest wait.
pub const BATCH_WITH_CLAUSE: Program =
    Program { blocks: include_str!("../../fixtures/checks/batch_with_clause.md"), describe: batches };

/// Checks the failure strategy of each side.
pub const FAILURE_STRATEGY_CONFIG: Program =
    Program { blocks: include_str!("../../fixtures/checks/failure_strategy_config.md"), describe: failures };

/// Check that batch and failure settings have the expected effect.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
The line before each fenced block contains the expected result: <!-- expect: … -->.

Exit codes:
  0  all blocks have the expected result
  1  a block has another result
  2  the file could not be read"
)]
struct Args {
    /// Markdown file with blocks and expected results [default: built-in blocks]
    file: Option<PathBuf>,
}

/// Runs a check program.
#[must_use]
pub fn main(program: Program) -> ExitCode {
    crate::exit::finish(run(program, &Args::parse()))
}

fn run(program: Program, args: &Args) -> Result<ExitCode> {
    let (name, text) = match &args.file {
        None => ("(built in)".to_owned(), program.blocks.to_owned()),
        Some(path) => {
            let input = read(path, &Projects::nearest())?;
            (input.name, input.text)
        }
    };
    let checks = checks(program, &name, &text)?;
    let mut table = table(&["line", "statement", "found", "result"]);
    for check in &checks {
        let result = if check.is_ok() { "ok".to_owned() } else { format!("expected {}", check.expected) };
        table.add_row([check.line.to_string(), check.statement.clone(), check.found.clone(), result]);
    }
    let failed = checks.iter().filter(|check| !check.is_ok()).count();
    let mut out = anstream::stdout().lock();
    writeln!(out, "{table}\n{} checked, {failed} not as expected", checks.len())?;
    Ok(ExitCode::from(u8::from(failed > 0)))
}

struct Check {
    line: usize,
    statement: String,
    expected: String,
    found: String,
}

impl Check {
    fn is_ok(&self) -> bool {
        self.expected == self.found
    }
}

/// Checks each fenced block.
fn checks(program: Program, name: &str, text: &str) -> Result<Vec<Check>> {
    let document = Document::read(name, text, Language::Markdown, &Disk::default());
    let options = Options::default();
    let mistakes = document.check(&options);
    let mut units: Vec<_> = document.units(&options).collect();
    let mut checks = Vec::new();
    for (_, block) in velo_lint::blocks(text, Language::Markdown) {
        let line = text[..block.start].lines().count();
        let expected = text[..block.start].lines().rev().nth(1).and_then(|line| {
            line.trim().strip_prefix("<!-- expect: ")?.strip_suffix(" -->").map(str::to_owned)
        });
        let expected = expected
            .with_context(|| format!("{name}:{line}: no line <!-- expect: … --> before this block"))?;
        let inside = units.iter().position(|unit| block.contains(&unit.statement.span.start));
        let unit = inside.map(|index| units.remove(index));
        let statement = unit.as_ref().and_then(|unit| unit.statement.name.as_ref());
        let statement = statement.map_or_else(|| "(file)".to_owned(), |name| name.text.clone());
        let wrong = mistakes.iter().find(|finding| {
            finding.severity > Severity::Info && finding.file == 0 && block.contains(&finding.span.start)
        });
        let found = match (wrong, unit) {
            (Some(finding), _) => format!("{}: {}", finding.rule, finding.message),
            (None, Some(unit)) => (program.describe)(&unit),
            (None, None) => "no settings".to_owned(),
        };
        checks.push(Check { line, statement, expected, found });
    }
    if checks.is_empty() {
        bail!("{name}: no fenced sql or yaml block");
    }
    Ok(checks)
}

fn batches(unit: &Unit<'_>) -> String {
    let config = job(unit);
    let plan = config.plan();
    let strategy = plan.strategy.map_or_else(|| "none".to_owned(), |strategy| strategy.to_string());
    let wait = format_duration(plan.max_wait);
    let done = check_runs::batches(&config);
    format!("{strategy}, poll {}, {}, wait {wait}: {done}", plan.max_poll_records, plan.tier)
}

/// Describes the failure strategy of the job, other strategies of its sides, and the outcome of failed records.
fn failures(unit: &Unit<'_>) -> String {
    let config = job(unit);
    let [source, job, sink] = [&config.source, &config.job, &config.sink].map(|side| failure(&side.failure));
    let mut found = job.clone();
    for (name, side) in [("source", source), ("sink", sink)] {
        if side != job {
            found += &format!("; {name} {side}");
        }
    }
    format!("{found}: {}", check_runs::failures(&config))
}

fn job(unit: &Unit<'_>) -> JobConfig {
    let (source, job, sink) = sides(unit);
    JobConfig { source: source.config(), sink, ..JobConfig::uniform(job) }
}

fn failure(failure: &Failure) -> String {
    if failure.strategy != FailureStrategy::RetryWithBackoff {
        return failure.strategy.to_string();
    }
    let (from, to) = (format_duration(failure.backoff), format_duration(failure.backoff_max));
    format!("{} {}x {from}-{to} {}", failure.strategy, failure.max_retries, failure.on_exhausted)
}
