//! Confirms a configuration on the live topic: the real engine reads from the read-only source.
#![allow(clippy::disallowed_methods, reason = "a confirmation uses the wall clock")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use velo_engine::batch::{BatchBuilder, Record};
use velo_engine::core::batcher::Capacity;
use velo_engine::ids::{LaneId, Names, Tick};
use velo_engine::kafka::{KafkaError, ReadSource, Received, Start, TopicReader};
use velo_engine::source::{Filled, Source, SourceError, SourceEvent};
use velo_engine::waker::Waker;
use velo_engine::{Builder, Control, JobConfig};
use velo_schema::{Tier, format_bytes, format_duration};

use crate::advice::Confirmation;
use crate::bench::Ended;
use crate::candidate::Candidate;
use crate::profile::Profile;
use crate::runner::Workload;
use crate::sample::SampleError;
use crate::timeline::Clock;

/// Function that makes a client, which wakes the given waker.
pub type Connect = Arc<dyn Fn(Waker) -> Result<TopicReader, KafkaError> + Send + Sync>;

/// The live topic and the conditions of a confirmation.
#[derive(Debug, Clone, Copy)]
pub struct Live<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// Duration of the confirmation, without the warm-up.
    pub length: Duration,
    /// Read rate limit, in payload bytes per second.
    pub max_bytes_per_s: u64,
    /// Offsets of producer clocks. Latencies are corrected by these offsets.
    pub clocks: &'a [Clock],
}

/// Reason why a candidate could not be confirmed.
#[derive(Debug, thiserror::Error)]
pub enum Unconfirmed {
    /// Reading the topic failed.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The confirmation was ended early.
    #[error("the confirmation was interrupted")]
    Interrupted,
    /// The batches take too long to complete enough of them.
    #[error(
        "three batches take {}, longer than the longest confirmation ({})",
        format_duration(*.takes),
        format_duration(LONGEST)
    )]
    TooLong {
        /// Duration of three batches.
        takes: Duration,
    },
    /// Too few batches were completed.
    #[error("only {batches} batches were completed within {}; three are needed", format_duration(*.within))]
    TooFewBatches {
        /// Number of completed batches.
        batches: u64,
        /// Duration of the confirmation.
        within: Duration,
    },
    /// The read rate limit slowed the confirmation down.
    #[error("the read rate limit of {}/s (--max-rate) slowed it down", format_bytes(*.max_bytes_per_s))]
    Capped {
        /// The read rate limit, in bytes per second.
        max_bytes_per_s: u64,
    },
}

/// Warm-up, which covers the first fetch. Latencies exclude records that arrive during the warm-up.
const WARM_UP: Duration = Duration::from_secs(1);
/// Shortest confirmation, without the warm-up.
const SHORTEST: Duration = Duration::from_secs(3);
/// Longest confirmation, without the warm-up.
const LONGEST: Duration = Duration::from_secs(9);
/// Number of batches that a confirmation needs.
const BATCHES: u32 = 3;

/// Returns the required duration of a candidate's confirmation, without the warm-up.
///
/// # Errors
/// If the required duration is too long.
pub fn length(candidate: &Candidate, profile: &Profile) -> Result<Duration, Unconfirmed> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of sizes")]
    let records = candidate.plan(Some(profile.mean_bytes as u64)).batch_records.max;
    let filled_s = records as f64 / profile.records_per_s.max(1e-3);
    let wait = candidate.config().strategy.max_wait();
    let takes = wait.min(Duration::from_secs_f64(filled_s.min(1e6))) * BATCHES;
    if takes > LONGEST {
        return Err(Unconfirmed::TooLong { takes });
    }
    // Allow for a first batch that begins during the warm-up, and for the last batch to end.
    Ok((takes.mul_f64(4.0 / 3.0)).clamp(SHORTEST, LONGEST))
}

/// Runs a candidate on new records of the topic and adds the amount of received data to `received`. A processor program
/// is started before the confirmation begins. The confirmation ends immediately when the workload's limit is reached.
///
/// # Errors
/// If the topic cannot be read, the brokers throttle the client, or too few batches were completed.
pub fn confirm(
    connect: &Connect,
    live: Live<'_>,
    candidate: &Candidate,
    workload: &Workload,
    received: &mut Received,
) -> Result<Confirmation, Unconfirmed> {
    let ended = |_: Ended| Unconfirmed::Interrupted;
    let processor = workload.work().map_err(ended)?;
    let control = Control::default();
    let (connect, topic, waker) = (Arc::clone(connect), live.topic.to_owned(), control.waker());
    let source = workload.limit.ask(move || newest(&connect, &topic, waker), &mut || {}).map_err(ended)??;
    let source = source.with_max_rate(Some(live.max_bytes_per_s));
    let meter = source.meter();
    let source = Corrected::new(source, live.clocks);
    let config =
        JobConfig { format: workload.format, warm_up: WARM_UP, ..JobConfig::uniform(candidate.config()) };
    let stop = control.clone();
    let builder = Builder::controlled(config, control).boxed_processor(processor);
    let started = Instant::now();
    let mut measured = 0;
    let report = builder.run(source, &mut |progress| {
        measured = progress.counters.latency_s.count;
        let is_throttled = !meter.received().throttle.is_zero();
        if is_throttled || workload.limit.reached().is_some() {
            stop.abandon();
        } else if started.elapsed() >= WARM_UP + live.length {
            stop.drain();
        }
    });
    let seen = meter.received();
    *received += seen;
    if !seen.throttle.is_zero() {
        return Err(SampleError::Throttled(seen.throttle).into());
    }
    if let Some(ended) = workload.limit.reached() {
        return Err(ended.into());
    }
    if let Some(error) = report.error {
        return Err(SampleError::from(SourceError(error)).into());
    }
    let confirmation = Confirmation {
        records: report.ledger.ok,
        seconds: report.seconds,
        records_per_s: report.records_per_s,
        p50_ms: report.latency_ms.p50,
        p99_ms: report.latency_ms.p99,
        tier: report.tier.actual,
        records_per_call: report.dequeue.records_per_call,
        batches: report.batches.count,
        warm_up_s: WARM_UP.as_secs_f64(),
    };
    is_enough(&confirmation, measured, report.bytes, live)?;
    Ok(confirmation)
}

impl From<Ended> for Unconfirmed {
    fn from(_: Ended) -> Self {
        Self::Interrupted
    }
}

/// Checks that a confirmation rests on enough batches. A confirmation without records passes; its record count is 0.
fn is_enough(
    confirmation: &Confirmation,
    measured: u64,
    bytes: u64,
    live: Live<'_>,
) -> Result<(), Unconfirmed> {
    /// Share of the read rate limit from which on the limit is assumed to slow reading down.
    const NEARLY: f64 = 0.95;
    let Confirmation { records, batches, seconds, .. } = *confirmation;
    if records == 0 {
        return Ok(());
    }
    if bytes as f64 > NEARLY * live.max_bytes_per_s as f64 * seconds.max(1.0) {
        return Err(Unconfirmed::Capped { max_bytes_per_s: live.max_bytes_per_s });
    }
    if batches < u64::from(BATCHES) || measured == 0 {
        return Err(Unconfirmed::TooFewBatches { batches, within: WARM_UP + live.length });
    }
    Ok(())
}

/// Returns a source of the records that arrive from now on.
fn newest(connect: &Connect, topic: &str, waker: Waker) -> Result<ReadSource, SampleError> {
    let reader = connect(waker)?;
    let partitions = reader.partitions(topic)?;
    let starts = reader.offsets(topic, &partitions, Start::Latest)?;
    let ranges = partitions.iter().zip(starts).map(|(p, start)| (p.partition, start, None)).collect();
    Ok(reader.read(topic, ranges))
}

/// A source that corrects the arrival times of records by the offsets of producer clocks.
struct Corrected<S> {
    inner: S,
    /// How far the clocks of each partition are behind, in ascending order; always includes a correct clock.
    behind_ns: BTreeMap<i32, Vec<i64>>,
    partitions: BTreeMap<LaneId, i32>,
}

impl<S> Corrected<S> {
    fn new(inner: S, clocks: &[Clock]) -> Self {
        let mut behind_ns = BTreeMap::<i32, Vec<i64>>::new();
        for clock in clocks {
            let all = behind_ns.entry(clock.partition).or_default();
            all.push(clock.behind_ms.saturating_mul(1_000_000));
        }
        for all in behind_ns.values_mut() {
            // A producer with a correct clock may have joined since the sample.
            all.push(0);
            all.sort_unstable();
        }
        Self { inner, behind_ns, partitions: BTreeMap::new() }
    }

    /// Returns the corrected arrival time of a record. Of the partition's clocks, the one with the largest offset that
    /// fits the record's lag applies.
    fn arrival_ns(&self, lane: LaneId, arrival_ns: i64, now: Tick) -> i64 {
        let now_ns = i64::try_from(now.0).unwrap_or(i64::MAX);
        let clocks = self.partitions.get(&lane).and_then(|partition| self.behind_ns.get(partition));
        let lag_ns = now_ns.saturating_sub(arrival_ns);
        // Timestamps have a resolution of one millisecond.
        let fits = |behind: &&i64| **behind <= lag_ns.saturating_add(1_000_000);
        let behind_ns = clocks.and_then(|all| all.iter().rfind(fits)).copied().unwrap_or(0);
        arrival_ns.saturating_add(behind_ns)
    }
}

impl<S: Source> Source for Corrected<S> {
    fn poll(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        let before = events.len();
        self.inner.poll(now, events)?;
        for event in &events[before..] {
            if let SourceEvent::Assigned(lane, name, _) = event {
                self.partitions.insert(*lane, name.partition);
            }
        }
        Ok(())
    }

    fn fill(
        &mut self,
        now: Tick,
        lane: LaneId,
        tier: Tier,
        room: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        if self.behind_ns.is_empty() {
            return self.inner.fill(now, lane, tier, room, batch);
        }
        let mut uncorrected = BatchBuilder::default();
        // Keep the records that were read before an error.
        let filled = self.inner.fill(now, lane, tier, room, &mut uncorrected);
        let uncorrected = uncorrected.seal(Names::default());
        for row in 0..uncorrected.len() {
            let headers = uncorrected.headers(row);
            batch.push(
                lane,
                Record {
                    offset: uncorrected.offset(row),
                    timestamp_ms: uncorrected.timestamp_ms(row),
                    arrival_ns: self.arrival_ns(lane, uncorrected.arrival_ns(row), now),
                    key: uncorrected.key(row),
                    value: uncorrected.value(row),
                    headers: (!headers.is_empty()).then(|| headers.to_vec()),
                },
            );
        }
        filled
    }

    fn next_due(&self) -> Option<Tick> {
        self.inner.next_due()
    }

    fn end_offset(&self, lane: LaneId) -> Option<i64> {
        self.inner.end_offset(lane)
    }
}

#[cfg(test)]
mod tests {
    use velo_engine::source::replay::{Pace, Recorded, ReplaySource};

    use super::*;

    #[test]
    fn a_confirmation_sees_three_batches_or_is_none() {
        let candidate =
            |text: &str| Candidate::all().into_iter().find(|one| one.to_string() == text).unwrap();
        let profile = Profile::random(100.0, 100);
        assert_eq!(length(&candidate("low_latency 1"), &profile).unwrap(), SHORTEST);
        assert_eq!(length(&candidate("time_window 1s"), &profile).unwrap(), Duration::from_secs(4));
        let refused = length(&candidate("time_window 5s"), &profile).unwrap_err().to_string();
        assert_eq!(refused, "three batches take 15s, longer than the longest confirmation (9s)");
        // The batch is full before its timeout.
        assert_eq!(length(&candidate("fixed_size 50, 1s"), &profile).unwrap(), SHORTEST);
    }

    #[test]
    fn what_is_too_little_or_held_back_by_the_cap_confirms_nothing() {
        let enough = Confirmation {
            records: 1000,
            seconds: 3.0,
            records_per_s: 333.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            tier: Tier::Standard,
            records_per_call: 1.0,
            batches: 3,
            warm_up_s: 1.0,
        };
        let live = Live { topic: "t", length: SHORTEST, max_bytes_per_s: 1_000_000, clocks: &[] };
        assert!(is_enough(&enough, 900, 100_000, live).is_ok());
        let few = Confirmation { batches: 2, ..enough };
        assert!(matches!(is_enough(&few, 900, 100_000, live), Err(Unconfirmed::TooFewBatches { .. })));
        assert!(matches!(is_enough(&enough, 0, 100_000, live), Err(Unconfirmed::TooFewBatches { .. })));
        assert!(matches!(is_enough(&enough, 900, 2_999_000, live), Err(Unconfirmed::Capped { .. })));
        assert!(is_enough(&Confirmation { records: 0, batches: 0, ..enough }, 0, 0, live).is_ok());
    }

    #[test]
    fn latencies_count_without_what_clocks_are_off() {
        // A record every millisecond.
        let record = |ms: u64| Recorded { at: Duration::from_millis(ms), ..Recorded::default() };
        let recording: Vec<_> = (0..100).map(record).collect();
        for behind_ms in [600, -600] {
            let second = Duration::from_secs(1);
            let replay = ReplaySource::new(recording.clone().into(), second, second, Pace::Recorded);
            let clock = Clock { partition: 0, behind_ms, records: 100 };
            let mut source = Corrected::new(replay, &[clock]);
            let mut events = Vec::new();
            let start = Tick::default() + Duration::from_secs(10);
            source.poll(start, &mut events).unwrap();
            let later = start + Duration::from_millis(50);
            let by_that_clock =
                |ms: i64| i64::try_from((start + Duration::from_millis(ms.cast_unsigned())).0).unwrap();
            let right = by_that_clock(40);
            let said = right - behind_ms * 1_000_000;
            assert_eq!(source.arrival_ns(LaneId(0), said, later), right, "{behind_ms}");
            let mut batch = BatchBuilder::default();
            source.fill(later, LaneId(0), Tier::Buffered, Capacity::of_records(1000), &mut batch).unwrap();
            assert_eq!(batch.seal(Names::default()).len(), 51);
        }
    }
}
