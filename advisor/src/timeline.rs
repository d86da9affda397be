//! When the records of a sample came: their own times, and when they could be read, in; the instants to replay out,
//! with what was left out and why.
//!
//! A record's time is what its producer's clock said, and nothing keeps it from being wrong. What was watched as it
//! came shows by how much: the difference between when a record could be read and its time.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A record of a partition, in the order of its offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Milliseconds since the epoch, as the record says; `None` if it says nothing.
    pub time_ms: Option<i64>,
    /// Its partition.
    pub partition: i32,
    /// When it could be read, in microseconds since the epoch; `None` if it was there before it was looked for.
    pub available_us: Option<i64>,
}

impl Stamp {
    fn available_ms(&self) -> Option<i64> {
        Some(self.available_us? / 1000)
    }

    /// How long after its time it could be read.
    fn lag_ms(&self) -> Option<i64> {
        Some(self.available_ms()?.saturating_sub(self.time_ms?))
    }
}

/// The time that a sample is to cover, in milliseconds since the epoch, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From here on.
    pub since_ms: i64,
    /// Up to here.
    pub until_ms: i64,
    /// True if only records count that were watched as they came: what was there before cannot be told by its times.
    pub watched_only: bool,
    /// The longest lag that is the way of a record to its reader. A larger one is a clock that is behind.
    pub longest_way_ms: i64,
}

/// What the records of a sample are, and which of them do not count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cleaning {
    /// Records that were read but do not count.
    pub left_out: Vec<LeftOut>,
    /// Clocks of producers that are off.
    pub clocks: Vec<Clock>,
    /// Records whose own times say nothing, which count by when they could be read.
    pub by_availability: u64,
    /// True if only records count that came while the topic was watched.
    pub watched_only: bool,
    /// Partitions with a transaction that has been open for most of the sample: what lies behind its begin cannot be
    /// read, and what lies before does not count.
    #[serde(default)]
    pub open_transactions: Vec<i32>,
}

/// Records that do not count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// How many.
    pub records: u64,
    /// Why.
    pub because: Why,
}

/// Why records do not count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[non_exhaustive]
pub enum Why {
    /// Their times lie after the moment at which they were read.
    #[error("their timestamps lie in the future, by up to {ahead_s:.0} s")]
    Future {
        /// By how much at most.
        ahead_s: f64,
    },
    /// They were appended within the sample, with times from before it.
    #[error(
        "they were appended during the sample with timestamps from before it, up to {behind_s:.0} s old: a back-fill, \
         or late events"
    )]
    Old {
        /// How old at most.
        behind_s: f64,
    },
    /// They came at once, at a rate that the rest of the sample never has.
    #[error(
        "they came within {seconds:.1} s at {records_per_s:.0} records/s, and the others at {others_per_s:.0}/s: one \
         burst, such as a back-fill, is not steady traffic; a longer --sample shows whether it comes again"
    )]
    Burst {
        /// How long the burst was.
        seconds: f64,
        /// Its rate.
        records_per_s: f64,
        /// The rate of all others.
        others_per_s: f64,
    },
}

/// A clock that is off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// The partition whose records have its times.
    pub partition: i32,
    /// By how much it is behind, at most (the shortest lag of its records is taken for it); negative if it is ahead.
    pub behind_ms: i64,
    /// Records of it that were watched.
    pub records: u64,
}

impl Cleaning {
    /// Counts records that do not count.
    pub fn leave_out(&mut self, records: u64, because: Why) {
        if records > 0 {
            self.left_out.push(LeftOut { records, because });
        }
    }

    /// In sentences.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<_> = self
            .left_out
            .iter()
            .map(|LeftOut { records, because }| format!("{records} records were left out: {because}"))
            .collect();
        notes.extend(self.open_transactions.iter().map(|partition| {
            format!(
                "partition {partition} has an open transaction: its records cannot be read before that ends"
            )
        }));
        notes.extend(self.clocks_note());
        if self.by_availability > 0 {
            notes.push(format!(
                "{} records have timestamps that are far out of order: they count by when they could be read",
                self.by_availability
            ));
        }
        if self.watched_only {
            notes.push(
                "the topic's past cannot be told by its timestamps: only what came while it was watched counts"
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
            count => format!(" at most, in {count} cases"),
        };
        Some(format!(
            "a producer's clock is off: the records of partition {} are up to {ms} ms {direction}{others}; latencies \
             count from the times without that",
            most.partition
        ))
    }
}

/// Where records go.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    /// For each record its time in milliseconds since the epoch, corrected; `None` if it does not count.
    pub times_ms: Vec<Option<i64>>,
    /// What the records are.
    pub cleaning: Cleaning,
}

/// Lags of records of one clock are closer together than this.
const GAP_MS: i64 = 300;
/// Fewer records do not show a clock.
const ENOUGH: usize = 20;
/// A clock has this share of its partition's records at least.
const SHARE: f64 = 0.05;
/// A time that is later than the reading of its record by more is not a matter of resolution.
const AHEAD_MS: i64 = 1000;
/// A record that came so long after its time came late, and not by its way.
const LATE_MS: i64 = 10_000;
/// If more of what is watched has no usable time than this, such records keep coming and count.
const STEADY: f64 = 0.01;

/// The lags of one clock's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lags {
    least_ms: i64,
    most_ms: i64,
    records: u64,
}

impl Lags {
    /// What is to be added to the clock's times.
    fn correction_ms(&self, longest_way_ms: i64) -> i64 {
        if (0..=longest_way_ms).contains(&self.least_ms) { 0 } else { self.least_ms }
    }
}

/// Whether the past of a topic can be told by its times, by what has been watched of it: no clock is off by more
/// than `tolerance`, no partition has records of several clocks, and few have no usable time.
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

/// Places records in time.
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
            // What keeps coming counts, whatever its time is.
            (None, Some(_)) if odd_counts || stamp.time_ms.is_none() => {
                timeline.cleaning.by_availability += 1;
                by_availability.unwrap_or(window.until_ms)
            }
            (None, _) => match stamp.time_ms {
                Some(time_ms) => time_ms,
                // It came with those beside it, which say when that was.
                None => continue,
            },
        };
        let read_ms = stamp.available_ms().unwrap_or(window.until_ms);
        if time_ms > read_ms + AHEAD_MS || (stamp.available_us.is_none() && time_ms > window.until_ms) {
            future = (future.0 + 1, future.1.max(time_ms - read_ms));
        } else if time_ms < window.since_ms {
            // What lies before the sample's first record is only older.
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

/// A record's time by a right clock; `None` if its own says nothing.
fn corrected_ms(clocks: &BTreeMap<i32, Vec<Lags>>, stamp: &Stamp, window: Window) -> Option<i64> {
    let time_ms = stamp.time_ms?;
    match stamp.available_us {
        Some(_) => {
            let correction_ms = clock_of(clocks, stamp)?.correction_ms(window.longest_way_ms);
            Some(time_ms.saturating_add(correction_ms))
        }
        // It was not watched: its partition's clock, if there is one alone, is its own.
        None => match clocks.get(&stamp.partition).map(Vec::as_slice) {
            Some([only]) => Some(time_ms.saturating_add(only.correction_ms(window.longest_way_ms))),
            _ => Some(time_ms),
        },
    }
}

/// Whether records without a usable time keep coming.
fn odd_ones_count(stamps: &[Stamp], clocks: &BTreeMap<i32, Vec<Lags>>) -> bool {
    let watched: Vec<_> = stamps.iter().filter(|stamp| stamp.available_us.is_some()).collect();
    let odd = watched.iter().filter(|stamp| clock_of(clocks, stamp).is_none()).count();
    odd > 1 && odd as f64 > STEADY * watched.len() as f64
}

/// How long after its time a record with a usable one can be read: the median.
fn usual_lag_ms(stamps: &[Stamp], clocks: &BTreeMap<i32, Vec<Lags>>, window: Window) -> i64 {
    let lag = |stamp: &Stamp| {
        let correction_ms = clock_of(clocks, stamp)?.correction_ms(window.longest_way_ms);
        Some(stamp.lag_ms()? - correction_ms)
    };
    let mut lags: Vec<_> = stamps.iter().filter_map(lag).collect();
    lags.sort_unstable();
    lags.get(lags.len() / 2).copied().unwrap_or(0)
}

/// The clock that a watched record has its time from.
fn clock_of<'a>(clocks: &'a BTreeMap<i32, Vec<Lags>>, stamp: &Stamp) -> Option<&'a Lags> {
    let lag_ms = stamp.lag_ms()?;
    let own = clocks.get(&stamp.partition)?;
    // Of several clocks the one whose lags begin right below.
    let below = own.iter().filter(|lags| lags.least_ms <= lag_ms).max_by_key(|lags| lags.least_ms)?;
    (lag_ms <= below.most_ms + LATE_MS).then_some(below)
}

/// The clocks of each partition, by the lags of what was watched of it: the records of one clock have lags that are
/// close together, and come all the time.
fn clocks(stamps: &[Stamp]) -> BTreeMap<i32, Vec<Lags>> {
    let mut by_partition = BTreeMap::<i32, Vec<(i64, i64)>>::new();
    for stamp in stamps {
        if let (Some(lag_ms), Some(available_ms)) = (stamp.lag_ms(), stamp.available_ms()) {
            by_partition.entry(stamp.partition).or_default().push((lag_ms, available_ms));
        }
    }
    by_partition.into_iter().map(|(partition, lags)| (partition, of_lags(lags))).collect()
}

fn of_lags(mut lags: Vec<(i64, i64)>) -> Vec<Lags> {
    lags.sort_unstable();
    let times = || lags.iter().map(|(_, available_ms)| *available_ms);
    let whole_ms = times().max().zip(times().min()).map_or(0, |(last, first)| last - first);
    let is_clock = |group: &&[(i64, i64)]| {
        let times = || group.iter().map(|(_, available_ms)| *available_ms);
        let spanned_ms = times().max().zip(times().min()).map_or(0, |(last, first)| last - first);
        // A stall is over soon.
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

/// A burst that is not the traffic of the rest: from when to when, in milliseconds from the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Its first millisecond.
    pub from_ms: i64,
    /// The one after its last.
    pub to_ms: i64,
    /// Why it does not count.
    pub why: Why,
    /// Its records.
    pub records: u64,
}

/// The one burst among arrivals at these times within a period, all in milliseconds and sorted; `None` if there is
/// none, if there are several, or if too little is left without it to describe a workload.
#[must_use]
pub fn burst(times_ms: &[i64], period_ms: i64) -> Option<Burst> {
    const BIN_MS: i64 = 100;
    /// How much more than the others.
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
    // A burst that comes again leaves a gap between its parts, and is the traffic.
    let is_one = bins[first..=last].iter().filter(|bin| !is_high(bin)).count() * 2 <= length;
    let is_most = 2 * inside > all && 2 * length < count;
    // What is watched to the end may go on.
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

    /// A record every 4 ms that can be read 5 ms after its time, by a clock that is behind by so much.
    fn live(from_ms: i64, to_ms: i64, is_watched: bool, behind_ms: i64) -> Vec<Stamp> {
        let stamp = |time_ms: i64| Stamp {
            time_ms: Some(time_ms - behind_ms),
            partition: 0,
            available_us: is_watched.then_some((time_ms + 5) * 1000),
        };
        (from_ms..to_ms).step_by(4).map(stamp).collect()
    }

    /// Five seconds of it, of which the last two were watched.
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
            // The way itself cannot be told from the clock.
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
        // What is older than the sample and lies before it is no oddity.
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
        // It may go on.
        assert_eq!(burst(&with(&[4700]), 5000), None);
        // All there is.
        assert_eq!(burst(&(0..5000).map(|n| n / 20).collect::<Vec<_>>(), 5000), None);
    }
}
