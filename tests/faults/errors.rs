//! What a job does when brokers answer with errors: a request and an error of it in, the outcome of a job out. The table
//! of all outcomes is `docs/broker-errors.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use velo_engine::failpoint::Mutant;
use velo_engine::kafka::EmbeddedBroker;

use super::member::{Member, last_error};
use super::protocol::{FIRST_OF_TRANSACTIONS, REQUESTS, Request};
use crate::broker::{Broker, busy, root};
use crate::run::Job;
use crate::topic::{Load, committed, count};

/// How often a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Once,
    Thrice,
    ForEver,
}

impl Times {
    const ALL: [Self; 3] = [Self::Once, Self::Thrice, Self::ForEver];

    fn count(self) -> usize {
        match self {
            Self::Once => 1,
            Self::Thrice => 3,
            Self::ForEver => 100_000,
        }
    }
}

/// A section of the table: a request, and what fetches the records.
#[derive(Debug, Clone, Copy)]
struct Section {
    request: &'static Request,
    fetcher: &'static str,
}

impl Section {
    /// Returns all sections. Only fetching differs between the fetchers.
    fn all() -> impl Iterator<Item = Self> {
        let fetchers = |request: &Request| if request.0 == "Fetch" { &FETCHERS[..] } else { &FETCHERS[..1] };
        REQUESTS
            .iter()
            .flat_map(move |request| fetchers(request).iter().map(move |fetcher| Self { request, fetcher }))
    }

    fn name(self) -> String {
        let Self { request: (name, ..), fetcher } = self;
        if *name == "Fetch" { format!("{name}, `--fetcher {fetcher}`") } else { (*name).to_owned() }
    }

    fn cell(self, code: i16, times: Times) -> Cell {
        Cell { api_key: self.request.1, code, times, fetcher: self.fetcher }
    }
}

const FETCHERS: [&str; 2] = ["native", "librdkafka"];

/// A cell of the table: the request with this API key fails so often with this error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    fetcher: &'static str,
    api_key: i16,
    code: i16,
    times: Times,
}

/// What a job has done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// Everything is written and committed, exit code 0.
    Done,
    /// The job has ended with this code and error.
    Ended(i32, String),
    /// The job still tries and has said so.
    Waits(String),
    /// The job still tries and has said nothing.
    Silent,
    /// A promise is broken.
    Broken(String),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done => write!(f, "done"),
            Self::Ended(code, error) => write!(f, "exit {code}: {error}"),
            Self::Waits(note) => write!(f, "waits: {note}"),
            Self::Silent => write!(f, "waits, silently"),
            Self::Broken(what) => write!(f, "**broken**: {what}"),
        }
    }
}

/// A job that has neither ended nor said anything by then is stuck.
const PATIENCE: Duration = Duration::from_secs(45);

const LOAD: Load = Load { number: 400, partitions: 2, bytes: 100, poison_every: 1000 };

/// Runs a job whose requests of a kind fail.
fn run(Cell { fetcher, api_key, code, times }: Cell, mutant: Option<Mutant>) -> Outcome {
    let broker = Broker::Embedded(EmbeddedBroker::start().expect("an embedded broker"));
    let job = Job::new(&broker, LOAD, "'batch.size' = '100', 'failure_strategy' = 'FailBatch'");
    let Broker::Embedded(cluster) = &broker else { unreachable!("it is an embedded one") };
    let mut command: Command = job.command();
    command.env("RUST_BACKTRACE", "0").args(["--fetcher", fetcher]);
    if let Some(mutant) = mutant {
        command.env("FAILPOINTS", format!("{}=return", mutant.name()));
    }
    if api_key >= FIRST_OF_TRANSACTIONS {
        command.args(["--exactly-once", "--transactional-id", "errors"]);
    }
    cluster.fail_requests(api_key, code, times.count());
    let mut member = Member::start(0, None, command, job.folder().join("log"));
    let status = member.wait(PATIENCE);
    let said = member.said();
    let Some(status) = status else {
        drop(member);
        return last_note(&said).map_or(Outcome::Silent, |note| Outcome::Waits(plain(&job, &note)));
    };
    let Some(code) = status.code() else { return Outcome::Broken(format!("{status}")) };
    if code != 0 {
        return match last_error(&said) {
            Some(error) if !said.contains("panicked") => {
                let error = error.split_once(": ").map_or(error, |(_, error)| error);
                Outcome::Ended(code, plain(&job, error))
            }
            _ => Outcome::Broken(format!("exit {code}: {said}")),
        };
    }
    let written = count(&broker, &job.sink);
    let committed: i64 = committed(&broker, &job.group, &job.source).values().sum();
    // The embedded broker does not show offsets that were committed in transactions.
    let is_committed = api_key >= FIRST_OF_TRANSACTIONS || u64::try_from(committed) == Ok(LOAD.number);
    if written < LOAD.number || !is_committed {
        return Outcome::Broken(format!("exit 0 with {written} written and {committed} committed"));
    }
    Outcome::Done
}

fn last_note(said: &str) -> Option<String> {
    said.lines().rev().find_map(|line| line.strip_prefix("note: ")).map(str::to_owned)
}

/// An error's text without what differs from run to run.
fn plain(job: &Job<'_>, text: &str) -> String {
    let names = [(&job.source, "TOPIC"), (&job.sink, "SINK"), (&job.group, "GROUP")];
    names
        .iter()
        .fold(text.to_owned(), |text, (name, plain)| text.replace(name.as_str(), plain))
        .replace('|', "\\|")
        .split(' ')
        .map(|word| if word.starts_with("127.0.0.1:") { "BROKER" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
        .split(" (after ")
        .map(|part| part.split_once("ms)").map_or(part, |(_, rest)| rest))
        .collect()
}

/// The table's file.
fn path() -> PathBuf {
    root().join("docs/broker-errors.md")
}

/// Returns what jobs do in these cells, in the same order.
fn outcomes(cells: &[Cell], jobs: usize) -> Vec<Outcome> {
    let (queue, done) = (Mutex::new(cells.iter().enumerate()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no panic").next();
                    let Some((index, cell)) = next else { break };
                    let outcome = run(*cell, None);
                    if matches!(outcome, Outcome::Broken(_)) {
                        println!("{cell:?}: {outcome}");
                    }
                    done.lock().expect("no panic").push((index, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no panic");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Returns true if a job that is not allowed to read the committed offsets of its group does not end.
pub(super) fn ignores_what_is_forbidden(mutant: Mutant) -> bool {
    const OFFSET_FETCH: i16 = 9;
    const GROUP_AUTHORIZATION_FAILED: i16 = 30;
    let (api_key, code) = (OFFSET_FETCH, GROUP_AUTHORIZATION_FAILED);
    let cell = Cell { fetcher: FETCHERS[0], api_key, code, times: Times::ForEver };
    matches!(run(cell, Some(mutant)), Outcome::Waits(_) | Outcome::Silent)
}

#[test]
#[ignore = "takes minutes: writes docs/broker-errors.md (scripts/faults --errors)"]
fn table_of_broker_errors() {
    const JOBS: usize = 32;
    let _busy = busy();
    let only = std::env::var("VELO_FAULTS_REQUEST").ok().filter(|name| !name.is_empty());
    let is_wanted = |section: &Section| only.as_ref().is_none_or(|only| only == section.request.0);
    assert!(Section::all().any(|section| is_wanted(&section)), "there is no request '{only:?}'");
    let mut table = String::new();
    for section in Section::all().filter(is_wanted) {
        let (_, _, errors) = section.request;
        let row = |code| Times::ALL.map(|times| section.cell(code, times));
        let cells: Vec<_> = errors.iter().flat_map(|(_, code)| row(*code)).collect();
        let name = section.name();
        write!(table, "\n## {name}\n\n| error | once | three times | always |\n| --- | --- | --- | --- |\n")
            .expect("text");
        for ((error, _), outcomes) in errors.iter().zip(outcomes(&cells, JOBS).chunks(Times::ALL.len())) {
            let [once, thrice, for_ever] = [0, 1, 2].map(|index| outcomes[index].to_string());
            let same = |text: String| if text == once { "same".to_owned() } else { text };
            let (thrice, for_ever) = (same(thrice), same(for_ever));
            writeln!(table, "| `{error}` | {once} | {thrice} | {for_ever} |").expect("text");
        }
    }
    if only.is_some() {
        println!("{table}");
        return assert!(!table.contains("**broken**"), "see above");
    }
    let head = std::fs::read_to_string(path()).expect("the page");
    let head = head.split("\n## ").next().unwrap_or_default().trim_end();
    std::fs::write(path(), format!("{head}\n{table}")).expect("written");
    assert!(!table.contains("**broken**"), "see {}", path().display());
}

/// Of the rows of the committed table, the request, the error, and what a job does after one error: done, exit N or
/// waits.
fn table() -> BTreeSet<(String, String, String)> {
    let page = std::fs::read_to_string(path()).expect("the page");
    assert_eq!(page.matches("waits, silently |").count(), 0, "no cell is silent");
    let mut request = String::new();
    let mut rows = BTreeSet::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            name.clone_into(&mut request);
        }
        let mut columns = line.split(" | ");
        if let Some(error) = columns.next().and_then(|first| first.strip_prefix("| `")?.strip_suffix('`')) {
            rows.insert((request.clone(), error.to_owned(), kind(columns.next().unwrap_or_default())));
        }
    }
    rows
}

/// Returns the part of an outcome before its error or note.
fn kind(outcome: &str) -> String {
    outcome.split(": ").next().unwrap_or_default().to_owned()
}

#[test]
fn jobs_do_what_the_table_of_broker_errors_says() {
    const JOBS: usize = 12;
    let _busy = busy();
    let rows =
        || Section::all().flat_map(|section| section.request.2.iter().map(move |error| (section, error)));
    let cells: Vec<_> = rows().map(|(section, (_, code))| section.cell(*code, Times::Once)).collect();
    let found: BTreeSet<_> = rows()
        .zip(outcomes(&cells, JOBS))
        .map(|((section, (error, _)), outcome)| {
            (section.name(), (*error).to_owned(), kind(&outcome.to_string()))
        })
        .collect();
    let expected = table();
    let differences: Vec<_> = found.symmetric_difference(&expected).collect();
    assert!(
        differences.is_empty(),
        "docs/broker-errors.md is stale, run scripts/faults --errors: {differences:?}"
    );
}
