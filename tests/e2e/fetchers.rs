//! Both fetchers read the same records: random record batches of every codec, with aborted transactions and gaps.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use velo_engine::batch::{Batch, BatchBuilder, Headers};
use velo_engine::core::batcher::Capacity;
use velo_engine::ids::{LaneId, Names, Tick};
use velo_engine::kafka::{ClientSettings, Fetching, TopicReader};
use velo_engine::source::{Source, SourceEvent};
use velo_engine::waker::Waker;
use velo_schema::Tier;

use crate::admin::delete_records;
use crate::broker::{Broker, busy, embedded, real};

const TIMEOUT: Duration = Duration::from_mins(1);
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// All that a fetcher tells of a record: partition and offset, timestamp, key, value, headers.
type Fields = (i32, i64, Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>, Headers);

fn random_bytes(random: &mut Rng) -> Option<Vec<u8>> {
    let length = match random.u32(..20) {
        0 => return None,
        1 => 0,
        2..=10 => random.usize(1..13),
        11..=18 => random.usize(13..400),
        _ => random.usize(400..30_000),
    };
    // Half of them compress well.
    let byte = random.u8(..);
    let is_random = random.bool();
    Some((0..length).map(|_| if is_random { random.u8(..) } else { byte }).collect())
}

/// Writes random records in random batches; with transactions, some of them are aborted.
fn produce(broker: &Broker, topic: &str, partitions: i32, random: &mut Rng, transactional: bool) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker.address())
        .set("compression.type", CODECS[random.usize(..CODECS.len())])
        .set("batch.num.messages", random.u32(1..200).to_string())
        .set("linger.ms", random.u32(0..20).to_string());
    if transactional {
        config.set("transactional.id", format!("{topic}-{}", random.u32(..)));
    }
    let producer: BaseProducer = config.create().expect("a producer");
    if transactional {
        producer.init_transactions(TIMEOUT).expect("a transactional id");
    }
    for _ in 0..random.u32(1..6) {
        if transactional {
            producer.begin_transaction().expect("a transaction");
        }
        for _ in 0..random.u32(1..300) {
            let (key, value) = (random_bytes(random), random_bytes(random));
            let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(random.i32(0..partitions));
            record.key = key.as_deref();
            record.payload = value.as_deref();
            if random.bool() {
                record.timestamp = Some(1_700_000_000_000 + random.i64(0..1_000_000));
            }
            if random.u32(..4) == 0 {
                let mut headers = OwnedHeaders::new();
                for number in 0..random.u32(1..4) {
                    let value = random_bytes(random);
                    headers =
                        headers.insert(Header { key: &format!("h{}", number / 2), value: value.as_ref() });
                }
                record.headers = Some(headers);
            }
            producer.send(record).map_err(|(error, _)| error).expect("queued");
            producer.poll(Duration::ZERO);
        }
        producer.flush(TIMEOUT).expect("written");
        if transactional && random.bool() {
            producer.abort_transaction(TIMEOUT).expect("aborted");
        } else if transactional {
            producer.commit_transaction(TIMEOUT).expect("committed");
        }
    }
}

/// Reads a topic as it ends now. Calls ask for `most` records.
fn read(broker: &Broker, topic: &str, fetching: Fetching, isolation: &str, most: u64) -> Vec<Fields> {
    let properties = BTreeMap::from([("isolation.level".to_owned(), isolation.to_owned())]);
    let settings = ClientSettings::new(broker.address(), properties).expect("settings");
    let waker = Waker::default();
    let reader = TopicReader::connect(&settings, 16 << 20, waker.clone()).expect("a reader");
    let partitions = reader.partitions(topic).expect("partitions");
    let ranges = partitions.iter().map(|p| (p.partition, p.low, Some(p.high))).collect();
    let mut source = match fetching {
        Fetching::Librdkafka => reader.read(topic, ranges),
        Fetching::Native => reader.read_natively(topic, ranges).expect("threads"),
    };
    let (mut lanes, mut events) = (Vec::new(), Vec::new());
    let (mut builder, mut names, mut fields) = (BatchBuilder::default(), Names::default(), Vec::new());
    let (mut now, mut is_complete) = (0, false);
    while !is_complete {
        now += 1;
        source.poll(Tick(now), &mut events).expect("records");
        for event in events.drain(..) {
            match event {
                SourceEvent::Assigned(lane, name, _) => {
                    lanes.push(lane);
                    names.insert(lane, name);
                }
                SourceEvent::EndOfInput(_) => is_complete = true,
                _ => {}
            }
        }
        for lane in &lanes {
            let room = Capacity::of_records(most);
            source.fill(Tick(now), *lane, Tier::Buffered, room, &mut builder).expect("records");
        }
        if !builder.is_empty() {
            let partition = |lane: LaneId| names.get(lane).expect("a name").partition;
            fields_of(&builder.seal(names.clone()), partition, &mut fields);
        } else if !is_complete {
            waker.wait(Duration::from_millis(20));
        }
    }
    // The order of partitions is nobody's promise; that within a partition is.
    fields.sort_by_key(|field: &Fields| field.0);
    fields
}

fn fields_of(batch: &Batch, partition: impl Fn(LaneId) -> i32, fields: &mut Vec<Fields>) {
    for row in 0..batch.len() {
        fields.push((
            partition(batch.lane(row)),
            batch.offset(row),
            batch.timestamp_ms(row),
            batch.key(row).map(<[u8]>::to_vec),
            batch.value(row).map(<[u8]>::to_vec),
            batch.headers(row).to_vec(),
        ));
    }
}

fn both_agree(broker: &Broker, topic: &str, random: &mut Rng) -> usize {
    let mut read_records = 0;
    for isolation in ["read_committed", "read_uncommitted"] {
        let most = [1, 7, 500, 100_000][random.usize(..4)];
        let [one, other] = [Fetching::Librdkafka, Fetching::Native]
            .map(|fetching| read(broker, topic, fetching, isolation, most));
        assert_eq!(one.len(), other.len(), "{topic}, {isolation}");
        for (one, other) in one.iter().zip(&other) {
            assert_eq!(one, other, "{topic}, {isolation}");
        }
        read_records += other.len();
    }
    read_records
}

#[test]
fn both_fetchers_read_the_same_fields_of_the_same_records() {
    let _busy = busy();
    let broker = real();
    let mut random = Rng::with_seed(7);
    // The brokers compress again if the topic wants another codec, in the formats of the Java client.
    let topics = ["producer", "gzip", "snappy", "lz4", "zstd", "uncompressed"];
    for (number, codec) in topics.into_iter().enumerate() {
        let kind = if number % 2 == 0 { "CreateTime" } else { "LogAppendTime" };
        let settings = [("compression.type", codec), ("message.timestamp.type", kind)];
        let topic = broker.topic_with("fetched", 3, &settings);
        for _ in 0..4 {
            let transactional = random.bool();
            produce(&broker, &topic, 3, &mut random, transactional);
        }
        let records = both_agree(&broker, &topic, &mut random);
        assert!(records > 500, "{records} records");
        delete_records(&broker, &topic, 0, 5);
        both_agree(&broker, &topic, &mut random);
    }
}

#[test]
fn both_fetchers_read_the_same_of_the_embedded_broker() {
    let _busy = busy();
    let broker = embedded();
    let topic = broker.topic("fetched", 2);
    let mut random = Rng::with_seed(1);
    produce(&broker, &topic, 2, &mut random, false);
    assert!(both_agree(&broker, &topic, &mut random) > 0);
}
