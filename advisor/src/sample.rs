//! Watches a topic: its records with their times, once, within a cap of bytes per second.
#![allow(clippy::disallowed_methods, reason = "sampling lasts for a time")]

use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use velo_engine::columns::{Batch, BatchBuilder, LaneId, LaneName, Names};
use velo_engine::core::Tick;
use velo_engine::core::batcher::Room;
use velo_engine::kafka::{KafkaError, Start, TopicReader};
use velo_engine::source::replay::{Recorded, Recording};
use velo_engine::source::{Source, SourceError, SourceEvent};
use velo_engine::waker::Waker;
use velo_schema::Tier;

/// What was seen of a topic.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The records, in the order of their times.
    pub recording: Recording,
    /// How long the recording is.
    pub period: Duration,
    /// What was worth telling.
    pub notices: Vec<String>,
    /// The longest delay of a request that the brokers asked for, which ended the sample.
    pub throttle: Option<Duration>,
}

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How much of the topic's time.
    pub period: Duration,
    /// Most payload bytes a second.
    pub max_bytes_per_s: u64,
}

/// Sampling that failed.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The brokers said no.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// Reading stopped.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Most payload bytes that a sample keeps.
const MOST_BYTES: u64 = 256 << 20;
/// How much of the wanted time must lie in the past for the sample to end before it has passed.
const ENOUGH: f64 = 0.9;

/// Samples a topic: what its recent past holds, by the records' own timestamps, and what comes now,
/// until `limits.period` is covered, the brokers hold it back, or `observe`, which gets the records and the
/// time so far, ends it.
///
/// # Errors
/// Where the topic cannot be read.
pub fn sample(
    reader: TopicReader,
    topic: &str,
    limits: Limits,
    waker: &Waker,
    observe: &mut dyn FnMut(u64, Duration) -> ControlFlow<()>,
) -> Result<Sample, SampleError> {
    let now_ms = epoch_ms();
    let since_ms = now_ms - i64::try_from(limits.period.as_millis()).unwrap_or(i64::MAX);
    let mut ranges = Vec::new();
    let mut past = 0;
    for partition in reader.partitions(topic)? {
        let start = reader.offset(topic, partition, Start::Timestamp(since_ms))?;
        past += u64::try_from(partition.high - start).unwrap_or(0);
        ranges.push((partition.partition, start, None));
    }
    let source = reader.read(topic, ranges).with_max_rate(Some(limits.max_bytes_per_s));
    let mut watch = Watch {
        source,
        lanes: Vec::new(),
        records: Vec::new(),
        bytes: 0,
        since_ms,
        notices: Vec::new(),
        throttle: None,
    };
    let start = Instant::now();
    while start.elapsed() < limits.period && watch.bytes < MOST_BYTES {
        let took = watch.step(Tick(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)))?;
        let seen = watch.records.len() as u64;
        if observe(seen, start.elapsed()).is_break() || watch.throttle.is_some() {
            break;
        }
        if past > 0 && seen >= past && watch.span() >= limits.period.mul_f64(ENOUGH) {
            break;
        }
        if !took {
            waker.wait(Duration::from_millis(50));
        }
    }
    Ok(watch.finish())
}

fn epoch_ms() -> i64 {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(epoch.as_millis()).unwrap_or(i64::MAX)
}

struct Watch<S> {
    source: S,
    lanes: Vec<(LaneId, LaneName)>,
    /// Each record's time in milliseconds since the epoch, and the record.
    records: Vec<(i64, Recorded)>,
    bytes: u64,
    since_ms: i64,
    notices: Vec<String>,
    throttle: Option<Duration>,
}

impl<S: Source> Watch<S> {
    fn step(&mut self, now: Tick) -> Result<bool, SourceError> {
        const PER_CALL: u64 = 1000;
        let mut events = Vec::new();
        self.source.poll(now, &mut events)?;
        for event in events {
            match event {
                SourceEvent::Assigned(lane, name, _) => self.lanes.push((lane, name)),
                SourceEvent::Throttled(delay) => self.throttle = self.throttle.max(Some(delay)),
                SourceEvent::Notice(notice) if !self.notices.contains(&notice) => self.notices.push(notice),
                _ => {}
            }
        }
        let mut builder = BatchBuilder::default();
        for (lane, _) in &self.lanes {
            self.source.fill(now, *lane, Tier::Buffered, Room::of_records(PER_CALL), &mut builder)?;
        }
        if builder.is_empty() {
            return Ok(false);
        }
        self.keep(&builder.seal(Names::default()));
        Ok(true)
    }

    fn keep(&mut self, batch: &Batch) {
        self.bytes += batch.bytes();
        let seen_ms = epoch_ms();
        for row in 0..batch.len() {
            let lane = batch.lane(row);
            let partition =
                self.lanes.iter().find(|(id, _)| *id == lane).map_or(0, |(_, name)| name.partition);
            let record = Recorded {
                at: Duration::ZERO,
                partition,
                key: batch.key(row).map(<[u8]>::to_vec),
                value: batch.value(row).map(<[u8]>::to_vec),
            };
            // A time that cannot be true, of a record that came now, is no time.
            let time = batch.timestamp_ms(row).filter(|time| (self.since_ms..=seen_ms).contains(time));
            self.records.push((time.unwrap_or(seen_ms), record));
        }
    }

    fn span(&self) -> Duration {
        let times = || self.records.iter().map(|(time, _)| *time);
        let span = times().max().zip(times().min()).map_or(0, |(last, first)| last - first);
        Duration::from_millis(u64::try_from(span).unwrap_or(0))
    }

    fn finish(mut self) -> Sample {
        self.records.sort_by_key(|(time, _)| *time);
        let first = self.records.first().map_or(0, |(time, _)| *time);
        let span = self.span();
        let count = u32::try_from(self.records.len()).unwrap_or(u32::MAX).max(1);
        // From the first record to where the next one would come.
        let period = span + span / count;
        let at = |time: i64| Duration::from_millis(u64::try_from(time - first).unwrap_or(0));
        let records = self.records.into_iter().map(|(time, record)| Recorded { at: at(time), ..record });
        Sample { recording: records.collect(), period, notices: self.notices, throttle: self.throttle }
    }
}
