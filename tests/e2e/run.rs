//! `velo run`: nothing lost, nothing changed, dead letters with their reasons, restarts.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::broker::{Broker, busy, embedded, quiet, real};
use crate::topic::{Load, committed, count, first_timestamp_ms, for_each};

/// A job over topics of its own.
pub(crate) struct Job<'a> {
    pub broker: &'a Broker,
    folder: TempDir,
    pub source: String,
    pub sink: String,
    pub dlq: String,
    pub group: String,
}

/// `velo`; another build can be tested, one that is installed, say.
pub(crate) fn program() -> Command {
    let program = std::env::var_os("VELO_TEST_PROGRAM");
    Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_velo").into()))
}

impl<'a> Job<'a> {
    pub(crate) fn new(broker: &'a Broker, load: Load, settings: &str) -> Self {
        let source = broker.topic("source", load.partitions);
        let sink = broker.topic("sink", load.partitions);
        let dlq = format!("{source}.dlq");
        broker.create(&dlq, load.partitions);
        load.produce(broker, &source);
        let folder = TempDir::new().expect("a folder");
        let sql = format!("CREATE STREAM {sink} AS SELECT * FROM {source} EMIT CHANGES WITH ({settings});");
        std::fs::write(folder.path().join("job.sql"), sql).expect("written");
        let group = format!("group-{source}");
        Self { broker, folder, source, sink, dlq, group }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn sql_path(&self) -> PathBuf {
        self.folder().join("job.sql")
    }

    pub(crate) fn report_path(&self) -> PathBuf {
        self.folder().join("report.json")
    }

    /// The job as a member whose session ends soon after it has died.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.patient_command();
        // A killed member keeps its partitions until its session ends, and the embedded broker waits
        // as long for one that has left.
        let (session, heartbeat) = match self.broker {
            Broker::Embedded(_) => (1500, 300),
            Broker::Real(_) | Broker::At(_) => (6000, 1000),
        };
        command.args(["-X", &format!("session.timeout.ms={session}")]);
        command.args(["-X", &format!("heartbeat.interval.ms={heartbeat}")]);
        command
    }

    fn patient_command(&self) -> Command {
        let mut command = self.endless_command();
        command.arg("--until-end");
        command
    }

    /// The job as a member that stays until it is stopped.
    pub(crate) fn endless_command(&self) -> Command {
        let mut command = self.command_without_broker();
        command.args(["--bootstrap-servers", &self.broker.address()]);
        command
    }

    /// The job, without a word about where the broker is.
    pub(crate) fn command_without_broker(&self) -> Command {
        let mut command = program();
        command
            .arg("run")
            .arg(self.sql_path())
            .args(["--group-id", &self.group, "--value-format", "json", "--report"])
            .arg(self.report_path())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn report(&self) -> Json {
        serde_json::from_slice(&std::fs::read(self.report_path()).expect("a report")).expect("json")
    }

    pub(crate) fn run(&self) -> Json {
        let Output { status, stderr, .. } = self.command().output().expect("velo runs");
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        self.report()
    }
}

/// Ends a job as an operator does, and returns what it wrote to stderr once it has ended well.
pub(crate) fn stop(child: Child, signal: &str) -> String {
    let output = stopped(child, signal);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    stderr
}

fn stopped(child: Child, signal: &str) -> Output {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
    child.wait_with_output().expect("gone")
}

/// Stops a job that reads until the end: only one that has come there has done all that it was asked to.
fn stop_before_the_end(job: &Job<'_>, child: Child, signal: &str) {
    let output = stopped(child, signal);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let is_at_end = job.report()["end_of_input"] == true;
    assert_eq!(output.status.code(), Some(i32::from(!is_at_end)), "{stderr}");
    assert_eq!(stderr.contains("the job was stopped before the end"), !is_at_end, "{stderr}");
}

/// Panics, with what it said, where a job has ended by itself.
pub(crate) fn assert_running(child: &mut Child) {
    if let Some(status) = child.try_wait().expect("a child") {
        let mut stderr = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("read");
        panic!("the job ended by itself: {status}\n{stderr}");
    }
}

/// Waits until the job has settled everything, as an operator sees it: by the sum of the offsets that its
/// group has committed.
pub(crate) fn wait_for_commit(job: &Job<'_>, child: &mut Child, offsets: i64) {
    while committed(job.broker, &job.group, &job.source).values().sum::<i64>() < offsets {
        assert_running(child);
    }
}

fn is_poison(load: Load, index: u64) -> bool {
    index % load.poison_every == load.poison_every - 1
}

/// What is in sink and dead letter queue: how often each record, after checking it byte by byte.
pub(crate) fn audit(job: &Job<'_>, load: Load) -> Audit {
    let mut seen = vec![0_u32; usize::try_from(load.number).expect("small")];
    let mut last_of_key = HashMap::new();
    let mut audit = Audit::default();
    for_each(job.broker, &job.sink, |read| {
        let index: u64 = String::from_utf8_lossy(&read.headers["index"]).parse().expect("a number");
        let (partition, key, value) = load.record(index);
        assert!(!is_poison(load, index), "record {index} is not JSON and was written to the sink");
        assert_eq!(read.headers.len(), 1);
        assert_eq!(read.timestamp_ms, Some(first_timestamp_ms() + i64::try_from(index).expect("small")));
        assert_eq!(read.partition, partition);
        assert_eq!(read.value.as_deref(), Some(value.as_bytes()));
        assert_eq!(read.key.as_deref(), Some(key.as_bytes()));
        let times = &mut seen[usize::try_from(index).expect("small")];
        *times += 1;
        // A repeated record comes again with all that followed it; the first copies are in order.
        if *times == 1 {
            let before = last_of_key.insert(key, index);
            assert!(before.is_none_or(|before| before < index), "the order of {index}'s key");
        }
        audit.sink += 1;
    });
    for_each(job.broker, &job.dlq, |read| {
        let index: u64 = String::from_utf8_lossy(&read.headers["index"]).parse().expect("a number");
        let (partition, key, value) = load.record(index);
        assert!(is_poison(load, index));
        assert_eq!((read.partition, read.key, read.value), (partition, Some(key.into()), Some(value.into())));
        assert_eq!(read.timestamp_ms, Some(first_timestamp_ms() + i64::try_from(index).expect("small")));
        assert_eq!(read.headers["__connect.errors.topic"], job.source.as_bytes());
        assert_eq!(read.headers["__connect.errors.partition"], partition.to_string().as_bytes());
        assert_eq!(read.headers["__connect.errors.stage"], b"decode");
        seen[usize::try_from(index).expect("small")] += 1;
        audit.dlq += 1;
    });
    audit.lost = seen.iter().filter(|times| **times == 0).count();
    audit.repeated = seen.iter().filter(|times| **times > 1).count();
    audit
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    pub sink: u64,
    pub dlq: u64,
    pub lost: usize,
    pub repeated: usize,
}

pub(crate) const BUFFERED: &str =
    "'batch.strategy' = 'fixed_size', 'batch.size' = '500', 'failure_strategy' = 'SendToDLQ'";
const STANDARD: &str = "'batch.strategy' = 'low_latency', 'batch.low_latency_max_size' = '10', \
                        'failure_strategy' = 'SendToDLQ'";

fn moves_everything(broker: &Broker, load: Load, settings: &str, tier: &str) {
    let job = Job::new(broker, load, settings);
    let report = job.run();
    let poison = load.number / load.poison_every;
    let ok = load.number - poison;
    assert_eq!(audit(&job, load), Audit { sink: ok, dlq: poison, lost: 0, repeated: 0 });
    let ledger = &report["ledger"];
    assert_eq!(ledger["delivered"], load.number);
    assert_eq!((&ledger["ok"], &ledger["dlq"]), (&Json::from(ok), &Json::from(poison)));
    assert_eq!(report["outcome"], "drained");
    assert_eq!(report["tier"]["actual"], tier);
    let committed: i64 = committed(broker, &job.group, &job.source).values().sum();
    assert_eq!(committed, i64::try_from(load.number).expect("small"));
    // A second run finds nothing to do and changes nothing.
    assert_eq!(job.run()["ledger"]["delivered"], 0);
    assert_eq!(count(broker, &job.sink), ok);
}

#[test]
fn the_embedded_broker_loses_nothing_in_either_tier() {
    let _busy = busy();
    let load = Load { number: 20_000, partitions: 4, bytes: 200, poison_every: 100 };
    moves_everything(&embedded(), load, BUFFERED, "buffered");
    moves_everything(&embedded(), load, STANDARD, "standard");
}

#[test]
fn full_batches_are_taken_in_few_calls() {
    let _quiet = quiet();
    let broker = embedded();
    let load = Load { number: 20_000, partitions: 4, bytes: 100, poison_every: 1000 };
    for size in [101_u64, 500, 2000] {
        let job = Job::new(&broker, load, &format!("'batch.size' = '{size}'"));
        let report = job.run();
        let calls = report["dequeue"]["calls"].as_u64().expect("a number");
        println!("size {size}: {calls} calls");
        // On a machine that stands still for a while a call ends with its time.
        let late = report["batches"]["by_reason"]["time"].as_u64().unwrap_or(0);
        let most = load.number.div_ceil(size) + 4 + 2 * late;
        assert!(calls <= most, "{size}: {calls} calls, {} and {}", report["dequeue"], report["batches"]);
    }
}

#[test]
fn real_kafka_moves_a_million_records_and_its_dead_letters() {
    let _busy = busy();
    let load = Load { number: 1_000_000, partitions: 4, bytes: 200, poison_every: 1000 };
    moves_everything(&real(), load, BUFFERED, "buffered");
}

#[test]
fn real_kafka_loses_nothing_in_the_standard_tier() {
    let _busy = busy();
    let load = Load { number: 50_000, partitions: 4, bytes: 200, poison_every: 100 };
    moves_everything(&real(), load, STANDARD, "standard");
}

/// Waits until `done` says so, by asking the broker; the job's end is an end, too.
fn wait_until(job: &Job<'_>, child: &mut Child, mut done: impl FnMut(u64) -> bool) {
    while !done(count(job.broker, &job.sink)) {
        assert_running(child);
    }
}

#[test]
fn a_killed_job_goes_on_where_it_had_committed() {
    let _busy = busy();
    let broker = real();
    let load = Load { number: 1_000_000, partitions: 4, bytes: 200, poison_every: 1000 };
    let job = Job::new(&broker, load, BUFFERED);
    // Slow enough to be killed on the way: 20 s for all of it.
    let mut child = job.command().args(["--cost", "20us/record"]).spawn().expect("velo runs");
    wait_until(&job, &mut child, |written| written >= load.number / 5);
    child.kill().expect("killed");
    child.wait().expect("gone");
    let before: i64 = committed(&broker, &job.group, &job.source).values().sum();

    let report = job.run();
    let audit = audit(&job, load);
    assert_eq!(audit.lost, 0);
    let delivered = report["ledger"]["delivered"].as_i64().expect("a number");
    let total = i64::try_from(load.number).expect("small");
    assert_eq!(delivered, total - before, "the restart began at the last commit");
    // Only what was read again can be there twice, and no more often.
    assert_eq!(audit.sink + audit.dlq, load.number + audit.repeated as u64);
    assert!(delivered > 0 && delivered < total, "killed after {before} of {total}");
}

#[test]
fn offsets_are_committed_again_and_again_while_the_job_runs() {
    let _busy = busy();
    let broker = real();
    let load = Load { number: 20_000, partitions: 2, bytes: 100, poison_every: 1000 };
    let job = Job::new(&broker, load, BUFFERED);
    let mut command = job.command();
    command.args(["--cost", "1ms/record"]);
    let mut child = command.spawn().expect("velo runs");
    let mut sums = std::collections::BTreeSet::new();
    while sums.len() < 3 {
        assert_running(&mut child);
        sums.insert(committed(&broker, &job.group, &job.source).values().sum::<i64>());
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert!(sums.iter().all(|sum| *sum < 20_000), "{sums:?}");
}

#[test]
fn every_group_protocol_moves_everything_and_leaves_the_group() {
    let _busy = busy();
    let broker = real();
    let load = Load { number: 5000, partitions: 4, bytes: 100, poison_every: 100 };
    for protocol in ["partition.assignment.strategy=range", "group.protocol=consumer"] {
        let job = Job::new(&broker, load, BUFFERED);
        let output = job.patient_command().args(["-X", protocol]).output().expect("velo runs");
        assert!(output.status.success(), "{protocol}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(audit(&job, load), Audit { sink: 4950, dlq: 50, lost: 0, repeated: 0 }, "{protocol}");
        assert_eq!(committed(&broker, &job.group, &job.source).values().sum::<i64>(), 5000, "{protocol}");
    }
}

#[test]
fn sigterm_settles_and_commits_what_a_program_has_in_hand() {
    let _busy = busy();
    let broker = embedded();
    let load = Load { number: 5000, partitions: 2, bytes: 100, poison_every: 10 };
    let job = Job::new(&broker, load, "'batch.size' = '10', 'failure_strategy' = 'SendToDLQ'");
    let mut command = job.command();
    command.args(["--exec", "while read -r l; do [ -z \"$l\" ] && echo '{\"ok\":true}'; done"]);
    let mut child = command.spawn().expect("velo runs");
    wait_until(&job, &mut child, |written| written > 0);
    stop_before_the_end(&job, child, "-TERM");
    assert_drained(&job);
}

fn assert_drained(job: &Job<'_>) -> Json {
    let report = job.report();
    let ledger = &report["ledger"];
    assert_eq!((&ledger["uncommitted"], &report["outcome"]), (&Json::from(0), &Json::from("drained")));
    assert_eq!(ledger["ok"], count(job.broker, &job.sink));
    ledger.clone()
}

#[test]
fn a_dry_run_reads_all_and_leaves_no_trace() {
    let _busy = busy();
    let broker = embedded();
    let load = Load { number: 5000, partitions: 2, bytes: 100, poison_every: 10 };
    let job = Job::new(&broker, load, BUFFERED);
    let output = job.command().arg("--dry-run").output().expect("velo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = job.report();
    assert_eq!((&report["ledger"]["ok"], &report["ledger"]["dlq"]), (&Json::from(4500), &Json::from(500)));
    assert_eq!((count(&broker, &job.sink), count(&broker, &job.dlq)), (0, 0));
    assert!(committed(&broker, &job.group, &job.source).is_empty());
}

#[test]
fn the_first_interrupt_settles_and_commits_what_is_in_flight() {
    let _busy = busy();
    let broker = embedded();
    let load = Load { number: 5000, partitions: 2, bytes: 100, poison_every: 10 };
    let job = Job::new(&broker, load, BUFFERED);
    let mut command = job.command();
    // Slow enough to be interrupted: 10 ms a batch and 1 ms a record.
    command.args(["--cost", "10ms+1ms/record"]);
    let mut child = command.spawn().expect("velo runs");
    wait_until(&job, &mut child, |written| written > 0);
    stop_before_the_end(&job, child, "-INT");
    let ledger = assert_drained(&job);
    let committed: i64 = committed(&broker, &job.group, &job.source).values().sum();
    assert_eq!(ledger["delivered"], committed);
    assert!(committed < i64::try_from(load.number).expect("small"));
}

/// The other strategies, and what follows the last retry; the first two have tests of their own.
const OTHERS: [(&str, &str); 5] = [
    (
        "'batch.strategy' = 'time_window', 'batch.window' = '50ms', 'failure_strategy' = 'SendToDLQ'",
        "buffered",
    ),
    (
        "'batch.strategy' = 'memory_based', 'batch.memory_size' = '20000', 'failure_strategy' = 'SendToDLQ'",
        "buffered",
    ),
    (
        "'batch.strategy' = 'adaptive_size', 'batch.min_size' = '10', 'batch.adaptive_max_size' = '2000', \
         'failure_strategy' = 'SendToDLQ'",
        "buffered",
    ),
    (
        "'batch.strategy' = 'mega_batch', 'batch.mega_batch_size' = '10000', 'batch.timeout' = '200ms', \
         'failure_strategy' = 'SendToDLQ'",
        "buffered",
    ),
    (
        "'batch.strategy' = 'fixed_size', 'batch.size' = '100', 'failure_strategy' = 'RetryWithBackoff', \
         'max_retries' = '1', 'retry_backoff' = '10ms', 'on_exhausted' = 'SendToDLQ'",
        "standard",
    ),
];

#[test]
fn the_embedded_broker_loses_nothing_under_any_strategy() {
    let _busy = busy();
    let load = Load { number: 5000, partitions: 3, bytes: 200, poison_every: 100 };
    for (settings, tier) in OTHERS {
        moves_everything(&embedded(), load, settings, tier);
    }
}

#[test]
fn real_kafka_loses_nothing_under_any_strategy() {
    let _busy = busy();
    let load = Load { number: 50_000, partitions: 3, bytes: 200, poison_every: 500 };
    for (settings, tier) in OTHERS {
        moves_everything(&real(), load, settings, tier);
    }
}
