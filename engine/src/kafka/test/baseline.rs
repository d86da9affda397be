//! The baseline for measurements of the engine: a loop over librdkafka's batch call on the same split queues that only
//! sums the bytes of each value.
#![allow(clippy::disallowed_methods, reason = "it is a measurement")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::LaneName;
use crate::kafka::ffi::{Messages, PartitionQueue};
use crate::kafka::offsets::offsets_of;
use crate::kafka::{KafkaError, TopicReader};
use crate::waker::Waker;

/// The result of the baseline loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drained {
    /// The number of records read.
    pub records: u64,
    /// The sum of all bytes of all values, so that every byte is read.
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
    let partitions = reader.partitions(topic)?;
    let consumer = Arc::new(reader.into_consumer());
    let mut lanes = Vec::new();
    for partition in &partitions {
        let wake = waker.clone();
        let queue = PartitionQueue::split(&consumer, topic, partition.partition, move || wake.wake())
            .ok_or_else(|| KafkaError::new("the client has no queue for a partition"))?;
        lanes.push((queue, partition.high, partition.low >= partition.high));
    }
    let positions =
        partitions.iter().map(|p| (LaneName { topic: topic.into(), partition: p.partition }, p.low));
    rdkafka::consumer::Consumer::assign(&*consumer, &offsets_of(positions)?)?;
    let mut messages = Messages::default();
    let (mut records, mut checksum) = (0, 0_u64);
    let mut first = None;
    let mut last = Instant::now();
    while lanes.iter().any(|(_, _, done)| !done) {
        let before = records;
        for (queue, end, done) in lanes.iter_mut().filter(|(_, _, done)| !done) {
            queue.pop_batch(batch, &mut messages);
            for message in messages.iter().filter(|message| message.error().is_none()) {
                let value = message.value().unwrap_or_default();
                checksum += value.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                records += 1;
                *done |= message.offset() + 1 >= *end;
            }
        }
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
