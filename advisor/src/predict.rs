//! Predicts a candidate: arrivals and the cost of batches in, a trial in virtual time out. The simulation uses the
//! engine's own state machine.

use std::ops::ControlFlow;
use std::time::Duration;

use velo_engine::JobConfig;
use velo_engine::simulate::{Arrival, Bounds, Cut, Simulation, simulate_within};
use velo_engine::source::replay::Recorded;

use velo_schema::StrategyKind;

use crate::candidate::Candidate;
use crate::trial::{Replay, Trial};

/// Arrivals of a period, which can be repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrivals {
    /// Arrivals, in the order in which they can be read.
    pub arrivals: Vec<Arrival>,
    /// Length of the period.
    pub period: Duration,
}

/// Smallest number of batches for a measured p99.
pub(crate) const ENOUGH_BATCHES: u64 = 20;
/// Largest number of arrivals in a prediction.
const MOST_ARRIVALS: usize = 12_000;
/// Smallest number of batches in a prediction, within the limit on arrivals.
const PREDICTED_BATCHES: f64 = 8.0;
/// Smallest number of arrivals for a predicted p99.
const ENOUGH_ARRIVALS: usize = 1500;

impl Arrivals {
    /// Returns the arrivals of a recording; of a long recording, an excerpt.
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

    /// Returns an excerpt of long arrivals: the densest stretch, followed by stretches at even distances.
    fn excerpt(self) -> Self {
        const STRETCHES: usize = 4;
        const EACH: usize = MOST_ARRIVALS / STRETCHES;
        let count = self.arrivals.len();
        if count <= MOST_ARRIVALS {
            return self;
        }
        // Returns the time from the first arrival of a stretch to the first arrival after it.
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
                // The first records may have timestamps before the beginning of the stretch.
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

    /// Returns the same arrivals at `factor` times the rate. The delays until records can be read stay the same.
    #[must_use]
    pub fn faster(&self, factor: f64) -> Self {
        let sooner = |arrival: &Arrival| Arrival { at: arrival.at.div_f64(factor), ..*arrival };
        let mut arrivals: Vec<_> = self.arrivals.iter().map(sooner).collect();
        // Offsets follow the order in which records can be read.
        arrivals.sort_by_key(Arrival::available);
        for (offset, arrival) in (0..).zip(&mut arrivals) {
            arrival.offset = offset;
        }
        Self { arrivals, period: self.period.div_f64(factor) }
    }

    /// Returns random arrivals at a mean rate. The same arguments give the same arrivals.
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
        // The period ends at the expected time of the next arrival.
        let period =
            arrivals.last().map_or(Duration::ZERO, |last| last.at) + Duration::from_secs_f64(1.0 / rate);
        Self { arrivals, period }
    }

    /// Returns the mean rate.
    #[must_use]
    pub fn records_per_s(&self) -> f64 {
        self.arrivals.len() as f64 / self.period.as_secs_f64().max(1e-9)
    }

    fn mean_bytes(&self) -> u64 {
        let sum: u128 = self.arrivals.iter().map(|arrival| u128::from(arrival.bytes)).sum();
        u64::try_from(sum / (self.arrivals.len() as u128).max(1)).unwrap_or(u64::MAX)
    }

    /// Repeats the arrivals until there are enough batches and records, within the limit on arrivals.
    fn repeated(&self, seconds: f64) -> Vec<Arrival> {
        let count = self.arrivals.len().max(1);
        let for_time = (seconds / self.period.as_secs_f64().max(1e-9)).ceil();
        let for_count = (ENOUGH_ARRIVALS as f64 / count as f64).ceil();
        let most = (MOST_ARRIVALS / count).max(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is clamped"
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
        (0..rounds).flat_map(round).collect()
    }

    /// Returns `count` arrivals of the same sizes, all available from the beginning.
    fn at_once(&self, count: usize) -> impl Iterator<Item = Arrival> + '_ {
        let sizes = self.arrivals.iter().map(|arrival| arrival.bytes).cycle();
        (0_i64..).zip(sizes).take(count).map(|(offset, bytes)| Arrival {
            bytes,
            offset,
            ..Arrival::default()
        })
    }
}

/// Callback that is called repeatedly during a simulation and can end it.
pub type GoesOn<'a> = &'a mut dyn FnMut() -> ControlFlow<()>;

/// Simulates a candidate, first with all records available at once, then at the recorded times if the candidate keeps
/// up. `serve` returns the processing time of a batch.
#[must_use]
pub fn predict(candidate: &Candidate, arrivals: &Arrivals, serve: &mut dyn FnMut(u64) -> Duration) -> Trial {
    let mut goes_on = || ControlFlow::Continue(());
    predict_while(candidate, arrivals, &mut goes_on, serve).unwrap_or_else(|| never_ended(candidate))
}

/// Returns an empty trial for a candidate whose simulation was ended.
fn never_ended(candidate: &Candidate) -> Trial {
    let candidate = candidate.clone();
    Trial { candidate, round: 0, capacity_records_per_s: None, replay: None, failed_share: 0.0 }
}

/// Simulates a candidate like [`predict`]; returns `None` if `goes_on` ends the simulation.
///
/// The simulation has three bounds:
///
/// 1. the number of records, which [`Arrivals`] limits;
/// 2. the virtual time: twice the time of the arrivals, plus the wait and processing time of a few batches;
/// 3. the number of waiting records: the records of a whole period.
///
/// A candidate that exceeds a bound does not keep up. Its capacity is then the throughput up to that point.
pub fn predict_while(
    candidate: &Candidate,
    arrivals: &Arrivals,
    goes_on: GoesOn<'_>,
    serve: &mut dyn FnMut(u64) -> Duration,
) -> Option<Trial> {
    let config = JobConfig::uniform(candidate.config());
    let mut capacity = capacity(candidate, &config, arrivals, goes_on, serve)?;
    let mut replay = None;
    if capacity >= arrivals.records_per_s() {
        let records = candidate.plan(Some(arrivals.mean_bytes())).batch_records.max;
        let filled_after_s = records as f64 / arrivals.records_per_s();
        let wait = candidate.config().strategy.max_wait();
        let times = arrivals.repeated(wait.as_secs_f64().min(filled_after_s) * PREDICTED_BATCHES);
        let took = Duration::from_secs_f64((records as f64 / capacity.max(1e-9)).min(1e6));
        let bounds = bounds(arrivals, &times, wait + took);
        let run = simulate_within(&config, times, bounds, goes_on, |rows, _| serve(rows.len() as u64).into());
        match run.cut {
            Some(Cut::Asked) => return None,
            None => replay = Some(Replay::of(&run.report)),
            Some(_) => capacity = capacity.min(run.report.records_per_s),
        }
    }
    let candidate = candidate.clone();
    Some(Trial { candidate, round: 0, capacity_records_per_s: Some(capacity), replay, failed_share: 0.0 })
}

/// Returns the bounds of a simulation of these arrivals.
fn bounds(arrivals: &Arrivals, times: &[Arrival], batch: Duration) -> Bounds {
    const BATCHES: u32 = 10;
    let last = times.last().map_or(Duration::ZERO, Arrival::available);
    Bounds {
        // If there are only a few records, a large batch may wait for all of them.
        waiting: (arrivals.arrivals.len() as u64).max(ENOUGH_ARRIVALS as u64),
        until: last.saturating_mul(2).saturating_add(batch.saturating_mul(BATCHES)),
    }
}

/// Returns the records per second with all records available at once; `None` if the simulation was ended. Batches of a
/// fixed size are then full. The sizes of the batches of other strategies are simulated.
fn capacity(
    candidate: &Candidate,
    config: &JobConfig,
    arrivals: &Arrivals,
    goes_on: GoesOn<'_>,
    serve: &mut dyn FnMut(u64) -> Duration,
) -> Option<f64> {
    let per_s = |records: u64, took: Duration| records as f64 / took.as_secs_f64().max(1e-9);
    let mean_bytes = arrivals.mean_bytes();
    let largest = candidate.plan(Some(mean_bytes)).batch_records.max;
    let is_steered = matches!(
        candidate.strategy,
        StrategyKind::TimeWindow | StrategyKind::AdaptiveSize | StrategyKind::MemoryBased
    );
    // A full batch does not fit into the memory for records in flight.
    let is_cut = largest.saturating_mul(mean_bytes) > config.max_unsettled_bytes / 2;
    if !is_steered && !is_cut {
        return Some(per_s(largest, serve(largest)));
    }
    // A few large records may contribute most of the bytes, so simulate as many records as possible.
    let at_once = arrivals.at_once(MOST_ARRIVALS);
    let serve_rows = |rows: &[Arrival], _: u32| serve(rows.len() as u64).into();
    let Simulation { sealed, cut, .. } = simulate_within(config, at_once, Bounds::NONE, goes_on, serve_rows);
    if cut == Some(Cut::Asked) {
        return None;
    }
    // Skip the first half, in which sizes still adapt, and the last batch, which may be incomplete.
    let sizes: Vec<_> = sealed.iter().map(|batch| batch.records).collect();
    let settled =
        &sizes[sizes.len() / 2..sizes.len().saturating_sub(1).max(sizes.len() / 2 + 1).min(sizes.len())];
    Some(per_s(settled.iter().sum(), settled.iter().map(|records| serve(*records)).sum()))
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

    /// Returns evenly spaced arrivals at 1000 records/s.
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
        // At 1000 records/s, 100 records take 100 ms to arrive and 15 ms to process.
        let arrivals = even();
        let trial = predict(&candidate("fixed_size 100, 1s"), &arrivals, &mut cost);
        assert!((trial.capacity_records_per_s.unwrap() - 100.0 / 0.015).abs() < 1.0, "{trial:?}");
        let replay = trial.replay.unwrap();
        assert!((replay.p99_ms - 114.0).abs() < 2.0, "{replay:?}");
        // One record takes 5.1 ms to process, and one arrives every millisecond.
        let alone = predict(&candidate("low_latency 1"), &arrivals, &mut cost);
        assert!((alone.capacity_records_per_s.unwrap() - 1.0 / 0.0051).abs() < 1.0, "{alone:?}");
        assert_eq!(alone.replay, None);
    }

    #[test]
    fn of_long_arrivals_the_densest_stretch_and_others_are_looked_at() {
        // One record every 100 ms for over an hour, and a burst of 5000 records in one second.
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
        // Three of the four stretches are sparse.
        assert!((890.0..910.0).contains(&arrivals.period.as_secs_f64()), "{:?}", arrivals.period);
    }

    /// Returns random arrivals with record sizes of 100 B (70 %), 2 kB (25 %) and 20 to 200 kB (5 %).
    fn mixed(per_s: f64) -> Arrivals {
        let mut random = fastrand::Rng::with_seed(7);
        let mut arrivals = Arrivals::random(per_s, 0);
        for arrival in &mut arrivals.arrivals {
            arrival.bytes = match random.u8(..100) {
                0..70 => 100,
                70..95 => 2000,
                _ => random.u64(20_000..200_000),
            };
        }
        arrivals
    }

    #[test]
    fn a_prediction_takes_no_more_steps_than_its_arrivals_whatever_their_sizes() {
        // Work that is negligible, that most candidates sustain, and that hardly any candidate sustains.
        for (per_s, each_us) in [(150.0, 1), (150.0, 5000), (150.0, 200_000), (5000.0, 50), (5000.0, 2000)] {
            let arrivals = mixed(per_s);
            let most = 20 * MOST_ARRIVALS;
            for candidate in Candidate::all() {
                let mut steps = 0;
                let mut goes_on = || {
                    steps += 1;
                    if steps < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                };
                let each = Duration::from_micros(each_us);
                let mut serve =
                    |records: u64| Duration::from_millis(1) + each * u32::try_from(records).unwrap();
                let trial = predict_while(&candidate, &arrivals, &mut goes_on, &mut serve);
                assert!(trial.is_some(), "{candidate} at {per_s}/s: no end after {steps} steps");
                assert!(steps < 5 * MOST_ARRIVALS, "{candidate} at {per_s}/s: {steps} steps");
            }
        }
    }

    #[test]
    fn what_keeps_up_by_its_mean_size_only_cannot_keep_up() {
        // A batch holds three records of the mean size of 20,050 B, but only two of the actual records.
        let mut arrivals = even();
        for arrival in arrivals.arrivals.iter_mut().step_by(2) {
            arrival.bytes = 40_000;
        }
        let all = Candidate::all();
        let small = all.iter().find(|one| one.to_string() == "memory_based 10ms, 65536").unwrap();
        let trial = predict(small, &arrivals, &mut |_| Duration::from_micros(2500));
        let capacity = trial.capacity_records_per_s.unwrap();
        assert!((capacity - 800.0).abs() < 10.0 && trial.replay.is_none(), "{trial:?}");
    }

    #[test]
    fn a_queue_that_grows_is_the_end_of_a_prediction_and_has_its_number() {
        // Later batches take longer, so the capacity of the first batches is too optimistic.
        let arrivals = even();
        let mut served = 0;
        let trial = predict(&candidate("fixed_size 100, 50ms"), &arrivals, &mut |_| {
            served += 1;
            Duration::from_millis(if served > 3 { 2000 } else { 10 })
        });
        assert!(served < 40 && trial.replay.is_none(), "{served} batches, {trial:?}");
        assert!(trial.capacity_records_per_s < Some(1000.0), "{trial:?}");
    }

    #[test]
    fn a_prediction_ends_when_it_is_told_to() {
        let mut left = 100;
        let mut goes_on = || {
            left -= 1;
            if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        for text in ["fixed_size 100, 50ms", "time_window 50ms"] {
            assert_eq!(predict_while(&candidate(text), &even(), &mut goes_on, &mut cost), None);
        }
    }

    #[test]
    fn slower_arrivals_are_on_their_way_no_longer() {
        let mut arrivals = even();
        for (index, arrival) in arrivals.arrivals.iter_mut().enumerate() {
            arrival.delay = Duration::from_millis(9 - index as u64 % 10);
        }
        for factor in [0.5, 3.0] {
            let other = arrivals.faster(factor);
            assert_eq!(other.arrivals.iter().map(|one| one.delay).max(), Some(Duration::from_millis(9)));
            assert!(other.arrivals.is_sorted_by_key(Arrival::available));
            assert!(other.arrivals.is_sorted_by(|a, b| a.offset + 1 == b.offset));
        }
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
