//! How long does `velo lint` take for many files, beside what no linter can avoid: starting a program, and reading the
//! files? One run, alternating rounds; prints medians of the time and means of the CPU time.
//!
//! `cargo bench -p velo-cli --no-default-features --bench lint`. `VELO_BENCH_FILES` sets the number of files, and
//! `VELO_BENCH_BEFORE` the path of another build of velo to measure side by side. `sqruff`, another linter of SQL, is
//! measured, too, if it is installed.
#![allow(clippy::disallowed_methods, reason = "a benchmark")]

mod cost;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use velo_cli as _;

use cost::{cpu_seconds, median};

const ROUNDS: usize = 11;
/// Every file has this many statements of 16 lines.
const STATEMENTS: usize = 5;
/// One of so many files has mistakes.
const MISTAKES_EVERY: usize = 10;

/// What one run took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall_ms: f64,
    /// Of all processors together.
    cpu_ms: f64,
}

fn main() {
    // cargo test --benches runs this, too, and wants no measurement.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let variable = |name: &str| std::env::var(name).ok();
    let files: usize = variable("VELO_BENCH_FILES").and_then(|text| text.parse().ok()).unwrap_or(1000);
    let folder = tempfile::TempDir::new().expect("a folder");
    for number in 0..files {
        let path = folder.path().join(format!("job{number:05}.sql"));
        std::fs::write(path, text(number)).expect("written");
    }
    let one = folder.path().join("job00001.sql");
    let velo = env!("CARGO_BIN_EXE_velo").to_owned();
    let mut programs = vec![
        ("true", vec!["true".to_owned()]),
        ("velo lint, one file", vec![velo.clone(), "lint".to_owned(), one.display().to_string()]),
        ("velo lint, all files", vec![velo, "lint".to_owned(), folder.path().display().to_string()]),
    ];
    if let Some(before) = variable("VELO_BENCH_BEFORE") {
        let all = folder.path().display().to_string();
        programs.push(("velo lint, all files, before", vec![before, "lint".to_owned(), all]));
    }
    if Command::new("sqruff").arg("--version").stdout(Stdio::null()).status().is_ok() {
        let all = folder.path().display().to_string();
        programs.push(("sqruff lint, all files", vec!["sqruff".to_owned(), "lint".to_owned(), all]));
    }
    let mut costs: BTreeMap<usize, Vec<Cost>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        costs.entry(0).or_default().push(measured(|| read_all(folder.path())));
        for (number, (_, command)) in (1..).zip(&programs) {
            costs.entry(number).or_default().push(measured(|| run(command)));
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{files} files of {} lines on {cores} cores, medians of {ROUNDS} rounds:",
        text(0).lines().count()
    );
    let names = std::iter::once("read all files").chain(programs.iter().map(|(name, _)| *name));
    for (name, costs) in names.zip(costs.values()) {
        let cpu_ms = costs.iter().map(|cost| cost.cpu_ms).sum::<f64>() / costs.len() as f64;
        println!("  {name:30} {:8.1} ms, {cpu_ms:8.1} ms of CPU time", median(costs, |cost| cost.wall_ms));
    }
}

/// Statements as people write them: three of five without settings of velo.
fn text(number: usize) -> String {
    let mut text = String::new();
    for statement in 0..STATEMENTS {
        let id = number * STATEMENTS + statement;
        let size = if number.is_multiple_of(MISTAKES_EVERY) { "'5o0'" } else { "'500'" };
        let clause = if statement.is_multiple_of(3) {
            format!(
                "WITH (\n    'batch.strategy' = 'fixed_size',\n    'batch.size' = {size},\n    \
                 'failure_strategy' = 'LogAndContinue'\n)"
            )
        } else {
            "WITH (\n    'connector' = 'kafka',\n    'topic' = 'orders',\n    'format' = 'json'\n)".to_owned()
        };
        write!(
            text,
            "-- Orders of region {id}, joined with their customers.\n\
             CREATE STREAM orders_{id} AS\n\
             SELECT o.order_id, o.customer_id, c.name, o.amount * 1.19 AS total,\n    \
                 CASE WHEN o.amount > 100 THEN 'large' ELSE 'small' END AS class,\n    \
                 COALESCE(o.note, 'it''s empty') AS note\n\
             FROM orders AS o\n\
             JOIN customers AS c ON o.customer_id = c.id /* by key */\n\
             WHERE o.region = 'r{id}' AND o.amount >= 0\n\
             GROUP BY o.order_id, o.customer_id\n\
             HAVING COUNT(*) > 1\n\
             {clause};\n\n"
        )
        .expect("text");
    }
    text
}

fn read_all(folder: &Path) {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        bytes += std::fs::read(entry.expect("a file").path()).expect("a text").len();
    }
    assert!(bytes > 0);
}

fn run(command: &[String]) {
    let mut program = Command::new(&command[0]);
    program.args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    let status = program.status().unwrap_or_else(|error| panic!("{}: {error}", command[0]));
    assert!(matches!(status.code(), Some(0 | 1)), "{command:?}: {status}");
}

fn measured(what: impl FnOnce()) -> Cost {
    let cpu = || {
        let (own, children) = cpu_seconds();
        own + children
    };
    let (begun, before) = (Instant::now(), cpu());
    what();
    Cost { wall_ms: begun.elapsed().as_secs_f64() * 1e3, cpu_ms: (cpu() - before) * 1e3 }
}
