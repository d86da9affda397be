//! The order of work: calibrate, predict every candidate, try the best in rounds. What tries them comes in;
//! evidence comes out, piece by piece, so that each can be kept before the next one is sought.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::advice::{Goal, Tried, Wishes};
use crate::candidate::Candidate;
use crate::cost::Cost;
use crate::predict::{Arrivals, predict_while};
use crate::recommend::{compare, is_different, recommend, rounds_of, shortlist};
use crate::trial::{Evidence, Header, Trial};

/// What batches are measured on: the real engine, or a simulated one that nobody but a test needs.
pub trait Bench {
    /// What one batch of a load takes, over `length`; `None` if not one was done in any time worth waiting for.
    ///
    /// # Errors
    /// If it ended before its time.
    fn serve(&mut self, load: Load, length: Duration) -> Result<Option<Duration>, Ended>;
    /// The most records that a batch can have here.
    fn most_records(&self) -> u64 {
        u64::MAX
    }
    /// Tries a candidate once.
    ///
    /// # Errors
    /// Where it ended before its time.
    fn try_candidate(&mut self, candidate: &Candidate, part: Part) -> Result<Trial, Ended>;
}

/// Batches of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Records of a batch.
    pub records: u64,
    /// Whether each is processed on several threads.
    pub is_parallel: bool,
}

/// Which part of the recording a round's trials replay, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The round, from 0.
    pub round: u32,
    /// All records at once.
    pub saturated: Duration,
    /// At the recorded times, the warm-up included.
    pub replay: Duration,
    /// Where in the recording that begins.
    pub from: Duration,
}

/// Why measuring ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Somebody wanted it to.
    Interrupted,
    /// The budget is used up.
    OutOfTime,
    /// Not one record could be processed: the first error.
    EveryRecordFailed(String),
}

/// What has just been found out, or what is done next.
#[derive(Debug)]
pub enum Step<'a> {
    /// Batches of so many records are measured.
    Calibrating(u64),
    /// A candidate is being simulated: said again and again.
    Predicting,
    /// What a candidate would do.
    Predicted(&'a Trial),
    /// A candidate is tried in this round, from 0; the best so far is known from the second on.
    Trying(&'a Candidate, u32, Option<&'a Tried>),
    /// It was.
    Tried(&'a Trial),
}

/// Who is told, and may end the work.
pub type Observe<'a> = &'a mut dyn FnMut(Step<'_>) -> ControlFlow<Ended>;

/// Rounds of trials.
pub const ROUNDS: u32 = 4;
/// How many are tried in the first round, and how many if there is little time.
const FIRST_ROUND: usize = 8;
const FEWEST: usize = 3;
/// What a trial takes at least.
const SHORTEST: Duration = Duration::from_millis(300);
/// Of the budget: a fifth for the calibration, the rest for trials.
#[must_use]
pub fn shares(budget: Duration) -> (Duration, Duration) {
    (budget / 5, budget / 5 * 4)
}

/// Measures what batches of some sizes take: the smallest first, as long as they fit into the time, then in
/// a shuffled order twice more. If the time is over before that, what was measured has to do.
///
/// # Errors
/// If somebody ended it, or the time was over before anything was measured.
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
            // In the first pass the loads grow; what is larger than one that takes too long by its size does, too.
            // Where a batch of one record takes too long already, a few sizes must do.
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
        // Each once more.
        let mut again: Vec<Load> = Vec::new();
        for (load, _) in &measured {
            if !again.contains(load) {
                again.push(*load);
            }
        }
        random.shuffle(&mut again);
        wanted = again;
    }
    // A size that was done in time once, and not again, is one that was not measured.
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

/// The sizes that candidates have, up to `most`, and some of them on several threads, the smallest first.
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

/// Predicts every candidate that keeps to the job's cap, and what runs now: that first, then one of each strategy in
/// turn, so that whatever ends it, all strategies are among those that were predicted.
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

/// All candidates of a job: what runs now, then the strategies in turn.
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

/// Tries the best candidates in rounds: half as many go on to the next one each time, and what runs now
/// always does. Each round has the same time, so that fewer are tried for longer, and a part of the recording of
/// its own, which is the same for all: first the busiest one. It ends when those that are left are told apart.
/// Trials that `evidence` holds already count for their rounds.
///
/// # Errors
/// Where it was ended before its time.
pub fn try_best(
    bench: &mut dyn Bench,
    evidence: &mut Evidence,
    wishes: Wishes,
    budget: Duration,
    seed: u64,
    observe: Observe<'_>,
) -> Result<(), Ended> {
    // Of trials that are too short nothing can be said: with less time there are fewer.
    let most = (budget / ROUNDS).as_millis() / SHORTEST.as_millis();
    let first_round = usize::try_from(most).unwrap_or(FIRST_ROUND).clamp(FEWEST, FIRST_ROUND);
    let mut candidates = shortlist(evidence, wishes, first_round);
    for number in 0..ROUNDS {
        let keep = (first_round >> number).max(2);
        let mut best = None;
        if number > 0 {
            let ranked = recommend(evidence, wishes).candidates;
            best = ranked.iter().find(|tried| tried.rounds > 0).cloned();
            let current = evidence.header.current.as_ref();
            // Who was left behind comes back where the others turn out to be worse.
            let tried = ranked.iter().filter(|tried| tried.rounds > 0).map(|tried| &tried.candidate);
            let mut next: Vec<_> = tried.take(keep).cloned().collect();
            if are_told_apart(evidence, &next, wishes.goal) {
                break;
            }
            next.extend(current.filter(|current| !next.contains(current)).cloned());
            candidates = next;
        }
        let mut round = candidates.clone();
        // The order is shuffled, so that whatever drifts over time hits no candidate in particular.
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

/// Where a round's part of the recording begins: for the first one so that the busiest second is behind its
/// warm-up, for the others at even distances.
fn beginning(header: &Header, round: u32, replay: Duration) -> Duration {
    let period = Duration::from_secs_f64(header.profile.seconds.max(0.0));
    match round {
        0 => Duration::from_secs_f64(header.profile.peak_at_s.max(0.0)).saturating_sub(warm_up(replay)),
        round => period / (ROUNDS - 1) * (round - 1),
    }
}

/// How much of a replay is left out of its latencies.
#[must_use]
pub fn warm_up(replay: Duration) -> Duration {
    replay / 5
}

/// Whether the first is surely better than each of the others.
fn are_told_apart(evidence: &Evidence, candidates: &[Candidate], goal: Goal) -> bool {
    let Some((first, others)) = candidates.split_first() else { return false };
    let apart = |other: &Candidate| {
        compare(&rounds_of(evidence, first), &rounds_of(evidence, other), goal).is_some_and(is_different)
    };
    !others.is_empty() && others.iter().all(apart)
}

#[cfg(test)]
mod tests;
