//! The advice as data: the measurements, and the recommendation with its reasons or the reason why there is none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::guide::{Condition, UseCase};
use velo_schema::plan::NearestRow;
use velo_schema::{Span, Tier};

use crate::candidate::{Candidate, Setting};
use crate::cost::Cost;
use crate::evaluation::Evaluation;
use crate::objective::{Goal, Objective};
use crate::profile::Profile;
use crate::refusal::Refusal;
use crate::trial::{Setup, Work};
use crate::validity::ValidityRange;
use crate::verdict::Verdict;

/// The advice. Later versions of the format only add fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// Version of the format.
    pub version: u32,
    /// Name of the topic.
    pub topic: String,
    /// Workload of the topic; null if the sample has too few records to describe it.
    pub profile: Option<Profile>,
    /// Given cost of the job, in addition to the cost of the processor itself.
    pub work: Option<Work>,
    /// Measured cost of a batch.
    pub cost: Option<Cost>,
    /// Environment of the measurements; null if nothing was measured.
    pub setup: Option<Setup>,
    /// Share of the records that failed during processing, from 0 to 1.
    pub failed_share: f64,
    /// True if candidates were tried; false if all values come from the model.
    pub measured: bool,
    /// Current configuration; null if it is not known.
    pub current: Option<Candidate>,
    /// The quantity to optimise.
    pub goal: Goal,
    /// Upper limit of the p99 latency; null if there is no limit.
    pub p99_limit_ms: Option<f64>,
    /// Upper limit of the payload bytes in memory; null if there is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Evaluated candidates, the best first.
    pub candidates: Vec<Evaluation>,
    /// The recommendation; null if there is none.
    pub recommendation: Option<Recommendation>,
    /// Reason why there is no recommendation; null if there is one.
    pub refusal: Option<Refusal>,
    /// Measurement of the recommendation on the live topic.
    pub confirmation: Option<Confirmation>,
    /// Measurement of the current configuration on the live topic, made after that of the recommendation.
    pub current_confirmation: Option<Confirmation>,
    /// Amount of data that was read from the topic; null if nothing was read.
    pub reading: Option<Reading>,
    /// Notes about the run.
    pub notes: Vec<String>,
    /// Reason why the recommendation was not confirmed on the live topic; null if it was confirmed or if no
    /// confirmation was attempted.
    #[serde(default)]
    pub unconfirmed: Option<String>,
    /// Conclusion of the advice.
    #[serde(default)]
    pub verdict: Option<Verdict>,
}

/// Version of the advice format.
pub const VERSION: u32 = 3;

impl Advice {
    /// Returns advice with a refusal that was found before any trial.
    #[must_use]
    pub fn refused(topic: String, objective: Objective, refusal: Refusal) -> Self {
        Self {
            version: VERSION,
            topic,
            profile: None,
            work: None,
            cost: None,
            setup: None,
            failed_share: 0.0,
            measured: false,
            current: None,
            goal: objective.goal,
            p99_limit_ms: objective.p99.map(|limit| limit.as_secs_f64() * 1e3),
            memory_limit_bytes: objective.memory_bytes,
            candidates: Vec::new(),
            recommendation: None,
            refusal: Some(refusal),
            confirmation: None,
            current_confirmation: None,
            reading: None,
            notes: Vec::new(),
            unconfirmed: None,
            verdict: None,
        }
    }

    /// Returns the evaluation of a candidate.
    #[must_use]
    pub fn evaluation(&self, candidate: &Candidate) -> Option<&Evaluation> {
        self.candidates.iter().find(|evaluation| evaluation.candidate == *candidate)
    }
}

/// A recommended configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recommendation {
    /// The recommended candidate.
    pub candidate: Candidate,
    /// Its settings, in the order of a WITH clause.
    pub settings: Vec<Setting>,
    /// Records per poll.
    pub max_poll_records: Span,
    /// Consumer tier.
    pub tier: Tier,
    /// Matching row of the guide's decision matrix; null if no row matches.
    pub matrix_row: Option<UseCase>,
    /// Nearest row of the decision matrix if no row matches.
    pub nearest_row: Option<NearestRow>,
    /// The guide's conditions, checked against the measurements.
    pub conditions: Vec<Condition>,
    /// True if the recommendation is the current configuration.
    pub is_current: bool,
    /// Comparison with the current configuration; null if that is not known or does not keep up.
    pub gain: Option<Gain>,
    /// Second-best candidate that meets the limits; null if there is none.
    pub runner_up: Option<Candidate>,
    /// Comparison with the runner-up.
    pub gain_over_runner_up: Option<Gain>,
    /// Highest mean rate at which the candidate keeps up with 20 % headroom, in records per second.
    pub holds_until_records_per_s: f64,
    /// Range of rates in which the recommendation is valid according to the model; null if there are no arrivals to
    /// simulate.
    pub holds: Option<ValidityRange>,
}

/// Comparison of a recommendation with another configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gain {
    /// Score of the recommendation divided by the score of the other configuration; values below 1 are better.
    pub ratio: f64,
    /// 95 % confidence interval of the ratio; null if both have fewer than three rounds in common.
    pub interval: Option<(f64, f64)>,
    /// True if the whole interval differs from 1 by more than 3 %.
    pub is_certain: bool,
}

/// Measurement of a configuration on the live topic, read-only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Confirmation {
    /// Number of processed records.
    pub records: u64,
    /// Duration, in seconds.
    pub seconds: f64,
    /// Records settled per second.
    pub records_per_s: f64,
    /// Median latency from a record's timestamp until the record is settled.
    pub p50_ms: f64,
    /// p99 latency.
    pub p99_ms: f64,
    /// Consumer tier that was used.
    pub tier: Tier,
    /// Mean number of records per client call.
    pub records_per_call: f64,
    /// Number of completed batches.
    #[serde(default)]
    pub batches: u64,
    /// Length of the warm-up, in seconds. Latencies exclude records that arrived during the warm-up.
    #[serde(default)]
    pub warm_up_s: f64,
}

/// Amount of data that was read from the topic for sampling and confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// Decompressed record bytes, including records that were prefetched and discarded.
    pub record_bytes: u64,
    /// Bytes of all broker responses on the wire.
    pub wire_bytes: u64,
    /// Duration, in seconds.
    pub seconds: f64,
    /// Read rate limit, in bytes per second.
    pub max_bytes_per_s: u64,
}
