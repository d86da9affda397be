//! What advice comes to, in one place: the advice in; what to do, what runs now against the limits, what the live topic
//! said and how sure it is out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::advice::{Advice, Goal, Tried};
use crate::candidate::Candidate;
use crate::recommend::HEADROOM;

/// What the advice comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What to do.
    pub action: Action,
    /// What runs now against what is wanted; null if nobody has said what runs now.
    pub current: Option<Standing>,
    /// What the live topic said.
    pub live: Live,
    /// How sure it is.
    pub confidence: Confidence,
    /// Why it is no surer.
    pub reservations: Vec<String>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Change to what is recommended.
    Change,
    /// Keep what runs now: it is what is recommended, or nothing better was found and it meets what is wanted.
    Keep,
    /// Measure again: what was found is contradicted, or too little was.
    MeasureAgain,
    /// Change what is wanted, or the work: nothing meets it, what runs now included.
    Reconsider,
}

/// A configuration against what is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// The configuration.
    pub candidate: Candidate,
    /// True if trials say so, and not the model.
    pub measured: bool,
    /// Whether it keeps up and meets every limit; null if nothing is known of it.
    pub meets: Option<bool>,
    /// Why it does not.
    pub breaks: Option<Breach>,
    /// Its 99th percentile.
    pub p99_ms: Option<f64>,
    /// That with its margin: what a limit is compared with.
    pub p99_upper_ms: Option<f64>,
}

/// What a configuration breaks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "limit")]
pub enum Breach {
    /// It cannot keep up.
    #[error("cannot keep up: {capacity_records_per_s:.0}/s of {needed_records_per_s:.0}/s")]
    Rate {
        /// What it can do.
        capacity_records_per_s: f64,
        /// The busiest second and a fifth.
        needed_records_per_s: f64,
    },
    /// Its 99th percentile with its margin is beyond the limit.
    #[error("p99 up to {p99_upper_ms:.1} ms of {limit_ms:.1} ms")]
    Latency {
        /// Its 99th percentile with its margin.
        p99_upper_ms: f64,
        /// The limit.
        limit_ms: f64,
    },
    /// It needs more memory than it may.
    #[error("needs {needed_bytes} of {limit_bytes} bytes")]
    Memory {
        /// What it needs.
        needed_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
}

/// What the live topic said of the recommendation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "said")]
pub enum Live {
    /// It was not asked.
    NotAsked,
    /// It was not confirmed.
    Unconfirmed {
        /// Why.
        because: String,
    },
    /// It agrees.
    Agrees,
    /// It contradicts.
    Contradicts {
        /// How.
        how: String,
    },
}

/// How sure advice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The model alone says so, or something contradicts it.
    Low,
    /// Trials say so, with reservations.
    Medium,
    /// Trials say so, and the live topic agrees.
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
    /// Of advice.
    #[must_use]
    pub fn of(advice: &Advice) -> Self {
        let current = advice.current.as_ref().map(|current| standing(advice, current));
        let live = live(advice);
        let (confidence, reservations) = confidence(advice, &live);
        Self { action: action(advice, current.as_ref(), &live), current, live, confidence, reservations }
    }

    /// How the live topic contradicts the recommendation, if it does.
    #[must_use]
    pub fn contradiction(&self) -> Option<&str> {
        match &self.live {
            Live::Contradicts { how } => Some(how),
            _ => None,
        }
    }
}

/// What a candidate breaks of what is wanted; `None` if it meets it.
#[must_use]
pub fn breach(advice: &Advice, tried: &Tried) -> Option<Breach> {
    if !tried.keeps_up {
        let peak = advice.profile.as_ref().map_or(0.0, |profile| profile.peak_records_per_s);
        let needed_records_per_s = HEADROOM * peak;
        // The worst round counts.
        let least = tried.capacity_range.map_or(tried.capacity_records_per_s, |(least, _)| least);
        let capacity_records_per_s = tried.capacity_records_per_s.min(least);
        return Some(Breach::Rate { capacity_records_per_s, needed_records_per_s });
    }
    let limit_bytes = advice.memory_limit_bytes.filter(|limit| tried.memory_bytes > *limit);
    if let Some(limit_bytes) = limit_bytes {
        return Some(Breach::Memory { needed_bytes: tried.memory_bytes, limit_bytes });
    }
    let (limit_ms, p99_upper_ms) = advice.p99_limit_ms.zip(tried.p99_upper_ms)?;
    (p99_upper_ms > limit_ms).then_some(Breach::Latency { p99_upper_ms, limit_ms })
}

/// A candidate against what is wanted.
#[must_use]
pub fn standing(advice: &Advice, candidate: &Candidate) -> Standing {
    let tried = advice.tried(candidate);
    Standing {
        candidate: candidate.clone(),
        measured: tried.is_some_and(|tried| tried.rounds > 0),
        meets: tried.map(|tried| tried.is_feasible),
        breaks: tried.and_then(|tried| breach(advice, tried)),
        p99_ms: tried.and_then(|tried| tried.p99_ms),
        p99_upper_ms: tried.and_then(|tried| tried.p99_upper_ms),
    }
}

fn live(advice: &Advice) -> Live {
    if let Some(how) = advice.doubt() {
        return Live::Contradicts { how };
    }
    match (&advice.unconfirmed, &advice.confirmation) {
        (Some(because), _) => Live::Unconfirmed { because: because.clone() },
        (None, Some(live)) if live.records == 0 => {
            Live::Unconfirmed { because: "no record came while it was watched".to_owned() }
        }
        (None, Some(_)) => Live::Agrees,
        (None, None) => Live::NotAsked,
    }
}

fn action(advice: &Advice, current: Option<&Standing>, live: &Live) -> Action {
    match (&advice.recommendation, &advice.refusal) {
        (Some(_), _) if matches!(live, Live::Contradicts { .. }) => Action::MeasureAgain,
        (Some(best), _) if best.is_current => Action::Keep,
        (Some(_), _) => Action::Change,
        (None, Some(refusal)) if refusal.is_infeasible() => Action::Reconsider,
        // Nothing speaks against what runs now.
        (None, _) if current.is_some_and(|current| current.meets == Some(true)) => Action::Keep,
        (None, _) => Action::MeasureAgain,
    }
}

fn confidence(advice: &Advice, live: &Live) -> (Confidence, Vec<String>) {
    let mut reservations = Vec::new();
    let Some(best) = &advice.recommendation else { return (Confidence::Low, reservations) };
    let mut confidence = Confidence::High;
    let mut doubt = |at_most: Confidence, why: String| {
        confidence = confidence.min(at_most);
        reservations.push(why);
    };
    match live {
        Live::Contradicts { .. } => doubt(Confidence::Low, "the live topic contradicts it".to_owned()),
        Live::Unconfirmed { because } => {
            doubt(Confidence::Medium, format!("it was not confirmed on the live topic: {because}"));
        }
        Live::NotAsked if advice.measured => {
            doubt(Confidence::Medium, "it was not confirmed on the live topic".to_owned());
        }
        Live::NotAsked | Live::Agrees => {}
    }
    if !advice.measured {
        doubt(Confidence::Low, "nothing was tried: it is the model's".to_owned());
    }
    let tried = advice.tried(&best.candidate);
    if let Some(tried) = tried.filter(|_| advice.measured) {
        if tried.rounds < 3 {
            doubt(
                Confidence::Medium,
                format!("fewer than three trials of it were completed ({})", tried.rounds),
            );
        }
        if tried.modelled && advice.goal == Goal::Latency {
            doubt(Confidence::Medium, "its p99 is the model's: too few of its batches ended".to_owned());
        }
        if tried.capacity_is_at_least {
            doubt(
                Confidence::Medium,
                "its capacity is that of smaller batches: its own were not measured".to_owned(),
            );
        }
    }
    // Memory and work are counted, whatever rounds there were.
    let by_rounds = advice.measured && matches!(advice.goal, Goal::Latency | Goal::Throughput);
    if best.gain_over_runner_up.as_ref().is_some_and(|gain| by_rounds && !gain.is_certain) {
        reservations.push("its rounds do not tell it apart from the runner-up".to_owned());
    }
    if let Some(profile) = advice.profile.as_ref().filter(|profile| profile.ended_s_ago > 600.0) {
        reservations.push(format!("the workload is that of {:.0} minutes ago", profile.ended_s_ago / 60.0));
    }
    (confidence, reservations)
}
