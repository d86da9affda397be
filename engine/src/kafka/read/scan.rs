//! Reads a topic once up to its current end, without a group and without commits.
#![allow(clippy::disallowed_methods, reason = "a client that waits for brokers has a clock")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use velo_schema::Tier;

use crate::batch::{Batch, BatchBuilder};
use crate::core::batcher::Capacity;
use crate::ids::Tick;
use crate::ids::{LaneId, Names};
use crate::kafka::{ClientSettings, KafkaError, Partition, TopicReader};
use crate::source::{Source, SourceError, SourceEvent};
use crate::waker::Waker;

/// The bytes that the client prefetches.
const PREFETCH_BYTES: u64 = 32 << 20;
/// The maximum time without a record before the end is reached.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const RECORDS_A_CALL: u64 = 1000;

/// Reads all records that a topic has now, each partition in order. Calls `each` with batches of records and the total
/// number of offsets to read.
///
/// # Errors
/// If the topic does not exist or cannot be read, or `each` fails.
pub fn scan<E: From<KafkaError>>(
    settings: &ClientSettings,
    topic: &str,
    each: impl FnMut(&Batch, u64) -> Result<(), E>,
) -> Result<(), E> {
    scan_from(settings, topic, &BTreeMap::new(), Until::Stable, each)
}

/// Where a scan ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Before the first transaction that is open when the scan starts.
    Stable,
    /// At the last record that is written when the scan starts. The scan waits for open transactions to end.
    Written,
}

/// Like [`scan`], but starts at these offsets, by partition. Other partitions are read from their oldest record.
///
/// # Errors
/// If the topic does not exist or cannot be read, or `each` fails.
pub fn scan_from<E: From<KafkaError>>(
    settings: &ClientSettings,
    topic: &str,
    starts: &BTreeMap<i32, i64>,
    until: Until,
    mut each: impl FnMut(&Batch, u64) -> Result<(), E>,
) -> Result<(), E> {
    let waker = Waker::default();
    let reader = TopicReader::connect(settings, PREFETCH_BYTES, waker.clone())?;
    let partitions = match until {
        Until::Stable => reader.partitions(topic)?,
        Until::Written => TopicReader::written(settings, topic)?,
    };
    let start = |p: &Partition| starts.get(&p.partition).map_or(p.low, |start| (*start).clamp(p.low, p.high));
    let offsets = partitions.iter().map(|partition| partition.high - start(partition)).sum::<i64>();
    let total = u64::try_from(offsets).unwrap_or(0);
    let ranges = partitions.iter().map(|p| (p.partition, start(p), Some(p.high))).collect();
    let mut source = reader.read(topic, ranges);
    let (mut lanes, mut names) = (Vec::<LaneId>::new(), Names::default());
    let (mut events, mut builder) = (Vec::new(), BatchBuilder::default());
    let (started, mut last) = (Instant::now(), Instant::now());
    let mut complete = false;
    while !complete {
        let now = Tick(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let cannot = |error: SourceError| E::from(KafkaError::from(error));
        source.poll(now, &mut events).map_err(cannot)?;
        for lane in &lanes {
            let room = Capacity::of_records(RECORDS_A_CALL);
            source.fill(now, *lane, Tier::Buffered, room, &mut builder).map_err(cannot)?;
        }
        for event in events.drain(..) {
            match event {
                SourceEvent::Assigned(lane, name, _) => {
                    lanes.push(lane);
                    names.insert(lane, name);
                }
                SourceEvent::EndOfInput(is_reached) => complete = is_reached,
                SourceEvent::Ended(lane) => lanes.retain(|other| *other != lane),
                _ => {}
            }
        }
        if !builder.is_empty() {
            each(&builder.seal(names.clone()), total)?;
            // The time-out does not include the time of `each`.
            last = Instant::now();
        } else if lanes.is_empty() {
            // The partitions are not assigned yet, or all are at their ends.
        } else if last.elapsed() > IDLE_TIMEOUT {
            let reason = "an open transaction may block the records after it";
            return Err(KafkaError::new(format!("no record arrived for {IDLE_TIMEOUT:?}; {reason}")).into());
        } else {
            waker.wait(Duration::from_millis(50));
        }
    }
    Ok(())
}
