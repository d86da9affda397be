//! Draws the conclusion of an advice: the advice in, its [`Verdict`] out.

use crate::advice::{Advice, Confirmation};
use crate::candidate::Candidate;
use crate::evaluation::{Evaluation, HEADROOM};
use crate::objective::Goal;
use crate::verdict::{Action, Breach, Confidence, Live, Standing, Verdict};

impl Advice {
    /// Returns the advice with its verdict set.
    #[must_use]
    pub fn concluded(self) -> Self {
        let verdict = Some(Verdict::of(&self));
        Self { verdict, ..self }
    }

    /// Returns how the live topic contradicts the recommendation, if it does.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        /// A confirmation lasts a few seconds only; smaller differences are within its uncertainty.
        const OFF: f64 = 1.25;
        let candidate = &self.recommendation.as_ref()?.candidate;
        // The trials exclude clock differences from the latency, so exclude them here as well.
        let availability = self.profile.as_ref().and_then(|profile| profile.availability);
        let clocks_ms =
            availability.filter(|delays| !delays.least_counts).map_or(0.0, |delays| delays.least_ms);
        let p99_of = |live: &Option<Confirmation>| {
            live.filter(|live| live.records > 0).map(|live| live.p99_ms - clocks_ms)
        };
        let p99_ms = p99_of(&self.confirmation)?;
        // Trials without known delays underestimate the latency.
        let own = self.evaluation(candidate).filter(|_| availability.is_some());
        let expected_ms = own.and_then(|own| own.p99_upper_ms).filter(|upper| p99_ms > upper * OFF);
        let limit_ms = self.p99_limit_ms.filter(|limit| p99_ms > *limit);
        let current_ms = p99_of(&self.current_confirmation).filter(|_| self.goal == Goal::Latency);
        let found = if let Some(limit_ms) = limit_ms {
            format!("above the limit of {limit_ms:.1} ms")
        } else if let Some(current_ms) = current_ms.filter(|current| p99_ms > current * OFF) {
            format!("compared with {current_ms:.1} ms for the current configuration")
        } else {
            format!("compared with at most {:.1} ms in the trials", expected_ms?)
        };
        Some(format!(
            "the live topic contradicts the trials: its p99 is {p99_ms:.1} ms, {found}; measure for longer (--sample, \
             --budget) before relying on this recommendation"
        ))
    }
}

impl Verdict {
    /// Returns the verdict of an advice.
    #[must_use]
    pub fn of(advice: &Advice) -> Self {
        let current = advice.current.as_ref().map(|current| standing(advice, current));
        let live = live(advice);
        let (confidence, reservations) = confidence(advice, &live);
        Self { action: action(advice, current.as_ref(), &live), current, live, confidence, reservations }
    }
}

/// Returns the limit that a candidate violates; `None` if it meets all of them.
#[must_use]
pub fn breach(advice: &Advice, evaluation: &Evaluation) -> Option<Breach> {
    if !evaluation.keeps_up {
        let peak = advice.profile.as_ref().map_or(0.0, |profile| profile.peak_records_per_s);
        let needed_records_per_s = HEADROOM * peak;
        // The worst round decides.
        let least = evaluation.capacity_range.map_or(evaluation.capacity_records_per_s, |(least, _)| least);
        let capacity_records_per_s = evaluation.capacity_records_per_s.min(least);
        return Some(Breach::Rate { capacity_records_per_s, needed_records_per_s });
    }
    let limit_bytes = advice.memory_limit_bytes.filter(|limit| evaluation.memory_bytes > *limit);
    if let Some(limit_bytes) = limit_bytes {
        return Some(Breach::Memory { needed_bytes: evaluation.memory_bytes, limit_bytes });
    }
    let (limit_ms, p99_upper_ms) = advice.p99_limit_ms.zip(evaluation.p99_upper_ms)?;
    (p99_upper_ms > limit_ms).then_some(Breach::Latency { p99_upper_ms, limit_ms })
}

/// Returns a candidate's values against the objective.
#[must_use]
pub fn standing(advice: &Advice, candidate: &Candidate) -> Standing {
    let own = advice.evaluation(candidate);
    Standing {
        candidate: candidate.clone(),
        measured: own.is_some_and(|own| own.rounds > 0),
        meets: own.map(|own| own.is_feasible),
        breaks: own.and_then(|own| breach(advice, own)),
        p99_ms: own.and_then(|own| own.p99_ms),
        p99_upper_ms: own.and_then(|own| own.p99_upper_ms),
    }
}

fn live(advice: &Advice) -> Live {
    if let Some(how) = advice.doubt() {
        return Live::Contradicts { how };
    }
    match (&advice.unconfirmed, &advice.confirmation) {
        (Some(because), _) => Live::Unconfirmed { because: because.clone() },
        (None, Some(live)) if live.records == 0 => {
            Live::Unconfirmed { because: "no record arrived during the confirmation".to_owned() }
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
        // There is no better configuration, and the current one meets the objective.
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
        Live::Contradicts { .. } => {
            doubt(Confidence::Low, "the live topic contradicts the trials".to_owned());
        }
        Live::Unconfirmed { because } => {
            doubt(Confidence::Medium, format!("not confirmed on the live topic: {because}"));
        }
        Live::NotAsked if advice.measured => {
            doubt(Confidence::Medium, "not confirmed on the live topic".to_owned());
        }
        Live::NotAsked | Live::Agrees => {}
    }
    if !advice.measured {
        doubt(Confidence::Low, "all values come from the model, no candidate was tried".to_owned());
    }
    let own = advice.evaluation(&best.candidate);
    if let Some(own) = own.filter(|_| advice.measured) {
        if own.rounds < 3 {
            doubt(
                Confidence::Medium,
                format!("fewer than three trials of the candidate were completed ({})", own.rounds),
            );
        }
        if own.modelled && advice.goal == Goal::Latency {
            doubt(
                Confidence::Medium,
                "the p99 comes from the model, because too few batches were completed".to_owned(),
            );
        }
        if own.capacity_is_at_least {
            doubt(
                Confidence::Medium,
                "the capacity is that of smaller batches, because batches of this size were not measured"
                    .to_owned(),
            );
        }
    }
    // Memory and work are calculated; they do not vary between rounds.
    let by_rounds = advice.measured && matches!(advice.goal, Goal::Latency | Goal::Throughput);
    if best.gain_over_runner_up.as_ref().is_some_and(|gain| by_rounds && !gain.is_certain) {
        reservations.push("the difference from the runner-up is not significant".to_owned());
    }
    if let Some(profile) = advice.profile.as_ref().filter(|profile| profile.ended_s_ago > 600.0) {
        reservations.push(format!("the sampled workload is {:.0} minutes old", profile.ended_s_ago / 60.0));
    }
    (confidence, reservations)
}
