//! The advice, as data: what was measured, what is recommended and why, or why nothing is.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::guide::{Condition, UseCase};
use velo_schema::plan::NearestRow;
use velo_schema::{Span, Tier};

use crate::candidate::Candidate;
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
}

/// The goal and its constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// What is wanted.
    pub goal: Goal,
    /// The longest latency for 99 of 100 records.
    pub p99: Option<Duration>,
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
    /// What a batch costs.
    pub work: Option<Work>,
    /// What was wanted.
    pub goal: Goal,
    /// The longest latency asked for, for 99 of 100 records.
    pub p99_limit_ms: Option<f64>,
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
            goal: wishes.goal,
            p99_limit_ms: wishes.p99.map(|limit| limit.as_secs_f64() * 1e3),
            candidates: Vec::new(),
            recommendation: None,
            refusal: Some(refusal),
            confirmation: None,
        }
    }
}

/// A candidate and what its trials say together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// The candidate.
    pub candidate: Candidate,
    /// Trials.
    pub rounds: u64,
    /// Records per second at most: the median of the trials.
    pub capacity_records_per_s: f64,
    /// The median of the trials' medians; null where it cannot keep up.
    pub p50_ms: Option<f64>,
    /// The median of the trials' 99th percentiles.
    pub p99_ms: Option<f64>,
    /// The highest of them.
    pub worst_p99_ms: Option<f64>,
    /// Whether `p99` rests on a model, because too few batches were completed to measure it.
    pub modelled: bool,
    /// Whether it does a fifth more than the busiest second needs.
    pub keeps_up: bool,
    /// Whether it keeps up and every trial is within the limit.
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
    /// The next best, if there is one that meets the constraints.
    pub runner_up: Option<Candidate>,
    /// The rate up to which it keeps up with a fifth to spare.
    pub holds_until_records_per_s: f64,
}

/// A key and its value as they stand in a clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
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
        matches!(self, Self::NothingKeepsUp { .. } | Self::LatencyLimit { .. })
    }
}
