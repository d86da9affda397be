//! Reconstructs the arrival times of sampled records: record timestamps and the times when records could be read in,
//! corrected times and excluded records out.
//!
//! A record timestamp comes from the producer's clock and can be wrong. Records that were observed live show the error:
//! the lag between the timestamp and the time when the record could be read.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Times of a record. The records of a partition are in the order of their offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Record timestamp, in milliseconds since the epoch; `None` if the record has none.
    pub time_ms: Option<i64>,
    /// Partition.
    pub partition: i32,
    /// Time when the record could be read, in microseconds since the epoch; `None` if it was not observed live.
    pub available_us: Option<i64>,
}

impl Stamp {
    fn available_ms(&self) -> Option<i64> {
        Some(self.available_us? / 1000)
    }

    /// Returns the lag from the timestamp to the time when the record could be read.
    fn lag_ms(&self) -> Option<i64> {
        Some(self.available_ms()?.saturating_sub(self.time_ms?))
    }
}

/// The time that a sample covers, in milliseconds since the epoch. Includes both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Beginning of the sample.
    pub since_ms: i64,
    /// End of the sample.
    pub until_ms: i64,
    /// True if only records that were observed live count, because the timestamps of past records are unreliable.
    pub watched_only: bool,
    /// Longest lag that is plausible as transport delay. A larger lag is a clock that is behind.
    pub longest_way_ms: i64,
}

/// Excluded records and clock offsets of a sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cleaning {
    /// Excluded records.
    pub left_out: Vec<LeftOut>,
    /// Offsets of producer clocks.
    pub clocks: Vec<Clock>,
    /// Number of records with unusable timestamps, which are placed by the time when they could be read.
    pub by_availability: u64,
    /// True if only records that were observed live count.
    pub watched_only: bool,
    /// Partitions with a transaction that was open for most of the sample. Records after its beginning cannot be read;
    /// records before it are excluded.
    #[serde(default)]
    pub open_transactions: Vec<i32>,
}

/// A group of excluded records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// Number of records.
    pub records: u64,
    /// Reason for the exclusion.
    pub because: Why,
}

/// Reason why records are excluded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[non_exhaustive]
pub enum Why {
    /// The timestamps are later than the time of reading.
    #[error("their timestamps are up to {ahead_s:.0} s in the future")]
    Future {
        /// Largest distance into the future, in seconds.
        ahead_s: f64,
    },
    /// The records were appended during the sample with older timestamps.
    #[error(
        "they were appended during the sample with older timestamps, up to {behind_s:.0} s old (a backfill or late \
         events)"
    )]
    Old {
        /// Age of the oldest record, in seconds.
        behind_s: f64,
    },
    /// The records form a single burst at a rate that the rest of the sample does not reach.
    #[error(
        "they form a single burst of {seconds:.1} s at {records_per_s:.0} records/s, compared with {others_per_s:.0} \
         records/s otherwise, probably a backfill; sample for longer (--sample) to include recurring bursts"
    )]
    Burst {
        /// Length of the burst, in seconds.
        seconds: f64,
        /// Rate of the burst, in records per second.
        records_per_s: f64,
        /// Rate of all other records, in records per second.
        others_per_s: f64,
    },
}

/// Offset of a producer clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// Partition of the records with timestamps of this clock.
    pub partition: i32,
    /// Upper limit of the time that the clock is behind, estimated by the shortest lag of its records; negative if the
    /// clock is ahead.
    pub behind_ms: i64,
    /// Number of its records that were observed live.
    pub records: u64,
}

impl Cleaning {
    /// Adds excluded records, if there are any.
    pub fn leave_out(&mut self, records: u64, because: Why) {
        if records > 0 {
            self.left_out.push(LeftOut { records, because });
        }
    }

    /// Returns the findings as sentences.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<_> = self
            .left_out
            .iter()
            .map(|LeftOut { records, because }| format!("{records} records were excluded: {because}"))
            .collect();
        notes.extend(self.open_transactions.iter().map(|partition| {
            format!(
                "partition {partition} has an open transaction; its records cannot be read before the transaction ends"
            )
        }));
        notes.extend(self.clocks_note());
        if self.by_availability > 0 {
            notes.push(format!(
                "{} records have unusable timestamps; they are placed by the time when they could be read",
                self.by_availability
            ));
        }
        if self.watched_only {
            notes.push(
                "the timestamps of the topic's past records are unreliable; only records that were observed live count"
                    .to_owned(),
            );
        }
        notes
    }

    fn clocks_note(&self) -> Option<String> {
        let most = self.clocks.iter().max_by_key(|clock| clock.behind_ms.abs())?;
        let (ms, direction) = match most.behind_ms {
            ms @ 0.. => (ms, "behind"),
            ms => (-ms, "ahead"),
        };
        let others = match self.clocks.len() {
            1 => String::new(),
            count => format!(" ({count} clocks are off)"),
        };
        Some(format!(
            "a producer clock is off: timestamps in partition {} are up to {ms} ms {direction}{others}; latencies are \
             corrected for it",
            most.partition
        ))
    }
}

/// Corrected times of a sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    /// Corrected time of each record, in milliseconds since the epoch; `None` if the record is excluded.
    pub times_ms: Vec<Option<i64>>,
    /// Excluded records and clock offsets.
    pub cleaning: Cleaning,
}

/// Smallest gap between the lags of two clocks.
const GAP_MS: i64 = 300;
/// Smallest number of records that identify a clock.
const ENOUGH: usize = 20;
/// Smallest share of a partition's records that identify a clock.
const SHARE: f64 = 0.05;
/// Largest time that a timestamp may be ahead of the time of reading.
const AHEAD_MS: i64 = 1000;
/// Lag from which on a record counts as late.
const LATE_MS: i64 = 10_000;
/// Share of records with unusable timestamps, of those observed live, above which such records are regular traffic.
const STEADY: f64 = 0.01;

/// Lags of the records of one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lags {
    least_ms: i64,
    most_ms: i64,
    records: u64,
}

impl Lags {
    /// Returns the correction to add to the clock's timestamps.
    fn correction_ms(&self, longest_way_ms: i64) -> i64 {
        if (0..=longest_way_ms).contains(&self.least_ms) { 0 } else { self.least_ms }
    }
}

/// Returns true if the timestamps of past records are reliable, judged by the records observed live: no clock is off by
/// more than `tolerance`, no partition has records of several clocks, and few records have unusable timestamps.
#[must_use]
pub fn past_is_usable(stamps: &[Stamp], longest_way_ms: i64, tolerance: Duration) -> bool {
    const MOST_ODD: f64 = 0.2;
    let tolerance_ms = i64::try_from(tolerance.as_millis()).unwrap_or(i64::MAX);
    let clocks = clocks(stamps);
    let is_right = |lags: &Lags| lags.correction_ms(longest_way_ms).abs() <= tolerance_ms;
    if !clocks.values().all(|clocks| clocks.len() < 2 && clocks.iter().all(is_right)) {
        return false;
    }
    let watched = stamps.iter().filter(|stamp| stamp.available_us.is_some());
    let (mut all, mut odd) = (0_u64, 0_u64);
    for stamp in watched {
        all += 1;
        odd += u64::from(clock_of(&clocks, stamp).is_none());
    }
    odd as f64 <= MOST_ODD * all as f64
}

/// Returns the corrected times of records.
#[must_use]
pub fn place(stamps: &[Stamp], window: Window) -> Timeline {
    let clocks = clocks(stamps);
    let mut timeline = Timeline { times_ms: vec![None; stamps.len()], cleaning: Cleaning::default() };
    timeline.cleaning.watched_only = window.watched_only;
    for (partition, found) in &clocks {
        let off = found.iter().filter(|lags| lags.correction_ms(window.longest_way_ms) != 0);
        timeline.cleaning.clocks.extend(off.map(|lags| Clock {
            partition: *partition,
            behind_ms: lags.correction_ms(window.longest_way_ms),
            records: lags.records,
        }));
    }
    let odd_counts = odd_ones_count(stamps, &clocks);
    let usual_lag_ms = usual_lag_ms(stamps, &clocks, window);
    let (mut future, mut old) = ((0, 0_i64), (0, 0_i64));
    let mut has_begun = BTreeMap::<i32, bool>::new();
    for (stamp, place) in stamps.iter().zip(&mut timeline.times_ms) {
        if window.watched_only && stamp.available_us.is_none() {
            continue;
        }
        let by_availability = stamp.available_ms().map(|available| available - usual_lag_ms);
        let time_ms = match (corrected_ms(&clocks, stamp, window), stamp.available_us) {
            (Some(time_ms), _) => time_ms,
            // Regular traffic counts, even with unusable timestamps.
            (None, Some(_)) if odd_counts || stamp.time_ms.is_none() => {
                timeline.cleaning.by_availability += 1;
                by_availability.unwrap_or(window.until_ms)
            }
            (None, _) => match stamp.time_ms {
                Some(time_ms) => time_ms,
                // The record has no timestamp and was not observed live.
                None => continue,
            },
        };
        let read_ms = stamp.available_ms().unwrap_or(window.until_ms);
        if time_ms > read_ms + AHEAD_MS || (stamp.available_us.is_none() && time_ms > window.until_ms) {
            future = (future.0 + 1, future.1.max(time_ms - read_ms));
        } else if time_ms < window.since_ms {
            // Records before the first record of the sample are simply older than the sample.
            let counts = *has_begun.entry(stamp.partition).or_default() && stamp.available_us.is_none()
                || stamp.available_us.is_some() && time_ms < window.since_ms - LATE_MS;
            if counts {
                old = (old.0 + 1, old.1.max(window.until_ms - time_ms));
            }
        } else {
            has_begun.insert(stamp.partition, true);
            *place = Some(time_ms.min(read_ms));
        }
    }
    let seconds = |ms: i64| ms as f64 / 1e3;
    timeline.cleaning.leave_out(future.0, Why::Future { ahead_s: seconds(future.1) });
    timeline.cleaning.leave_out(old.0, Why::Old { behind_s: seconds(old.1) });
    timeline
}

/// Returns a record's time by a correct clock; `None` if its timestamp is unusable.
fn corrected_ms(clocks: &BTreeMap<i32, Vec<Lags>>, stamp: &Stamp, window: Window) -> Option<i64> {
    let time_ms = stamp.time_ms?;
    match stamp.available_us {
        Some(_) => {
            let correction_ms = clock_of(clocks, stamp)?.correction_ms(window.longest_way_ms);
            Some(time_ms.saturating_add(correction_ms))
        }
        // The record was not observed live. If its partition has a single clock, use that clock.
        None => match clocks.get(&stamp.partition).map(Vec::as_slice) {
            Some([only]) => Some(time_ms.saturating_add(only.correction_ms(window.longest_way_ms))),
            _ => Some(time_ms),
        },
    }
}

/// Returns true if records with unusable timestamps are regular traffic.
fn odd_ones_count(stamps: &[Stamp], clocks: &BTreeMap<i32, Vec<Lags>>) -> bool {
    let watched: Vec<_> = stamps.iter().filter(|stamp| stamp.available_us.is_some()).collect();
    let odd = watched.iter().filter(|stamp| clock_of(clocks, stamp).is_none()).count();
    odd > 1 && odd as f64 > STEADY * watched.len() as f64
}

/// Returns the median lag of records with usable timestamps.
fn usual_lag_ms(stamps: &[Stamp], clocks: &BTreeMap<i32, Vec<Lags>>, window: Window) -> i64 {
    let lag = |stamp: &Stamp| {
        let correction_ms = clock_of(clocks, stamp)?.correction_ms(window.longest_way_ms);
        Some(stamp.lag_ms()? - correction_ms)
    };
    let mut lags: Vec<_> = stamps.iter().filter_map(lag).collect();
    lags.sort_unstable();
    lags.get(lags.len() / 2).copied().unwrap_or(0)
}

/// Returns the clock of a record that was observed live.
fn clock_of<'a>(clocks: &'a BTreeMap<i32, Vec<Lags>>, stamp: &Stamp) -> Option<&'a Lags> {
    let lag_ms = stamp.lag_ms()?;
    let own = clocks.get(&stamp.partition)?;
    // Of several clocks, choose the one with the largest shortest lag that does not exceed the record's lag.
    let below = own.iter().filter(|lags| lags.least_ms <= lag_ms).max_by_key(|lags| lags.least_ms)?;
    (lag_ms <= below.most_ms + LATE_MS).then_some(below)
}

/// Returns the clocks of each partition, identified by the lags of its records observed live: the lags of one clock's
/// records are close together and occur over the whole observation.
fn clocks(stamps: &[Stamp]) -> BTreeMap<i32, Vec<Lags>> {
    let mut by_partition = BTreeMap::<i32, Vec<(i64, i64)>>::new();
    for stamp in stamps {
        if let (Some(lag_ms), Some(available_ms)) = (stamp.lag_ms(), stamp.available_ms()) {
            by_partition.entry(stamp.partition).or_default().push((lag_ms, available_ms));
        }
    }
    by_partition.into_iter().map(|(partition, lags)| (partition, of_lags(lags))).collect()
}

/// Returns the clocks that the lags of a partition show. Each lag comes with the time when its record could be read.
fn of_lags(mut lags: Vec<(i64, i64)>) -> Vec<Lags> {
    lags.sort_unstable();
    let times = || lags.iter().map(|(_, available_ms)| *available_ms);
    let whole_ms = times().max().zip(times().min()).map_or(0, |(last, first)| last - first);
    let is_clock = |group: &&[(i64, i64)]| {
        let times = || group.iter().map(|(_, available_ms)| *available_ms);
        let spanned_ms = times().max().zip(times().min()).map_or(0, |(last, first)| last - first);
        // The records of a clock cover at least half of the observation; the records of a stall do not.
        let goes_on = 2 * spanned_ms >= whole_ms;
        goes_on && group.len() >= ENOUGH.min(lags.len()) && group.len() as f64 >= SHARE * lags.len() as f64
    };
    let groups = lags.chunk_by(|a, b| b.0 - a.0 < GAP_MS);
    let of_group = |group: &[(i64, i64)]| Lags {
        least_ms: group[0].0,
        most_ms: group[group.len() - 1].0,
        records: group.len() as u64,
    };
    groups.filter(is_clock).map(of_group).collect()
}

/// A single burst, in milliseconds from the start of the sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Beginning of the burst, inclusive.
    pub from_ms: i64,
    /// End of the burst, exclusive.
    pub to_ms: i64,
    /// Reason why the burst is excluded.
    pub why: Why,
    /// Number of records in the burst.
    pub records: u64,
}

/// Finds a single burst among arrivals. The times and the period are in milliseconds; the times are sorted. Returns
/// `None` if there is no burst, if there are several, or if too few records remain without the burst.
#[must_use]
pub fn burst(times_ms: &[i64], period_ms: i64) -> Option<Burst> {
    const BIN_MS: i64 = 100;
    /// Smallest ratio of a burst's rate to the usual rate.
    const FACTOR: f64 = 10.0;
    const ENOUGH_LEFT: u64 = 100;
    let count = usize::try_from(period_ms / BIN_MS).ok().filter(|count| *count >= 10)?;
    let mut bins = vec![0_u64; count + 1];
    for time_ms in times_ms {
        let bin = usize::try_from(time_ms / BIN_MS).unwrap_or(0).min(count);
        bins[bin] += 1;
    }
    let mut sorted = bins[..count].to_vec();
    sorted.sort_unstable();
    let usual = (sorted[count / 2] as f64).max(1.0);
    let is_high = |bin: &u64| *bin as f64 > FACTOR * usual;
    let first = bins.iter().position(is_high)?;
    let last = bins.iter().rposition(is_high)?;
    let inside: u64 = bins[first..=last].iter().sum();
    let (all, length) = (times_ms.len() as u64, last + 1 - first);
    let others = all - inside;
    // Recurring bursts have gaps between them and are regular traffic.
    let is_one = bins[first..=last].iter().filter(|bin| !is_high(bin)).count() * 2 <= length;
    let is_most = 2 * inside > all && 2 * length < count;
    // A burst at the end of the sample may continue.
    let has_ended = last + 5 < count;
    if !(is_one && is_most && has_ended && others >= ENOUGH_LEFT) {
        return None;
    }
    let per_s = |records: u64, bins: usize| records as f64 * 1e3 / (bins.max(1) as f64 * BIN_MS as f64);
    let why = Why::Burst {
        seconds: length as f64 * BIN_MS as f64 / 1e3,
        records_per_s: per_s(inside, length),
        others_per_s: per_s(others, count - length),
    };
    let at = |bin: usize| i64::try_from(bin).unwrap_or(i64::MAX).saturating_mul(BIN_MS);
    Some(Burst { from_ms: at(first), to_ms: at(last + 1), why, records: inside })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;
    const WINDOW: Window =
        Window { since_ms: NOW_MS - 5000, until_ms: NOW_MS, watched_only: false, longest_way_ms: 100 };

    /// Returns a record every 4 ms, readable 5 ms after its time, with timestamps of a clock that is behind by
    /// `behind_ms`.
    fn live(from_ms: i64, to_ms: i64, is_watched: bool, behind_ms: i64) -> Vec<Stamp> {
        let stamp = |time_ms: i64| Stamp {
            time_ms: Some(time_ms - behind_ms),
            partition: 0,
            available_us: is_watched.then_some((time_ms + 5) * 1000),
        };
        (from_ms..to_ms).step_by(4).map(stamp).collect()
    }

    /// Returns five seconds of records, of which the last two were observed live.
    fn usual(behind_ms: i64) -> Vec<Stamp> {
        let watched = NOW_MS - 2000;
        [live(NOW_MS - 5000, watched, false, behind_ms), live(watched, NOW_MS, true, behind_ms)].concat()
    }

    fn placed(timeline: &Timeline) -> Vec<i64> {
        timeline.times_ms.iter().copied().flatten().collect()
    }

    fn old(time_ms: i64) -> Stamp {
        Stamp { time_ms: Some(time_ms), partition: 0, available_us: None }
    }

    #[test]
    fn right_clocks_change_nothing() {
        let timeline = place(&usual(0), WINDOW);
        assert!(placed(&timeline).into_iter().eq((NOW_MS - 5000..NOW_MS).step_by(4)));
        assert_eq!(timeline.cleaning, Cleaning::default());
        assert!(past_is_usable(&usual(0), 100, Duration::from_millis(500)));
    }

    #[test]
    fn clocks_that_are_off_are_corrected_in_both_directions() {
        for behind_ms in [600, -600, 250, -30] {
            let timeline = place(&usual(behind_ms), WINDOW);
            let times = placed(&timeline);
            assert!(times.len() >= 1249, "{behind_ms}: {}", times.len());
            // The transport delay cannot be distinguished from the clock offset.
            let shift = if behind_ms.abs() > 95 || behind_ms < 0 { 5 } else { 0 };
            assert_eq!(times.last(), Some(&(NOW_MS - 4 + shift)), "{behind_ms}");
            let clock = timeline.cleaning.clocks[0];
            assert_eq!((clock.behind_ms, clock.partition), (behind_ms + 5, 0));
        }
    }

    #[test]
    fn two_producers_of_one_partition_may_have_two_clocks() {
        let right = live(NOW_MS - 4000, NOW_MS, true, 0);
        let wrong = live(NOW_MS - 4000, NOW_MS, true, 600_000);
        let both: Vec<_> = right.into_iter().zip(wrong).flat_map(|(a, b)| [a, b]).collect();
        assert!(!past_is_usable(&both, 100, Duration::from_millis(500)));
        let timeline = place(&both, Window { watched_only: true, ..WINDOW });
        let times = placed(&timeline);
        assert_eq!(times.len(), 2000);
        assert!(times.chunks(2).all(|pair| pair[1] - pair[0] == 5), "{:?}", &times[..4]);
        assert_eq!(timeline.cleaning.clocks.len(), 1);
    }

    #[test]
    fn a_clock_of_another_partition_is_another_clock() {
        let mut stamps = usual(0);
        stamps.extend(usual(-40_000).into_iter().map(|stamp| Stamp { partition: 1, ..stamp }));
        assert!(!past_is_usable(&stamps, 100, Duration::from_millis(500)));
        let timeline = place(&stamps, Window { watched_only: true, ..WINDOW });
        assert_eq!(placed(&timeline).len(), 1000);
        assert_eq!(timeline.cleaning.clocks.iter().map(|clock| clock.partition).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn odd_times_among_the_others_are_left_out_and_counted() {
        let mut stamps = usual(0);
        stamps.insert(100, old(NOW_MS + 3_000_000));
        let back_fill = (0..3000).map(|_| old(NOW_MS - 3_600_000));
        stamps.splice(200..200, back_fill);
        // Records before the sample that are older than the sample are normal.
        stamps.splice(0..0, (0..50).map(|_| old(NOW_MS - 3_600_000)));
        let timeline = place(&stamps, WINDOW);
        assert_eq!(placed(&timeline).len(), 1250);
        let left_out = &timeline.cleaning.left_out;
        assert_eq!(left_out.iter().map(|left| left.records).collect::<Vec<_>>(), [1, 3000]);
        assert!(matches!(left_out[0].because, Why::Future { ahead_s } if ahead_s > 2999.0), "{left_out:?}");
        assert!(matches!(left_out[1].because, Why::Old { .. }), "{left_out:?}");
        assert_eq!(timeline.cleaning.notes().len(), 2);
    }

    #[test]
    fn late_events_that_keep_coming_count_by_when_they_come() {
        let mut random = fastrand::Rng::with_seed(1);
        let late = |stamp: Stamp| Stamp {
            time_ms: stamp.time_ms.map(|time| time - 60_000 - random.i64(0..3_600_000)),
            ..stamp
        };
        let late: Vec<_> = live(NOW_MS - 4000, NOW_MS, true, 0).into_iter().map(late).collect();
        let right = live(NOW_MS - 4000, NOW_MS, true, 0);
        let both: Vec<_> = right.into_iter().zip(late).flat_map(|(a, b)| [a, b]).collect();
        assert!(!past_is_usable(&both, 100, Duration::from_millis(500)));
        let timeline = place(&both, Window { watched_only: true, ..WINDOW });
        let times = placed(&timeline);
        assert_eq!((times.len(), timeline.cleaning.by_availability), (2000, 1000));
        assert!(times.chunks(2).all(|pair| (pair[1] - pair[0]).abs() <= 5), "{:?}", &times[..4]);
    }

    #[test]
    fn a_stall_is_no_clock() {
        let mut stamps = usual(0);
        let stalled = NOW_MS - 1000..NOW_MS - 500;
        for stamp in stamps.iter_mut().filter(|stamp| stalled.contains(&stamp.time_ms.unwrap())) {
            stamp.available_us = Some((NOW_MS - 500) * 1000);
        }
        let timeline = place(&stamps, WINDOW);
        assert_eq!((placed(&timeline).len(), timeline.cleaning.clocks.len()), (1250, 0));
    }

    #[test]
    fn one_burst_is_found_and_bursts_that_come_again_are_the_traffic() {
        let steady: Vec<i64> = (0..2500).map(|n| 2 * n).collect();
        let with = |bursts: &[i64]| {
            let of = |from: &i64| (0..20_000).map(|n| n / 100 + from).collect::<Vec<_>>();
            let mut times = [steady.clone(), bursts.iter().flat_map(of).collect()].concat();
            times.sort_unstable();
            times
        };
        assert_eq!(burst(&steady, 5000), None);
        let found = burst(&with(&[1200]), 5000).unwrap();
        assert_eq!((found.from_ms, found.to_ms), (1200, 1400));
        assert!(matches!(found.why, Why::Burst { others_per_s, .. } if (others_per_s - 500.0).abs() < 20.0));
        assert_eq!(burst(&with(&[200, 1200, 2200, 3200]), 5000), None);
        // The burst may continue.
        assert_eq!(burst(&with(&[4700]), 5000), None);
        // The burst is all there is.
        assert_eq!(burst(&(0..5000).map(|n| n / 20).collect::<Vec<_>>(), 5000), None);
    }
}
