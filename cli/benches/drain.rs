//! How fast does a job without a sink drain a prefilled topic, at what cost in CPU time and memory, beside a bare loop over
//! librdkafka, and beside the limit: a loop that parses every record in place on one connection? All of them read every
//! byte of every key and value. One run, one broker, alternating rounds, each part in a process of its own; prints
//! medians and ratios.
//!
//! `cargo bench -p velo-cli --bench drain`. `VELO_BENCH_RECORDS` sets the number of records, `VELO_BENCH_BYTES` the bytes
//! of a value, `VELO_BENCH_CODEC` the compression, `VELO_BENCH_PARTITIONS` a list of partition counts, `VELO_BENCH_JOBS` a
//! list of the beginnings of job names, and `VELO_BENCH_JSON` a file to which the figures of all rounds are added.
#![allow(clippy::disallowed_methods, reason = "a benchmark")]

mod broker;
mod cost;
mod subject;
mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

// For its allocator: the loops and the programs shall have the same one.
use velo_cli as _;
use velo_engine::batch::Batch;
use velo_engine::kafka::{ClientSettings, TopicReader, baseline};
use velo_engine::memory::MemoryBudget;
use velo_engine::process::{Attempt, Failure, Output, Processor};
use velo_engine::sink::Discard;
use velo_engine::waker::Waker;
use velo_engine::{Builder, JobConfig};
use velo_schema::keys::Key;
use velo_schema::{Entry, Scope, Settings, Side};

use broker::Broker;
use cost::median;
use subject::Cost;
use topic::{Load, text};

const ROUNDS: usize = 5;
const BATCH: usize = 500;

/// The settings of a job.
type Job = &'static [(Key, &'static str)];

/// The jobs, by name.
const JOBS: [(&str, Job); 6] = [
    ("fixed_size 100", &[(Key::BatchStrategy, "fixed_size"), (Key::BatchSize, "100")]),
    ("fixed_size 500", &[(Key::BatchStrategy, "fixed_size"), (Key::BatchSize, "500")]),
    ("fixed_size 5000", &[(Key::BatchStrategy, "fixed_size"), (Key::BatchSize, "5000")]),
    (
        "mega_batch 50000",
        &[(Key::BatchStrategy, "mega_batch"), (Key::BatchSize, "50000"), (Key::BatchParallel, "false")],
    ),
    (
        "mega_batch 50000, parallel",
        &[(Key::BatchStrategy, "mega_batch"), (Key::BatchSize, "50000"), (Key::BatchParallel, "true")],
    ),
    ("low_latency 1", &[(Key::BatchStrategy, "low_latency"), (Key::BatchSize, "1")]),
];

/// The parts of this benchmark that are no jobs.
const BARE: &str = "bare loop";
const LIMIT: &str = "limit";

fn main() {
    if let Some(asked) = subject::asked() {
        let [name, address, topic] = &asked[..] else { panic!("three arguments: {asked:?}") };
        let settings = ClientSettings::new(address.clone(), BTreeMap::new()).expect("no properties");
        return run(name, &settings, topic);
    }
    // cargo test --benches runs this, too, and wants no measurement.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let broker = Broker::start();
    for load in Load::from_environment(2_000_000, "1,4") {
        measure(&broker.settings, &load);
    }
}

/// The names of the parts, in the order in which they run.
fn parts() -> Vec<String> {
    let wanted = text("VELO_BENCH_JOBS").unwrap_or_default();
    let is_wanted = |(name, _): &(&str, Job)| wanted.split(',').any(|job| name.starts_with(job));
    let both = |(name, _)| [format!("{name}, librdkafka"), format!("{name}, native")];
    [BARE, LIMIT]
        .map(str::to_owned)
        .into_iter()
        .chain(JOBS.into_iter().filter(is_wanted).flat_map(both))
        .collect()
}

fn measure(settings: &ClientSettings, load: &Load) {
    let topic = load.fill(settings);
    let parts = parts();
    let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for part in &parts {
            let cost = subject::run(&[part, settings.bootstrap_servers(), &topic]);
            assert_eq!(cost.records, load.records, "{part}");
            costs.entry(part).or_default().push(cost);
        }
    }
    let checksums: Vec<_> = costs.values().flatten().map(|cost| cost.checksum).collect();
    assert!(checksums.windows(2).all(|two| two[0] == two[1]), "all read the same: {checksums:?}");
    println!("{load}, medians of {ROUNDS} rounds:");
    let rate_of = |name: &str| median(&costs[name], Cost::records_per_s);
    for part in &parts {
        let costs = &costs[part.as_str()];
        let rate = median(costs, Cost::records_per_s);
        println!(
            "  {part:32} {:5.2} M records/s ({:.2} of the bare loop, {:.2} of the limit), {:5.2} CPU us per record, peak {:4.0} MiB",
            rate / 1e6,
            rate / rate_of(BARE),
            rate / rate_of(LIMIT),
            median(costs, Cost::cpu_us_per_record),
            median(costs, |cost| cost.peak_mib),
        );
    }
    topic::keep("drain", load, &costs);
}

/// Runs a part in this process.
fn run(name: &str, settings: &ClientSettings, topic: &str) {
    let waker = Waker::default();
    let partitions = TopicReader::connect(settings, 0, Waker::default()).expect("a reader").partitions(topic);
    let partitions = partitions.expect("a topic");
    let memory = MemoryBudget::unlimited(partitions.len());
    let drained = match name {
        LIMIT => baseline::parse(settings, topic).expect("parsed"),
        BARE => {
            let reader = TopicReader::connect_within(settings, &memory, waker.clone()).expect("a reader");
            baseline::drain(reader, topic, BATCH, &waker).expect("drained")
        }
        job => {
            let (job, fetcher) = job.rsplit_once(", ").expect("a job and a fetcher");
            let (_, job) = JOBS.into_iter().find(|(name, _)| *name == job).expect("a job");
            let entries: Vec<_> = job
                .iter()
                .map(|(key, text)| Entry::parse(Scope::Job, *key, text).expect("a value"))
                .collect();
            let config = JobConfig::uniform(Settings::resolve(&entries, Side::Job, None).config());
            let total = Arc::<AtomicU64>::default();
            let builder = Builder::new(config).processor(Sum(Arc::clone(&total))).sink(Discard);
            let reader = TopicReader::connect_within(settings, &memory, builder.waker()).expect("a reader");
            let ranges = partitions.iter().map(|part| (part.partition, part.low, Some(part.high))).collect();
            let source = match fetcher {
                "native" => reader.read_natively(topic, ranges).expect("threads"),
                _ => reader.read(topic, ranges),
            };
            let report = builder.run(source, &mut |_| {});
            baseline::Drained {
                records: report.ledger.ok,
                checksum: total.load(Ordering::Acquire),
                // From the first record to the last, like the loops.
                elapsed: Duration::from_secs_f64(report.seconds),
            }
        }
    };
    subject::ended(drained.records, drained.checksum, drained.elapsed);
}

/// Adds up every byte of every key and value.
#[derive(Debug, Clone)]
struct Sum(Arc<AtomicU64>);

impl Processor for Sum {
    fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
        let rows = 0..batch.len();
        let sum = rows.map(|row| baseline::sum(batch.key(row)) + baseline::sum(batch.value(row))).sum();
        self.0.fetch_add(sum, Ordering::AcqRel);
        out.forward_all();
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn Processor>> {
        Some(Box::new(self.clone()))
    }
}
