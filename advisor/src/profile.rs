//! Arrivals in, the numbers that describe a workload out.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_engine::source::replay::Recorded;
use velo_schema::guide::Workload;

/// What a topic's workload looked like while it was sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Records sampled.
    pub records: u64,
    /// Over this time.
    pub seconds: f64,
    /// Mean arrivals.
    pub records_per_s: f64,
    /// Arrivals in the busiest second.
    pub peak_records_per_s: f64,
    /// Variance of the arrivals per 100 ms divided by their mean: 1 for random arrivals, below for
    /// even ones, above for bursts.
    pub dispersion: f64,
    /// Mean payload, key and value together.
    pub mean_bytes: f64,
    /// Median payload.
    pub p50_bytes: u64,
    /// 99 of 100 payloads are at most this.
    pub p99_bytes: u64,
    /// The largest payload.
    pub max_bytes: u64,
    /// Standard deviation of the payload divided by its mean.
    pub bytes_variation: f64,
    /// Partitions that had records.
    pub partitions: u64,
    /// Share of the records that the busiest partition had.
    pub largest_partition_share: f64,
    /// Share of the records that have a key.
    pub keyed_share: f64,
}

impl Profile {
    /// The profile of a recording that lasts `period`; `None` where there is nothing in it.
    #[must_use]
    pub fn of(recording: &[Recorded], period: Duration) -> Option<Self> {
        let seconds = period.as_secs_f64();
        if recording.is_empty() || seconds <= 0.0 {
            return None;
        }
        let count = recording.len() as f64;
        let mut sizes: Vec<u64> = recording.iter().map(payload_bytes).collect();
        sizes.sort_unstable();
        let (mean_bytes, deviation) = mean_and_deviation(sizes.iter().map(|size| *size as f64));
        let mut by_partition = BTreeMap::<i32, u64>::new();
        for record in recording {
            *by_partition.entry(record.partition).or_default() += 1;
        }
        let largest = by_partition.values().copied().max().unwrap_or(0);
        let (mean, deviation_of_arrivals) =
            mean_and_deviation(windows(recording, period, Duration::from_millis(100)).into_iter());
        let records_per_s = count / seconds;
        let peak = windows(recording, period, Duration::from_secs(1)).into_iter().fold(0.0, f64::max);
        Some(Self {
            records: recording.len() as u64,
            seconds,
            records_per_s,
            peak_records_per_s: peak.max(records_per_s),
            dispersion: if mean > 0.0 { deviation_of_arrivals.powi(2) / mean } else { 0.0 },
            mean_bytes,
            p50_bytes: quantile(&sizes, 0.5),
            p99_bytes: quantile(&sizes, 0.99),
            max_bytes: sizes.last().copied().unwrap_or(0),
            bytes_variation: if mean_bytes > 0.0 { deviation / mean_bytes } else { 0.0 },
            partitions: by_partition.len() as u64,
            largest_partition_share: largest as f64 / count,
            keyed_share: recording.iter().filter(|record| record.key.is_some()).count() as f64 / count,
        })
    }

    /// A workload that nobody has measured: random arrivals of records of one size.
    #[must_use]
    pub fn random(records_per_s: f64, record_bytes: u64) -> Self {
        Self {
            records: 0,
            seconds: 0.0,
            records_per_s,
            peak_records_per_s: records_per_s,
            dispersion: 1.0,
            mean_bytes: record_bytes as f64,
            p50_bytes: record_bytes,
            p99_bytes: record_bytes,
            max_bytes: record_bytes,
            bytes_variation: 0.0,
            partitions: 1,
            largest_partition_share: 1.0,
            keyed_share: 0.0,
        }
    }

    /// The same, as far as the guide's conditions ask for it.
    #[must_use]
    pub fn workload(&self, latency: Option<Duration>) -> Workload {
        Workload {
            records_per_s: Some(self.records_per_s),
            peak_records_per_s: Some(self.peak_records_per_s),
            dispersion: Some(self.dispersion),
            mean_record_bytes: Some(self.mean_bytes),
            record_bytes_variation: Some(self.bytes_variation),
            latency_ms: latency.map(|latency| latency.as_secs_f64() * 1e3),
        }
    }
}

fn payload_bytes(record: &Recorded) -> u64 {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    (length(&record.key) + length(&record.value)) as u64
}

/// How many records came in each whole window of `width`.
fn windows(recording: &[Recorded], period: Duration, width: Duration) -> Vec<f64> {
    let count = usize::try_from(period.as_nanos() / width.as_nanos()).unwrap_or(usize::MAX);
    let mut counts = vec![0.0; count];
    for record in recording {
        let window = usize::try_from(record.at.as_nanos() / width.as_nanos()).unwrap_or(usize::MAX);
        if let Some(count) = counts.get_mut(window) {
            *count += 1.0;
        }
    }
    counts
}

fn mean_and_deviation(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

fn quantile(sorted: &[u64], q: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the slice")]
    let index = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ms: u64, partition: i32, bytes: usize) -> Recorded {
        Recorded { at: Duration::from_millis(ms), partition, key: None, value: Some(vec![0; bytes]) }
    }

    #[test]
    fn even_arrivals_have_no_dispersion_and_bursts_have() {
        let even: Vec<_> = (0..2000).map(|ms| record(ms, 0, 10)).collect();
        let profile = Profile::of(&even, Duration::from_secs(2)).unwrap();
        assert!((profile.records_per_s - 1000.0).abs() < 1e-9);
        assert!((profile.peak_records_per_s - 1000.0).abs() < 1e-9);
        assert!(profile.dispersion < 1e-9);
        let burst: Vec<_> = (0..2000).map(|n| record(n / 20, 0, 10)).collect();
        let profile = Profile::of(&burst, Duration::from_secs(2)).unwrap();
        assert!(profile.dispersion > 100.0);
        assert!((profile.peak_records_per_s - 2000.0).abs() < 1e-9);
    }

    #[test]
    fn sizes_and_partitions_are_described() {
        let mixed: Vec<_> =
            (0_u64..100).map(|n| record(n, i32::from(n % 4 == 0), if n == 99 { 1000 } else { 10 })).collect();
        let profile = Profile::of(&mixed, Duration::from_millis(100)).unwrap();
        assert_eq!((profile.p50_bytes, profile.p99_bytes, profile.max_bytes), (10, 10, 1000));
        assert!(profile.bytes_variation > 1.0);
        assert_eq!(profile.partitions, 2);
        assert!((profile.largest_partition_share - 0.75).abs() < 1e-9);
    }

    #[test]
    fn nothing_has_no_profile() {
        assert_eq!(Profile::of(&[], Duration::from_secs(1)), None);
    }
}
