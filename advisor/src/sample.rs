//! Samples a topic: reads its records with their timestamps once, within a read rate limit.
#![allow(clippy::disallowed_methods, reason = "sampling uses the wall clock")]

mod clock;
mod lane;
mod sampled;
mod sampler;
mod span;

use std::time::{Duration, Instant};

use velo_engine::kafka::{KafkaError, Partition, Received, TopicReader};
use velo_engine::waker::Waker;
use velo_schema::format_duration;

use self::clock::{epoch_ms, millis};
pub use self::sampled::Sample;
use self::sampler::Sampler;
pub use self::sampler::{Limits, Observe, SampleError};

/// Samples a topic: its recent past according to the record timestamps, and the records that arrive now.
///
/// The sample ends when it covers `limits.period` and the delays until records can be read are known, when the brokers
/// throttle the client, or when `observe` ends it. If no record arrives, the last activity of the topic is read
/// instead. `connect` makes clients that wake `waker`.
///
/// # Errors
/// If the topic cannot be read.
pub fn sample(
    connect: &dyn Fn() -> Result<TopicReader, KafkaError>,
    topic: &str,
    limits: Limits,
    waker: &Waker,
    observe: Observe<'_>,
) -> Result<Sample, SampleError> {
    let started_ms = epoch_ms();
    let mut sampler = Sampler::since(started_ms - millis(limits.period));
    let first_ms = sampler.read(connect()?, topic, limits, waker, observe)?;
    let mut sample = sampler.finish(first_ms, limits);
    if sampler.past_is_odd && sample.throttle.is_none() {
        // Implausible timestamps made the offset lookup by timestamp unusable. New records do not need it.
        let mut live = Sampler::since(epoch_ms());
        live.watched_only = true;
        let first_ms = live.read(connect()?, topic, limits, waker, observe)?;
        let mut watched = live.finish(first_ms, limits);
        watched.received += sample.received;
        sample = watched;
    }
    if !sample.recording.is_empty() || sample.throttle.is_some() || sampler.is_empty_topic {
        return Ok(sample);
    }
    let (newest_ms, received) = newest(connect, topic, limits, waker, observe)?;
    let Some(newest_ms) = newest_ms else { return Ok(sample) };
    let mut sampler = Sampler::since(newest_ms - millis(limits.period));
    sampler.until_ms = Some(newest_ms);
    let first_ms = sampler.read(connect()?, topic, limits, waker, observe)?;
    let mut past = sampler.finish(first_ms, limits);
    past.received += sample.received;
    past.received += received;
    let ago = match past.ended_ago.as_secs() {
        seconds @ ..600 => seconds,
        seconds => seconds / 60 * 60,
    };
    let ago = format_duration(Duration::from_secs(ago));
    past.notices.push(format!(
        "no record arrived within {}; the sample is the last activity of the topic, {ago} ago",
        format_duration(limits.period)
    ));
    Ok(past)
}

/// Returns the time of the newest record with a plausible timestamp, and the amount of data received to find it. Any
/// number of transaction markers and aborted records can follow the last record of a partition, so the search goes back
/// in growing steps.
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

/// The last records of a topic's partitions.
struct Tail {
    newest_ms: Option<i64>,
    received: Received,
    /// True if the tail contains all records of the topic.
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
    let mut sampler = Sampler::since(i64::MIN);
    let source = reader.read(topic, ranges).with_max_rate(Some(limits.max_bytes_per_s));
    let meter = source.meter();
    sampler.source = Some(source);
    let start = Instant::now();
    while start.elapsed() < AT_MOST && sampler.ended < sampler.lanes.len().max(1) {
        if observe(0, start.elapsed()).is_break() {
            break;
        }
        if !sampler.step(start.elapsed())? {
            waker.wait(Duration::from_millis(50));
        }
    }
    let now_ms = epoch_ms();
    let times = sampler.records.iter().filter_map(|(stamp, _)| stamp.time_ms);
    let newest_ms = times.filter(|time| *time <= now_ms).max();
    Ok(Tail { newest_ms, received: meter.received(), is_all })
}
