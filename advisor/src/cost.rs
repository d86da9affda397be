//! The cost model of a batch: measured times of a few batch sizes in, the time of any batch size out.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Times below this are treated as equal when the spread is computed.
const SETTLED_MS: f64 = 1.0;
/// Upper limit of the speedup by several threads.
const MOST_THREADS: f64 = 64.0;
/// Largest residual of a line that describes the measured times. Above it, the times are interpolated instead.
const BENT: f64 = 0.1;

/// Processing time of a batch by its number of records n: S(n) = a + b·n, or an interpolation of measured points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// Fixed time per batch, by the Theil-Sen estimator.
    pub per_batch_ms: f64,
    /// Time per record.
    pub per_record_ms: f64,
    /// Largest relative deviation of a measured time from the line.
    pub residual: f64,
    /// Ratio of the longest to the shortest measurement of a batch size: the median of all sizes. Measurements below
    /// 1 ms count as 1 ms.
    pub spread: f64,
    /// Measured medians, in ascending order of the batch size.
    pub points: Vec<Point>,
    /// Speedup of the per-record part by several threads; null if it was not measured.
    pub speedup: Option<f64>,
}

/// Measured time of one batch size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Records per batch.
    pub records: u64,
    /// Median processing time of a batch.
    pub ms: f64,
}

impl Cost {
    /// Returns a given, unmeasured line.
    #[must_use]
    pub fn line(per_batch: Duration, per_record: Duration) -> Self {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        Self {
            per_batch_ms: ms(per_batch),
            per_record_ms: ms(per_record),
            residual: 0.0,
            spread: 1.0,
            points: Vec::new(),
            speedup: None,
        }
    }

    /// Fits the model to measured batches; returns `None` if there are none.
    #[must_use]
    pub fn fit(measured: &[(u64, Duration)]) -> Option<Self> {
        let mut by_size = BTreeMap::<u64, Vec<f64>>::new();
        for (records, took) in measured {
            by_size.entry(*records).or_default().push(took.as_secs_f64() * 1e3);
        }
        let spread = |ms: &Vec<f64>| {
            let least = ms.iter().copied().fold(f64::INFINITY, f64::min).max(SETTLED_MS);
            ms.iter().copied().fold(0.0, f64::max).max(least) / least
        };
        let mut spreads: Vec<_> = by_size.values().map(spread).collect();
        let points: Vec<_> =
            by_size.into_iter().map(|(records, mut ms)| Point { records, ms: median(&mut ms) }).collect();
        let first = points.first()?;
        let pairs =
            points.iter().enumerate().flat_map(|(index, a)| points[..index].iter().map(move |b| (a, b)));
        let mut slopes: Vec<_> =
            pairs.map(|(a, b)| (a.ms - b.ms) / (a.records as f64 - b.records as f64)).collect();
        let slope = if slopes.is_empty() { 0.0 } else { median(&mut slopes).max(0.0) };
        let mut starts: Vec<_> = points.iter().map(|point| point.ms - slope * point.records as f64).collect();
        let start = if points.len() == 1 { first.ms } else { median(&mut starts).max(0.0) };
        let off = |point: &Point| {
            (start + slope * point.records as f64 - point.ms).abs() / point.ms.max(f64::MIN_POSITIVE)
        };
        let residual = points.iter().map(off).fold(0.0, f64::max);
        let spread = median(&mut spreads);
        Some(Self { per_batch_ms: start, per_record_ms: slope, residual, spread, points, speedup: None })
    }

    /// Returns the largest measured batch size; `None` for a given line, which applies to all sizes.
    #[must_use]
    pub fn measured_to(&self) -> Option<u64> {
        self.points.last().map(|point| point.records)
    }

    /// Returns true if a line describes the measured times.
    #[must_use]
    pub fn is_line(&self) -> bool {
        self.points.len() < 2 || self.residual <= BENT
    }

    /// Returns the processing time of a batch of this many records. For batches larger than the largest measured size,
    /// the time per record is that of the largest measured size.
    #[must_use]
    pub fn of(&self, records: u64) -> Duration {
        let at = records as f64;
        let ms = match self.measured_to().filter(|most| *most < records) {
            Some(most) => self.measured_ms(most as f64) * (at / most as f64),
            None => self.measured_ms(at),
        };
        duration_of_ms(ms)
    }

    fn measured_ms(&self, at: f64) -> f64 {
        if self.is_line() { self.per_batch_ms + self.per_record_ms * at } else { self.joined(at) }
    }

    /// Returns the model with the speedup by several threads, computed from the largest size that was measured both on
    /// one and on several threads.
    #[must_use]
    pub fn with_parallel(self, measured: &[(u64, Duration)]) -> Self {
        /// Smallest ratio of a batch's time to its fixed time at which the speedup can be measured.
        const ENOUGH: f64 = 2.0;
        // Sizes that were measured only on several threads cannot be compared.
        let is_known =
            |(records, _): &&(u64, Duration)| self.measured_to().is_none_or(|most| *records <= most);
        let comparable: Vec<_> = measured.iter().filter(is_known).copied().collect();
        let largest = Self::fit(&comparable).and_then(|cost| cost.points.last().copied());
        let speedup = largest.and_then(|Point { records, ms }| {
            let whole = self.of(records).as_secs_f64() * 1e3;
            let of_records = whole - self.per_batch_ms;
            (whole > ENOUGH * self.per_batch_ms && of_records > 0.0)
                .then(|| of_records / (ms - self.per_batch_ms).max(of_records / MOST_THREADS))
        });
        Self { speedup, ..self }
    }

    /// Returns the processing time of a batch on several threads.
    #[must_use]
    pub fn of_parallel(&self, records: u64) -> Duration {
        let (whole, fixed) = (self.of(records), duration_of_ms(self.per_batch_ms));
        let of_records = whole.saturating_sub(fixed).as_secs_f64();
        whole.min(fixed) + duration_of_ms(of_records * 1e3 / self.speedup.unwrap_or(1.0))
    }

    /// Interpolates between the measured points; below them, extrapolates the first segment.
    fn joined(&self, at: f64) -> f64 {
        let above = self.points.iter().position(|point| point.records as f64 >= at);
        let right = above.unwrap_or(self.points.len() - 1).max(1);
        let (a, b) = (self.points[right - 1], self.points[right]);
        let slope = ((b.ms - a.ms) / (b.records as f64 - a.records as f64)).max(0.0);
        (a.ms + slope * (at - a.records as f64)).max(0.0)
    }
}

/// Returns the median of values.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// Returns a duration of at most 11 days. A model that was read from a file may not give a number; that is no time.
fn duration_of_ms(ms: f64) -> Duration {
    Duration::try_from_secs_f64((ms / 1e3).clamp(0.0, 1e6)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(points: &[(u64, f64)]) -> Vec<(u64, Duration)> {
        points.iter().map(|(records, ms)| (*records, Duration::from_secs_f64(ms / 1e3))).collect()
    }

    #[test]
    fn a_model_that_gives_no_number_takes_no_time() {
        let cost = Cost { per_batch_ms: f64::NAN, ..Cost::line(Duration::ZERO, Duration::ZERO) };
        assert_eq!((cost.of(1), cost.of_parallel(1)), (Duration::ZERO, Duration::ZERO));
        let cost = Cost { speedup: Some(0.0), ..Cost::line(Duration::ZERO, Duration::from_millis(1)) };
        assert!(cost.of_parallel(10) > Duration::from_secs(1));
    }

    #[test]
    fn a_line_is_found_whatever_one_point_says() {
        let points = [(1, 2.1), (10, 3.0), (100, 12.0), (1000, 102.0), (1, 2.1), (10, 3.0), (1, 90.0)];
        let cost = Cost::fit(&measured(&points)).unwrap();
        assert!(
            (cost.per_batch_ms - 2.0).abs() < 0.01 && (cost.per_record_ms - 0.1).abs() < 0.001,
            "{cost:?}"
        );
        assert!(cost.is_line());
        assert!((cost.of(500).as_secs_f64() * 1e3 - 52.0).abs() < 0.1);
    }

    #[test]
    fn a_cliff_is_no_line() {
        let cost = Cost::fit(&measured(&[(1, 1.0), (100, 2.0), (1000, 11.0), (2000, 60.0)])).unwrap();
        assert!(!cost.is_line());
        assert!((cost.of(100).as_secs_f64() * 1e3 - 2.0).abs() < 1e-6);
        assert!((cost.of(1500).as_secs_f64() * 1e3 - 35.5).abs() < 1e-6);
        assert_eq!(cost.of(4000), cost.of(2000) * 2);
    }

    #[test]
    fn a_record_of_a_larger_batch_than_was_measured_takes_no_less() {
        // Because of noise, the largest size seems to cost nothing more, both for a line and for an interpolation.
        for points in
            [&[(1, 40.0), (10, 41.0), (100, 40.5)][..], &[(1, 1.0), (10, 9.0), (100, 30.0), (200, 30.0)]]
        {
            let cost = Cost::fit(&measured(points)).unwrap();
            let most = cost.measured_to().unwrap();
            let per_s = |records: u64| records as f64 / cost.of(records).as_secs_f64();
            for records in [2 * most, 1000, 100_000] {
                assert!(per_s(records) <= per_s(most) * 1.000_001, "{records}: {cost:?}");
            }
        }
        assert_eq!(
            Cost::line(Duration::from_millis(1), Duration::ZERO).of(100_000),
            Duration::from_millis(1)
        );
    }

    #[test]
    fn several_threads_share_the_part_of_the_records() {
        let line = Cost::fit(&measured(&[(1, 2.1), (100, 12.0), (1000, 102.0)])).unwrap();
        assert_eq!(line.of_parallel(100), line.of(100));
        let shared = line.with_parallel(&measured(&[(100, 7.5), (1000, 52.0)]));
        assert!((shared.speedup.unwrap() - 2.0).abs() < 0.01, "{shared:?}");
        assert!((shared.of_parallel(1000).as_secs_f64() * 1e3 - 52.0).abs() < 1.0);
        // The speedup of a batch that is all fixed cost cannot be measured.
        let fixed = Cost::line(Duration::from_millis(50), Duration::from_nanos(10));
        assert_eq!(fixed.with_parallel(&measured(&[(1000, 50.0)])).speedup, None);
    }

    #[test]
    fn one_size_is_a_fixed_cost_and_none_is_nothing() {
        let one = Cost::fit(&measured(&[(5, 3.0)])).unwrap();
        assert_eq!((one.of(3), one.of(10)), (Duration::from_millis(3), Duration::from_millis(6)));
        assert_eq!(Cost::fit(&[]), None);
    }
}
