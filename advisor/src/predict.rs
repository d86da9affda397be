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
    /// In the order in which they can be read.
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
            delay: record.delay,
            bytes: record.payload_bytes(),
            offset,
        };
        Self { arrivals: (0..).zip(recording).map(arrival).collect(), period }.excerpt()
    }

    /// Of long ones a few stretches, one behind the other: the densest one, and others at even distances.
    fn excerpt(self) -> Self {
        const STRETCHES: usize = 4;
        const EACH: usize = MOST_ARRIVALS / STRETCHES;
        let count = self.arrivals.len();
        if count <= MOST_ARRIVALS {
            return self;
        }
        // How long it is from a stretch's first arrival to the one behind its last one.
        let length = |first: usize| {
            let end = self.arrivals.get(first + EACH).map_or(self.period, Arrival::available);
            end.saturating_sub(self.arrivals[first].available())
        };
        let densest = (0..=count - EACH).min_by_key(|first| length(*first)).unwrap_or(0);
        let spread = (1..STRETCHES).map(|number| (number - 1) * (count - EACH) / (STRETCHES - 2));
        let mut excerpt = Self { arrivals: Vec::with_capacity(MOST_ARRIVALS), period: Duration::ZERO };
        for first in [densest].into_iter().chain(spread) {
            let begin = self.arrivals[first].available();
            for arrival in &self.arrivals[first..first + EACH] {
                let offset = i64::try_from(excerpt.arrivals.len()).unwrap_or(i64::MAX);
                let available = excerpt.period + arrival.available().saturating_sub(begin);
                // The first ones may have had their times before the stretch began.
                let delay = arrival.delay.min(available);
                excerpt.arrivals.push(Arrival {
                    at: available.saturating_sub(delay),
                    delay,
                    offset,
                    ..*arrival
                });
            }
            excerpt.period += length(first);
        }
        excerpt
    }

    /// The same ones, coming faster by a factor.
    #[must_use]
    pub fn faster(&self, factor: f64) -> Self {
        let sooner = |arrival: &Arrival| {
            let (at, delay) = (arrival.at.div_f64(factor), arrival.delay.div_f64(factor));
            Arrival { at, delay, ..*arrival }
        };
        Self { arrivals: self.arrivals.iter().map(sooner).collect(), period: self.period.div_f64(factor) }
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
            Arrival {
                at: Duration::from_secs_f64(at_s.min(1e9)),
                bytes: record_bytes,
                offset,
                ..Arrival::default()
            }
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
        let sum: u128 = self.arrivals.iter().map(|arrival| u128::from(arrival.bytes)).sum();
        u64::try_from(sum / (self.arrivals.len() as u128).max(1)).unwrap_or(u64::MAX)
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
        (0_i64..).zip(sizes).take(count).map(|(offset, bytes)| Arrival {
            bytes,
            offset,
            ..Arrival::default()
        })
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
    let candidate = candidate.clone();
    Trial { candidate, round: 0, capacity_records_per_s: Some(capacity), replay, failed_share: 0.0 }
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
            ..Arrival::default()
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
    fn of_long_arrivals_the_densest_stretch_and_others_are_looked_at() {
        // A record every 100 ms for over an hour, and 5,000 within one second after a quarter of it.
        let sparse = (0..40_000_u64).map(|n| 100 * n);
        let mut times: Vec<_> = sparse.chain((0..5000).map(|n| 1_000_000 + n / 5)).collect();
        times.sort_unstable();
        let record = |ms: u64| Recorded { at: Duration::from_millis(ms), ..Recorded::default() };
        let recording: Vec<_> = times.into_iter().map(record).collect();
        let arrivals = Arrivals::of(&recording, Duration::from_secs(4000));
        assert_eq!(arrivals.arrivals.len(), MOST_ARRIVALS);
        assert!(arrivals.arrivals.is_sorted_by_key(|arrival| arrival.at));
        assert!(arrivals.arrivals.is_sorted_by(|a, b| a.offset + 1 == b.offset));
        let within = |from: f64, to: f64| {
            let at = |arrival: &&Arrival| (from..to).contains(&arrival.at.as_secs_f64());
            arrivals.arrivals.iter().filter(at).count()
        };
        let dense = within(0.0, 1.0);
        assert!((3000..3020).contains(&dense), "{dense}");
        assert!((990..=1000).contains(&within(1.0, 101.0)));
        // Three quarters of them are as sparse as they mostly are.
        assert!((890.0..910.0).contains(&arrivals.period.as_secs_f64()), "{:?}", arrivals.period);
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
