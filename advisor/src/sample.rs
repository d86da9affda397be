//! Watches a topic: its records with their times, once, within a cap of bytes per second.
#![allow(clippy::disallowed_methods, reason = "sampling lasts for a time")]

use std::collections::BTreeMap;
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
}

impl Sample {
    /// What the sample says of the workload; `None` where there is nothing in it.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        let Received { wire_bytes, record_bytes, .. } = self.received;
        let wire_bytes_per_byte = (record_bytes > 0).then(|| wire_bytes as f64 / record_bytes as f64);
        let ended_s_ago = self.ended_ago.as_secs_f64();
        let profile = Profile::of(&self.recording, self.period)?;
        let Self { fetch, availability, .. } = *self;
        Some(Profile { wire_bytes_per_byte, fetch, availability, ended_s_ago, ..profile })
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
    let sampled = watch.read(connect()?, topic, limits, waker, observe)?;
    if !sampled.recording.is_empty() || sampled.throttle.is_some() || watch.is_empty_topic {
        return Ok(sampled);
    }
    let (newest_ms, received) = newest(connect()?, topic, limits, waker, observe)?;
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

/// The time of the newest record, by the last one of each partition, and what was received for it.
fn newest(
    reader: TopicReader,
    topic: &str,
    limits: Limits,
    waker: &Waker,
    observe: Observe<'_>,
) -> Result<(Option<i64>, Received), SampleError> {
    /// Behind the last record there may be a few markers of transactions.
    const FROM_END: i64 = 10;
    const AT_MOST: Duration = Duration::from_secs(5);
    let with_records =
        reader.partitions(topic)?.into_iter().filter(|partition| partition.high > partition.low);
    let range = |Partition { partition, low, high }| (partition, low.max(high - FROM_END), Some(high));
    let mut watch = Watch::since(i64::MIN);
    let source =
        reader.read(topic, with_records.map(range).collect()).with_max_rate(Some(limits.max_bytes_per_s));
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
    let newest = watch.records.iter().map(|(seen, _)| seen.time_ms).filter(|time| *time <= now_ms).max();
    Ok((newest, meter.received()))
}

/// A partition and how far it has been read.
struct Lane {
    name: LaneName,
    /// The offset of the next record.
    next: i64,
    /// The latest time of a record.
    reached_ms: Option<i64>,
}

struct Watch {
    source: Option<ReadSource>,
    lanes: BTreeMap<LaneId, Lane>,
    /// Where partitions ended when they were looked at first.
    past_ends: BTreeMap<i32, i64>,
    /// Lanes that have been read to their ends.
    ended: usize,
    records: Vec<(Seen, Recorded)>,
    bytes: u64,
    since_ms: i64,
    /// Nothing behind this time is wanted; else what comes now is.
    until_ms: Option<i64>,
    /// When everything had been read for the first time.
    caught_up: Option<Instant>,
    /// Whether the cap let some wait that are watched as they come.
    held_back: bool,
    /// Time and records of the calls that took any, one record a call and many.
    calls: [(Duration, u64); 2],
    in_one_call: bool,
    notices: Vec<String>,
    throttle: Option<Duration>,
    is_empty_topic: bool,
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
            held_back: false,
            calls: [(Duration::ZERO, 0); 2],
            in_one_call: false,
            notices: Vec::new(),
            throttle: None,
            is_empty_topic: false,
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
        for partition in partitions {
            let start = reader.offset(topic, partition, Start::Timestamp(self.since_ms))?;
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
            let is_covered = past > 0 && is_watched && self.span() >= enough;
            if is_covered || (self.until_ms.is_some() && self.ended == self.lanes.len()) {
                break;
            }
            if !took {
                waker.wait(Duration::from_millis(50));
            }
        }
        self.settle()?;
        // A topic that has older records was there before; else its time begins with its first record. Where
        // none is of the past, that is when it was looked at first.
        let first_ms = match self.records.iter().map(|(seen, _)| seen.time_ms).min() {
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
                    self.lanes.insert(id, Lane { name, next, reached_ms: None });
                }
                SourceEvent::Ended(_) => self.ended += 1,
                SourceEvent::Throttled(delay) => self.throttle = self.throttle.max(Some(delay)),
                SourceEvent::Position(id, next) => {
                    if let Some(lane) = self.lanes.get_mut(&id) {
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
            if may_catch_up && self.has_read_all() {
                self.caught_up = Some(Instant::now());
            }
            return Ok(false);
        }
        self.held_back |= is_held_back && self.has_settled(Duration::ZERO);
        self.keep(&builder.seal(Names::default()));
        Ok(true)
    }

    fn keep(&mut self, batch: &Batch) {
        self.bytes += batch.bytes();
        let now_us = epoch_us();
        let latest_ms = self.until_ms.unwrap_or(now_us / 1000);
        let available_us = self.has_settled(Duration::ZERO).then_some(now_us);
        for row in 0..batch.len() {
            let Some(lane) = self.lanes.get_mut(&batch.lane(row)) else { continue };
            // A time that cannot be true, of a record that came now, is no time.
            let time = batch.timestamp_ms(row).filter(|time| (self.since_ms..=latest_ms).contains(time));
            let time = time.unwrap_or(latest_ms);
            lane.next = batch.offset(row) + 1;
            lane.reached_ms = lane.reached_ms.max(Some(time));
            let headers = batch.headers(row);
            let record = Recorded {
                at: Duration::ZERO,
                delay: Duration::ZERO,
                partition: lane.name.partition,
                key: batch.key(row).map(<[u8]>::to_vec),
                value: batch.value(row).map(<[u8]>::to_vec),
                headers: (!headers.is_empty()).then(|| headers.to_vec()),
                timestamp_ms: batch.timestamp_ms(row),
            };
            let seen = Seen { time_ms: time, partition: record.partition, available_us };
            self.records.push((seen, record));
        }
    }

    /// Whether records have been taken as they come for so long.
    fn has_settled(&self, watched: Duration) -> bool {
        self.caught_up.is_some_and(|since| since.elapsed() >= SETTLED + watched)
    }

    /// Whether every partition has been read to its end, as far as that is known.
    fn has_read_all(&self) -> bool {
        let past_end = |lane: &Lane| self.past_ends.get(&lane.name.partition).copied();
        let end = |id: LaneId| self.source.as_ref().and_then(|source| source.end_offset(id));
        let is_behind =
            |(id, lane): (&LaneId, &Lane)| past_end(lane).max(end(*id)).is_some_and(|end| lane.next < end);
        self.lanes.len() == self.past_ends.len() && !self.lanes.iter().any(is_behind)
    }

    /// From the first record to the last one.
    fn span(&self) -> Duration {
        let times = || self.records.iter().map(|(seen, _)| seen.time_ms);
        times().min().zip(times().max()).map_or(Duration::ZERO, |(first, last)| span(first, last))
    }

    /// Up to when every partition has been read, where one of them has more.
    fn reached_ms(&self) -> Option<i64> {
        let source = self.source.as_ref()?;
        let has_more =
            |(id, lane): &(&LaneId, &Lane)| source.end_offset(**id).is_some_and(|end| lane.next < end);
        let behind = self.lanes.iter().filter(has_more);
        behind.map(|(_, lane)| lane.reached_ms.unwrap_or(self.since_ms)).min()
    }

    fn finish(&mut self, first_ms: i64, limits: Limits) -> Sample {
        let now_ms = epoch_ms();
        let end_ms = self.until_ms.unwrap_or(now_ms);
        let mut last_ms = end_ms;
        // A few milliseconds behind is what comes while it is looked at.
        let is_cut = |reached: &i64| span(*reached, end_ms) > limits.period / 10;
        if let Some(reached_ms) = self.reached_ms().filter(is_cut) {
            last_ms = reached_ms;
            self.records.retain(|(seen, _)| seen.time_ms <= reached_ms);
            self.notices.push(format!(
                "only the first {} of {} could be read, at {}/s (--max-rate) and {} at most: they are what is advised on",
                format_duration(span(first_ms, last_ms)),
                format_duration(span(first_ms, end_ms)),
                format_bytes(limits.max_bytes_per_s),
                format_bytes(MOST_BYTES),
            ));
        }
        let (seen, records): (Vec<_>, Vec<_>) = std::mem::take(&mut self.records).into_iter().unzip();
        let delays = if self.held_back { None } else { delays(&seen) };
        if delays.is_none() && !seen.is_empty() {
            self.notices.push(
                "how soon records can be read was not seen, as too few came while it was watched: latencies are \
                 without that"
                    .to_owned(),
            );
        }
        let (availability, delays) = delays.map_or_else(Default::default, |(all, each)| (Some(all), each));
        let delays = delays.into_iter().chain(std::iter::repeat(Duration::ZERO));
        let timed = records.into_iter().zip(seen).zip(delays);
        let mut records: Vec<_> = timed
            .map(|((record, seen), delay)| Recorded { at: span(first_ms, seen.time_ms), delay, ..record })
            .collect();
        records.sort_by_key(Recorded::available);
        let each_us = |(time, records): (Duration, u64)| {
            (records > 0).then(|| time.as_secs_f64() * 1e6 / records as f64)
        };
        let [standard, buffered] = self.calls.map(each_us);
        Sample {
            recording: records.into(),
            // The last record is within it.
            period: span(first_ms, last_ms) + Duration::from_millis(1),
            ended_ago: span(last_ms, now_ms),
            fetch: standard
                .zip(buffered)
                .map(|(standard_us, buffered_us)| FetchCost { standard_us, buffered_us }),
            availability,
            received: self.source.as_ref().map(|source| source.meter().received()).unwrap_or_default(),
            notices: std::mem::take(&mut self.notices),
            throttle: self.throttle,
        }
    }
}
