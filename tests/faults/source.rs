//! The source topic of a fault test: a workload in, its records in Kafka and where they lie out.

use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::oracle::Offsets;
use super::trial::read_all;
use super::workload::Workload;
use crate::broker::Broker;

/// Where the records of a workload lie, and when they were written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    /// By the number of the record: its offset and its timestamp in milliseconds. `None` if it is not there.
    places: Vec<Option<(i64, i64)>>,
    /// By the number of the record: true if the topic still had it when it was read last.
    present: Vec<bool>,
    /// The offset after the last record or marker of each partition.
    pub ends: Offsets,
}

impl Source {
    /// Reads where the records of a workload are.
    pub(crate) fn read(broker: &Broker, topic: &str, workload: &Workload) -> Self {
        let mut source = Self::default();
        source.update(broker, topic, workload);
        source
    }

    /// Adds the records that are there now. Those that are not there any more are remembered.
    pub(crate) fn update(&mut self, broker: &Broker, topic: &str, workload: &Workload) {
        let records = usize::try_from(workload.records).expect("small");
        self.places.resize(records, None);
        self.present = vec![false; records];
        for found in read_all(broker, topic) {
            let number = Workload::number(&found.headers).and_then(|number| usize::try_from(number).ok());
            // Records of aborted transactions have no number below this.
            if let Some(number) = number.filter(|number| *number < records) {
                self.places[number].get_or_insert((found.offset, found.timestamp_ms.expect("a timestamp")));
                self.present[number] = true;
            }
        }
        let partitions = broker.reader().partitions(topic).expect("partitions");
        self.ends = partitions.iter().map(|partition| (partition.partition, partition.high)).collect();
    }

    fn place(&self, number: u64) -> Option<(i64, i64)> {
        *self.places.get(usize::try_from(number).expect("small"))?
    }

    /// Returns true if the topic still has a record.
    pub(crate) fn has(&self, number: u64) -> bool {
        self.present[usize::try_from(number).expect("small")]
    }

    /// Returns the offset of a record.
    pub(crate) fn offset(&self, number: u64) -> i64 {
        self.place(number).map_or(i64::MAX, |(offset, _)| offset)
    }

    /// Returns the timestamp of a record, in milliseconds.
    pub(crate) fn timestamp_ms(&self, number: u64) -> Option<i64> {
        self.place(number).map(|(_, timestamp_ms)| timestamp_ms)
    }
}

/// Producers by every codec, in turn.
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// So many records are produced by one codec, and in one transaction.
const IN_A_ROW: u64 = 250;
const TIMEOUT: Duration = Duration::from_mins(1);

/// A part of a workload: those records whose partition and whose number are in these ranges.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub partitions: Range<i32>,
    pub numbers: Range<u64>,
}

impl Part {
    /// Returns all of a workload.
    pub(crate) fn whole(workload: &Workload) -> Self {
        Self { partitions: 0..workload.partitions, numbers: 0..workload.records }
    }
}

/// Produces a part of a workload.
pub(crate) fn produce(broker: &Broker, topic: &str, workload: &Workload, part: &Part) {
    let producers = CODECS.map(|codec| Feeder::connect(broker, codec, topic, workload.is_transactional));
    let mut aborted = workload.records;
    let in_a_row = usize::try_from(IN_A_ROW).expect("small");
    for (turn, first) in part.numbers.clone().step_by(in_a_row).enumerate() {
        let feeder = &producers[turn % CODECS.len()];
        feeder.begin();
        for number in first..part.numbers.end.min(first + IN_A_ROW) {
            feeder.send(topic, workload, number, &part.partitions);
        }
        feeder.end();
        if workload.is_transactional && turn % 2 == 0 {
            // Nobody may see these: their numbers belong to no record.
            feeder.begin();
            for number in aborted..aborted + IN_A_ROW / 4 {
                feeder.send(topic, workload, number, &part.partitions);
            }
            aborted += IN_A_ROW / 4;
            feeder.abort();
        }
    }
}

/// A transaction with records that nobody may see, which stays open until it is ended.
pub(crate) struct Hanging(Feeder);

impl Hanging {
    /// Begins a transaction in every partition, with numbers that belong to no record.
    pub(crate) fn begin(broker: &Broker, topic: &str, workload: &Workload) -> Self {
        let feeder = Feeder::connect(broker, "hanging", topic, true);
        feeder.begin();
        let (first, part) = (workload.records * 2, Part::whole(workload));
        for number in first..first + u64::from(workload.partitions.unsigned_abs()) * 5 {
            feeder.send(topic, workload, number, &part.partitions);
        }
        feeder.producer.flush(TIMEOUT).expect("flushed");
        Self(feeder)
    }

    pub(crate) fn abort(self) {
        self.0.abort();
    }
}

struct Feeder {
    producer: BaseProducer<Delivered>,
    is_transactional: bool,
}

/// The last record that was not written.
#[derive(Default)]
struct Delivered(Mutex<Option<KafkaError>>);

impl Feeder {
    fn connect(broker: &Broker, codec: &str, topic: &str, is_transactional: bool) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.address()).set("linger.ms", "20").set("log_level", "0");
        if CODECS.contains(&codec) {
            config.set("compression.type", codec);
        }
        if is_transactional {
            config.set("transactional.id", format!("{topic}-{codec}"));
            config.set("transaction.timeout.ms", "60000");
        }
        let producer: BaseProducer<Delivered> =
            config.create_with_context(Delivered::default()).expect("a producer");
        if is_transactional {
            producer.init_transactions(TIMEOUT).expect("a transactional producer");
        }
        Self { producer, is_transactional }
    }

    fn begin(&self) {
        if self.is_transactional {
            self.producer.begin_transaction().expect("begun");
        }
    }

    fn end(&self) {
        if self.is_transactional {
            self.producer.commit_transaction(TIMEOUT).expect("committed");
        } else {
            self.producer.flush(TIMEOUT).expect("flushed");
        }
        let failed = self.producer.context().0.lock().expect("no panic").take();
        assert!(failed.is_none(), "a record of the workload was not written: {failed:?}");
    }

    fn abort(&self) {
        self.producer.flush(TIMEOUT).expect("flushed");
        self.producer.abort_transaction(TIMEOUT).expect("aborted");
    }

    fn send(&self, topic: &str, workload: &Workload, number: u64, partitions: &Range<i32>) {
        let record = workload.record(number);
        if !partitions.contains(&record.partition) {
            return;
        }
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        let mut outgoing = BaseRecord::<[u8], [u8]>::to(topic)
            .partition(record.partition)
            .timestamp(record.timestamp_ms)
            .headers(headers);
        outgoing.key = record.key.as_deref();
        outgoing.payload = record.value.as_deref();
        while let Err((error, back)) = self.producer.send(outgoing) {
            let is_full = matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            assert!(is_full, "{error}");
            self.producer.poll(Duration::from_millis(10));
            outgoing = back;
        }
    }
}

impl rdkafka::ClientContext for Delivered {}

impl rdkafka::producer::ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            *self.0.lock().expect("no panic") = Some(error.clone());
        }
    }
}
