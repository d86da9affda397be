//! The range of rates in which a recommendation is valid.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::candidate::Candidate;
use crate::objective::Objective;

/// The range of mean rates in which a recommendation is valid, for arrivals of the same shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Holds")]
pub struct ValidityRange {
    /// The recommended candidate.
    pub candidate: Candidate,
    /// The objective of the recommendation.
    pub wishes: Objective,
    /// Lower bound and its reason; null if no lower bound was found.
    pub from: Option<Bound>,
    /// Upper bound and its reason; null if no upper bound was found up to ten times the measured rate.
    pub until: Option<Bound>,
}

impl ValidityRange {
    /// Returns true if the range belongs to this candidate and this objective.
    #[must_use]
    pub fn is_of(&self, candidate: &Candidate, objective: Objective) -> bool {
        self.candidate == *candidate && self.wishes == objective
    }
}

/// A bound of the validity range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bound {
    /// Mean rate at the bound, in records per second.
    pub records_per_s: f64,
    /// Reason why the recommendation is not valid beyond the bound.
    pub because: Because,
}

/// Reason why a recommendation is not valid beyond a bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Because {
    /// The capacity is below 1.2 times the rate in the busiest second.
    #[error("its headroom is below 20 %")]
    FallsBehind,
    /// The p99 latency exceeds the limit.
    #[error("its p99 exceeds the limit")]
    LatencyLimit,
    /// Another candidate is better by more than 10 %.
    #[error("{candidate} is better by more than 10 %")]
    Overtaken {
        /// The better candidate.
        candidate: Candidate,
    },
}
