//! The advice, as data: what was measured, what is recommended and why, or why nothing is.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::guide::{Condition, UseCase};
use velo_schema::plan::NearestRow;
use velo_schema::{Span, Tier};

use crate::candidate::{Candidate, Setting};
use crate::cost::Cost;
use crate::profile::Profile;
use crate::trial::Work;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The lowest p99.
    Latency,
    /// The most records per second.
    Throughput,
    /// The smallest batches in bytes.
    Memory,
    /// The least work for a record.
    Cpu,
}

/// The goal and its constraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// What is wanted.
    pub goal: Goal,
    /// The longest latency for 99 of 100 records.
    pub p99: Option<Duration>,
    /// Most payload bytes in memory: of three batches, the one that is filled, the one that is processed and
    /// the one that is written.
    pub memory_bytes: Option<u64>,
}

/// The advice. Fields are only ever added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// Of this format: 1.
    pub version: u32,
    /// The topic.
    pub topic: String,
    /// Its workload; null where too little came to describe it.
    pub profile: Option<Profile>,
    /// What was asked for: the work beside the processor's own.
    pub work: Option<Work>,
    /// What a batch costs, as it was measured.
    pub cost: Option<Cost>,
    /// Whether anything was tried; else everything rests on the model.
    pub measured: bool,
    /// What runs now, where that is known.
    pub current: Option<Candidate>,
    /// What was wanted.
    pub goal: Goal,
    /// The longest latency asked for, for 99 of 100 records.
    pub p99_limit_ms: Option<f64>,
    /// Most payload bytes in memory.
    pub memory_limit_bytes: Option<u64>,
    /// What was tried, the best first.
    pub candidates: Vec<Tried>,
    /// What is recommended.
    pub recommendation: Option<Recommendation>,
    /// Why nothing is.
    pub refusal: Option<Refusal>,
    /// The recommendation on the live topic.
    pub confirmation: Option<Confirmation>,
}

impl Advice {
    /// A refusal before anything was tried.
    #[must_use]
    pub fn refused(topic: String, wishes: Wishes, refusal: Refusal) -> Self {
        Self {
            version: 1,
            topic,
            profile: None,
            work: None,
            cost: None,
            measured: false,
            current: None,
            goal: wishes.goal,
            p99_limit_ms: wishes.p99.map(|limit| limit.as_secs_f64() * 1e3),
            memory_limit_bytes: wishes.memory_bytes,
            candidates: Vec::new(),
            recommendation: None,
            refusal: Some(refusal),
            confirmation: None,
        }
    }
}

/// A candidate and what its trials say together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// The candidate.
    pub candidate: Candidate,
    /// Trials; where there are none, everything is predicted.
    pub rounds: u64,
    /// Records per second at most: the median of the trials.
    pub capacity_records_per_s: f64,
    /// The median of the trials' medians; null where it cannot keep up.
    pub p50_ms: Option<f64>,
    /// The median of the trials' 99th percentiles.
    pub p99_ms: Option<f64>,
    /// What the 99th percentile is not above in 95 of 100 cases: what a limit is compared with.
    pub p99_upper_ms: Option<f64>,
    /// Records of a batch: the mean.
    pub mean_records: Option<f64>,
    /// Payload bytes of three batches: filled, processed, written.
    pub memory_bytes: u64,
    /// The time that a record costs, its share of its batch's fixed part included.
    pub work_ms_per_record: f64,
    /// Whether `p99` rests on a model, because too few batches were completed to measure it.
    pub modelled: bool,
    /// Whether it does a fifth more than the busiest second needs.
    pub keeps_up: bool,
    /// Whether it keeps up and meets every limit.
    pub is_feasible: bool,
}

/// A recommended configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recommendation {
    /// The candidate.
    pub candidate: Candidate,
    /// Its settings, in the order of a clause.
    pub settings: Vec<Setting>,
    /// Records per poll.
    pub max_poll_records: Span,
    /// The consumer tier.
    pub tier: Tier,
    /// The row of the guide's decision matrix that this is.
    pub matrix_row: Option<UseCase>,
    /// The nearest row, where it is none.
    pub nearest_row: Option<NearestRow>,
    /// The guide's conditions, checked against what was measured.
    pub conditions: Vec<Condition>,
    /// Whether this is what runs now.
    pub is_current: bool,
    /// Against what runs now, where that is known and keeps up.
    pub gain: Option<Gain>,
    /// The next best, if there is one that meets the constraints.
    pub runner_up: Option<Candidate>,
    /// The rate up to which it keeps up with a fifth to spare.
    pub holds_until_records_per_s: f64,
}

/// What changes against the current configuration, with what confidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gain {
    /// The recommendation's score divided by the current one's; below 1 is better.
    pub ratio: f64,
    /// The interval of 95 %; null with fewer than three rounds of both.
    pub interval: Option<(f64, f64)>,
    /// Whether the interval is beyond a difference of 3 %.
    pub is_certain: bool,
}

/// How the recommendation did on the live topic, reading only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Confirmation {
    /// Records processed.
    pub records: u64,
    /// Over this time.
    pub seconds: f64,
    /// Records settled per second.
    pub records_per_s: f64,
    /// From the record's timestamp to being settled: the median.
    pub p50_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
    /// The tier as it was.
    pub tier: Tier,
    /// Records per call to the client.
    pub records_per_call: f64,
}

/// Why nothing is recommended; the defaults, or what runs now, stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing came while the topic was sampled.
    #[error("the topic is idle: no record came within {seconds:.0} s")]
    Idle {
        /// How long it was watched.
        seconds: f64,
    },
    /// Too little came to say anything.
    #[error("only {records} records came; at least {needed} are needed to describe the workload")]
    TooFewRecords {
        /// How many came.
        records: u64,
        /// How many are needed.
        needed: u64,
    },
    /// The brokers held the reader back.
    #[error(
        "the brokers slow this client down, by up to {throttle_ms} ms a request: a quota on its user or client id; \
         nothing more was read"
    )]
    Throttled {
        /// The longest delay.
        throttle_ms: u64,
    },
    /// What was measured differs too much from round to round.
    #[error(
        "the measurements are too noisy: {candidate} did between {low_records_per_s:.0} and \
         {high_records_per_s:.0} records/s; something else uses this machine"
    )]
    Noisy {
        /// Whose rounds differ most among the best.
        candidate: Candidate,
        /// Its worst round.
        low_records_per_s: f64,
        /// Its best round.
        high_records_per_s: f64,
    },
    /// Not even the smallest batch fits into memory.
    #[error(
        "no candidate fits into {limit_bytes} bytes: the smallest, {best}, needs {needed_bytes} (three batches, the \
         largest record is {largest_record_bytes})"
    )]
    MemoryLimit {
        /// The candidate that needs least.
        best: Candidate,
        /// What it needs.
        needed_bytes: u64,
        /// What was asked for.
        limit_bytes: u64,
        /// The largest record.
        largest_record_bytes: u64,
    },
    /// There are no trials.
    #[error("nothing was tried")]
    NoTrials,
    /// Nothing that was tried keeps up.
    #[error(
        "nothing tried keeps up: {needed_records_per_s:.0} records/s are needed (the busiest second and a fifth), \
         and the best, {best}, does {capacity_records_per_s:.0}"
    )]
    NothingKeepsUp {
        /// The candidate that does most.
        best: Candidate,
        /// What it does.
        capacity_records_per_s: f64,
        /// What is needed.
        needed_records_per_s: f64,
    },
    /// Nothing that keeps up is fast enough.
    #[error(
        "no candidate meets a p99 of {limit_ms:.1} ms: the fastest that keeps up, {best}, has {p99_ms:.1} ms"
    )]
    LatencyLimit {
        /// The fastest candidate that keeps up.
        best: Candidate,
        /// What it has.
        p99_ms: f64,
        /// What was asked for.
        limit_ms: f64,
    },
}

impl Refusal {
    /// Whether there is evidence enough, and it says that the constraints cannot be met.
    #[must_use]
    pub fn is_infeasible(&self) -> bool {
        matches!(self, Self::NothingKeepsUp { .. } | Self::LatencyLimit { .. } | Self::MemoryLimit { .. })
    }
}
