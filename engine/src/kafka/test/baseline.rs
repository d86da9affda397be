//! The baselines for measurements of the engine: a loop over librdkafka's batch call on the same split queues, the same
//! loop that writes each record to another topic, and a loop that parses every record in place on one connection. All sum
//! the bytes of each key and value.
#![allow(clippy::disallowed_methods, reason = "it is a measurement")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use crate::ids::LaneName;
use crate::kafka::connection::{Address, Connection, Options};
use crate::kafka::ffi::producer_topic::{Plain, ProducerTopic};
use crate::kafka::ffi::{Message, Messages, PartitionQueue};
use crate::kafka::offsets::offsets_of;
use crate::kafka::{ClientSettings, KafkaError, TopicReader};
use crate::protocol::api::Api;
use crate::protocol::fetch::{self, Limits, Topic, Wanted};
use crate::protocol::pool::Pool;
use crate::protocol::records::{Next, Reading, Segment, outline};
use crate::waker::Waker;

/// The result of the baseline loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drained {
    /// The number of records read.
    pub records: u64,
    /// The sum of all bytes of all keys and values, so that every byte is read.
    pub checksum: u64,
    /// The time from the first record to the last.
    pub elapsed: Duration,
}

/// Reads a topic from its oldest record to its current end, with at most `batch` records per call. `reader` must wake
/// `waker`.
///
/// # Errors
/// If the topic cannot be read.
pub fn drain(reader: TopicReader, topic: &str, batch: usize, waker: &Waker) -> Result<Drained, KafkaError> {
    each(reader, topic, batch, waker, |_, _| Ok(()), || {})
}

/// Copies a topic from its oldest record to its current end to another topic, each record to its partition, with its
/// timestamp and without its headers. All in-sync replicas acknowledge each record; the producer is idempotent.
///
/// # Errors
/// If the topic cannot be read, or a record cannot be written.
pub fn copy(
    settings: &ClientSettings,
    reader: TopicReader,
    (from, to): (&str, &str),
    batch: usize,
    waker: &Waker,
) -> Result<Drained, KafkaError> {
    let config = settings.client(
        &[
            ("linger.ms", "5".to_owned()),
            ("queue.buffering.max.messages", "1000000".to_owned()),
            ("queue.buffering.max.kbytes", "65536".to_owned()),
        ],
        &[("enable.idempotence", "true"), ("acks", "all")],
    );
    let producer: Arc<BaseProducer<Reports>> = Arc::new(config.create_with_context(Reports::default())?);
    let topic =
        ProducerTopic::of(&producer, to).ok_or_else(|| KafkaError::new("the name of a topic is invalid"))?;
    let send = |partition, message: &Message<'_>| {
        let record = Plain {
            partition: Some(partition),
            key: message.key(),
            value: message.value(),
            timestamp_ms: message.timestamp_ms(),
            opaque: 0,
        };
        loop {
            match topic.send(record) {
                Ok(()) => return Ok(()),
                Err(RDKafkaErrorCode::QueueFull) => producer.poll(Duration::from_millis(1)),
                Err(code) => return Err(KafkaError::new(code.to_string())),
            }
        }
    };
    let drained = each(reader, from, batch, waker, send, || producer.poll(Duration::ZERO))?;
    let flushing = Instant::now();
    producer.flush(Duration::from_mins(1))?;
    let delivered = producer.context().0.load(Ordering::Acquire);
    if delivered < drained.records {
        return Err(KafkaError::new(format!("{delivered} of {} records were written", drained.records)));
    }
    Ok(Drained { elapsed: drained.elapsed + flushing.elapsed(), ..drained })
}

/// The number of records that were delivered.
#[derive(Default)]
struct Reports(AtomicU64);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, _: usize) {
        self.0.fetch_add(u64::from(result.is_ok()), Ordering::AcqRel);
    }
}

/// Reads a topic to its current end and calls `on_message` with each record and its partition, and `between` after each
/// round over the partitions.
fn each(
    reader: TopicReader,
    topic: &str,
    batch: usize,
    waker: &Waker,
    mut on_message: impl FnMut(i32, &Message<'_>) -> Result<(), KafkaError>,
    mut between: impl FnMut(),
) -> Result<Drained, KafkaError> {
    let partitions = reader.partitions(topic)?;
    let consumer = Arc::new(reader.into_consumer());
    let mut lanes = Vec::new();
    for partition in &partitions {
        let wake = waker.clone();
        let queue = PartitionQueue::split(&consumer, topic, partition.partition, move || wake.wake())
            .ok_or_else(|| KafkaError::new("the client has no queue for a partition"))?;
        lanes.push((queue, partition, partition.low >= partition.high));
    }
    let positions =
        partitions.iter().map(|p| (LaneName { topic: topic.into(), partition: p.partition }, p.low));
    Consumer::assign(&*consumer, &offsets_of(positions)?)?;
    let mut messages = Messages::default();
    let (mut records, mut checksum) = (0, 0_u64);
    let mut first = None;
    let mut last = Instant::now();
    while lanes.iter().any(|(_, _, done)| !done) {
        let before = records;
        for (queue, partition, done) in lanes.iter_mut().filter(|(_, _, done)| !done) {
            queue.pop_batch(batch, &mut messages);
            for message in messages.iter().filter(|message| message.error().is_none()) {
                checksum += sum(message.key()) + sum(message.value());
                on_message(partition.partition, &message)?;
                records += 1;
                *done |= message.offset() + 1 >= partition.high;
            }
        }
        between();
        if records > before {
            first.get_or_insert_with(Instant::now);
            last = Instant::now();
        } else {
            drop(consumer.poll(Duration::ZERO));
            waker.wait(Duration::from_millis(100));
        }
    }
    // The queues must be dropped before the consumer.
    drop((messages, lanes));
    let elapsed = first.map_or(Duration::ZERO, |first| last.duration_since(first));
    Ok(Drained { records, checksum, elapsed })
}

/// Returns the sum of bytes.
#[must_use]
pub fn sum(bytes: Option<&[u8]>) -> u64 {
    bytes.unwrap_or_default().iter().map(|byte| u64::from(*byte)).sum()
}

/// Reads a topic from its oldest record to its current end on one connection, parses every record where it was received
/// and sums its bytes: the limit of what a client can do on one thread. All leaders must be the first broker
/// of the settings.
///
/// # Errors
/// If the topic cannot be read.
pub fn parse(settings: &ClientSettings, topic: &str) -> Result<Drained, KafkaError> {
    let reader = TopicReader::connect(settings, 0, Waker::default())?;
    let mut wanted: Vec<_> =
        reader.partitions(topic)?.into_iter().map(|p| (p.partition, p.low, p.high)).collect();
    let config = settings.client(&[], &[]);
    let addresses = Address::list(settings.bootstrap_servers());
    let address = addresses.first().ok_or_else(|| KafkaError::new("bootstrap.servers names no broker"))?;
    let options = Options::of(&config)?;
    let failed = |error: &dyn std::fmt::Display| KafkaError::new(format!("parsing topic '{topic}': {error}"));
    let pool = Pool::default();
    let mut connection =
        Connection::open(address, &options, pool.clone(), drop).map_err(|error| failed(&error))?;
    let topic = Topic { name: topic.to_owned(), id: 0 };
    let version = connection.version(Api::Fetch).map_err(|error| failed(&error))?;
    let version = fetch::version_for(&topic, version);
    let limits = Limits {
        wait_ms: 500,
        least_bytes: 1,
        most_bytes: 8 << 20,
        committed_only: true,
        rack: String::new(),
    };
    let (mut records, mut checksum, mut unparsed) = (0, 0_u64, Vec::new());
    let started = Instant::now();
    loop {
        wanted.retain(|(_, position, end)| position < end);
        let asked: Vec<_> = wanted
            .iter()
            .map(|(partition, position, _)| Wanted {
                partition: *partition,
                leader_epoch: -1,
                position: *position,
                last_epoch: -1,
                most_bytes: 1 << 20,
            })
            .collect();
        if !asked.is_empty() {
            connection
                .send(&fetch::request(version, &topic, &limits, &asked))
                .map_err(|error| failed(&error))?;
        }
        for (bytes, aborted) in unparsed.drain(..) {
            let reading = Reading { committed_only: true, most_batch_bytes: options.most_bytes };
            let segments = Segment::read(&bytes, aborted, reading, &pool).map_err(|error| failed(&error))?;
            for segment in segments {
                let mut reader = segment.reader();
                loop {
                    let (next, after) = reader.next(&segment).map_err(|error| failed(&error))?;
                    reader = after;
                    match next {
                        Next::Record(record) => {
                            let bytes = [record.key, record.value];
                            checksum += bytes
                                .into_iter()
                                .map(|range| sum(range.map(|range| &segment.buffer[range])))
                                .sum::<u64>();
                            records += 1;
                        }
                        Next::Passed(_) => {}
                        Next::End => break,
                    }
                }
            }
        }
        if asked.is_empty() {
            return Ok(Drained { records, checksum, elapsed: started.elapsed() });
        }
        let response = connection.receive(Duration::from_millis(500)).map_err(|error| failed(&error))?;
        let answer = fetch::read(&mut response.cursor(), response.version).map_err(|error| failed(&error))?;
        for fetched in answer.partitions {
            let bytes = response.bytes.slice(fetched.records);
            let outline = outline(&bytes).map_err(|error| failed(&error))?;
            let partition = wanted.iter_mut().find(|(partition, ..)| *partition == fetched.partition);
            if let (Some((_, position, _)), Some((next, _))) = (partition, outline.next) {
                *position = next;
                unparsed.push((bytes.slice(..outline.amount.bytes), fetched.aborted));
            }
        }
    }
}
