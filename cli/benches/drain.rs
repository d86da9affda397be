//! How fast does `velo run --dry-run --until-end` drain a prefilled topic, at what cost in CPU time and memory, beside
//! a bare loop over librdkafka, and beside the limit: a loop that parses every record in place on one connection? One
//! run, one broker, alternating rounds; prints medians and ratios.
//!
//! `cargo bench -p velo-cli --bench drain`. `VELO_BENCH_RECORDS` sets the number of records, `VELO_BENCH_PARTITIONS` a
//! list of partition counts, `VELO_BENCH_JOBS` a list of the beginnings of job names, and `VELO_BENCH_BEFORE` the path
//! of another build of velo to measure side by side.
#![allow(clippy::disallowed_methods, reason = "a benchmark")]

mod broker;
mod cost;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

// For its allocator: the bare loop and the programs shall have the same one.
use velo_cli as _;
use velo_engine::kafka::{ClientSettings, NewRecord, RecordProducer, TopicReader, baseline, ensure_topic};
use velo_engine::memory::MemoryBudget;
use velo_engine::waker::Waker;

use broker::Broker;
use cost::{cpu_seconds, median};

const ROUNDS: usize = 5;
const BATCH: usize = 500;
const VALUE_BYTES: usize = 200;
const LIMIT: &str = "limit";

/// The jobs, by name.
const JOBS: [(&str, &str); 6] = [
    ("fixed_size 100", "'batch.strategy' = 'fixed_size', 'batch.size' = '100'"),
    ("fixed_size 500", "'batch.strategy' = 'fixed_size', 'batch.size' = '500'"),
    ("fixed_size 5000", "'batch.strategy' = 'fixed_size', 'batch.size' = '5000'"),
    (
        "mega_batch 50000",
        "'batch.strategy' = 'mega_batch', 'batch.size' = '50000', 'batch.parallel' = 'false'",
    ),
    (
        "mega_batch 50000 ||",
        "'batch.strategy' = 'mega_batch', 'batch.size' = '50000', 'batch.parallel' = 'true'",
    ),
    ("low_latency 1", "'batch.strategy' = 'low_latency', 'batch.size' = '1'"),
];

/// What one run took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    records_per_s: f64,
    cpu_s_per_million: f64,
    peak_mib: f64,
}

fn main() {
    // cargo test --benches runs this, too, and wants no measurement.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let variable = |name: &str| std::env::var(name).ok();
    let records: u64 = variable("VELO_BENCH_RECORDS").and_then(|text| text.parse().ok()).unwrap_or(2_000_000);
    let partitions = variable("VELO_BENCH_PARTITIONS").unwrap_or_else(|| "1,4,100".to_owned());
    let before = variable("VELO_BENCH_BEFORE").map(PathBuf::from);
    let broker = Broker::start();
    for partitions in partitions.split(',').filter_map(|count| count.parse().ok()) {
        measure(&broker.settings, partitions, records, before.as_deref());
    }
}

fn measure(settings: &ClientSettings, partitions: i32, records: u64, before: Option<&Path>) {
    let topic = format!("drain{partitions}");
    fill(settings, &topic, partitions, records);
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut costs: BTreeMap<(usize, String), Vec<Cost>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let (own, _) = cpu_seconds();
        let waker = Waker::default();
        let memory = MemoryBudget::unlimited(usize::try_from(partitions).expect("a count"));
        let reader = TopicReader::connect_within(settings, &memory, waker.clone()).expect("a reader");
        let drained = baseline::drain(reader, &topic, BATCH, &waker).expect("drained");
        assert_eq!(drained.records, records);
        let bare = Cost {
            records_per_s: records as f64 / drained.elapsed.as_secs_f64(),
            cpu_s_per_million: (cpu_seconds().0 - own) / (records as f64 / 1e6),
            peak_mib: 0.0,
        };
        costs.entry((0, "bare loop".to_owned())).or_default().push(bare);
        let (own, _) = cpu_seconds();
        let parsed = baseline::parse(settings, &topic).expect("parsed");
        assert_eq!((parsed.records, parsed.checksum), (records, drained.checksum));
        let limit = Cost {
            records_per_s: records as f64 / parsed.elapsed.as_secs_f64(),
            cpu_s_per_million: (cpu_seconds().0 - own) / (records as f64 / 1e6),
            peak_mib: 0.0,
        };
        costs.entry((0, LIMIT.to_owned())).or_default().push(limit);
        let jobs = std::env::var("VELO_BENCH_JOBS").unwrap_or_default();
        let is_wanted = |name: &str| jobs.split(',').any(|job| name.starts_with(job));
        for (number, (name, clause)) in (1..).zip(JOBS).filter(|(_, (name, _))| is_wanted(name)) {
            let sql = format!("CREATE STREAM out AS SELECT * FROM {topic} WITH ({clause});");
            let path = folder.path().join("job.sql");
            std::fs::write(&path, sql).expect("written");
            let program = Path::new(env!("CARGO_BIN_EXE_velo"));
            let programs =
                [(program, name.to_owned(), "librdkafka"), (program, format!("{name}, native"), "native")];
            let others = before.map(|program| (program, format!("{name}, before"), "librdkafka"));
            for (program, name, fetcher) in programs.into_iter().chain(others) {
                let cost = velo(program, &path, (settings.bootstrap_servers(), fetcher), records);
                costs.entry((number, name)).or_default().push(cost);
            }
        }
    }
    println!("{partitions} partitions, {records} records of {VALUE_BYTES} B, medians of {ROUNDS} rounds:");
    let of = |name: &str| costs[&(0, name.to_owned())].clone();
    let (bare, limit) = (of("bare loop"), of(LIMIT));
    for ((_, name), costs) in &costs {
        let (rate, cpu) =
            (median(costs, |cost| cost.records_per_s), median(costs, |cost| cost.cpu_s_per_million));
        println!(
            "  {name:28} {:5.2} M records/s ({:.2} of the bare loop, {:.2} of the limit), {cpu:5.2} CPU s per million ({:.2}), peak {:4.0} MiB",
            rate / 1e6,
            rate / median(&bare, |cost| cost.records_per_s),
            rate / median(&limit, |cost| cost.records_per_s),
            cpu / median(&bare, |cost| cost.cpu_s_per_million),
            median(costs, |cost| cost.peak_mib),
        );
    }
}

fn velo(program: &Path, sql: &Path, (address, fetcher): (&str, &str), records: u64) -> Cost {
    let (_, before) = cpu_seconds();
    let mut child = Command::new(program)
        .arg("run")
        .arg(sql)
        .args(["--bootstrap-servers", address, "--dry-run", "--until-end", "--report", "-"])
        .env("VELO_FETCHER", fetcher)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("velo runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0.0_f64;
    while child.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak =
            peak.and_then(|line| line.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse().ok());
        peak_kib = peak_kib.max(peak.unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("an end");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["ledger"]["ok"], records, "{report:#}");
    Cost {
        records_per_s: report["records_per_s"].as_f64().expect("a rate"),
        cpu_s_per_million: (cpu_seconds().1 - before) / (records as f64 / 1e6),
        peak_mib: peak_kib / 1024.0,
    }
}

fn fill(settings: &ClientSettings, topic: &str, partitions: i32, records: u64) {
    let reader = TopicReader::connect(settings, 0, Waker::default()).expect("a reader");
    let count = usize::try_from(partitions).expect("a count");
    ensure_topic(settings, &reader, topic, count, &[]).expect("a topic");
    let producer = RecordProducer::connect(settings, Duration::from_millis(20)).expect("a producer");
    let value = [b'v'; VALUE_BYTES];
    for index in 0..records {
        let key = index.to_be_bytes();
        let partition = i32::try_from(index % count as u64).expect("small");
        let record = NewRecord {
            partition: Some(partition),
            key: Some(&key),
            value: Some(&value),
            ..NewRecord::default()
        };
        producer.send(topic, record).expect("sent");
    }
    producer.flush().expect("flushed");
}
