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
use crate::trial::{Setup, Work};
use crate::verdict::Verdict;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Of this format.
    pub version: u32,
    /// The topic.
    pub topic: String,
    /// Its workload; null where too little came to describe it.
    pub profile: Option<Profile>,
    /// What was asked for: the work beside the processor's own.
    pub work: Option<Work>,
    /// What a batch costs, as it was measured.
    pub cost: Option<Cost>,
    /// What was measured on; null where nothing was.
    pub setup: Option<Setup>,
    /// Share of the records that failed while they were processed.
    pub failed_share: f64,
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
    /// What runs now on the live topic, after the recommendation.
    pub current_confirmation: Option<Confirmation>,
    /// What was read of the topic for all this; null where nothing was.
    pub reading: Option<Reading>,
    /// What was worth telling on the way.
    pub notes: Vec<String>,
    /// Why the recommendation was not confirmed on the live topic; null if it was, or if that was not tried.
    #[serde(default)]
    pub unconfirmed: Option<String>,
    /// What all this comes to.
    #[serde(default)]
    pub verdict: Option<Verdict>,
}

/// The version of the format.
pub const VERSION: u32 = 3;

impl Advice {
    /// A refusal before anything was tried.
    #[must_use]
    pub fn refused(topic: String, wishes: Wishes, refusal: Refusal) -> Self {
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
            goal: wishes.goal,
            p99_limit_ms: wishes.p99.map(|limit| limit.as_secs_f64() * 1e3),
            memory_limit_bytes: wishes.memory_bytes,
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

    /// What the live topic says against the advice, if it does.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        /// A few seconds are not a measurement: what is off by less says nothing.
        const OFF: f64 = 1.25;
        let candidate = &self.recommendation.as_ref()?.candidate;
        // What is no latency in the trials is none here.
        let availability = self.profile.as_ref().and_then(|profile| profile.availability);
        let clocks_ms =
            availability.filter(|delays| !delays.least_counts).map_or(0.0, |delays| delays.least_ms);
        let p99_of = |live: &Option<Confirmation>| {
            live.filter(|live| live.records > 0).map(|live| live.p99_ms - clocks_ms)
        };
        let p99_ms = p99_of(&self.confirmation)?;
        // Trials that do not know how records come let expect too little.
        let tried = self.tried(candidate).filter(|_| availability.is_some());
        let expected_ms = tried.and_then(|tried| tried.p99_upper_ms).filter(|upper| p99_ms > upper * OFF);
        let limit_ms = self.p99_limit_ms.filter(|limit| p99_ms > *limit);
        let current_ms = p99_of(&self.current_confirmation).filter(|_| self.goal == Goal::Latency);
        let found = if let Some(limit_ms) = limit_ms {
            format!("beyond the limit of {limit_ms:.1} ms")
        } else if let Some(current_ms) = current_ms.filter(|current| p99_ms > current * OFF) {
            format!("and {current_ms:.1} ms with what runs now")
        } else {
            format!("and its trials have {:.1} ms at most", expected_ms?)
        };
        Some(format!(
            "the live topic contradicts it: its p99 was {p99_ms:.1} ms there, {found}; measure for longer (--sample, \
             --budget) before it is relied on"
        ))
    }

    /// What is known of a candidate.
    #[must_use]
    pub fn tried(&self, candidate: &Candidate) -> Option<&Tried> {
        self.candidates.iter().find(|tried| tried.candidate == *candidate)
    }

    /// The same with its verdict.
    #[must_use]
    pub fn concluded(self) -> Self {
        let verdict = Some(Verdict::of(&self));
        Self { verdict, ..self }
    }
}

/// A candidate and what its trials say together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
pub struct Tried {
    /// The candidate.
    pub candidate: Candidate,
    /// Trials; where there are none, everything is predicted.
    pub rounds: u64,
    /// Records per second at most: the median of the trials.
    pub capacity_records_per_s: f64,
    /// The least and the most of the trials.
    pub capacity_range: Option<(f64, f64)>,
    /// True if batches as large as its own were not measured: then its capacity is that of the largest that were, and
    /// it may do more.
    #[serde(default)]
    pub capacity_is_at_least: bool,
    /// The median of the trials' medians; null where it cannot keep up.
    pub p50_ms: Option<f64>,
    /// The 99th percentile, as it would be in the middle of all rounds, whichever it was in.
    pub p99_ms: Option<f64>,
    /// The best of the rounds, less a margin.
    pub p99_lower_ms: Option<f64>,
    /// The worst of the rounds, and a margin: what a limit is compared with.
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
    /// Against that.
    pub gain_over_runner_up: Option<Gain>,
    /// The rate up to which it keeps up with a fifth to spare.
    pub holds_until_records_per_s: f64,
    /// How far the rate may go in both directions before the advice ends, by the model; null where no arrivals
    /// are there to tell.
    pub holds: Option<Holds>,
}

/// The rates between which a recommendation holds, with arrivals of the same shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Holds {
    /// What holds.
    pub candidate: Candidate,
    /// For whom.
    pub wishes: Wishes,
    /// Below, and why; null where nothing was found.
    pub from: Option<Bound>,
    /// Above, and why; null if nothing was found up to ten times the rate that was measured.
    pub until: Option<Bound>,
}

impl Holds {
    /// Whether this is about a candidate and wishes.
    #[must_use]
    pub fn is_of(&self, candidate: &Candidate, wishes: Wishes) -> bool {
        self.candidate == *candidate && self.wishes == wishes
    }
}

/// Where a recommendation ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bound {
    /// The mean rate.
    pub records_per_s: f64,
    /// Why.
    pub because: Because,
}

/// Why a recommendation ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Because {
    /// It cannot do a fifth more than the busiest second needs.
    #[error("it has no fifth to spare any more")]
    FallsBehind,
    /// The limit of the 99th percentile is passed.
    #[error("its p99 passes the limit")]
    LatencyLimit,
    /// Another one is better by a tenth.
    #[error("{candidate} is better")]
    Overtaken {
        /// Which.
        candidate: Candidate,
    },
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
    /// Batches that ended.
    #[serde(default)]
    pub batches: u64,
    /// Records that came so soon after its start are left out of the latencies.
    #[serde(default)]
    pub warm_up_s: f64,
}

/// What was read of the topic, to sample it and to confirm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// Bytes of records, decompressed, those that were fetched ahead and thrown away included.
    pub record_bytes: u64,
    /// Bytes of all answers of the brokers, as they came over the wire.
    pub wire_bytes: u64,
    /// Over this time.
    pub seconds: f64,
    /// The cap.
    pub max_bytes_per_s: u64,
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
    /// Nothing that came can be read.
    #[error(
        "no record can be read: {partitions} partitions have a transaction that has been open for most of the sample"
    )]
    OpenTransactions {
        /// How many.
        partitions: u64,
    },
    /// Too little came to say anything.
    #[error("only {records} records came; at least {needed} are needed to describe the workload")]
    TooFewRecords {
        /// How many came.
        records: u64,
        /// How many are needed.
        needed: u64,
    },
    /// What came, came at once.
    #[error("all records came within {seconds} s: that is no rate")]
    TooShort {
        /// From the first to the last.
        seconds: f64,
    },
    /// The cap on what is read let too little through.
    #[error(
        "only {records} records could be read at {max_bytes_per_s} bytes/s (--max-rate); at least {needed} are needed to \
         describe the workload"
    )]
    Capped {
        /// How many were read.
        records: u64,
        /// How many are needed.
        needed: u64,
        /// The cap.
        max_bytes_per_s: u64,
    },
    /// Somebody ended it before anything was known.
    #[error("it was interrupted before anything was measured")]
    Interrupted,
    /// The budget was used up before anything was known.
    #[error("the budget was used up before anything was measured")]
    OutOfTime,
    /// The brokers held the reader back.
    #[error(
        "the brokers slow this client down, by up to {throttle_ms} ms a request: a quota on its user or client id; \
         nothing more was read"
    )]
    Throttled {
        /// The longest delay.
        throttle_ms: u64,
    },
    /// The same work took very different times.
    #[error(
        "the measurements are too noisy: {what} differ by a factor of {factor:.1}; something else uses this machine"
    )]
    Noisy {
        /// Whose times differ.
        what: String,
        /// By how much.
        factor: f64,
    },
    /// Not one record can be processed.
    #[error("every record fails: {error}")]
    EveryRecordFails {
        /// The first error.
        error: String,
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
