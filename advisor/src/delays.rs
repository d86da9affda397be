//! Delays from record timestamps until the records can be read: measured on records that were observed live, and
//! applied to all others.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Delays from record timestamps until the records could be read. Producers and brokers group records, so records
/// become available in bunches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Availability {
    /// Shortest delay: the transport to the client plus the clock difference.
    pub least_ms: f64,
    /// Median delay.
    pub p50_ms: f64,
    /// p99 delay.
    pub p99_ms: f64,
    /// True if the shortest delay counts as latency; false if it is implausible as a transport delay, so that clocks or
    /// timestamps must be off.
    pub least_counts: bool,
}

/// Timestamp and partition of a record, and the time when it could be read, if it was observed live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Timestamp, in milliseconds since the epoch.
    pub time_ms: i64,
    /// Partition.
    pub partition: i32,
    /// Time when the record could be read, in microseconds since the epoch; `None` if it was not observed live.
    pub available_us: Option<i64>,
}

impl Seen {
    fn delay_us(&self) -> Option<i64> {
        Some(self.available_us? - self.time_ms * 1000)
    }
}

/// Largest plausible transport delay. A larger shortest delay comes from clocks or from timestamps that are not the
/// times of sending.
const LONGEST_WAY_US: i64 = 1_000_000;
/// Smallest number of records observed live from which delays are derived.
const ENOUGH: usize = 20;
/// Share of the time slices whose longest delay is considered usual. Longer delays are stalls and are not repeated.
const USUAL: f64 = 0.8;
/// Length of a time slice.
const STRETCH_MS: i64 = 100;

/// Returns the delay of each record; `None` if too few records were observed live.
///
/// A record that was observed live has its measured delay. The observation is treated as periodic: any other record has
/// the delay of the nearest record of its partition at the same phase, limited to the usual longest delay.
#[must_use]
pub fn delays(records: &[Seen]) -> Option<(Availability, Vec<Duration>)> {
    let watched = || records.iter().filter_map(|seen| Some((seen, seen.delay_us()?)));
    let mut sorted_us: Vec<_> = watched().map(|(_, delay_us)| delay_us).collect();
    if sorted_us.len() < ENOUGH {
        return None;
    }
    sorted_us.sort_unstable();
    let least_us = sorted_us[0];
    let least_counts = (0..=LONGEST_WAY_US).contains(&least_us);
    let first_ms = watched().map(|(seen, _)| seen.time_ms).min()?;
    let most_us = usual_most_us(watched().map(|(seen, delay_us)| (seen.time_ms - first_ms, delay_us)));
    let last_ms = watched().map(|(seen, _)| seen.time_ms).max()?;
    let mut by_partition = BTreeMap::<i32, BTreeMap<i64, i64>>::new();
    for (seen, delay_us) in watched() {
        by_partition.entry(seen.partition).or_default().insert(seen.time_ms - first_ms, delay_us);
    }
    let like_others = |seen: &Seen| {
        let phase = (seen.time_ms - first_ms).rem_euclid(last_ms - first_ms + 1);
        let found = by_partition.get(&seen.partition).and_then(|delays_us| nearest(delays_us, phase));
        // A partition without observed records has the median delay of all partitions.
        found.unwrap_or(sorted_us[sorted_us.len() / 2]).min(most_us)
    };
    let not_counted_us = if least_counts { 0 } else { least_us };
    let of = |seen: &Seen| seen.delay_us().unwrap_or_else(|| like_others(seen)) - not_counted_us;
    let micros = |us: i64| Duration::from_micros(u64::try_from(us).unwrap_or(0));
    let ms = |us: i64| us as f64 / 1e3;
    let availability = Availability {
        least_ms: ms(least_us),
        p50_ms: ms(sorted_us[sorted_us.len() / 2]),
        p99_ms: ms(sorted_us[(sorted_us.len() * 99).div_ceil(100) - 1]),
        least_counts,
    };
    Some((availability, records.iter().map(|seen| micros(of(seen))).collect()))
}

/// Returns the usual longest delay of a time slice.
fn usual_most_us(watched: impl Iterator<Item = (i64, i64)>) -> i64 {
    let mut most_us = BTreeMap::<i64, i64>::new();
    for (at_ms, delay_us) in watched {
        let most = most_us.entry(at_ms / STRETCH_MS).or_insert(delay_us);
        *most = delay_us.max(*most);
    }
    let mut most_us: Vec<_> = most_us.into_values().collect();
    most_us.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the slices")]
    let usual = (most_us.len() as f64 * USUAL).ceil() as usize;
    most_us[usual.clamp(1, most_us.len()) - 1]
}

/// Returns the value with the nearest key.
fn nearest(values: &BTreeMap<i64, i64>, key: i64) -> Option<i64> {
    let below = values.range(..=key).next_back();
    let above = values.range(key..).next();
    let distance = |found: &(&i64, &i64)| found.0.abs_diff(key);
    below.into_iter().chain(above).min_by_key(distance).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one record per millisecond. Every ten become available together, `way_us` after the last one's
    /// timestamp.
    fn bunched(from_ms: i64, to_ms: i64, way_us: i64, is_watched: bool) -> Vec<Seen> {
        let seen = |time_ms: i64| {
            let available_us = (time_ms / 10 * 10 + 9) * 1000 + way_us;
            Seen { time_ms, partition: 0, available_us: is_watched.then_some(available_us) }
        };
        (from_ms..to_ms).map(seen).collect()
    }

    #[test]
    fn what_was_not_watched_comes_in_the_same_bunches() {
        let records = [bunched(0, 10_000, 0, false), bunched(10_000, 12_000, 2500, true)].concat();
        let (availability, delays) = delays(&records).unwrap();
        assert!(availability.least_counts);
        assert_eq!((availability.least_ms, availability.p99_ms), (2.5, 11.5));
        for (seen, delay) in records.iter().zip(delays) {
            let expected = 2500 + (9 - seen.time_ms % 10) * 1000;
            assert_eq!(delay, Duration::from_micros(u64::try_from(expected).unwrap()), "{seen:?}");
        }
    }

    #[test]
    fn a_stall_is_no_pattern() {
        let mut records = [bunched(0, 10_000, 0, false), bunched(10_000, 12_000, 0, true)].concat();
        // Records of 150 ms become available at the end of that time.
        for seen in records.iter_mut().filter(|seen| (11_000..11_150).contains(&seen.time_ms)) {
            seen.available_us = Some(11_150_000);
        }
        let (availability, delays) = delays(&records).unwrap();
        assert!(availability.p99_ms > 100.0);
        let (of_others, own) = delays.split_at(10_000);
        assert_eq!(of_others.iter().max(), Some(&Duration::from_millis(9)));
        assert_eq!(own.iter().max(), Some(&Duration::from_millis(150)));
    }

    #[test]
    fn clocks_that_differ_and_times_of_events_are_no_latency() {
        for way_us in [-700_000, 3_600_000_000] {
            let (availability, delays) = delays(&bunched(0, 1000, way_us, true)).unwrap();
            assert!(!availability.least_counts);
            assert!((availability.least_ms - way_us as f64 / 1e3).abs() < 1e-6);
            let most = delays.iter().max().unwrap();
            assert_eq!((delays.iter().min().unwrap(), most), (&Duration::ZERO, &Duration::from_millis(9)));
        }
    }

    #[test]
    fn a_partition_that_was_silent_is_like_the_others() {
        let mut records = bunched(0, 1000, 1000, true);
        records.push(Seen { time_ms: 5, partition: 1, available_us: None });
        let (availability, delays) = delays(&records).unwrap();
        assert!((delays.last().unwrap().as_secs_f64() * 1e3 - availability.p50_ms).abs() < 1e-6);
    }

    #[test]
    fn a_few_say_nothing() {
        assert_eq!(delays(&bunched(0, 19, 0, true)), None);
        assert_eq!(delays(&bunched(0, 1000, 0, false)), None);
    }
}
