//! What would happen: a candidate, arrivals and the cost of batches in, a trial in virtual time out. The
//! machine that decides is the engine's own.

use std::time::Duration;

use velo_engine::JobConfig;
use velo_engine::simulate::{Arrival, simulate};
use velo_engine::source::replay::Recorded;

use velo_schema::StrategyKind;

use crate::candidate::Candidate;
use crate::trial::{Replay, Trial};

/// Arrivals over a time, which may be repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrivals {
    /// In the order of their times.
    pub arrivals: Vec<Arrival>,
    /// How long they take.
    pub period: Duration,
}

/// Batches that a measured 99th percentile rests on at least.
pub(crate) const ENOUGH_BATCHES: u64 = 20;
/// Arrivals that one prediction looks at at most.
const MOST_ARRIVALS: usize = 12_000;
/// Batches that a prediction sees at least, as far as that bound allows it.
const PREDICTED_BATCHES: f64 = 8.0;
/// Fewer say too little about a 99th percentile.
const ENOUGH_ARRIVALS: usize = 1500;

impl Arrivals {
    /// Those of a recording.
    #[must_use]
    pub fn of(recording: &[Recorded], period: Duration) -> Self {
        let arrival = |(offset, record): (i64, &Recorded)| Arrival {
            at: record.at,
            bytes: record.payload_bytes(),
            offset,
        };
        Self { arrivals: (0..).zip(recording).map(arrival).collect(), period }
    }

    /// Random ones at a mean rate, which nobody has recorded: the same each time.
    #[must_use]
    pub fn random(records_per_s: f64, record_bytes: u64) -> Self {
        let rate = records_per_s.max(1e-3);
        let mut random = fastrand::Rng::with_seed(1);
        let mut at_s = 0.0;
        let count = 4 * ENOUGH_ARRIVALS;
        let mut arrival = |offset: usize| {
            at_s -= (1.0 - random.f64()).ln() / rate;
            let offset = i64::try_from(offset).unwrap_or(i64::MAX);
            Arrival { at: Duration::from_secs_f64(at_s.min(1e9)), bytes: record_bytes, offset }
        };
        let arrivals: Vec<_> = (0..count).map(&mut arrival).collect();
        // To where the next one would come.
        let period =
            arrivals.last().map_or(Duration::ZERO, |last| last.at) + Duration::from_secs_f64(1.0 / rate);
        Self { arrivals, period }
    }

    /// The mean rate.
    #[must_use]
    pub fn records_per_s(&self) -> f64 {
        self.arrivals.len() as f64 / self.period.as_secs_f64().max(1e-9)
    }

    fn mean_bytes(&self) -> u64 {
        self.arrivals.iter().map(|arrival| arrival.bytes).sum::<u64>() / (self.arrivals.len() as u64).max(1)
    }

    /// As many rounds as it takes to see enough batches and records, as far as that is bounded.
    fn repeated(&self, seconds: f64) -> impl Iterator<Item = Arrival> + '_ {
        let count = self.arrivals.len().max(1);
        let for_time = (seconds / self.period.as_secs_f64().max(1e-9)).ceil();
        let for_count = (ENOUGH_ARRIVALS as f64 / count as f64).ceil();
        let most = (MOST_ARRIVALS / count).max(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is bounded"
        )]
        let rounds = (for_time.max(for_count) as usize).clamp(1, most);
        let round = move |round: usize| {
            let round = u32::try_from(round).unwrap_or(u32::MAX);
            let first = i64::from(round) * i64::try_from(count).unwrap_or(i64::MAX);
            self.arrivals.iter().map(move |arrival| Arrival {
                at: self.period * round + arrival.at,
                offset: first + arrival.offset,
                ..*arrival
            })
        };
        (0..rounds).flat_map(round)
    }

    /// All of them there from the beginning, `count` in all.
    fn at_once(&self, count: usize) -> impl Iterator<Item = Arrival> + '_ {
        let sizes = self.arrivals.iter().map(|arrival| arrival.bytes).cycle();
        (0_i64..).zip(sizes).take(count).map(|(offset, bytes)| Arrival { at: Duration::ZERO, bytes, offset })
    }
}

/// Simulates a candidate on these arrivals, where a batch takes what `serve` says: everything at once, then
/// at the recorded times where it keeps up.
#[must_use]
pub fn predict(candidate: &Candidate, arrivals: &Arrivals, serve: &mut dyn FnMut(u64) -> Duration) -> Trial {
    let config = JobConfig::uniform(candidate.config());
    let capacity = capacity(candidate, &config, arrivals, serve);
    let keeps_up = capacity >= arrivals.records_per_s();
    let replay = keeps_up.then(|| {
        let records = candidate.plan(Some(arrivals.mean_bytes())).batch_records.max;
        let filled_after_s = records as f64 / arrivals.records_per_s();
        let wait_s = candidate.config().strategy.max_wait().as_secs_f64();
        let times = arrivals.repeated(wait_s.min(filled_after_s) * PREDICTED_BATCHES);
        let report = simulate(&config, times, |rows, _| serve(rows.len() as u64).into()).report;
        Replay::of(&report)
    });
    Trial { candidate: candidate.clone(), capacity_records_per_s: Some(capacity), replay }
}

/// Records a second with all of them there at once. Batches of a known size are full then; how large those of
/// a window or of a controller become, the machine has to tell.
fn capacity(
    candidate: &Candidate,
    config: &JobConfig,
    arrivals: &Arrivals,
    serve: &mut dyn FnMut(u64) -> Duration,
) -> f64 {
    let per_s = |records: u64, took: Duration| records as f64 / took.as_secs_f64().max(1e-9);
    let largest = candidate.plan(Some(arrivals.mean_bytes())).batch_records;
    if !matches!(candidate.strategy, StrategyKind::TimeWindow | StrategyKind::AdaptiveSize) {
        return per_s(largest.max, serve(largest.max));
    }
    let run = simulate(config, arrivals.at_once(MOST_ARRIVALS), |rows, _| serve(rows.len() as u64).into());
    // The first ones have not found their size yet, and the last one may be a remainder.
    let sizes: Vec<_> = run.sealed.iter().map(|batch| batch.records).collect();
    let settled = &sizes[sizes.len() / 2..sizes.len().saturating_sub(1).max(sizes.len() / 2 + 1)];
    per_s(settled.iter().sum(), settled.iter().map(|records| serve(*records)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str) -> Candidate {
        Candidate::all().into_iter().find(|candidate| candidate.to_string() == text).expect(text)
    }

    fn cost(records: u64) -> Duration {
        Duration::from_millis(5) + Duration::from_micros(100) * u32::try_from(records).unwrap()
    }

    /// A thousand a second.
    fn even() -> Arrivals {
        let arrival = |ms: i64| Arrival {
            at: Duration::from_millis(u64::try_from(ms).unwrap()),
            bytes: 100,
            offset: ms,
        };
        Arrivals { arrivals: (0..2000).map(arrival).collect(), period: Duration::from_secs(2) }
    }

    #[test]
    fn what_is_predicted_can_be_checked_by_hand() {
        // 1,000 records a second: 100 records take 100 ms to come and 15 ms to process.
        let arrivals = even();
        let trial = predict(&candidate("fixed_size 100, 1s"), &arrivals, &mut cost);
        assert!((trial.capacity_records_per_s.unwrap() - 100.0 / 0.015).abs() < 1.0, "{trial:?}");
        let replay = trial.replay.unwrap();
        assert!((replay.p99_ms - 114.0).abs() < 2.0, "{replay:?}");
        // One record takes 5.1 ms, and one comes every millisecond.
        let alone = predict(&candidate("low_latency 1"), &arrivals, &mut cost);
        assert!((alone.capacity_records_per_s.unwrap() - 1.0 / 0.0051).abs() < 1.0, "{alone:?}");
        assert_eq!(alone.replay, None);
    }

    #[test]
    fn every_candidate_can_be_predicted() {
        let arrivals = Arrivals::random(1000.0, 100);
        for candidate in Candidate::all() {
            let trial = predict(&candidate, &arrivals, &mut cost);
            assert!(trial.capacity_records_per_s > Some(100.0), "{candidate}: {trial:?}");
            assert!(trial.replay.is_none_or(|replay| replay.batches > 0), "{candidate}: {trial:?}");
        }
    }
}
