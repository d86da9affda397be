//! Exact sizes of batches: sizes in, their number, quantiles, extremes and sum out.

use std::collections::BTreeMap;

use super::Buckets;

/// The maximum number of different sizes. At this limit a new size counts as the nearest smaller one.
const MOST_DIFFERENT: usize = 16_384;

/// The number of batches of each size.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    counts: BTreeMap<u64, u64>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Sizes {
    pub(super) fn record(&mut self, size: u64) {
        self.record_many(size, 1);
        self.sum += size;
    }

    fn record_many(&mut self, size: u64, count: u64) {
        self.count += count;
        self.max = self.max.max(size);
        let kept = if self.counts.len() < MOST_DIFFERENT { size } else { self.nearest(size) };
        *self.counts.entry(kept).or_default() += count;
    }

    fn nearest(&self, size: u64) -> u64 {
        let smaller = self.counts.range(..=size).next_back();
        smaller.or_else(|| self.counts.first_key_value()).map_or(size, |(kept, _)| *kept)
    }

    /// Adds the sizes of another member.
    pub(super) fn add(&mut self, other: &Self) {
        for (size, count) in &other.counts {
            self.record_many(*size, *count);
        }
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    pub(super) fn min(&self) -> u64 {
        self.counts.first_key_value().map_or(0, |(size, _)| *size)
    }

    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns the smallest size that `percent` % of the batches do not exceed; 0 if there are no batches.
    pub(super) fn quantile(&self, percent: u64) -> u64 {
        let rank = (u128::from(self.count) * u128::from(percent)).div_ceil(100).max(1);
        let mut below = 0;
        let reaches = |count: &u64| {
            below += u128::from(*count);
            below >= rank
        };
        let mut reaches = reaches;
        self.counts.iter().find(|(_, count)| reaches(count)).map_or(0, |(size, _)| *size)
    }

    pub(super) fn buckets(&self, bounds: &[f64]) -> Buckets {
        let mut counts: Vec<_> = bounds.iter().copied().chain([f64::MAX]).map(|bound| (bound, 0)).collect();
        for (size, count) in &self.counts {
            counts[bounds.partition_point(|bound| *bound < *size as f64)].1 += count;
        }
        Buckets { counts, count: self.count, sum: self.sum as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_they_were() {
        let mut sizes = Sizes::default();
        assert_eq!((sizes.count(), sizes.min(), sizes.quantile(50), sizes.max()), (0, 0, 0, 0));
        for size in [50_000, 1_000, 50_000, 17] {
            sizes.record(size);
        }
        let mut other = Sizes::default();
        other.record(50_001);
        sizes.add(&other);
        assert_eq!((sizes.count(), sizes.sum()), (5, 151_018));
        assert_eq!((sizes.min(), sizes.max()), (17, 50_001));
        assert_eq!(
            [0, 20, 21, 50, 99, 100].map(|percent| sizes.quantile(percent)),
            [17, 17, 1_000, 50_000, 50_001, 50_001]
        );
        let buckets = sizes.buckets(&[10.0, 1_000.0, 50_000.0]);
        assert_eq!(buckets.counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [0, 2, 2, 1]);
        assert_eq!((buckets.count, buckets.sum), (5, 151_018.0));
    }

    #[test]
    fn so_many_different_sizes_as_there_may_be_are_kept_and_the_rest_is_near_them() {
        let mut sizes = Sizes::default();
        let most = MOST_DIFFERENT as u64;
        for size in 0..3 * most {
            sizes.record(2 * size + 1);
        }
        assert_eq!(
            (sizes.counts.len(), sizes.count(), sizes.max()),
            (MOST_DIFFERENT, 3 * most, 6 * most - 1)
        );
        assert_eq!(sizes.sum(), 9 * most * most);
    }
}
