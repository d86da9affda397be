//! Filling topics and reading them back, independently of the engine's own way of reading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use velo_engine::kafka::{NewRecord, RecordProducer};

use crate::broker::Broker;

/// A record as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: Option<i64>,
    pub headers: BTreeMap<String, Vec<u8>>,
}

/// A topic's records to produce: `number` of them over `partitions`, about `bytes` long, each
/// `poison_every`-th not JSON. Keys repeat, values count up within their key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub number: u64,
    pub partitions: i32,
    pub bytes: usize,
    pub poison_every: u64,
}

/// The first record's timestamp: recent, since brokers delete records that are a week old.
pub(crate) fn first_timestamp_ms() -> i64 {
    static FIRST: OnceLock<i64> = OnceLock::new();
    *FIRST.get_or_init(|| {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        i64::try_from(epoch.as_millis()).expect("a time") - 3_600_000
    })
}

impl Load {
    /// Record `index`: partition, key, value.
    pub(crate) fn record(self, index: u64) -> (i32, String, String) {
        const KEYS: u64 = 1000;
        let key = index % KEYS;
        let partition = i32::try_from(key).expect("a small number") % self.partitions;
        let filler = self.bytes.saturating_sub(40);
        let poison = index % self.poison_every == self.poison_every - 1;
        let (open, close) = if poison { ("poison ", "") } else { ("{", "}") };
        let value = format!("{open}\"key\":{key},\"index\":{index},\"fill\":\"{:x<filler$}\"{close}", "");
        (partition, format!("key-{key}"), value)
    }

    pub(crate) fn produce(self, broker: &Broker, topic: &str) {
        let producer =
            RecordProducer::connect(&broker.settings(), Duration::from_millis(20)).expect("a producer");
        for index in 0..self.number {
            let (partition, key, value) = self.record(index);
            let header = index.to_string();
            let record = NewRecord {
                partition: Some(partition),
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                timestamp_ms: Some(first_timestamp_ms() + i64::try_from(index).expect("small")),
                headers: &[("index", Some(header.as_bytes()))],
            };
            producer.send(topic, record).expect("sent");
        }
        producer.flush().expect("flushed");
    }
}

fn consumer(broker: &Broker) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", "velo-test-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .expect("a consumer")
}

/// How many records a topic has.
pub(crate) fn count(broker: &Broker, topic: &str) -> u64 {
    let partitions = broker.reader().partitions(topic).expect("partitions");
    partitions.iter().map(|p| u64::try_from(p.high - p.low).expect("ordered")).sum()
}

/// Reads a whole topic, as it ends now, through the wrapper's own consumer, and hands each record on that
/// is committed.
pub(crate) fn for_each(broker: &Broker, topic: &str, mut each: impl FnMut(Read)) {
    let consumer = consumer(broker);
    let mut assignment = TopicPartitionList::new();
    let mut open: BTreeSet<_> =
        broker.reader().partitions(topic).expect("partitions").iter().map(|p| p.partition).collect();
    for partition in &open {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&assignment).expect("assigned");
    while !open.is_empty() {
        let message = match consumer.poll(Duration::from_secs(30)).expect("a record in time") {
            Ok(message) => message,
            // Nothing is written any more by those who call this.
            Err(KafkaError::PartitionEOF(partition)) => {
                open.remove(&partition);
                continue;
            }
            Err(error) => panic!("{topic}: {error}"),
        };
        let headers = message.headers().map(|headers| {
            headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
        });
        each(Read {
            partition: message.partition(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            timestamp_ms: message.timestamp().to_millis(),
            headers: headers.unwrap_or_default(),
        });
    }
}

/// The offsets that a group has committed, by partition.
pub(crate) fn committed(broker: &Broker, group: &str, topic: &str) -> BTreeMap<i32, i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", group)
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in broker.reader().partitions(topic).expect("partitions") {
        list.add_partition(topic, partition.partition);
    }
    // Whoever left a transaction open is waited for: its offsets are known when the broker gives it up after a minute.
    let found = consumer.committed_offsets(list, Duration::from_mins(2)).expect("offsets");
    found
        .elements()
        .iter()
        .filter_map(|element| Some((element.partition(), element.offset().to_raw().filter(|o| *o >= 0)?)))
        .collect()
}
