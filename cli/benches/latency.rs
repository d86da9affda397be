//! How long does a record take from its producer's clock to the processor? `low_latency` at several rates,
//! beside a bare poll loop over the same client; then `adaptive_size` under changing work and arrivals.
//!
//! `cargo bench -p velo-cli --bench latency`
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark")]

mod broker;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use velo_cli as _;
use velo_engine::batch::Batch;
use velo_engine::kafka::{
    GroupOptions, GroupSource, NewRecord, RecordProducer, Start, TopicReader, ensure_topic,
};
use velo_engine::process::{Attempt, Failure, Output, Processor};
use velo_engine::waker::Waker;
use velo_engine::{Builder, JobConfig};
use velo_schema::{Config, Strategy};

use broker::Broker;

const PARTITIONS: usize = 4;
const PHASE: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(2);
const TARGET: Duration = Duration::from_millis(100);

fn main() {
    // cargo test --benches runs this, too, and wants no measurement.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let broker = Broker::start();
    println!("from the producer's clock to the processor, ms (p50 / p99 / max), {PARTITIONS} partitions:");
    for rate in [1_000, 5_000, 10_000] {
        let topic = format!("latency{rate}");
        let load = Load::start(&broker, &topic, rate);
        let bare = bare(&broker, &topic);
        let engine = low_latency(&broker, &topic);
        load.stop();
        let text = |times: &Histogram<u64>| {
            let ms = |us: u64| us as f64 / 1e3;
            let [p50, p99] = [0.5, 0.99].map(|quantile| ms(times.value_at_quantile(quantile)));
            format!("{p50:.2} / {p99:.2} / {:.2} of {}", ms(times.max()), times.len())
        };
        println!("  {rate:6}/s  bare loop {}, low_latency {}", text(&bare), text(&engine));
        let ratio = engine.value_at_quantile(0.99) as f64 / bare.value_at_quantile(0.99) as f64;
        println!("            p99 {ratio:.2} of the bare loop");
    }
    adaptive(&broker);
}

fn now_ns() -> u64 {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(epoch.as_nanos()).expect("before 2554")
}

fn age_us(value: Option<&[u8]>) -> u64 {
    let sent = value.and_then(|value| value.first_chunk::<8>()).map_or(0, |bytes| u64::from_be_bytes(*bytes));
    now_ns().saturating_sub(sent) / 1000
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(3_600_000_000, 3).expect("a histogram")
}

/// A producer at a steady rate, which can be changed.
struct Load {
    rate: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(broker: &Broker, topic: &str, records_per_s: u64) -> Self {
        let reader = TopicReader::connect(&broker.settings, 0, Waker::default()).expect("a reader");
        ensure_topic(&broker.settings, &reader, topic, PARTITIONS, &[]).expect("a topic");
        let producer = RecordProducer::connect(&broker.settings, Duration::ZERO).expect("a producer");
        let (rate, stop) = (Arc::new(AtomicU64::new(records_per_s)), Arc::<AtomicBool>::default());
        let (rated, stopped, topic) = (Arc::clone(&rate), Arc::clone(&stop), topic.to_owned());
        let thread = thread::spawn(move || {
            let mut next = Instant::now();
            for index in 0_u64.. {
                if stopped.load(Ordering::Acquire) {
                    return producer.flush().expect("flushed");
                }
                next +=
                    Duration::from_secs(1) / u32::try_from(rated.load(Ordering::Acquire)).expect("a rate");
                thread::sleep(next.saturating_duration_since(Instant::now()));
                let mut value = [0; 200];
                value[..8].copy_from_slice(&now_ns().to_be_bytes());
                let partition = i32::try_from(index % PARTITIONS as u64).expect("small");
                let record =
                    NewRecord { partition: Some(partition), value: Some(&value), ..NewRecord::default() };
                producer.send(&topic, record).expect("sent");
            }
        });
        Self { rate, stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("the producer ends");
    }
}

/// One record a call, from the group's own queue, with the client's defaults.
fn bare(broker: &Broker, topic: &str) -> Histogram<u64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.settings.bootstrap_servers())
        .set("group.id", format!("bare-{topic}"))
        .set("auto.offset.reset", "latest")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("subscribed");
    let mut times = histogram();
    let mut first = None;
    while first.is_none_or(|first: Instant| first.elapsed() < WARM_UP + PHASE) {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.expect("a record");
        if first.get_or_insert_with(Instant::now).elapsed() >= WARM_UP {
            times.saturating_record(age_us(message.payload()));
        }
    }
    times
}

/// What a processor has seen.
struct Seen {
    times: Histogram<u64>,
    /// Records of each batch, and how long it took.
    batches: Vec<(u32, Duration)>,
}

/// Takes the time of each record, then works for as long as it is told to.
struct Clocked {
    seen: Arc<Mutex<Seen>>,
    /// Nanoseconds for a batch, and for each of its records.
    cost_ns: Arc<(AtomicU64, AtomicU64)>,
}

impl Processor for Clocked {
    fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
        let started = Instant::now();
        let (a, b) = (&self.cost_ns.0, &self.cost_ns.1);
        let cost = a.load(Ordering::Acquire) + b.load(Ordering::Acquire) * u64::from(batch.len());
        if cost > 0 {
            thread::sleep(Duration::from_nanos(cost));
        }
        out.forward_all();
        let mut seen = self.seen.lock().expect("nobody panics");
        for row in 0..batch.len() {
            seen.times.saturating_record(age_us(batch.value(row)));
        }
        seen.batches.push((batch.len(), started.elapsed()));
        Ok(())
    }
}

/// A job that reads what comes, for as long as `during` takes.
fn job(
    broker: &Broker,
    topic: &str,
    strategy: Strategy,
    cost: &Arc<(AtomicU64, AtomicU64)>,
    during: impl FnOnce(&Mutex<Seen>),
) {
    let seen = Arc::new(Mutex::new(Seen { times: histogram(), batches: Vec::new() }));
    let config = JobConfig::uniform(Config { strategy, ..Config::default() });
    let max_poll_records = config.plan().max_poll_records.max;
    let builder =
        Builder::new(config).processor(Clocked { seen: Arc::clone(&seen), cost_ns: Arc::clone(cost) });
    let options = GroupOptions {
        start: Start::Latest,
        max_poll_records,
        ..GroupOptions::new(format!("velo-{topic}"), topic, PARTITIONS)
    };
    let source = GroupSource::join(&broker.settings, options, builder.waker()).expect("joined");
    let engine = builder.start(source);
    while seen.lock().expect("nobody panics").batches.is_empty() {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(WARM_UP);
    during(&seen);
    let report = engine.drain();
    assert_eq!(report.error, None);
}

fn reset(seen: &Mutex<Seen>) -> Seen {
    let empty = Seen { times: histogram(), batches: Vec::new() };
    std::mem::replace(&mut *seen.lock().expect("nobody panics"), empty)
}

fn low_latency(broker: &Broker, topic: &str) -> Histogram<u64> {
    let strategy = Strategy::LowLatency { max_records: 10, wait: Duration::from_millis(1), eager: true };
    let mut times = histogram();
    job(broker, topic, strategy, &Arc::default(), |seen| {
        reset(seen);
        thread::sleep(PHASE);
        times = reset(seen).times;
    });
    times
}

/// The handler takes 2 ms and 0.1 ms a record, then twice that; then ten times as many records arrive.
fn adaptive(broker: &Broker) {
    const RECORDS_PER_S: u64 = 300;
    let topic = "adaptive";
    let load = Load::start(broker, topic, RECORDS_PER_S);
    let strategy = Strategy::AdaptiveSize {
        min_records: 10,
        max_records: 5000,
        target_latency: TARGET,
        timeout: Duration::from_secs(1),
    };
    let cost = Arc::new((AtomicU64::new(2_000_000), AtomicU64::new(100_000)));
    println!("adaptive_size at {TARGET:?}, {RECORDS_PER_S} records/s:");
    job(broker, topic, strategy, &cost, |seen| {
        let phase = |name: &str| {
            reset(seen);
            thread::sleep(PHASE);
            let Seen { times, mut batches } = reset(seen);
            let over = batches.iter().filter(|(_, took)| *took > TARGET).count();
            batches.sort_unstable();
            let (median, _) = batches.get(batches.len() / 2).copied().unwrap_or_default();
            println!(
                "  {name}: {} batches, median {median} records, {over} took longer than the target; \
                 record p50 {:.0} ms, p99 {:.0} ms",
                batches.len(),
                times.value_at_quantile(0.5) as f64 / 1e3,
                times.value_at_quantile(0.99) as f64 / 1e3,
            );
        };
        phase("2 ms + 0.1 ms/record");
        cost.0.store(4_000_000, Ordering::Release);
        cost.1.store(200_000, Ordering::Release);
        phase("at half its speed");
        load.rate.store(10 * RECORDS_PER_S, Ordering::Release);
        phase("and ten times as many records");
    });
    load.stop();
}
