//! The evaluation of a candidate: its trials and its prediction, combined.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::candidate::Candidate;

/// Required capacity of a candidate, as a multiple of the rate in the busiest second.
pub(crate) const HEADROOM: f64 = 1.2;

/// A candidate and the combined results of its trials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Tried")]
#[allow(clippy::struct_excessive_bools, reason = "each flag is an independent result")]
pub struct Evaluation {
    /// The candidate.
    pub candidate: Candidate,
    /// Number of trials; 0 if all values are predicted.
    pub rounds: u64,
    /// Capacity in records per second: the median of the trials.
    pub capacity_records_per_s: f64,
    /// Lowest and highest capacity of the trials, in records per second.
    pub capacity_range: Option<(f64, f64)>,
    /// True if batches of the candidate's own size were not measured. The capacity is then the capacity of the largest
    /// measured batches, a lower bound.
    #[serde(default)]
    pub capacity_is_at_least: bool,
    /// Median latency: the median of the trials' medians. Null if the candidate does not keep up.
    pub p50_ms: Option<f64>,
    /// p99 latency, normalised to a round of median difficulty, so that candidates of different rounds are comparable.
    pub p99_ms: Option<f64>,
    /// p99 latency of the best round, divided by the margin.
    pub p99_lower_ms: Option<f64>,
    /// p99 latency of the worst round, multiplied by the margin. The p99 limit applies to this value.
    pub p99_upper_ms: Option<f64>,
    /// Mean number of records per batch.
    pub mean_records: Option<f64>,
    /// Payload bytes of three batches: one being filled, one being processed, one being written.
    pub memory_bytes: u64,
    /// Processing time per record, including the record's share of the fixed cost of a batch.
    pub work_ms_per_record: f64,
    /// True if the p99 comes from the model, because too few batches were completed to measure it.
    pub modelled: bool,
    /// True if the capacity is at least 1.2 times the rate in the busiest second.
    pub keeps_up: bool,
    /// True if the candidate keeps up and meets every limit.
    pub is_feasible: bool,
}
