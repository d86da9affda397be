//! The order of work: calibrate, predict every candidate, try the best in rounds. What tries them comes in;
//! evidence comes out, piece by piece, so that each can be kept before the next one is sought.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::advice::Wishes;
use crate::candidate::Candidate;
use crate::cost::Cost;
use crate::predict::{Arrivals, predict};
use crate::recommend::{recommend, shortlist};
use crate::trial::{Evidence, Header, Trial};

/// What batches are measured on: the real engine, or a simulated one that nobody but a test needs.
pub trait Bench {
    /// What one batch of so many records takes, over `length`; none where it was interrupted.
    fn serve(&mut self, records: u64, length: Duration) -> Option<Duration>;
    /// Tries a candidate once; none where it was interrupted.
    fn try_candidate(&mut self, candidate: &Candidate, lengths: Lengths) -> Option<Trial>;
}

/// How long each part of a trial takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// All records at once.
    pub saturated: Duration,
    /// At the recorded times, the warm-up included.
    pub replay: Duration,
}

/// What has just been found out, or what is done next.
#[derive(Debug)]
pub enum Step<'a> {
    /// Batches of so many records are measured.
    Calibrating(u64),
    /// What a candidate would do.
    Predicted(&'a Trial),
    /// A candidate is tried in this round, from 0; the best so far is known from the second on.
    Trying(&'a Candidate, u32, Option<&'a Candidate>),
    /// It was.
    Tried(&'a Trial),
}

/// Who is told, and may end the work.
pub type Observe<'a> = &'a mut dyn FnMut(Step<'_>) -> ControlFlow<()>;

/// Rounds of trials.
pub const ROUNDS: u32 = 4;
/// How many are tried in the first round.
const FIRST_ROUND: usize = 8;
/// Of the budget: a fifth for the calibration, the rest for trials.
#[must_use]
pub fn shares(budget: Duration) -> (Duration, Duration) {
    (budget / 5, budget / 5 * 4)
}

/// Measures what batches of some sizes take: the smallest first, as long as they fit into the time, then in
/// a shuffled order once more. `None` where it was ended before anything was known.
pub fn calibrate(bench: &mut dyn Bench, budget: Duration, seed: u64, observe: Observe<'_>) -> Option<Cost> {
    const PASSES: u32 = 3;
    let sizes = sizes();
    let length = budget / (PASSES * u32::try_from(sizes.len()).unwrap_or(1));
    let mut measured: Vec<(u64, Duration)> = Vec::new();
    for records in &sizes {
        let records = *records;
        let last = measured.last().map_or(Duration::ZERO, |(_, took)| *took);
        if last > length || observe(Step::Calibrating(records)).is_break() {
            break;
        }
        let Some(took) = bench.serve(records, length) else { return Cost::fit(&measured) };
        measured.push((records, took));
    }
    let first_pass = measured.len();
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 1..PASSES {
        let mut again = sizes[..first_pass].to_vec();
        random.shuffle(&mut again);
        for records in again {
            if observe(Step::Calibrating(records)).is_break() {
                return Cost::fit(&measured);
            }
            let Some(took) = bench.serve(records, length) else { return Cost::fit(&measured) };
            measured.push((records, took));
        }
    }
    Cost::fit(&measured)
}

/// The sizes that candidates have, up to where a batch is a load of its own.
fn sizes() -> Vec<u64> {
    const MOST: u64 = 10_000;
    let all = Candidate::all();
    let sizes = all.iter().map(|candidate| candidate.plan(None).batch_records.max);
    let sizes: BTreeSet<_> = sizes.filter(|records| *records <= MOST).collect();
    sizes.into_iter().collect()
}

/// Predicts every candidate, and what runs now.
pub fn predict_all(header: &Header, arrivals: &Arrivals, observe: Observe<'_>) -> Vec<Trial> {
    let all = Candidate::all();
    let known: Vec<_> = header.current.iter().filter(|current| !all.contains(current)).cloned().collect();
    let mut predicted = Vec::new();
    for candidate in all.iter().chain(&known) {
        let trial = predict(candidate, arrivals, &mut |records| header.cost.of(records));
        let goes_on = observe(Step::Predicted(&trial));
        predicted.push(trial);
        if goes_on.is_break() {
            break;
        }
    }
    predicted
}

/// Tries the best candidates in rounds: half of them go on to the next one each time, and what runs now
/// always does. Each round has the same time, so that fewer are tried for longer. Trials that `evidence`
/// holds already count for their rounds.
pub fn try_best(
    bench: &mut dyn Bench,
    evidence: &mut Evidence,
    wishes: Wishes,
    budget: Duration,
    seed: u64,
    observe: Observe<'_>,
) {
    let mut candidates = shortlist(evidence, wishes, FIRST_ROUND);
    let mut best = None;
    for number in 0..ROUNDS {
        let keep = (FIRST_ROUND >> number).max(2);
        if number > 0 {
            let ranked = recommend(evidence, wishes).candidates;
            best = ranked.iter().find(|tried| tried.rounds > 0).map(|tried| tried.candidate.clone());
            let current = evidence.header.current.as_ref();
            let goes_on =
                ranked.iter().map(|tried| &tried.candidate).filter(|tried| candidates.contains(tried));
            let mut next: Vec<_> = goes_on.clone().take(keep).cloned().collect();
            next.extend(current.filter(|current| !next.contains(current)).cloned());
            candidates = next;
        }
        let mut round = candidates.clone();
        // The order is shuffled, so that whatever drifts over time hits no candidate in particular.
        fastrand::Rng::with_seed(seed ^ u64::from(number)).shuffle(&mut round);
        let each = budget / ROUNDS / u32::try_from(round.len()).unwrap_or(u32::MAX).max(1);
        let lengths = Lengths { saturated: each / 5, replay: each * 4 / 5 };
        for candidate in &round {
            let rounds = evidence.trials.iter().filter(|trial| trial.candidate == *candidate).count();
            if rounds > number as usize {
                continue;
            }
            if observe(Step::Trying(candidate, number, best.as_ref())).is_break() {
                return;
            }
            let Some(trial) = bench.try_candidate(candidate, lengths) else { return };
            let goes_on = observe(Step::Tried(&trial));
            evidence.trials.push(trial);
            if goes_on.is_break() {
                return;
            }
        }
    }
    evidence.is_complete = true;
}

#[cfg(test)]
mod tests;
