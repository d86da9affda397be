//! The conclusion of an advice as data: the action, the current configuration against the limits, the result on the
//! live topic and the confidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::candidate::Candidate;

/// The conclusion of an advice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Recommended action.
    pub action: Action,
    /// Current configuration against the objective; null if the current configuration is not known.
    pub current: Option<Standing>,
    /// Result on the live topic.
    pub live: Live,
    /// Confidence of the advice.
    pub confidence: Confidence,
    /// Reasons that lower the confidence.
    pub reservations: Vec<String>,
}

/// Recommended action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Change to the recommended configuration.
    Change,
    /// Keep the current configuration: either it is the recommended one, or it meets the objective and no better one
    /// was found.
    Keep,
    /// Measure again: the live topic contradicts the result, or there is too little evidence.
    MeasureAgain,
    /// Change the limits or the work: no configuration meets the limits, including the current one.
    Reconsider,
}

/// A configuration against the objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// The configuration.
    pub candidate: Candidate,
    /// True if the values come from trials; false if they come from the model.
    pub measured: bool,
    /// True if the configuration keeps up and meets every limit; null if it was not evaluated.
    pub meets: Option<bool>,
    /// The violated limit, if any.
    pub breaks: Option<Breach>,
    /// p99 latency.
    pub p99_ms: Option<f64>,
    /// p99 latency with its margin. The p99 limit applies to this value.
    pub p99_upper_ms: Option<f64>,
}

/// A limit that a configuration violates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "limit")]
pub enum Breach {
    /// The configuration does not keep up.
    #[error(
        "does not keep up: capacity {capacity_records_per_s:.0} records/s, needs {needed_records_per_s:.0} records/s"
    )]
    Rate {
        /// Capacity, in records per second.
        capacity_records_per_s: f64,
        /// Required capacity: 1.2 times the rate in the busiest second, in records per second.
        needed_records_per_s: f64,
    },
    /// The p99 latency with its margin exceeds the limit.
    #[error("p99 {p99_upper_ms:.1} ms with margin, limit {limit_ms:.1} ms")]
    Latency {
        /// p99 latency with its margin.
        p99_upper_ms: f64,
        /// The limit.
        limit_ms: f64,
    },
    /// The required memory exceeds the limit.
    #[error("needs {needed_bytes} bytes, limit {limit_bytes} bytes")]
    Memory {
        /// Required memory, in bytes.
        needed_bytes: u64,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
}

/// Result of the recommendation on the live topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "said")]
pub enum Live {
    /// No confirmation was attempted.
    NotAsked,
    /// The confirmation was attempted, without a result.
    Unconfirmed {
        /// Reason why there is no result.
        because: String,
    },
    /// The live topic agrees with the trials.
    Agrees,
    /// The live topic contradicts the trials.
    Contradicts {
        /// Description of the contradiction.
        how: String,
    },
}

/// Confidence of an advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The advice rests on the model alone, or the live topic contradicts it.
    Low,
    /// The advice rests on trials, with reservations.
    Medium,
    /// The advice rests on trials, and the live topic agrees.
    High,
}

impl std::fmt::Display for Confidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

impl Verdict {
    /// Returns how the live topic contradicts the recommendation, if it does.
    #[must_use]
    pub fn contradiction(&self) -> Option<&str> {
        match &self.live {
            Live::Contradicts { how } => Some(how),
            _ => None,
        }
    }
}
