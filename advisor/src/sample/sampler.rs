//! Reads a topic for a sample: records with their timestamps and the times at which they could be read.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use velo_engine::batch::{Batch, BatchBuilder};
use velo_engine::core::batcher::Capacity;
use velo_engine::ids::{LaneId, Names, Tick};
use velo_engine::kafka::{KafkaError, ReadSource, Start, TopicReader};
use velo_engine::source::replay::Recorded;
use velo_engine::source::{Source, SourceError, SourceEvent};
use velo_engine::waker::Waker;
use velo_schema::Tier;

use super::clock::{epoch_ms, epoch_us, millis, span};
use super::lane::Lane;
use crate::timeline::{Stamp, past_is_usable};

/// Limits of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of the topic's time to sample.
    pub period: Duration,
    /// Read rate limit, in payload bytes per second.
    pub max_bytes_per_s: u64,
}

/// Error when sampling a topic.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// A request to the brokers failed.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// Reading failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The brokers throttled the client.
    #[error("the brokers throttle this client by up to {} ms per request", .0.as_millis())]
    Throttled(Duration),
}

/// Upper limit of the payload bytes in a sample.
pub(super) const MOST_BYTES: u64 = 256 << 20;
/// Share of the requested time that past records must span for the sample to need no new records: first for a topic
/// that is older than the requested time, then for a topic that may have begun within it.
const ENOUGH: [f64; 2] = [0.5, 0.9];
/// Longest live observation after the past has been read, absolute and as a share of the requested time.
const WATCHED: (Duration, f64) = (Duration::from_secs(2), 0.4);

/// Time after catching up during which records do not count as observed live, because reading the past still delays
/// them.
const SETTLED: Duration = Duration::from_millis(250);

/// Callback that receives the number of records and the elapsed time, and can end the sample.
pub type Observe<'a> = &'a mut dyn FnMut(u64, Duration) -> ControlFlow<()>;

/// Reads a topic for a sample.
#[allow(clippy::struct_excessive_bools, reason = "the flags are independent facts about a topic")]
pub(super) struct Sampler {
    pub source: Option<ReadSource>,
    pub lanes: BTreeMap<LaneId, Lane>,
    /// End offset of each partition when sampling started.
    pub past_ends: BTreeMap<i32, i64>,
    /// Number of partitions that were read to their end.
    pub ended: usize,
    pub records: Vec<(Stamp, Recorded)>,
    bytes: u64,
    /// Start of the requested time, in milliseconds since the epoch.
    pub since_ms: i64,
    /// End of the requested time, in milliseconds since the epoch; `None` if new records are sampled as well.
    pub until_ms: Option<i64>,
    /// Time when all existing records had been read.
    pub caught_up: Option<Instant>,
    /// Time when records were last taken.
    last_taken: Option<Instant>,
    /// Time when reading ended, in milliseconds since the epoch.
    pub stopped_ms: Option<i64>,
    /// True if only records that were observed live count.
    pub watched_only: bool,
    /// True if implausible timestamps made the offset lookup by timestamp unusable.
    pub past_is_odd: bool,
    /// True if the read rate limit delayed records that arrived while the topic was observed live.
    pub held_back: bool,
    /// Total time and number of records of the client calls that returned records: single poll, then batch poll.
    pub calls: [(Duration, u64); 2],
    in_one_call: bool,
    pub notices: Vec<String>,
    pub throttle: Option<Duration>,
    /// True if no partition of the topic has records.
    pub is_empty_topic: bool,
    /// True if the read rate limit delayed reading.
    pub capped: bool,
}

impl Sampler {
    /// Returns a sampler of the records from a time on, in milliseconds since the epoch.
    pub(super) fn since(since_ms: i64) -> Self {
        Self {
            source: None,
            lanes: BTreeMap::new(),
            past_ends: BTreeMap::new(),
            ended: 0,
            records: Vec::new(),
            bytes: 0,
            since_ms,
            until_ms: None,
            caught_up: None,
            last_taken: None,
            stopped_ms: None,
            watched_only: false,
            past_is_odd: false,
            held_back: false,
            calls: [(Duration::ZERO, 0); 2],
            in_one_call: false,
            notices: Vec::new(),
            throttle: None,
            is_empty_topic: false,
            capped: false,
        }
    }

    /// Reads the topic until the sample is complete. Returns the start of the sample, in milliseconds since the epoch.
    pub(super) fn read(
        &mut self,
        reader: TopicReader,
        topic: &str,
        limits: Limits,
        waker: &Waker,
        observe: Observe<'_>,
    ) -> Result<i64, SampleError> {
        let started_ms = epoch_ms();
        let mut ranges = Vec::new();
        let (mut past, mut is_older) = (0, false);
        let partitions = reader.partitions(topic)?;
        self.is_empty_topic = partitions.iter().all(|partition| partition.high == partition.low);
        let start_at = if self.watched_only { Start::Latest } else { Start::Timestamp(self.since_ms) };
        if observe(0, Duration::ZERO).is_break() {
            return Ok(started_ms);
        }
        let starts = reader.offsets(topic, &partitions, start_at)?;
        for (partition, start) in partitions.iter().zip(starts) {
            past += u64::try_from(partition.high - start).unwrap_or(0);
            is_older |= start > partition.low;
            self.past_ends.insert(partition.partition, partition.high);
            ranges.push((partition.partition, start, self.until_ms.map(|_| partition.high)));
        }
        self.source = Some(reader.read(topic, ranges).with_max_rate(Some(limits.max_bytes_per_s)));
        let start = Instant::now();
        while start.elapsed() < limits.period && self.bytes < MOST_BYTES {
            let took = self.step(start.elapsed())?;
            let seen = self.records.len() as u64;
            if observe(seen, start.elapsed()).is_break() || self.throttle.is_some() {
                break;
            }
            let enough = limits.period.mul_f64(ENOUGH[usize::from(!is_older)]);
            let watched = WATCHED.0.min(limits.period.mul_f64(WATCHED.1));
            let is_watched = self.has_settled(watched);
            if self.until_ms.is_none() && !self.watched_only && self.lanes.values().any(Lane::is_odd) {
                self.past_is_odd = true;
                break;
            }
            let is_covered = !self.watched_only && past > 0 && is_watched && self.span() >= enough;
            if is_covered {
                if self.past_is_usable(limits) {
                    break;
                }
                // The past records are unusable. Sample the records that arrive in the remaining time instead.
                self.watched_only = true;
            }
            if self.until_ms.is_some() && self.ended == self.lanes.len() {
                break;
            }
            if !took {
                waker.wait(Duration::from_millis(50));
            }
        }
        // Records that arrive from now on are no longer read.
        self.stopped_ms = Some(epoch_ms());
        self.settle()?;
        if !self.watched_only && self.until_ms.is_none() && !self.past_is_usable(limits) {
            self.watched_only = true;
        }
        // If the topic has older records, the sample begins at the requested time; otherwise at the first record. If
        // there are no past records, the sample begins when sampling started.
        let in_time = self.records.iter().filter_map(|(stamp, _)| stamp.time_ms);
        let in_time = in_time.filter(|time| (self.since_ms..=epoch_ms()).contains(time));
        Ok(match in_time.min() {
            _ if self.watched_only => self.watched_since_ms().unwrap_or(started_ms),
            _ if past == 0 => started_ms,
            Some(first_ms) if !is_older => first_ms,
            _ => self.since_ms,
        })
    }

    /// Waits for the client's next statistics, which include the data received so far.
    fn settle(&mut self) -> Result<(), SourceError> {
        const STATISTICS: Duration = Duration::from_millis(250);
        let Some(source) = &mut self.source else { return Ok(()) };
        let until = Instant::now() + STATISTICS;
        while Instant::now() < until {
            let mut events = Vec::new();
            source.poll(Tick::default(), &mut events)?;
            for event in events {
                if let SourceEvent::Throttled(delay) = event {
                    self.throttle = self.throttle.max(Some(delay));
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Handles the source's events and takes records. Returns true if there were records.
    pub(super) fn step(&mut self, elapsed: Duration) -> Result<bool, SourceError> {
        const PER_CALL: u64 = 1000;
        const ENOUGH_OF_A_CALL: u64 = 20;
        let Some(source) = &mut self.source else { return Ok(false) };
        let now = Tick(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
        let mut events = Vec::new();
        source.poll(now, &mut events)?;
        for event in events {
            match event {
                SourceEvent::Assigned(id, name, next) => {
                    self.lanes.insert(id, Lane::at(name, next));
                }
                SourceEvent::Ended(_) => self.ended += 1,
                SourceEvent::Throttled(delay) => self.throttle = self.throttle.max(Some(delay)),
                SourceEvent::Position(id, next) => {
                    if let Some(lane) = self.lanes.get_mut(&id) {
                        lane.has_gaps |= next > lane.next && lane.has_begun;
                        lane.next = lane.next.max(next);
                    }
                }
                SourceEvent::Notice(notice) if !self.notices.contains(&notice) => self.notices.push(notice),
                _ => {}
            }
        }
        // Alternate between the consumer tiers, so that both are measured.
        self.in_one_call = !self.in_one_call;
        let tier = if self.in_one_call { Tier::Buffered } else { Tier::Standard };
        let mut builder = BatchBuilder::default();
        // Take the partitions with the oldest position first, so that the read rate limit cuts all partitions at about
        // the same time.
        let mut lanes: Vec<_> = self.lanes.iter().collect();
        lanes.sort_by_key(|(_, lane)| lane.reached_ms);
        for (id, _) in lanes {
            let asked = Instant::now();
            let before = builder.len();
            source.fill(now, *id, tier, Capacity::of_records(PER_CALL), &mut builder)?;
            let took = u64::from(builder.len() - before);
            // For a few records, the overhead of the call itself would dominate.
            if took >= ENOUGH_OF_A_CALL {
                let (time, records) = &mut self.calls[usize::from(self.in_one_call)];
                *time += asked.elapsed();
                *records += took;
            }
        }
        let is_held_back = source.next_due().is_some();
        if builder.is_empty() {
            let may_catch_up = self.caught_up.is_none() && self.until_ms.is_none() && !is_held_back;
            if may_catch_up && (self.has_read_all() || self.is_quiet(elapsed)) {
                self.caught_up = Some(Instant::now());
            }
            return Ok(false);
        }
        self.last_taken = Some(Instant::now());
        self.held_back |= is_held_back && self.has_settled(Duration::ZERO);
        self.capped |= is_held_back;
        self.keep(&builder.seal(Names::default()));
        Ok(true)
    }

    fn keep(&mut self, batch: &Batch) {
        self.bytes += batch.bytes();
        let now_us = epoch_us();
        let available_us = self.has_settled(Duration::ZERO).then_some(now_us);
        let window_ms = self.since_ms..=self.until_ms.unwrap_or(now_us / 1000);
        for row in 0..batch.len() {
            let Some(lane) = self.lanes.get_mut(&batch.lane(row)) else { continue };
            let time_ms = batch.timestamp_ms(row);
            lane.keep(batch.offset(row), time_ms, &window_ms, available_us.is_none());
            let headers = batch.headers(row);
            let record = Recorded {
                at: Duration::ZERO,
                delay: Duration::ZERO,
                partition: lane.name.partition,
                key: batch.key(row).map(<[u8]>::to_vec),
                value: batch.value(row).map(<[u8]>::to_vec),
                headers: (!headers.is_empty()).then(|| headers.to_vec()),
                timestamp_ms: time_ms,
            };
            let stamp = Stamp { time_ms, partition: record.partition, available_us };
            self.records.push((stamp, record));
        }
    }

    pub(super) fn stamps(&self) -> Vec<Stamp> {
        self.records.iter().map(|(stamp, _)| *stamp).collect()
    }

    /// Returns the longest plausible delay from a record's timestamp until it can be read, if clocks are correct.
    /// Transactions delay records for longer.
    pub(super) fn longest_way_ms(&self) -> i64 {
        const PLAIN_MS: i64 = 100;
        const TRANSACTIONAL_MS: i64 = 1000;
        if self.lanes.values().any(|lane| lane.has_gaps) { TRANSACTIONAL_MS } else { PLAIN_MS }
    }

    fn past_is_usable(&self, limits: Limits) -> bool {
        past_is_usable(&self.stamps(), self.longest_way_ms(), limits.period / 10)
    }

    /// Returns the time from which on records are observed live, in milliseconds since the epoch.
    fn watched_since_ms(&self) -> Option<i64> {
        let since = self.caught_up? + SETTLED;
        Some(epoch_ms() - millis(since.elapsed()))
    }

    /// Returns true if no record was taken for a while although the end was not reached, because an open transaction
    /// hides the last records.
    fn is_quiet(&self, elapsed: Duration) -> bool {
        const QUIET: Duration = Duration::from_millis(500);
        const CONNECTED: Duration = Duration::from_secs(2);
        self.last_taken.map_or(elapsed >= CONNECTED, |taken| taken.elapsed() >= QUIET)
    }

    /// Returns true if records have been observed live for this long.
    fn has_settled(&self, watched: Duration) -> bool {
        self.caught_up.is_some_and(|since| since.elapsed() >= SETTLED + watched)
    }

    /// Returns true if every partition has been read to the end that it had when sampling started.
    fn has_read_all(&self) -> bool {
        let past_end = |lane: &Lane| self.past_ends.get(&lane.name.partition).copied();
        let is_behind = |lane: &Lane| past_end(lane).is_some_and(|end| lane.next < end);
        self.lanes.len() == self.past_ends.len() && !self.lanes.values().any(is_behind)
    }

    /// Returns the time between the first and the last record with a plausible timestamp.
    fn span(&self) -> Duration {
        let now_ms = epoch_ms();
        let times = || {
            let times = self.records.iter().filter_map(|(stamp, _)| stamp.time_ms);
            times.filter(|time| (self.since_ms..=now_ms).contains(time))
        };
        times().min().zip(times().max()).map_or(Duration::ZERO, |(first, last)| span(first, last))
    }
}
