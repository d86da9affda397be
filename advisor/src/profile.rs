//! The profile of a workload: recorded arrivals in, descriptive statistics out.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_engine::source::replay::Recorded;
use velo_schema::Tier;
use velo_schema::guide::Workload;

use crate::delays::Availability;
use crate::timeline::Cleaning;

/// Workload of a topic during the sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Number of sampled records.
    pub records: u64,
    /// Length of the sample, in seconds.
    pub seconds: f64,
    /// Mean rate, in records per second.
    pub records_per_s: f64,
    /// Number of records in the busiest second.
    pub peak_records_per_s: f64,
    /// Beginning of the busiest second, in seconds from the start of the sample.
    pub peak_at_s: f64,
    /// Index of dispersion: variance of the arrivals per 100 ms divided by their mean. The value is 1 for random
    /// arrivals, lower for even arrivals and higher for bursts.
    pub dispersion: f64,
    /// Index of dispersion at several scales. It grows with the scale if short bursts form longer ones.
    pub dispersions: Vec<Dispersion>,
    /// Mean payload size, key and value together.
    pub mean_bytes: f64,
    /// Median payload size.
    pub p50_bytes: u64,
    /// p99 payload size.
    pub p99_bytes: u64,
    /// Largest payload size.
    pub max_bytes: u64,
    /// Coefficient of variation of the payload size: standard deviation divided by mean.
    pub bytes_variation: f64,
    /// Number of partitions with records.
    pub partitions: u64,
    /// Share of the records in the busiest partition, from 0 to 1.
    pub largest_partition_share: f64,
    /// Mean rate of each partition.
    pub by_partition: Vec<PartitionRate>,
    /// Share of the records with a key, from 0 to 1.
    pub keyed_share: f64,
    /// Share of the records without a value (tombstones), from 0 to 1.
    pub null_share: f64,
    /// Wire bytes per record byte, protocol overhead included; null if too little was read.
    pub wire_bytes_per_byte: Option<f64>,
    /// Client cost per record; null if too little was read.
    pub fetch: Option<FetchCost>,
    /// Delays from record timestamps until the records could be read; null if no records were observed live.
    pub availability: Option<Availability>,
    /// Time from the end of the sample until it was read, in seconds; 0 for a live sample.
    pub ended_s_ago: f64,
    /// Number of partitions of the topic, including partitions without records; null if no topic was read.
    #[serde(default)]
    pub topic_partitions: Option<u64>,
    /// Excluded records and clock offsets.
    #[serde(default)]
    pub cleaning: Cleaning,
}

/// Index of dispersion at one scale: variance of the arrivals per window divided by their mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dispersion {
    /// Length of the windows.
    pub window_ms: u64,
    /// Index of dispersion; 1 for random arrivals.
    pub index: f64,
}

/// Mean rate of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionRate {
    /// Partition number.
    pub partition: i32,
    /// Mean rate, in records per second.
    pub records_per_s: f64,
}

/// Client cost per record in each consumer tier, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FetchCost {
    /// Cost with one record per client call.
    pub standard_us: f64,
    /// Cost with many records per client call.
    pub buffered_us: f64,
}

impl FetchCost {
    /// Returns the cost in one tier.
    #[must_use]
    pub fn of(&self, tier: Tier) -> f64 {
        match tier {
            Tier::Standard => self.standard_us,
            Tier::Buffered | Tier::Auto => self.buffered_us,
        }
    }
}

/// Window lengths for the index of dispersion.
const SCALES_MS: [u64; 3] = [10, 100, 1000];

impl Profile {
    /// Returns the profile of a recording of length `period`; `None` if the recording is empty.
    #[must_use]
    pub fn of(recording: &[Recorded], period: Duration) -> Option<Self> {
        let seconds = period.as_secs_f64();
        if recording.is_empty() || seconds <= 0.0 {
            return None;
        }
        let count = recording.len() as f64;
        let mut sizes: Vec<u64> = recording.iter().map(Recorded::payload_bytes).collect();
        sizes.sort_unstable();
        let (mean_bytes, deviation) = mean_and_deviation(sizes.iter().map(|size| *size as f64));
        let mut by_partition = BTreeMap::<i32, u64>::new();
        for record in recording {
            *by_partition.entry(record.partition).or_default() += 1;
        }
        let largest = by_partition.values().copied().max().unwrap_or(0);
        let dispersion = |window_ms: u64| {
            let width = Duration::from_millis(window_ms);
            let (mean, deviation) = mean_and_deviation(windows(recording, period, width).into_iter());
            if mean > 0.0 { deviation.powi(2) / mean } else { 0.0 }
        };
        // A scale needs at least two windows.
        let scales = SCALES_MS.iter().filter(|ms| seconds * 1e3 >= 2.0 * **ms as f64);
        let scales = scales.map(|ms| Dispersion { window_ms: *ms, index: dispersion(*ms) });
        let share = |count: usize| count as f64 / recording.len() as f64;
        let records_per_s = count / seconds;
        let (peak, peak_at) = busiest_second(recording);
        Some(Self {
            records: recording.len() as u64,
            seconds,
            records_per_s,
            peak_records_per_s: (peak as f64).max(records_per_s),
            peak_at_s: peak_at.as_secs_f64(),
            dispersion: dispersion(100),
            dispersions: scales.collect(),
            mean_bytes,
            p50_bytes: quantile(&sizes, 0.5),
            p99_bytes: quantile(&sizes, 0.99),
            max_bytes: sizes.last().copied().unwrap_or(0),
            bytes_variation: if mean_bytes > 0.0 { deviation / mean_bytes } else { 0.0 },
            partitions: by_partition.len() as u64,
            largest_partition_share: largest as f64 / count,
            by_partition: by_partition
                .iter()
                .map(|(partition, records)| PartitionRate {
                    partition: *partition,
                    records_per_s: *records as f64 / seconds,
                })
                .collect(),
            keyed_share: share(recording.iter().filter(|record| record.key.is_some()).count()),
            null_share: share(recording.iter().filter(|record| record.value.is_none()).count()),
            wire_bytes_per_byte: None,
            fetch: None,
            availability: None,
            ended_s_ago: 0.0,
            topic_partitions: None,
            cleaning: Cleaning::default(),
        })
    }

    /// Returns the profile of random arrivals with records of one size, without a measurement.
    #[must_use]
    pub fn random(records_per_s: f64, record_bytes: u64) -> Self {
        Self {
            records: 0,
            seconds: 0.0,
            records_per_s,
            peak_records_per_s: records_per_s,
            peak_at_s: 0.0,
            dispersion: 1.0,
            dispersions: Vec::new(),
            mean_bytes: record_bytes as f64,
            p50_bytes: record_bytes,
            p99_bytes: record_bytes,
            max_bytes: record_bytes,
            bytes_variation: 0.0,
            partitions: 1,
            largest_partition_share: 1.0,
            by_partition: Vec::new(),
            keyed_share: 0.0,
            null_share: 0.0,
            wire_bytes_per_byte: None,
            fetch: None,
            availability: None,
            ended_s_ago: 0.0,
            topic_partitions: None,
            cleaning: Cleaning::default(),
        }
    }

    /// Returns the values that the guide's conditions refer to.
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

/// Returns the number of records in the busiest second and the beginning of that second.
fn busiest_second(recording: &[Recorded]) -> (usize, Duration) {
    let mut first = 0;
    let mut busiest = (0, Duration::ZERO);
    for (last, record) in recording.iter().enumerate() {
        while record.at.saturating_sub(recording[first].at) >= Duration::from_secs(1) {
            first += 1;
        }
        let count = last + 1 - first;
        if count > busiest.0 {
            busiest = (count, recording[first].at);
        }
    }
    busiest
}

/// Returns the number of records in each complete window of length `width`.
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
        Recorded {
            at: Duration::from_millis(ms),
            partition,
            value: Some(vec![0; bytes]),
            ..Recorded::default()
        }
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
