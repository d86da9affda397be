//! Turns the records that were read into a sample: the time that it spans, the records that count and their arrivals.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use velo_engine::ids::LaneId;
use velo_engine::source::Source;
use velo_engine::source::replay::Recorded;
use velo_schema::{format_bytes, format_duration};

use super::clock::{epoch_ms, millis, span};
use super::lane::Lane;
use super::sampled::Sample;
use super::sampler::{Limits, MOST_BYTES, Sampler};
use crate::delays::{Seen, delays};
use crate::profile::FetchCost;
use crate::timeline::{Burst, Cleaning, Timeline, Window, burst, place};

/// Latest corrected record time of each partition, in milliseconds since the epoch.
type Reached = BTreeMap<i32, i64>;

impl Sampler {
    /// Returns the partitions that have unread records.
    fn unread(&self) -> impl Iterator<Item = &Lane> {
        let end = |id: LaneId| self.source.as_ref().and_then(|source| source.end_offset(id));
        self.lanes
            .iter()
            .filter(move |(id, lane)| end(**id).is_some_and(|end| lane.next < end))
            .map(|(_, lane)| lane)
    }

    /// Returns the partitions whose last records are hidden by a transaction that has been open for long, and, for
    /// shorter transactions, the earliest time up to which a partition could be read.
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

    /// Returns the time up to which every partition has been read, if a partition has unread records.
    fn reached_ms(&self, reached: &Reached, first_ms: i64) -> Option<i64> {
        let has_ended = self.until_ms.is_some() && self.ended == self.lanes.len();
        if has_ended || (self.caught_up.is_some() && !self.held_back) {
            return None;
        }
        self.unread().map(|lane| reached.get(&lane.name.partition).copied().unwrap_or(first_ms)).min()
    }

    /// Returns the sample of the records that were read.
    pub(super) fn finish(&mut self, first_ms: i64, limits: Limits) -> Sample {
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
        // Include the last record.
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

    /// Returns the end of the sample: the current time, or an earlier time if not all records could be read.
    fn end(
        &mut self,
        reached: &Reached,
        (first_ms, end_ms): (i64, i64),
        limits: Limits,
        cleaning: &mut Cleaning,
    ) -> i64 {
        /// Longest duration of a fetch. Shorter gaps are not caused by transactions.
        const FETCH: Duration = Duration::from_millis(500);
        // Ignore a lag of a few milliseconds: these records arrived during the check.
        let is_cut = |reached: &i64| span(*reached, end_ms) > limits.period / 10;
        if let Some(reached_ms) = self.reached_ms(reached, first_ms).filter(is_cut) {
            self.notices.push(format!(
                "only the first {} of {} could be read (limits: {}/s by --max-rate, {} in total); the advice is based \
                 on this part",
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
            "records of the last {} are hidden by open transactions; the sample ends before them",
            format_duration(span(committed_ms, end_ms))
        ));
        committed_ms
    }

    /// Returns a note with the reason why the delays until records can be read are unknown.
    fn unseen_delays(&self) -> String {
        let why = if self.held_back {
            "the read rate limit (--max-rate) delayed the reader"
        } else {
            "too few records arrived while the topic was observed"
        };
        format!("the delay until records can be read is unknown, because {why}; latencies do not include it")
    }
}

/// Removes a burst that is not part of the usual traffic, together with its time.
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
