//! Reasons for making no recommendation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::candidate::Candidate;

/// Reason why there is no recommendation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[non_exhaustive]
pub enum Refusal {
    /// No record arrived while the topic was sampled.
    #[error("the topic is idle: no record arrived within {seconds:.0} s")]
    Idle {
        /// Length of the sample, in seconds.
        seconds: f64,
    },
    /// Open transactions hide all records.
    #[error(
        "no record can be read: {partitions} partitions have a transaction that was open for most of the sample"
    )]
    OpenTransactions {
        /// Number of partitions with such a transaction.
        partitions: u64,
    },
    /// The sample has too few records to describe the workload.
    #[error("the sample has only {records} records; at least {needed} are needed to describe the workload")]
    TooFewRecords {
        /// Number of records in the sample.
        records: u64,
        /// Number of records that are needed.
        needed: u64,
    },
    /// All records arrived at about the same time.
    #[error("all records arrived within {seconds} s, which is too short to determine a rate")]
    TooShort {
        /// Time from the first record to the last, in seconds.
        seconds: f64,
    },
    /// The read rate limit left too few records in the sample.
    #[error(
        "only {records} records could be read at {max_bytes_per_s} bytes/s (--max-rate); at least {needed} are needed \
         to describe the workload"
    )]
    Capped {
        /// Number of records that were read.
        records: u64,
        /// Number of records that are needed.
        needed: u64,
        /// The read rate limit, in bytes per second.
        max_bytes_per_s: u64,
    },
    /// The run was interrupted before there was a result.
    #[error("the run was interrupted before anything was measured")]
    Interrupted,
    /// The time budget was used up before there was a result.
    #[error("the time budget was used up before anything was measured")]
    OutOfTime,
    /// The brokers throttled the client.
    #[error(
        "the brokers throttle this client by up to {throttle_ms} ms per request, because of a quota on its user or \
         client id; sampling was stopped"
    )]
    Throttled {
        /// Longest throttle time of a request, in milliseconds.
        throttle_ms: u64,
    },
    /// Repeated measurements of the same work differ too much.
    #[error(
        "the measurements are too noisy: {what} differ by a factor of {factor:.1}; another process probably uses this \
         machine"
    )]
    Noisy {
        /// The measurements that differ.
        what: String,
        /// Factor between the longest and the shortest time.
        factor: f64,
    },
    /// The processor fails on every record.
    #[error("processing fails for every record: {error}")]
    EveryRecordFails {
        /// The first error.
        error: String,
    },
    /// Every candidate exceeds the memory limit.
    #[error(
        "no candidate fits into {limit_bytes} bytes: the smallest, {best}, needs {needed_bytes} bytes (three batches; \
         the largest record has {largest_record_bytes} bytes)"
    )]
    MemoryLimit {
        /// The candidate that needs the least memory.
        best: Candidate,
        /// Memory that it needs, in bytes.
        needed_bytes: u64,
        /// The limit, in bytes.
        limit_bytes: u64,
        /// Size of the largest record, in bytes.
        largest_record_bytes: u64,
    },
    /// There are no trials.
    #[error("no candidate was tried")]
    NoTrials,
    /// No candidate keeps up with the topic.
    #[error(
        "no candidate keeps up: {needed_records_per_s:.0} records/s are needed (1.2 times the busiest second), and the \
         best candidate, {best}, reaches {capacity_records_per_s:.0} records/s"
    )]
    NothingKeepsUp {
        /// The candidate with the highest capacity.
        best: Candidate,
        /// Its capacity, in records per second.
        capacity_records_per_s: f64,
        /// The required capacity, in records per second.
        needed_records_per_s: f64,
    },
    /// No candidate that keeps up meets the p99 limit.
    #[error(
        "no candidate meets the p99 limit of {limit_ms:.1} ms: the fastest that keeps up, {best}, has a p99 of up to \
         {p99_ms:.1} ms"
    )]
    LatencyLimit {
        /// The candidate with the lowest p99 among those that keep up.
        best: Candidate,
        /// Upper end of its p99, margin included.
        p99_ms: f64,
        /// The limit.
        limit_ms: f64,
    },
}

impl Refusal {
    /// Returns true if the evidence is sufficient and shows that no candidate meets the limits.
    #[must_use]
    pub fn is_infeasible(&self) -> bool {
        matches!(self, Self::NothingKeepsUp { .. } | Self::LatencyLimit { .. } | Self::MemoryLimit { .. })
    }
}
