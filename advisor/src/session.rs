//! The phases of a run: calibrate, predict every candidate, try the best candidates in rounds. Takes a [`Bench`] and
//! reports every result as soon as it is known, so that the caller can store it before the next one is measured.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

pub use crate::bench::{Bench, Ended, Load, Part, warm_up};
use crate::candidate::Candidate;
use crate::cost::Cost;
use crate::evaluation::Evaluation;
use crate::evidence::{Evidence, Header};
use crate::objective::{Goal, Objective};
use crate::predict::{Arrivals, predict_while};
use crate::recommend::{compare, is_different, recommend, rounds_of, shortlist};
use crate::trial::Trial;

/// Progress of a run: a result, or the next step.
#[derive(Debug)]
pub enum Step<'a> {
    /// Batches of this many records are measured next.
    Calibrating(u64),
    /// A simulation is under way. Reported repeatedly.
    Predicting,
    /// Prediction of a candidate.
    Predicted(&'a Trial),
    /// A candidate is tried next, in this round (from 0). Contains the best candidate so far from the second round on.
    Trying(&'a Candidate, u32, Option<&'a Evaluation>),
    /// Trial of a candidate.
    Tried(&'a Trial),
}

/// Callback that receives the progress and can end the run.
pub type Observe<'a> = &'a mut dyn FnMut(Step<'_>) -> ControlFlow<Ended>;

/// Number of rounds of trials.
pub const ROUNDS: u32 = 4;
/// Number of candidates in the first round.
const FIRST_ROUND: usize = 8;
/// Number of candidates in the first round if there is little time.
const FEWEST: usize = 3;
/// Minimum duration of a trial.
const SHORTEST: Duration = Duration::from_millis(300);

/// Divides the time budget: one fifth for the calibration, four fifths for the trials.
#[must_use]
pub fn shares(budget: Duration) -> (Duration, Duration) {
    (budget / 5, budget / 5 * 4)
}

/// Measures the processing time of batches of several sizes: first in ascending order up to the largest size that fits
/// into the time, then twice more in shuffled order. If the time runs out, the result covers the measurements so far.
///
/// # Errors
/// If the calibration was interrupted, or the time ran out before anything was measured.
pub fn calibrate(
    bench: &mut dyn Bench,
    budget: Duration,
    seed: u64,
    observe: Observe<'_>,
) -> Result<Cost, Ended> {
    const PASSES: u32 = 3;
    const COARSE: [u64; 3] = [100, 1000, 10_000];
    let loads = loads(bench.most_records());
    let length = budget / (PASSES * u32::try_from(loads.len()).unwrap_or(1));
    let mut measured: Vec<(Load, Duration)> = Vec::new();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut wanted = loads;
    // On one thread and on several.
    let mut too_large = [u64::MAX; 2];
    let class = |load: &Load| usize::from(load.is_parallel);
    'passes: for pass in 0..PASSES {
        for load in std::mem::take(&mut wanted) {
            // The loads of the first pass are in ascending order. If a load takes too long because of its size, so do
            // all larger loads. If a batch of one record already takes too long, measure only a few sizes.
            let first = measured.first().map_or(Duration::ZERO, |(_, took)| *took);
            let is_too_long = |(other, took): &(Load, Duration)| {
                *took > length && *took > first * 2 && other.records < load.records
            };
            let is_too_many = first > length && !COARSE.contains(&load.records);
            let is_skipped =
                is_too_many || load.records >= too_large[class(&load)] || measured.iter().any(is_too_long);
            if pass == 0 && is_skipped {
                continue;
            }
            let served = match observe(Step::Calibrating(load.records)) {
                ControlFlow::Break(ended) => Err(ended),
                ControlFlow::Continue(()) => bench.serve(load, length),
            };
            match served {
                Ok(Some(took)) => measured.push((load, took)),
                Ok(None) => too_large[class(&load)] = too_large[class(&load)].min(load.records),
                Err(Ended::OutOfTime) if !measured.is_empty() => break 'passes,
                Err(ended) => return Err(ended),
            }
        }
        // Measure each load once more.
        let mut again: Vec<Load> = Vec::new();
        for (load, _) in &measured {
            if !again.contains(load) {
                again.push(*load);
            }
        }
        random.shuffle(&mut again);
        wanted = again;
    }
    // Discard sizes that were not completed in time in every pass.
    measured.retain(|(load, _)| load.records < too_large[class(load)]);
    cost(&measured).ok_or(Ended::OutOfTime)
}

fn cost(measured: &[(Load, Duration)]) -> Option<Cost> {
    let of = |is_parallel: bool| {
        let own = measured.iter().filter(move |(load, _)| load.is_parallel == is_parallel);
        own.map(|(load, took)| (load.records, *took)).collect::<Vec<_>>()
    };
    Some(Cost::fit(&of(false))?.with_parallel(&of(true)))
}

/// Returns the batch sizes of all candidates up to `most`, and some sizes on several threads, in ascending order.
fn loads(most: u64) -> Vec<Load> {
    const PARALLEL: [u64; 4] = [100, 1000, 10_000, 100_000];
    let all = Candidate::all();
    let sizes = all.iter().map(|candidate| candidate.plan(None).batch_records.max.min(most));
    let sizes: BTreeSet<_> = sizes.collect();
    let single = sizes.into_iter().map(|records| Load { records, is_parallel: false });
    let parallel = PARALLEL.into_iter().filter(|records| *records <= most);
    let parallel = parallel.map(|records| Load { records, is_parallel: true });
    let mut loads: Vec<_> = single.chain(parallel).collect();
    loads.sort_by_key(|load| load.records);
    loads
}

/// Predicts the current configuration, then every candidate within the job's limit on the records per batch. The
/// strategies alternate, so that an early end leaves predictions of all strategies.
pub fn predict_all(header: &Header, arrivals: &Arrivals, observe: Observe<'_>) -> Vec<Trial> {
    let mut predicted = Vec::new();
    for candidate in in_turn(header) {
        let mut goes_on = || match observe(Step::Predicting) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(_) => ControlFlow::Break(()),
        };
        let mut serve = |records| header.cost_of(&candidate, records);
        let Some(trial) = predict_while(&candidate, arrivals, &mut goes_on, &mut serve) else { break };
        let next = observe(Step::Predicted(&trial));
        predicted.push(trial);
        if next.is_break() {
            break;
        }
    }
    predicted
}

/// Returns all candidates of a job: the current configuration, then the strategies in turn.
fn in_turn(header: &Header) -> Vec<Candidate> {
    let mut all = Candidate::all();
    all.retain(|candidate| header.allows(candidate) && header.current.as_ref() != Some(candidate));
    let mut place = BTreeMap::<_, usize>::new();
    let mut numbered: Vec<_> = all
        .into_iter()
        .map(|candidate| {
            let number = place.entry(candidate.strategy).or_default();
            *number += 1;
            (*number, candidate)
        })
        .collect();
    numbered.sort_by_key(|(number, _)| *number);
    header.current.iter().cloned().chain(numbered.into_iter().map(|(_, candidate)| candidate)).collect()
}

/// Tries the best candidates in rounds. Each round halves the number of candidates and keeps the current
/// configuration. All rounds take the same time, so that fewer candidates are tried for longer. Each round replays its
/// own part of the recording, the same for all of its candidates; the first round replays the busiest part. The trials
/// end early if the differences between the remaining candidates are significant. Trials that `evidence` already
/// contains are not repeated.
///
/// # Errors
/// If the trials were ended early.
pub fn try_best(
    bench: &mut dyn Bench,
    evidence: &mut Evidence,
    objective: Objective,
    budget: Duration,
    seed: u64,
    observe: Observe<'_>,
) -> Result<(), Ended> {
    // Trials that are too short have no useful result. With less time, try fewer candidates.
    let most = (budget / ROUNDS).as_millis() / SHORTEST.as_millis();
    let first_round = usize::try_from(most).unwrap_or(FIRST_ROUND).clamp(FEWEST, FIRST_ROUND);
    let mut candidates = shortlist(evidence, objective, first_round);
    for number in 0..ROUNDS {
        let keep = (first_round >> number).max(2);
        let mut best = None;
        if number > 0 {
            let ranked = recommend(evidence, objective).candidates;
            best = ranked.iter().find(|tried| tried.rounds > 0).cloned();
            let current = evidence.header.current.as_ref();
            // A dropped candidate returns if the others turn out to be worse.
            let tried = ranked.iter().filter(|tried| tried.rounds > 0).map(|tried| &tried.candidate);
            let mut next: Vec<_> = tried.take(keep).cloned().collect();
            if are_told_apart(evidence, &next, objective.goal) {
                break;
            }
            next.extend(current.filter(|current| !next.contains(current)).cloned());
            candidates = next;
        }
        let mut round = candidates.clone();
        // Shuffle the order, so that drift over time does not favour any candidate.
        fastrand::Rng::with_seed(seed ^ u64::from(number)).shuffle(&mut round);
        let each = budget / ROUNDS / u32::try_from(round.len()).unwrap_or(u32::MAX).max(1);
        let replay = each * 4 / 5;
        let from = beginning(&evidence.header, number, replay);
        let part = Part { round: number, saturated: each / 5, replay, from };
        for candidate in &round {
            let is_known = |trial: &Trial| trial.candidate == *candidate && trial.round == number;
            if evidence.trials.iter().any(is_known) {
                continue;
            }
            if let ControlFlow::Break(ended) = observe(Step::Trying(candidate, number, best.as_ref())) {
                return Err(ended);
            }
            let trial = bench.try_candidate(candidate, part)?;
            let next = observe(Step::Tried(&trial));
            evidence.trials.push(trial);
            if let ControlFlow::Break(ended) = next {
                return Err(ended);
            }
        }
    }
    evidence.is_complete = true;
    Ok(())
}

/// Returns the position in the recording at which a round begins. The first round begins such that the busiest second
/// follows the warm-up; the other rounds begin at even distances.
fn beginning(header: &Header, round: u32, replay: Duration) -> Duration {
    let period = Duration::from_secs_f64(header.profile.seconds.max(0.0));
    match round {
        0 => Duration::from_secs_f64(header.profile.peak_at_s.max(0.0)).saturating_sub(warm_up(replay)),
        round => period / (ROUNDS - 1) * (round - 1),
    }
}

/// Returns true if the first candidate differs significantly from each of the others.
fn are_told_apart(evidence: &Evidence, candidates: &[Candidate], goal: Goal) -> bool {
    let Some((first, others)) = candidates.split_first() else { return false };
    let apart = |other: &Candidate| {
        compare(&rounds_of(evidence, first), &rounds_of(evidence, other), goal).is_some_and(is_different)
    };
    !others.is_empty() && others.iter().all(apart)
}

#[cfg(test)]
mod tests;
