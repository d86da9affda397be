//! What a round did to everybody in it. Each has a stretch of the recording of its own, some harder than
//! others, and not every candidate is in every round: the best must not look worse for having been in more.

use std::collections::BTreeMap;

use crate::candidate::Candidate;
use crate::cost::median;
use crate::predict::ENOUGH_BATCHES;
use crate::trial::Trial;

/// Sweeps until the medians of candidates and of rounds have settled.
const SWEEPS: u32 = 50;

/// The logarithms of the factors by which each round's 99th percentiles are larger than candidates' own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rounds {
    effects: BTreeMap<u32, f64>,
    /// Of the round that was hardest on everybody: what hit one alone, or one of two, was no part of the round.
    hardest: f64,
}

/// A candidate's 99th percentiles over all rounds, those that it was not in included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Across {
    /// In the middle of them.
    pub middle_ms: f64,
    /// In the hardest one.
    pub hardest_ms: f64,
}

impl Rounds {
    /// From the rounds that were long enough, by median polish: each value is its candidate's and its
    /// round's, and what is left over is small in the middle.
    pub fn of(trials: &[Trial]) -> Self {
        let values: Vec<_> = trials.iter().filter_map(|trial| Some((trial, ln_p99(trial)?))).collect();
        let mut effects = BTreeMap::<u32, f64>::new();
        let mut hardest = f64::NEG_INFINITY;
        for _ in 0..SWEEPS {
            let mut own = BTreeMap::<&Candidate, Vec<f64>>::new();
            for (trial, ln_ms) in &values {
                let effect = effects.get(&trial.round).unwrap_or(&0.0);
                own.entry(&trial.candidate).or_default().push(ln_ms - effect);
            }
            let own: BTreeMap<_, _> =
                own.into_iter().map(|(candidate, mut values)| (candidate, median(&mut values))).collect();
            let mut left = BTreeMap::<u32, Vec<f64>>::new();
            for (trial, ln_ms) in &values {
                left.entry(trial.round).or_default().push(ln_ms - own[&trial.candidate]);
            }
            effects = left.iter_mut().map(|(round, values)| (*round, median(values))).collect();
            let of_all =
                left.values().filter(|sorted| sorted.len() > 1).map(|sorted| sorted[(sorted.len() - 1) / 2]);
            hardest = of_all.fold(f64::NEG_INFINITY, f64::max);
        }
        Self { effects, hardest }
    }

    /// What a candidate with these trials would have; none without a round that was long enough.
    pub fn across(&self, trials: &[&Trial]) -> Option<Across> {
        let effect = |trial: &&&Trial| self.effects.get(&trial.round).copied();
        let mut own: Vec<_> =
            trials.iter().filter_map(|trial| Some(ln_p99(trial)? - effect(&trial)?)).collect();
        let mut all: Vec<_> = self.effects.values().copied().collect();
        if own.is_empty() {
            return None;
        }
        let own = median(&mut own);
        Some(Across { middle_ms: (own + median(&mut all)).exp(), hardest_ms: (own + self.hardest).exp() })
    }
}

/// Of a round with enough batches.
fn ln_p99(trial: &Trial) -> Option<f64> {
    let replay = trial.replay.filter(|replay| replay.batches >= ENOUGH_BATCHES && replay.p99_ms > 0.0)?;
    Some(replay.p99_ms.ln())
}
