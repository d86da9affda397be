//! Latencies: times in, quantiles with an error of at most 1 %, and the exact maximum and sum out.

use hdrhistogram::Histogram;

use super::{Buckets, Latency};

/// Two significant digits are a resolution of 1 %, finer than the difference between two runs.
const DIGITS: u8 = 2;
/// The longest latency in microseconds: about 285 years.
const MOST_US: u64 = 1 << 53;

/// The distribution of the latencies of records.
#[derive(Debug)]
pub(crate) struct Latencies {
    micros: Histogram<u64>,
    max_us: u64,
    sum_us: u128,
}

impl Default for Latencies {
    fn default() -> Self {
        let micros = Histogram::new_with_max(MOST_US, DIGITS).expect("a valid histogram");
        Self { micros, max_us: 0, sum_us: 0 }
    }
}

impl Latencies {
    /// Adds `records` records with this latency in nanoseconds. A negative latency counts as 0.
    pub(super) fn record(&mut self, nanos: i64, records: u64) {
        let micros = u64::try_from(nanos / 1000).unwrap_or(0).min(MOST_US);
        self.micros.saturating_record_n(micros, records);
        if records > 0 {
            self.max_us = self.max_us.max(micros);
        }
        self.sum_us += u128::from(micros) * u128::from(records);
    }

    /// Adds the latencies of another member.
    pub(super) fn add(&mut self, other: &Self) {
        self.micros.add(&other.micros).expect("both histograms have the same bounds");
        self.max_us = self.max_us.max(other.max_us);
        self.sum_us += other.sum_us;
    }

    pub(super) fn summary(&self) -> Latency {
        // The upper end of a bucket may exceed the maximum.
        let ms = |us: u64| us.min(self.max_us) as f64 / 1e3;
        Latency {
            p50: ms(self.micros.value_at_quantile(0.5)),
            p99: ms(self.micros.value_at_quantile(0.99)),
            max: ms(self.max_us),
            count: self.micros.len(),
        }
    }

    /// Returns a histogram in seconds with these upper bounds.
    pub(super) fn buckets(&self, bounds: &[f64]) -> Buckets {
        let mut counts: Vec<_> = bounds.iter().copied().chain([f64::MAX]).map(|bound| (bound, 0)).collect();
        for recorded in self.micros.iter_recorded() {
            // The lowest value of the histogram's bucket, so that a round number stays exact.
            let value = self.micros.lowest_equivalent(recorded.value_iterated_to()) as f64 / 1e6;
            let bucket = bounds.partition_point(|bound| *bound < value);
            counts[bucket].1 += recorded.count_since_last_iteration();
        }
        Buckets { counts, count: self.micros.len(), sum: self.sum_us as f64 / 1e6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_NS: i64 = 86_400_000_000_000;

    #[test]
    fn the_longest_is_exact_however_long() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary(), Latency::default());
        latencies.record(30 * DAY_NS, 1);
        latencies.record(1_234_567_000, 98);
        let mut other = Latencies::default();
        other.record(-5, 1);
        latencies.add(&other);
        let Latency { p50, p99, max, count } = latencies.summary();
        assert_eq!((max, count), (30.0 * 86_400_000.0, 100));
        assert!((p50 - 1234.567).abs() < 12.4 && (p99 - 1234.567).abs() < 12.4, "{p50} {p99}");
    }

    #[test]
    fn no_quantile_is_beyond_the_longest() {
        let mut latencies = Latencies::default();
        latencies.record(1_000_100_000, 1);
        let Latency { p50, p99, max, .. } = latencies.summary();
        assert_eq!((p50, p99), (max, max));
    }

    #[test]
    fn sums_are_exact_and_buckets_hold_everything() {
        let mut latencies = Latencies::default();
        latencies.record(100_000_000, 3);
        latencies.record(2 * DAY_NS, 1);
        let buckets = latencies.buckets(&[0.1, 60.0]);
        assert_eq!(buckets.counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [3, 0, 1]);
        assert_eq!((buckets.count, buckets.sum), (4, 172_800.3));
    }
}
