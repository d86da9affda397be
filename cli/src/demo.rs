//! `velo advise --demo`: an embedded broker with a topic and a live producer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use velo_engine::kafka::{ClientSettings, EmbeddedBroker, NewRecord, RecordProducer};

/// A demo workload.
pub(crate) struct Workload {
    pub records_per_s: u64,
    /// The number of records that are produced together, as by a producer that batches.
    pub bunch: u64,
    /// The sink latency of a batch.
    pub sink_cost: Duration,
    /// The limit of the p99 latency.
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
/// The topic of the producer's first record.
const FIRST: &str = "producer-started";

/// A running broker and producer. Dropping it stops both.
pub(crate) struct Demo {
    broker: EmbeddedBroker,
    stop: Arc<AtomicBool>,
    producer: Option<JoinHandle<()>>,
}

impl Demo {
    pub(crate) fn start(workload: &Workload) -> Result<Self> {
        let broker = EmbeddedBroker::start()?;
        broker.create_topic(TOPIC, PARTITIONS)?;
        let settings = ClientSettings::new(broker.bootstrap_servers(), BTreeMap::new())?;
        // The embedded broker returns one produced batch per partition and fetch, so produced batches must not be
        // tiny.
        let producer = RecordProducer::connect(&settings, Duration::from_millis(5))?;
        // The first record of a producer waits for connections and the producer id. It goes to another topic, so that
        // the latencies of the demo topic do not include this time.
        broker.create_topic(FIRST, 1)?;
        producer.send(FIRST, NewRecord::default())?;
        producer.flush()?;
        let stop = Arc::<AtomicBool>::default();
        let (rate, bunch, stopped) = (workload.records_per_s, workload.bunch, Arc::clone(&stop));
        let thread = std::thread::spawn(move || produce(&producer, rate, bunch, &stopped));
        Ok(Self { broker, stop, producer: Some(thread) })
    }

    /// Returns the client settings for the broker. The embedded broker answers a fetch without records only after
    /// `fetch.wait.max.ms`, even if records arrive in the meantime, so the wait is short.
    pub(crate) fn settings(&self) -> Result<ClientSettings> {
        let properties = BTreeMap::from([("fetch.wait.max.ms".to_owned(), "2".to_owned())]);
        Ok(ClientSettings::new(self.broker.bootstrap_servers(), properties)?)
    }
}

/// Produces records at a constant rate until `stop` is set.
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
            // A panic of the producer thread has already been printed.
            let _ = producer.join();
        }
    }
}
