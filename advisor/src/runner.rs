//! Tries candidates: the recorded arrivals, replayed open loop through the real engine.

use std::sync::Arc;
use std::time::Duration;

use velo_engine::processor::{Forward, Processor};
use velo_engine::report::Report;
use velo_engine::source::replay::{Pace, Recording, ReplaySource};
use velo_engine::{Engine, JobConfig};

use crate::candidate::Candidate;
use crate::profile::Profile;
use crate::trial::{Replay, Trial, Work};

/// A workload to try candidates on.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The recorded arrivals.
    pub recording: Recording,
    /// How long the recording is.
    pub period: Duration,
    /// Its profile.
    pub profile: Profile,
    /// What a batch costs.
    pub work: Work,
}

/// How long each part of a trial takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// All records at once.
    pub saturated: Duration,
    /// At the recorded times, the warm-up included.
    pub replay: Duration,
}

/// A round: who is tried, for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// In this order.
    pub candidates: Vec<Candidate>,
    /// For this long each.
    pub lengths: Lengths,
}

/// How many rounds there are; half of the candidates go on to the next one each time.
pub const ROUNDS: u32 = 3;

/// The round after `best`, the candidates so far from the best on; `budget` is for all rounds.
///
/// Each round has a third of the budget, so that fewer candidates are tried for longer.
#[must_use]
pub fn round(number: u32, best: &[Candidate], budget: Duration, seed: u64) -> Round {
    let keep = (best.len() >> number).max(2).min(best.len());
    let mut candidates = best[..keep].to_vec();
    // The order is shuffled, so that whatever drifts over time hits no candidate in particular.
    fastrand::Rng::with_seed(seed ^ u64::from(number)).shuffle(&mut candidates);
    let each = budget / ROUNDS / u32::try_from(keep).unwrap_or(u32::MAX).max(1);
    Round { candidates, lengths: Lengths { saturated: each / 5, replay: each * 4 / 5 } }
}

/// Tries a candidate once.
#[must_use]
pub fn try_candidate(workload: &Workload, candidate: Candidate, lengths: Lengths) -> Trial {
    let saturated = replay(workload, candidate, lengths.saturated, Pace::Saturated);
    let capacity = saturated.records_per_s;
    let keeps_up = capacity >= workload.profile.records_per_s;
    let replay = keeps_up.then(|| replay(workload, candidate, lengths.replay, Pace::Recorded));
    Trial {
        candidate,
        capacity_records_per_s: capacity,
        replay: replay.map(|report| Replay {
            records_per_s: report.records_per_s,
            p50_ms: report.latency_ms.p50,
            p99_ms: report.latency_ms.p99,
            batches: report.batches.count,
        }),
    }
}

fn replay(workload: &Workload, candidate: Candidate, length: Duration, pace: Pace) -> Report {
    let source = ReplaySource::new(Arc::clone(&workload.recording), workload.period, length, pace);
    let mut config = JobConfig::uniform(candidate.config());
    config.warm_up = length / 5;
    Engine::builder(config).boxed_processor(processor(workload.work)).run(source, &mut |_| {})
}

/// A processor that takes as long as the work does.
#[must_use]
pub fn processor(work: Work) -> Box<dyn Processor> {
    let synthetic = work.synthetic();
    if synthetic.service_time(1).is_zero() { Box::new(Forward) } else { Box::new(synthetic) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_halve_the_candidates_and_share_the_budget() {
        let all = Candidate::all();
        let budget = Duration::from_secs(30);
        let sizes: Vec<_> =
            (0..ROUNDS).map(|number| round(number, &all, budget, 1).candidates.len()).collect();
        assert_eq!(sizes, [all.len(), all.len() / 2, 2]);
        for number in 0..ROUNDS {
            let Round { candidates, lengths } = round(number, &all, budget, 1);
            let count = u32::try_from(candidates.len()).unwrap();
            assert!((lengths.saturated + lengths.replay) * count <= budget / ROUNDS);
        }
    }
}
