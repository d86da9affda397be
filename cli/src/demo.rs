//! A topic in this process with a live producer: something to advise on where there is no broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use velo_engine::kafka::{ClientSettings, EmbeddedBroker, NewRecord, RecordProducer};

/// A workload to demonstrate with.
pub(crate) struct Workload {
    pub records_per_s: u64,
    /// Records come in bunches of this many, as from a producer that batches.
    pub bunch: u64,
    /// A batch's way to the sink.
    pub sink_cost: Duration,
    /// The longest latency for 99 of 100 records.
    pub p99: Option<Duration>,
    pub description: &'static str,
}

pub(crate) const BULK: Workload = Workload {
    records_per_s: 20_000,
    bunch: 40,
    sink_cost: Duration::from_millis(10),
    p99: None,
    description: "20,000 orders a second into a sink with a round trip of 10 ms",
};

pub(crate) const ALERTS: Workload = Workload {
    records_per_s: 500,
    bunch: 1,
    sink_cost: Duration::from_micros(200),
    p99: Some(Duration::from_millis(50)),
    description: "500 payments a second, each to be checked within 50 ms",
};

pub(crate) const TOPIC: &str = "orders";
const PARTITIONS: i32 = 4;
/// Where the producer's first record goes.
const FIRST: &str = "producer-started";

/// The broker and its producer; dropping it ends both.
pub(crate) struct Demo {
    broker: EmbeddedBroker,
    stop: Arc<AtomicBool>,
    producer: Option<JoinHandle<()>>,
}

impl Demo {
    pub fn start(workload: &Workload) -> Result<Self> {
        let broker = EmbeddedBroker::start()?;
        broker.create_topic(TOPIC, PARTITIONS)?;
        let settings = ClientSettings::new(broker.bootstrap_servers(), BTreeMap::new())?;
        // The embedded broker answers a fetch with one produced batch of each partition, so these must
        // not be tiny.
        let producer = RecordProducer::connect(&settings, Duration::from_millis(5))?;
        // A producer's first record waits for connections and its producer id: none of the topic's shall.
        broker.create_topic(FIRST, 1)?;
        producer.send(FIRST, NewRecord::default())?;
        producer.flush()?;
        let stop = Arc::<AtomicBool>::default();
        let (rate, bunch, stopped) = (workload.records_per_s, workload.bunch, Arc::clone(&stop));
        let thread = std::thread::spawn(move || produce(&producer, rate, bunch, &stopped));
        Ok(Self { broker, stop, producer: Some(thread) })
    }

    /// How to read from it. The embedded broker answers a fetch that finds nothing only when its
    /// time is up, even if records come meanwhile, so that time is short.
    pub fn settings(&self) -> Result<ClientSettings> {
        let properties = BTreeMap::from([("fetch.wait.max.ms".to_owned(), "2".to_owned())]);
        Ok(ClientSettings::new(self.broker.bootstrap_servers(), properties)?)
    }
}

/// Produces at a steady rate until told to stop; each record at the time that the rate gives it.
fn produce(producer: &RecordProducer, records_per_s: u64, bunch: u64, stop: &AtomicBool) {
    let start = Instant::now();
    let mut sent = 0_u64;
    while !stop.load(Ordering::Acquire) {
        for _ in 0..bunch {
            let key = format!("customer-{}", sent.wrapping_mul(2_654_435_761) % 5000);
            let value = format!(
                "{{\"order\":{sent},\"customer\":\"{key}\",\"amount\":{}.{:02},\"currency\":\"EUR\",\
                 \"items\":[{{\"sku\":\"A-{}\",\"quantity\":{}}}],\"channel\":\"web\"}}",
                sent % 500,
                sent % 100,
                sent % 9973,
                sent % 5 + 1
            );
            let record = NewRecord {
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                ..NewRecord::default()
            };
            if producer.send(TOPIC, record).is_err() {
                return;
            }
            sent += 1;
        }
        let due = start + Duration::from_nanos(sent * 1_000_000_000 / records_per_s.max(1));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(producer) = self.producer.take() {
            // A panic of the producer has been printed by now and changes nothing.
            let _ = producer.join();
        }
    }
}
