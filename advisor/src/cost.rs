//! What a batch costs: measured times of batches of a few sizes in, the time of any size out.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Beyond this a line does not describe the measured times, and they are joined instead.
const BENT: f64 = 0.1;

/// The service time of a batch by its records: S(n) = a + b·n, or measured points that are joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// The fixed part, by Theil and Sen's line.
    pub per_batch_ms: f64,
    /// The part of a record.
    pub per_record_ms: f64,
    /// How far the worst measured size is from that line, of its own time.
    pub residual: f64,
    /// The medians that were measured, by size.
    pub points: Vec<Point>,
}

/// Batches of one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Records of a batch.
    pub records: u64,
    /// What it took: the median.
    pub ms: f64,
}

impl Cost {
    /// A line that nobody has measured.
    #[must_use]
    pub fn line(per_batch: Duration, per_record: Duration) -> Self {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        Self { per_batch_ms: ms(per_batch), per_record_ms: ms(per_record), residual: 0.0, points: Vec::new() }
    }

    /// From measured batches; `None` where there are none.
    #[must_use]
    pub fn fit(measured: &[(u64, Duration)]) -> Option<Self> {
        let mut by_size = BTreeMap::<u64, Vec<f64>>::new();
        for (records, took) in measured {
            by_size.entry(*records).or_default().push(took.as_secs_f64() * 1e3);
        }
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
        Some(Self { per_batch_ms: start, per_record_ms: slope, residual, points })
    }

    /// Whether one line describes it.
    #[must_use]
    pub fn is_line(&self) -> bool {
        self.points.len() < 2 || self.residual <= BENT
    }

    /// What a batch of so many records takes.
    #[must_use]
    pub fn of(&self, records: u64) -> Duration {
        let at = records as f64;
        let ms = if self.is_line() { self.per_batch_ms + self.per_record_ms * at } else { self.joined(at) };
        Duration::from_secs_f64((ms / 1e3).clamp(0.0, 1e6))
    }

    /// On the segments between the points; beyond them on the outermost ones.
    fn joined(&self, at: f64) -> f64 {
        let above = self.points.iter().position(|point| point.records as f64 >= at);
        let right = above.unwrap_or(self.points.len() - 1).max(1);
        let (a, b) = (self.points[right - 1], self.points[right]);
        let slope = ((b.ms - a.ms) / (b.records as f64 - a.records as f64)).max(0.0);
        (a.ms + slope * (at - a.records as f64)).max(0.0)
    }
}

/// The median of some values.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(points: &[(u64, f64)]) -> Vec<(u64, Duration)> {
        points.iter().map(|(records, ms)| (*records, Duration::from_secs_f64(ms / 1e3))).collect()
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
        assert!(cost.of(4000) > cost.of(2000));
    }

    #[test]
    fn one_size_is_a_fixed_cost_and_none_is_nothing() {
        assert_eq!(Cost::fit(&measured(&[(5, 3.0)])).unwrap().of(100), Duration::from_millis(3));
        assert_eq!(Cost::fit(&[]), None);
    }
}
