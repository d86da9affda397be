//! Watches a topic: its records with their times, once, within a cap of bytes per second.
#![allow(clippy::disallowed_methods, reason = "sampling lasts for a time")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use velo_engine::columns::{Batch, BatchBuilder, LaneId, LaneName, Names};
use velo_engine::core::Tick;
use velo_engine::core::batcher::Room;
use velo_engine::kafka::{KafkaError, Partition, ReadSource, Received, Start, TopicReader};
use velo_engine::source::replay::{Recorded, Recording};
use velo_engine::source::{Source, SourceError, SourceEvent};
use velo_engine::waker::Waker;
use velo_schema::{Tier, format_bytes, format_duration};

use crate::delays::{Availability, Seen, delays};
use crate::profile::{FetchCost, Profile};
use crate::timeline::{Burst, Cleaning, Stamp, Timeline, Window, burst, past_is_usable, place};

/// What was seen of a topic.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The records, in the order in which a consumer could have them.
    pub recording: Recording,
    /// How long the recording is.
    pub period: Duration,
    /// How long before it was read the recording ended.
    pub ended_ago: Duration,
    /// What taking a record from the client took, in each tier.
    pub fetch: Option<FetchCost>,
    /// How long after their times records could be read, where some were watched as they came.
    pub availability: Option<Availability>,
    /// What came from the brokers for it.
    pub received: Received,
    /// What was worth telling.
    pub notices: Vec<String>,
    /// The longest delay of a request that the brokers asked for, which ended the sample.
    pub throttle: Option<Duration>,
    /// Records that do not count, and clocks that are off.
    pub cleaning: Cleaning,
    /// Partitions of the topic, those without records included.
    pub partitions: u64,
    /// True if the cap on what is read per second kept it from reading all.
    pub capped: bool,
}

impl Sample {
    /// What the sample says of the workload; `None` where there is nothing in it.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        let Received { wire_bytes, record_bytes, .. } = self.received;
        let wire_bytes_per_byte = (record_bytes > 0).then(|| wire_bytes as f64 / record_bytes as f64);
        let ended_s_ago = self.ended_ago.as_secs_f64();
        let profile = Profile::of(&self.recording, self.period)?;
        let Self { fetch, availability, partitions, .. } = *self;
        let cleaning = self.cleaning.clone();
        let topic_partitions = Some(partitions);
        Some(Profile {
            wire_bytes_per_byte,
            fetch,
            availability,
            ended_s_ago,
            topic_partitions,
            cleaning,
            ..profile
        })
    }
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
    /// The brokers hold this client back.
    #[error("the brokers slow this client down, by up to {} ms a request", .0.as_millis())]
    Throttled(Duration),
}

/// Most payload bytes that a sample keeps.
const MOST_BYTES: u64 = 256 << 20;
/// How much of the wanted time must be between the first and the last record of the past for what comes now not to
/// be waited for: of a topic that is older than that time, and of one that may have begun in it.
const ENOUGH: [f64; 2] = [0.5, 0.9];
/// How long what comes is watched at most, and which part of the wanted time, once the past has been read.
const WATCHED: (Duration, f64) = (Duration::from_secs(2), 0.4);

/// Until then the cap lets what comes in at once again, and the client has got over the past.
const SETTLED: Duration = Duration::from_millis(250);

/// Is told the records and the time so far, and may end the sample.
pub type Observe<'a> = &'a mut dyn FnMut(u64, Duration) -> ControlFlow<()>;

/// Samples a topic: what its recent past holds, by the records' own timestamps, and what comes now, until
/// `limits.period` is covered and it has been seen how records come, the brokers hold it back, or `observe` ends it. Where nothing comes, the topic's
/// last activity is read instead. `connect` makes clients that wake `waker`.
///
/// # Errors
/// Where the topic cannot be read.
pub fn sample(
    connect: &dyn Fn() -> Result<TopicReader, KafkaError>,
    topic: &str,
    limits: Limits,
    waker: &Waker,
    observe: Observe<'_>,
) -> Result<Sample, SampleError> {
    let started_ms = epoch_ms();
    let mut watch = Watch::since(started_ms - millis(limits.period));
    let mut sampled = watch.read(connect()?, topic, limits, waker, observe)?;
    if watch.past_is_odd && sampled.throttle.is_none() {
        // Times that cannot be true have spoiled the look-up of offsets by time. What comes now needs none.
        let mut live = Watch::since(epoch_ms());
        live.watched_only = true;
        let mut watched = live.read(connect()?, topic, limits, waker, observe)?;
        watched.received += sampled.received;
        sampled = watched;
    }
    if !sampled.recording.is_empty() || sampled.throttle.is_some() || watch.is_empty_topic {
        return Ok(sampled);
    }
    let (newest_ms, received) = newest(connect, topic, limits, waker, observe)?;
    let Some(newest_ms) = newest_ms else { return Ok(sampled) };
    let mut watch = Watch::since(newest_ms - millis(limits.period));
    watch.until_ms = Some(newest_ms);
    let mut past = watch.read(connect()?, topic, limits, waker, observe)?;
    past.received += sampled.received;
    past.received += received;
    let ago = match past.ended_ago.as_secs() {
        seconds @ ..600 => seconds,
        seconds => seconds / 60 * 60,
    };
    let ago = format_duration(Duration::from_secs(ago));
    past.notices.push(format!(
        "nothing came within {}: this is the topic's last activity, {ago} ago",
        format_duration(limits.period)
    ));
    Ok(past)
}

fn epoch_us() -> i64 {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(epoch.as_micros()).unwrap_or(i64::MAX)
}

fn epoch_ms() -> i64 {
    epoch_us() / 1000
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn span(from_ms: i64, to_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(to_ms - from_ms).unwrap_or(0))
}

/// The time of the newest record that can be true, and what was received to find it. After the last record of a
/// partition there may be any number of transaction markers and aborted records: it looks further back until it
/// finds one.
fn newest(
    connect: &dyn Fn() -> Result<TopicReader, KafkaError>,
    topic: &str,
    limits: Limits,
    waker: &Waker,
    observe: Observe<'_>,
) -> Result<(Option<i64>, Received), SampleError> {
    const FROM_END: [i64; 4] = [10, 1000, 100_000, i64::MAX];
    let mut received = Received::default();
    for from_end in FROM_END {
        let tail = tail(connect()?, topic, from_end, limits, waker, observe)?;
        received += tail.received;
        if tail.newest_ms.is_some() || tail.is_all || observe(0, Duration::ZERO).is_break() {
            return Ok((tail.newest_ms, received));
        }
    }
    Ok((None, received))
}

/// What the ends of a topic's partitions hold.
struct Tail {
    newest_ms: Option<i64>,
    received: Received,
    /// True if there is nothing before it.
    is_all: bool,
}

/// Reads the last offsets of each partition.
fn tail(
    reader: TopicReader,
    topic: &str,
    from_end: i64,
    limits: Limits,
    waker: &Waker,
    observe: Observe<'_>,
) -> Result<Tail, SampleError> {
    const AT_MOST: Duration = Duration::from_secs(5);
    let partitions = reader.partitions(topic)?;
    let with_records = || partitions.iter().filter(|partition| partition.high > partition.low);
    let start = |partition: &Partition| partition.low.max(partition.high.saturating_sub(from_end));
    let is_all = with_records().all(|partition| start(partition) == partition.low);
    let ranges = with_records()
        .map(|partition| (partition.partition, start(partition), Some(partition.high)))
        .collect();
    let mut watch = Watch::since(i64::MIN);
    let source = reader.read(topic, ranges).with_max_rate(Some(limits.max_bytes_per_s));
    let meter = source.meter();
    watch.source = Some(source);
    let start = Instant::now();
    while start.elapsed() < AT_MOST && watch.ended < watch.lanes.len().max(1) {
        if observe(0, start.elapsed()).is_break() {
            break;
        }
        if !watch.step(start.elapsed())? {
            waker.wait(Duration::from_millis(50));
        }
    }
    let now_ms = epoch_ms();
    let times = watch.records.iter().filter_map(|(stamp, _)| stamp.time_ms);
    let newest_ms = times.filter(|time| *time <= now_ms).max();
    Ok(Tail { newest_ms, received: meter.received(), is_all })
}

/// The latest time of a record of each partition, by a right clock.
type Reached = BTreeMap<i32, i64>;

/// A partition and how far it has been read.
struct Lane {
    name: LaneName,
    /// The offset of the next record.
    next: i64,
    /// The latest time of a record, of those that can be true.
    reached_ms: Option<i64>,
    /// Records that were there before they were looked for: all of them, and those of times from before the sample
    /// and after now.
    past: u64,
    older: u64,
    newer: u64,
    has_begun: bool,
    /// True if offsets are missing between records: a transactional or compacted topic.
    has_gaps: bool,
}

#[allow(clippy::struct_excessive_bools, reason = "what is known of a topic is not one state")]
struct Watch {
    source: Option<ReadSource>,
    lanes: BTreeMap<LaneId, Lane>,
    /// Where partitions ended when they were looked at first.
    past_ends: BTreeMap<i32, i64>,
    /// Lanes that have been read to their ends.
    ended: usize,
    records: Vec<(Stamp, Recorded)>,
    bytes: u64,
    since_ms: i64,
    /// Nothing behind this time is wanted; else what comes now is.
    until_ms: Option<i64>,
    /// When everything had been read for the first time.
    caught_up: Option<Instant>,
    /// When something was taken last.
    last_taken: Option<Instant>,
    /// When reading ended, in milliseconds since the epoch.
    stopped_ms: Option<i64>,
    /// True if only what is watched counts.
    watched_only: bool,
    /// True if times that cannot be true have spoiled the look-up by time.
    past_is_odd: bool,
    /// Whether the cap let some wait that are watched as they come.
    held_back: bool,
    /// Time and records of the calls that took any, one record a call and many.
    calls: [(Duration, u64); 2],
    in_one_call: bool,
    notices: Vec<String>,
    throttle: Option<Duration>,
    is_empty_topic: bool,
    /// True if the cap on what is read had something wait.
    capped: bool,
}

impl Watch {
    fn since(since_ms: i64) -> Self {
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

    fn read(
        &mut self,
        reader: TopicReader,
        topic: &str,
        limits: Limits,
        waker: &Waker,
        observe: Observe<'_>,
    ) -> Result<Sample, SampleError> {
        let started_ms = epoch_ms();
        let mut ranges = Vec::new();
        let (mut past, mut is_older) = (0, false);
        let partitions = reader.partitions(topic)?;
        self.is_empty_topic = partitions.iter().all(|partition| partition.high == partition.low);
        let start_at = if self.watched_only { Start::Latest } else { Start::Timestamp(self.since_ms) };
        if observe(0, Duration::ZERO).is_break() {
            return Ok(self.finish(started_ms, limits));
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
                // What was there before is of no use: what comes until the time is over has to do.
                self.watched_only = true;
            }
            if self.until_ms.is_some() && self.ended == self.lanes.len() {
                break;
            }
            if !took {
                waker.wait(Duration::from_millis(50));
            }
        }
        // What comes from now on is not read any more.
        self.stopped_ms = Some(epoch_ms());
        self.settle()?;
        if !self.watched_only && self.until_ms.is_none() && !self.past_is_usable(limits) {
            self.watched_only = true;
        }
        // A topic that has older records was there before; else its time begins with its first record. If none is of
        // the past, that is when it was looked at first.
        let in_time = self.records.iter().filter_map(|(stamp, _)| stamp.time_ms);
        let in_time = in_time.filter(|time| (self.since_ms..=epoch_ms()).contains(time));
        let first_ms = match in_time.min() {
            _ if self.watched_only => self.watched_since_ms().unwrap_or(started_ms),
            _ if past == 0 => started_ms,
            Some(first_ms) if !is_older => first_ms,
            _ => self.since_ms,
        };
        Ok(self.finish(first_ms, limits))
    }

    /// Waits for the client's next statistics, which have what was received until now.
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

    fn step(&mut self, elapsed: Duration) -> Result<bool, SourceError> {
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
        // Both tiers in turn, so that both are measured.
        self.in_one_call = !self.in_one_call;
        let tier = if self.in_one_call { Tier::Buffered } else { Tier::Standard };
        let mut builder = BatchBuilder::default();
        // Whoever is behind in time goes first, so that a cap that lets only some in cuts all at about one time.
        let mut lanes: Vec<_> = self.lanes.iter().collect();
        lanes.sort_by_key(|(_, lane)| lane.reached_ms);
        for (id, _) in lanes {
            let asked = Instant::now();
            let before = builder.len();
            source.fill(now, *id, tier, Room::of_records(PER_CALL), &mut builder)?;
            let took = u64::from(builder.len() - before);
            // Of a few the call itself would be most of it.
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

    fn stamps(&self) -> Vec<Stamp> {
        self.records.iter().map(|(stamp, _)| *stamp).collect()
    }

    /// How long a record may be on its way, where clocks are right. What a transaction holds back is later.
    fn longest_way_ms(&self) -> i64 {
        const PLAIN_MS: i64 = 100;
        const TRANSACTIONAL_MS: i64 = 1000;
        if self.lanes.values().any(|lane| lane.has_gaps) { TRANSACTIONAL_MS } else { PLAIN_MS }
    }

    fn past_is_usable(&self, limits: Limits) -> bool {
        past_is_usable(&self.stamps(), self.longest_way_ms(), limits.period / 10)
    }

    /// From when on records are watched as they come.
    fn watched_since_ms(&self) -> Option<i64> {
        let since = self.caught_up? + SETTLED;
        Some(epoch_ms() - millis(since.elapsed()))
    }

    /// Whether nothing has come for a while, although it might: an open transaction hides what is at the end.
    fn is_quiet(&self, elapsed: Duration) -> bool {
        const QUIET: Duration = Duration::from_millis(500);
        const CONNECTED: Duration = Duration::from_secs(2);
        self.last_taken.map_or(elapsed >= CONNECTED, |taken| taken.elapsed() >= QUIET)
    }

    /// Whether records have been taken as they come for so long.
    fn has_settled(&self, watched: Duration) -> bool {
        self.caught_up.is_some_and(|since| since.elapsed() >= SETTLED + watched)
    }

    /// Whether every partition has been read to where it ended when it was looked at first.
    fn has_read_all(&self) -> bool {
        let past_end = |lane: &Lane| self.past_ends.get(&lane.name.partition).copied();
        let is_behind = |lane: &Lane| past_end(lane).is_some_and(|end| lane.next < end);
        self.lanes.len() == self.past_ends.len() && !self.lanes.values().any(is_behind)
    }

    /// From the first record to the last one, of those whose times can be true.
    fn span(&self) -> Duration {
        let now_ms = epoch_ms();
        let times = || {
            let times = self.records.iter().filter_map(|(stamp, _)| stamp.time_ms);
            times.filter(|time| (self.since_ms..=now_ms).contains(time))
        };
        times().min().zip(times().max()).map_or(Duration::ZERO, |(first, last)| span(first, last))
    }

    /// Partitions that have more than was read of them.
    fn unread(&self) -> impl Iterator<Item = &Lane> {
        let end = |id: LaneId| self.source.as_ref().and_then(|source| source.end_offset(id));
        self.lanes
            .iter()
            .filter(move |(id, lane)| end(**id).is_some_and(|end| lane.next < end))
            .map(|(_, lane)| lane)
    }

    /// Partitions whose ends an open transaction hides: all was read that can be, and there is more. Those that end
    /// long before the others are told apart from those that end a little earlier.
    fn hidden(&self, reached: &Reached, (first_ms, end_ms): (i64, i64)) -> (BTreeSet<i32>, Option<i64>) {
        if self.caught_up.is_none() || self.held_back || self.until_ms.is_some() {
            return Default::default();
        }
        let middle_ms = i64::midpoint(first_ms, end_ms);
        let unread = self.unread().map(|lane| (lane.name.partition, reached.get(&lane.name.partition)));
        let (long, short): (Vec<_>, Vec<_>) =
            unread.partition(|(_, reached)| reached.is_none_or(|reached| *reached < middle_ms));
        let partitions = long.into_iter().map(|(partition, _)| partition).collect();
        (partitions, short.into_iter().filter_map(|(_, reached)| reached.copied()).min())
    }

    /// Up to when every partition has been read, if one of them has more.
    fn reached_ms(&self, reached: &Reached, first_ms: i64) -> Option<i64> {
        let has_ended = self.until_ms.is_some() && self.ended == self.lanes.len();
        if has_ended || (self.caught_up.is_some() && !self.held_back) {
            return None;
        }
        self.unread().map(|lane| reached.get(&lane.name.partition).copied().unwrap_or(first_ms)).min()
    }

    fn finish(&mut self, first_ms: i64, limits: Limits) -> Sample {
        let now_ms = epoch_ms();
        let end_ms = self.until_ms.or(self.stopped_ms).unwrap_or(now_ms);
        let window = Window {
            since_ms: if self.watched_only { first_ms } else { self.since_ms },
            until_ms: end_ms,
            watched_only: self.watched_only,
            longest_way_ms: self.longest_way_ms(),
        };
        let Timeline { times_ms, mut cleaning } = place(&self.stamps(), window);
        let mut reached = Reached::new();
        for ((stamp, _), time_ms) in self.records.iter().zip(&times_ms) {
            if let Some(time_ms) = *time_ms {
                let latest = reached.entry(stamp.partition).or_insert(time_ms);
                *latest = time_ms.max(*latest);
            }
        }
        let last_ms = self.end(&reached, (first_ms, end_ms), limits, &mut cleaning);
        let mut seen = Vec::new();
        let mut records = Vec::new();
        for ((stamp, record), time_ms) in std::mem::take(&mut self.records).into_iter().zip(times_ms) {
            let Some(time_ms) = time_ms.filter(|time| *time <= last_ms) else { continue };
            if cleaning.open_transactions.contains(&stamp.partition) {
                continue;
            }
            seen.push(Seen { time_ms, partition: stamp.partition, available_us: stamp.available_us });
            records.push(record);
        }
        let delays = if self.held_back { None } else { delays(&seen) };
        if delays.is_none() && !seen.is_empty() {
            self.notices.push(self.unseen_delays());
        }
        let (availability, delays) = delays.map_or_else(Default::default, |(all, each)| (Some(all), each));
        let delays = delays.into_iter().chain(std::iter::repeat(Duration::ZERO));
        let timed = records.into_iter().zip(seen).zip(delays);
        let records: Vec<_> = timed
            .map(|((record, seen), delay)| Recorded { at: span(first_ms, seen.time_ms), delay, ..record })
            .collect();
        // The last record is within it.
        let period = span(first_ms, last_ms) + Duration::from_millis(1);
        let (mut records, period) = without_burst(records, period, &mut cleaning);
        records.sort_by_key(Recorded::available);
        let each_us = |(time, records): (Duration, u64)| {
            (records > 0).then(|| time.as_secs_f64() * 1e6 / records as f64)
        };
        let [standard, buffered] = self.calls.map(each_us);
        self.notices.extend(cleaning.notes());
        Sample {
            recording: records.into(),
            period,
            ended_ago: span(last_ms, now_ms),
            fetch: standard
                .zip(buffered)
                .map(|(standard_us, buffered_us)| FetchCost { standard_us, buffered_us }),
            availability,
            received: self.source.as_ref().map(|source| source.meter().received()).unwrap_or_default(),
            notices: std::mem::take(&mut self.notices),
            throttle: self.throttle,
            cleaning,
            partitions: self.past_ends.len() as u64,
            capped: self.capped,
        }
    }

    /// Up to when the sample goes: up to now, unless not all could be read.
    fn end(
        &mut self,
        reached: &Reached,
        (first_ms, end_ms): (i64, i64),
        limits: Limits,
        cleaning: &mut Cleaning,
    ) -> i64 {
        /// A fetch may take as long, and hides nothing.
        const FETCH: Duration = Duration::from_millis(500);
        // A few milliseconds behind is what comes while it is looked at.
        let is_cut = |reached: &i64| span(*reached, end_ms) > limits.period / 10;
        if let Some(reached_ms) = self.reached_ms(reached, first_ms).filter(is_cut) {
            self.notices.push(format!(
                "only the first {} of {} could be read, at {}/s (--max-rate) and {} at most: they are what is advised on",
                format_duration(span(first_ms, reached_ms)),
                format_duration(span(first_ms, end_ms)),
                format_bytes(limits.max_bytes_per_s),
                format_bytes(MOST_BYTES),
            ));
            return reached_ms;
        }
        let (partitions, committed_ms) = self.hidden(reached, (first_ms, end_ms));
        cleaning.open_transactions = partitions.into_iter().collect();
        let is_hidden = |committed: &i64| is_cut(committed) && span(*committed, end_ms) > FETCH;
        let Some(committed_ms) = committed_ms.filter(is_hidden) else { return end_ms };
        self.notices.push(format!(
            "the records of the last {} belong to transactions that are open: the sample ends before them",
            format_duration(span(committed_ms, end_ms))
        ));
        committed_ms
    }

    /// Why it is not known how soon records can be read.
    fn unseen_delays(&self) -> String {
        let why = if self.held_back {
            "as the cap on what is read (--max-rate) held the reader back"
        } else {
            "as too few came while it was watched"
        };
        format!("how soon records can be read was not seen, {why}: latencies are without that")
    }
}

impl Lane {
    fn at(name: LaneName, next: i64) -> Self {
        Self { name, next, reached_ms: None, past: 0, older: 0, newer: 0, has_begun: false, has_gaps: false }
    }

    /// Counts a record of the lane.
    fn keep(
        &mut self,
        offset: i64,
        time_ms: Option<i64>,
        window_ms: &std::ops::RangeInclusive<i64>,
        is_past: bool,
    ) {
        const AHEAD_MS: i64 = 1000;
        self.has_gaps |= offset > self.next && self.has_begun;
        self.has_begun = true;
        self.next = offset + 1;
        if is_past {
            self.past += 1;
            self.older += u64::from(time_ms.is_some_and(|time| time < *window_ms.start()));
            self.newer += u64::from(time_ms.is_some_and(|time| time > *window_ms.end() + AHEAD_MS));
        }
        self.reached_ms = self.reached_ms.max(time_ms.filter(|time| window_ms.contains(time)));
    }

    /// Whether its past was not where its times had it looked for: its first record is of the future, or most of
    /// them are older than what was asked for.
    fn is_odd(&self) -> bool {
        const ENOUGH: u64 = 50;
        let mostly = |count: u64| self.past >= ENOUGH && 2 * count > self.past;
        self.newer > 0 && self.newer == self.past || mostly(self.older) || mostly(self.newer)
    }
}

/// The records without a burst that is not the traffic of the others, as if its time had not been.
fn without_burst(
    records: Vec<Recorded>,
    period: Duration,
    cleaning: &mut Cleaning,
) -> (Vec<Recorded>, Duration) {
    let mut times_ms: Vec<_> = records.iter().map(|record| millis(record.at)).collect();
    times_ms.sort_unstable();
    let Some(Burst { from_ms, to_ms, why, records: count }) = burst(&times_ms, millis(period)) else {
        return (records, period);
    };
    cleaning.leave_out(count, why);
    let length = span(from_ms, to_ms);
    let closed = records.into_iter().filter_map(|record| match millis(record.at) {
        at if at < from_ms => Some(record),
        at if at < to_ms => None,
        _ => Some(Recorded { at: record.at.saturating_sub(length), ..record }),
    });
    (closed.collect(), period.saturating_sub(length))
}
