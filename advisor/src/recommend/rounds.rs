//! Normalises latencies across rounds. Each round replays its own part of the recording, and some parts are harder than
//! others. Candidates that take part in more rounds must not be at a disadvantage.

use std::collections::BTreeMap;

use crate::candidate::Candidate;
use crate::cost::median;
use crate::predict::ENOUGH_BATCHES;
use crate::trial::Trial;

/// Number of iterations of the median polish.
const SWEEPS: u32 = 50;

/// Effects of the rounds on the p99, as logarithms of factors.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rounds {
    effects: BTreeMap<u32, f64>,
    /// Effect of the hardest round, by the lower median of its candidates: a disturbance of a single candidate does not
    /// count.
    hardest: f64,
}

/// p99 of a candidate normalised to all rounds, including rounds that it did not take part in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Across {
    /// p99 in a round of median difficulty.
    pub middle_ms: f64,
    /// p99 in the hardest round.
    pub hardest_ms: f64,
}

impl Rounds {
    /// Estimates the effects of rounds with enough batches by median polish: each value is the sum of a candidate
    /// effect, a round effect and a residual with a median of zero.
    pub(super) fn of(trials: &[Trial]) -> Self {
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

    /// Returns the normalised p99 of a candidate with these trials; `None` if no trial has enough batches.
    pub(super) fn across(&self, trials: &[&Trial]) -> Option<Across> {
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

/// Returns the logarithm of the p99 of a trial with enough batches.
fn ln_p99(trial: &Trial) -> Option<f64> {
    let replay = trial.replay.filter(|replay| replay.batches >= ENOUGH_BATCHES && replay.p99_ms > 0.0)?;
    Some(replay.p99_ms.ln())
}
