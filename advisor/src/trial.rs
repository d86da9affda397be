//! One trial of a candidate, and the conditions under which trials run.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_engine::process::Synthetic;
use velo_engine::report::Report;

use crate::candidate::Candidate;

/// Cost of a batch apart from consuming it: the given work of the job and the sink round trip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Work {
    /// Work of the job per batch.
    pub per_batch_ms: f64,
    /// Work of the job per record.
    pub per_record_ms: f64,
    /// Sink round trip per batch.
    pub sink_ms: f64,
}

impl Work {
    /// Returns the work of these durations.
    #[must_use]
    pub fn new(cost: Synthetic, sink: Duration) -> Self {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        Self { per_batch_ms: ms(cost.per_batch), per_record_ms: ms(cost.per_record), sink_ms: ms(sink) }
    }

    /// Returns a synthetic processor that takes the same time.
    #[must_use]
    pub fn synthetic(&self) -> Synthetic {
        let duration = |ms: f64| Duration::from_secs_f64((ms / 1e3).max(0.0));
        Synthetic {
            per_batch: duration(self.per_batch_ms + self.sink_ms),
            per_record: duration(self.per_record_ms),
        }
    }
}

/// Environment of the measurements. A run resumes earlier trials only if their setup is the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setup {
    /// Bootstrap servers; null if the topic was inside the process.
    pub bootstrap_servers: Option<String>,
    /// Command of the processor program; null if there was none.
    pub exec: Option<String>,
    /// Format in which values were decoded.
    pub value_format: String,
    /// True if the sink round trip was measured; false if it was given.
    pub sink_was_measured: bool,
}

/// One trial of a candidate: its capacity, and its latencies at the recorded arrival times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// The candidate.
    pub candidate: Candidate,
    /// Number of the round, from 0. All trials of a round replay the same arrivals.
    pub round: u32,
    /// Records settled per second if all records are available at once; null if too few batches were completed in
    /// time.
    pub capacity_records_per_s: Option<f64>,
    /// Replay at the recorded arrival times; null if the candidate cannot sustain the mean rate.
    pub replay: Option<Replay>,
    /// Share of the records that failed, from 0 to 1.
    #[serde(default)]
    pub failed_share: f64,
}

/// A replay at the recorded arrival times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// Records settled per second.
    pub records_per_s: f64,
    /// Median latency from a record's recorded arrival until the record is settled.
    pub p50_ms: f64,
    /// p99 latency.
    pub p99_ms: f64,
    /// Number of completed batches.
    pub batches: u64,
    /// Mean number of records per batch.
    pub mean_records: f64,
}

impl Replay {
    /// Returns the replay that the report of a real or simulated run of the engine describes.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        Self {
            records_per_s: report.records_per_s,
            p50_ms: report.latency_ms.p50,
            p99_ms: report.latency_ms.p99,
            batches: report.batches.count,
            mean_records: report.ledger.delivered as f64 / (report.batches.count as f64).max(1.0),
        }
    }
}
