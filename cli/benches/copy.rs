//! How fast does `velo run` copy a topic to another one, at what cost in CPU time and memory, beside a plain loop over
//! librdkafka that reads a record and writes it? All of them wait for all in-sync replicas with an idempotent producer.
//! One run, one broker, alternating rounds, each part in a process of its own; prints medians and ratios.
//!
//! `cargo bench -p velo-cli --bench copy`. `VELO_BENCH_RECORDS`, `VELO_BENCH_BYTES`, `VELO_BENCH_CODEC`,
//! `VELO_BENCH_PARTITIONS`, `VELO_BENCH_JOBS` and `VELO_BENCH_JSON` are those of the benchmark `drain`.
#![allow(clippy::disallowed_methods, reason = "a benchmark")]
#![allow(clippy::disallowed_types, reason = "topics are deleted")]

mod broker;
mod cost;
mod subject;
mod topic;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tempfile::TempDir;
use velo_cli as _;
use velo_engine::kafka::{ClientSettings, TopicReader, baseline, ensure_topic};
use velo_engine::memory::MemoryBudget;
use velo_engine::waker::Waker;

use broker::Broker;
use cost::{cpu_seconds, median};
use subject::Cost;
use topic::{Load, text};

const ROUNDS: usize = 5;
const BATCH: usize = 500;
const LOOP: &str = "plain copy";

/// One of so many values is no JSON in the second topic.
const SPOILT_EVERY: u64 = 1000;

/// A job: its name, its clause, and arguments of `velo run`. A job that is [`SPOILT`] reads the second topic.
type Job = (&'static str, &'static str, &'static [&'static str]);

const FIXED: &str = "'batch.strategy' = 'fixed_size', 'batch.size' = '500'";
const MEGA: &str = "'batch.strategy' = 'mega_batch', 'batch.size' = '50000', 'batch.parallel' = 'false'";
const EXACTLY_ONCE: &str =
    "'batch.strategy' = 'fixed_size', 'batch.size' = '500', 'transaction.batches' = '100'";
const LETTERS: &str =
    "'batch.strategy' = 'fixed_size', 'batch.size' = '500', 'failure_strategy' = 'SendToDLQ'";

const SPOILT: &str = "fixed_size 500, JSON, 1 of 1000 is a dead letter";

const JOBS: [Job; 7] = [
    ("fixed_size 500", FIXED, &[]),
    ("fixed_size 500, librdkafka", FIXED, &["--fetcher", "librdkafka"]),
    ("mega_batch 50000", MEGA, &[]),
    ("mega_batch 50000, exactly once", MEGA, &["--exactly-once"]),
    ("fixed_size 500, JSON", LETTERS, &["--value-format", "json"]),
    (SPOILT, LETTERS, &["--value-format", "json"]),
    ("fixed_size 500, exactly once", EXACTLY_ONCE, &["--exactly-once"]),
];

fn main() {
    if let Some(asked) = subject::asked() {
        let [address, from, to] = &asked[..] else { panic!("three arguments: {asked:?}") };
        let settings = ClientSettings::new(address.clone(), BTreeMap::new()).expect("no properties");
        let waker = Waker::default();
        let partitions =
            TopicReader::connect(&settings, 0, Waker::default()).expect("a reader").partitions(from);
        let memory = MemoryBudget::unlimited(partitions.expect("a topic").len());
        let reader = TopicReader::connect_within(&settings, &memory, waker.clone()).expect("a reader");
        let copied = baseline::copy(&settings, reader, (from, to), BATCH, &waker).expect("copied");
        return subject::ended(copied.records, copied.checksum, copied.elapsed);
    }
    // cargo test --benches runs this, too, and wants no measurement.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let broker = Broker::start();
    for load in Load::from_environment(1_000_000, "4") {
        measure(&broker.settings, &load);
    }
}

fn measure(settings: &ClientSettings, load: &Load) {
    let wanted = text("VELO_BENCH_JOBS").unwrap_or_default();
    let is_wanted = |(name, ..): &Job| wanted.split(',').any(|job| name.starts_with(job));
    let jobs: Vec<_> = JOBS.into_iter().filter(is_wanted).collect();
    let source = load.fill(settings);
    let spoilt = jobs.iter().any(|(name, ..)| *name == SPOILT);
    let spoilt = spoilt.then(|| Load { spoilt_every: Some(SPOILT_EVERY), ..load.clone() }.fill(settings));
    let folder = TempDir::new().expect("a folder");
    let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let (target, cost) = (format!("{source}_loop_{round}"), |target: &str| {
            subject::run(&[settings.bootstrap_servers(), &source, target])
        });
        costs.entry(LOOP).or_default().push(with_topic(settings, &target, load, cost));
        for (number, (name, clause, arguments)) in jobs.iter().enumerate() {
            let target = format!("{source}_{round}_{number}");
            let source = spoilt.as_ref().filter(|_| *name == SPOILT).unwrap_or(&source);
            let run = |target: &str| job(settings, folder.path(), (source, target), clause, arguments);
            costs.entry(name).or_default().push(with_topic(settings, &target, load, run));
        }
    }
    println!("{load}, medians of {ROUNDS} rounds:");
    let plain = median(&costs[LOOP], Cost::records_per_s);
    for name in std::iter::once(LOOP).chain(jobs.iter().map(|(name, ..)| *name)) {
        let costs = &costs[name];
        let rate = median(costs, Cost::records_per_s);
        println!(
            "  {name:46} {:5.2} M records/s ({:.2} of the plain copy), {:5.2} CPU us per record, peak {:4.0} MiB",
            rate / 1e6,
            rate / plain,
            median(costs, Cost::cpu_us_per_record),
            median(costs, |cost| cost.peak_mib),
        );
    }
    topic::keep("copy", load, &costs);
}

/// Creates a topic for as long as a part runs.
fn with_topic(settings: &ClientSettings, name: &str, load: &Load, part: impl FnOnce(&str) -> Cost) -> Cost {
    let reader = TopicReader::connect(settings, 0, Waker::default()).expect("a reader");
    let count = usize::try_from(load.partitions).expect("a count");
    ensure_topic(settings, &reader, name, count, &[]).expect("a topic");
    let cost = part(name);
    assert_eq!(cost.records, load.records, "{name}");
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", settings.bootstrap_servers())
        .create()
        .expect("a client");
    pollster::block_on(admin.delete_topics(&[name], &AdminOptions::new())).expect("deleted");
    cost
}

fn job(
    settings: &ClientSettings,
    folder: &Path,
    (from, to): (&str, &str),
    clause: &str,
    arguments: &[&str],
) -> Cost {
    let path = folder.join("job.sql");
    std::fs::write(&path, format!("CREATE STREAM {to} AS SELECT * FROM {from} WITH ({clause});"))
        .expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_velo"));
    command
        .arg("run")
        .arg(&path)
        .args(["--bootstrap-servers", settings.bootstrap_servers(), "--group-id", to])
        .args(["--until-end", "--report", "-"])
        .args(arguments)
        .env_remove("VELO_FETCHER");
    let (cost, report) = run(&mut command);
    let fetcher = arguments.last().filter(|_| arguments.contains(&"--fetcher")).unwrap_or(&"native");
    assert_eq!(report["fetcher"], *fetcher, "{report:#}");
    let count = |name: &str| report["ledger"][name].as_u64().expect("a number");
    assert_eq!(count("ok") + count("dlq"), cost.records, "{report:#}");
    cost
}

/// Runs a program that writes the report of a job to its standard output.
fn run(command: &mut Command) -> (Cost, serde_json::Value) {
    let before = cpu_seconds().1;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("velo runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0.0_f64;
    // The peak is gone with the process, so it is read until then. The benchmark hears nothing when it changes.
    while child.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(Path::new(&status)).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok());
        peak_kib = peak_kib.max(peak.unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("an end");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    let cost = Cost {
        records: report["ledger"]["delivered"].as_u64().expect("a number"),
        checksum: 0,
        seconds: number(&report["seconds"]),
        cpu_s: cpu_seconds().1 - before,
        peak_mib: peak_kib / 1024.0,
    };
    (cost, report)
}
