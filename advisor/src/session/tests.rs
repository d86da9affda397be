//! Regret: how much worse the chosen configuration is than the best one, on workloads whose true costs are known only
//! to these tests. The bench is the engine in virtual time, with noise. The regret is measured on arrivals that the
//! advisor has not seen.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fastrand::Rng;
use velo_engine::process::Synthetic;
use velo_engine::source::replay::Recorded;

use super::*;
use crate::drift::validity_range;
use crate::evidence::VERSION;
use crate::predict::predict;
use crate::profile::Profile;
use crate::recommend::{compare, is_different, table_choice};
use crate::trial::{Setup, Work};
use crate::validity::Because;

/// True cost of a batch.
#[derive(Debug, Clone, Copy)]
struct Truth {
    per_batch_ms: f64,
    per_record_ms: f64,
    /// Number of records from which on each further record costs more by this factor.
    cliff: Option<(u64, f64)>,
    /// Speedup of the per-record part by several threads.
    speedup: f64,
}

impl Truth {
    fn of(&self, records: u64) -> Duration {
        self.load(Load { records, is_parallel: false })
    }

    fn load(&self, Load { records, is_parallel }: Load) -> Duration {
        let beyond =
            self.cliff.map_or(0.0, |(edge, factor)| records.saturating_sub(edge) as f64 * (factor - 1.0));
        let speedup = if is_parallel { self.speedup } else { 1.0 };
        let ms = self.per_batch_ms + self.per_record_ms * (records as f64 + beyond) / speedup;
        Duration::from_secs_f64(ms / 1e3)
    }

    fn of_candidate(&self, candidate: &Candidate, records: u64) -> Duration {
        self.load(Load { records, is_parallel: candidate.is_parallel() })
    }

    /// Returns the highest records per second of several batch sizes.
    fn strongest(&self) -> f64 {
        let rate = |records: u64| records as f64 / self.of(records).as_secs_f64();
        [1, 10, 50, 100, 200, 500, 1000, 2000, 5000].into_iter().map(rate).fold(0.0, f64::max)
    }
}

/// Shape of the arrivals.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Poisson,
    Bursts,
    Steps,
}

#[derive(Debug, Clone)]
struct Case {
    truth: Truth,
    shape: Shape,
    records_per_s: f64,
    mixed_sizes: bool,
    skewed: bool,
    objective: Objective,
    seed: u64,
}

/// Returns a normally distributed value, approximated by the sum of uniform ones.
fn normal(random: &mut Rng) -> f64 {
    (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
}

impl Case {
    fn of(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let log = |random: &mut Rng, low: f64, high: f64| low * (high / low).powf(random.f64());
        let speedup = 1.0 + random.f64();
        let truth = match random.u8(..3) {
            0 => Truth {
                per_batch_ms: log(&mut random, 5.0, 50.0),
                per_record_ms: log(&mut random, 0.0005, 0.01),
                cliff: None,
                speedup,
            },
            1 => Truth {
                per_batch_ms: log(&mut random, 0.1, 1.0),
                per_record_ms: log(&mut random, 0.02, 0.5),
                cliff: None,
                speedup,
            },
            _ => Truth {
                per_batch_ms: log(&mut random, 1.0, 10.0),
                per_record_ms: log(&mut random, 0.005, 0.05),
                cliff: Some((random.u64(50..2000), 2.0 + 8.0 * random.f64())),
                speedup,
            },
        };
        let shape = [Shape::Poisson, Shape::Bursts, Shape::Steps][random.usize(..3)];
        let records_per_s = (truth.strongest() * log(&mut random, 0.02, 0.4)).clamp(20.0, 5000.0);
        let (mixed_sizes, skewed) = (random.bool(), random.bool());
        let goal = if random.bool() { Goal::Latency } else { Goal::Throughput };
        let p99 = random.bool().then(|| Duration::from_secs_f64(log(&mut random, 0.03, 2.0)));
        let objective = Objective { goal, p99, memory_bytes: None };
        Self { truth, shape, records_per_s, mixed_sizes, skewed, objective, seed }
    }

    /// Returns arrivals; each `part` gives different ones.
    fn record(&self, part: u64, count: usize) -> (Vec<Recorded>, Duration) {
        let mut random = Rng::with_seed(self.seed ^ (part << 32) ^ 0x9E37);
        let period = count as f64 / self.records_per_s;
        let mut times: Vec<f64> =
            match self.shape {
                Shape::Poisson => (0..count).map(|_| random.f64() * period).collect(),
                // Half of the records in short bursts, evenly spread, so that parts are alike.
                Shape::Bursts => {
                    let bursts = (count / 40).max(1);
                    let burst = |n: usize| (n % bursts) as f64 * period / bursts as f64;
                    (0..count)
                        .map(|n| {
                            if n % 2 == 0 {
                                random.f64() * period
                            } else {
                                burst(n / 2) + random.f64() * 0.002
                            }
                        })
                        .collect()
                }
                // Three quarters of the records in the second half.
                Shape::Steps => (0..count)
                    .map(|_| period / 2.0 * (random.f64() + f64::from(u8::from(random.f64() < 0.75))))
                    .collect(),
            };
        times.sort_by(f64::total_cmp);
        let record = |at: f64| {
            let bytes = if self.mixed_sizes { 1 << random.u32(4..14) } else { 200 };
            let partition = if self.skewed && random.u8(..10) < 7 { 0 } else { random.i32(..12) };
            let at = Duration::from_secs_f64(at.min(period));
            Recorded { at, partition, value: Some(vec![0; bytes]), ..Recorded::default() }
        };
        (times.into_iter().map(record).collect(), Duration::from_secs_f64(period))
    }

    fn header(recording: &[Recorded], period: Duration) -> Header {
        Header {
            version: VERSION,
            topic: "simulated".to_owned(),
            setup: Setup::default(),
            wishes: Objective { goal: Goal::Latency, p99: None, memory_bytes: None },
            max_batch_records: None,
            profile: Profile::of(recording, period).expect("there are records"),
            work: Work::new(Synthetic::default(), Duration::ZERO),
            cost: Cost::line(Duration::ZERO, Duration::ZERO),
            current: None,
        }
    }

    /// Returns the true score of a candidate, lower is better; `None` if it does not keep up or exceeds the limit.
    fn judge(&self, trial: &Trial, peak: f64) -> Option<f64> {
        let capacity = trial.capacity_records_per_s.filter(|capacity| *capacity >= 1.2 * peak)?;
        let replay = trial.replay?;
        let limit_ms = self.objective.p99.map_or(f64::INFINITY, |limit| limit.as_secs_f64() * 1e3);
        (replay.p99_ms <= limit_ms).then(|| match self.objective.goal {
            Goal::Latency => replay.p99_ms,
            _ => 1.0 / capacity,
        })
    }
}

/// The engine in virtual time. The time of each batch is the true time with a few percent of noise per batch and per
/// trial.
struct Simulated<'a> {
    truth: Truth,
    arrivals: &'a Arrivals,
    random: Rng,
    /// True if another process uses most of the machine, half of the time.
    has_neighbour: bool,
}

/// The whole recording, which a simulated trial replays.
const WHOLE: Part =
    Part { round: 0, saturated: Duration::ZERO, replay: Duration::ZERO, from: Duration::ZERO };

impl<'a> Simulated<'a> {
    fn new(case: &Case, arrivals: &'a Arrivals) -> Self {
        Self { truth: case.truth, arrivals, random: Rng::with_seed(case.seed), has_neighbour: false }
    }
}

impl Simulated<'_> {
    const BATCH_NOISE: f64 = 0.05;
    const TRIAL_NOISE: f64 = 0.01;

    fn drift(&mut self) -> f64 {
        let neighbour = if self.has_neighbour && self.random.bool() { 4.0 } else { 1.0 };
        neighbour * (1.0 + Self::TRIAL_NOISE * normal(&mut self.random))
    }
}

impl Bench for Simulated<'_> {
    fn serve(&mut self, load: Load, _: Duration) -> Result<Option<Duration>, Ended> {
        let drift = self.drift();
        Ok(Some(self.truth.load(load).mul_f64(drift)))
    }

    fn try_candidate(&mut self, candidate: &Candidate, part: Part) -> Result<Trial, Ended> {
        let drift = self.drift();
        let (truth, random) = (self.truth, &mut self.random);
        let trial = predict(candidate, self.arrivals, &mut |records| {
            let noise = drift * (1.0 + Self::BATCH_NOISE * normal(random));
            truth.of_candidate(candidate, records).mul_f64(noise.max(0.1))
        });
        // The capacity averages over many batches, so only the noise per trial remains.
        let exact = predict(candidate, self.arrivals, &mut |records| {
            truth.of_candidate(candidate, records).mul_f64(drift)
        });
        let capacity_records_per_s = exact.capacity_records_per_s;
        Ok(Trial { round: part.round, capacity_records_per_s, ..trial })
    }
}

/// Runs all phases within a time budget.
fn advise(bench: &mut Simulated<'_>, header: Header, case: &Case) -> Evidence {
    let (calibration, trials) = shares(Duration::from_secs(30));
    let goes_on = &mut |_: Step<'_>| ControlFlow::Continue(());
    let cost = calibrate(bench, calibration, case.seed, goes_on).expect("nobody interrupts it");
    let header = Header { cost, ..header };
    let predicted = predict_all(&header, bench.arrivals, goes_on);
    let mut evidence = Evidence::predicted(header, predicted);
    try_best(bench, &mut evidence, case.objective, trials, case.seed, goes_on).expect("nobody interrupts it");
    evidence
}

/// Number of records in a sample.
const SAMPLE: usize = 1500;
/// Number of workloads. For a few of them, no candidate is feasible.
const CASES: u64 = 520;

/// Result of a choice: its regret, or the failure.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Regret(f64),
    /// The choice exceeds the limit or does not keep up.
    Breach,
    /// There is no recommendation although a candidate is feasible.
    Missed,
}

/// Returns the results of the advisor, the guide's table and random search; `None` if no candidate is feasible.
fn run(case: &Case) -> Option<[Outcome; 3]> {
    let (recording, period) = case.record(0, SAMPLE);
    let arrivals = Arrivals::of(&recording, period);
    let mut bench = Simulated::new(case, &arrivals);
    let header = Case::header(&recording, period);
    let peak = header.profile.peak_records_per_s;
    let table = table_choice(&header.profile, case.objective);
    let evidence = advise(&mut bench, header.clone(), case);
    let advised = recommend(&evidence, case.objective).recommendation.map(|best| best.candidate);
    // The same number of trials, of random candidates.
    let mut all = Candidate::all();
    Rng::with_seed(case.seed).shuffle(&mut all);
    let mut random = Evidence::predicted(header, Vec::new());
    for candidate in all.iter().take(evidence.trials.len()) {
        random.trials.extend(bench.try_candidate(candidate, WHOLE));
    }
    let searched = recommend(&random, case.objective).recommendation.map(|best| best.candidate);
    let (fresh, period) = case.record(1, 2 * SAMPLE);
    let fresh = Arrivals::of(&fresh, period);
    let judge = |candidate: &Candidate| {
        let trial = predict(candidate, &fresh, &mut |records| case.truth.of_candidate(candidate, records));
        case.judge(&trial, peak)
    };
    let best = best_of(case, &all, &fresh, peak)?;
    let result = |choice: Option<Candidate>| match choice {
        None => Outcome::Missed,
        Some(candidate) => judge(&candidate).map_or(Outcome::Breach, |own| Outcome::Regret(own / best - 1.0)),
    };
    Some([advised, Some(table), searched].map(result))
}

/// Returns the best score of all candidates. For throughput, this is the first candidate in descending order of
/// capacity that meets the limit; for latency, the best of the candidates that are best on a shorter part of the
/// arrivals.
fn best_of(case: &Case, all: &[Candidate], fresh: &Arrivals, peak: f64) -> Option<f64> {
    const LOOKED_AT: usize = 25;
    let short = Arrivals { arrivals: fresh.arrivals[..SAMPLE / 4].to_vec(), period: fresh.period / 8 };
    let on = |candidate: &Candidate, arrivals: &Arrivals| {
        predict(candidate, arrivals, &mut |records| case.truth.of_candidate(candidate, records))
    };
    let trial = |candidate| on(candidate, &short);
    let mut trials: Vec<_> = all.iter().map(trial).filter(|trial| trial.replay.is_some()).collect();
    let p99 = |trial: &Trial| trial.replay.map_or(f64::INFINITY, |replay| replay.p99_ms);
    let full = |trial: &Trial| case.judge(&on(&trial.candidate, fresh), peak);
    if case.objective.goal == Goal::Latency {
        trials.retain(|trial| trial.capacity_records_per_s >= Some(1.2 * peak));
        trials.sort_by(|a, b| p99(a).total_cmp(&p99(b)));
        return trials.iter().take(LOOKED_AT).filter_map(full).reduce(f64::min);
    }
    let capacity = |trial: &Trial| trial.capacity_records_per_s.unwrap_or(0.0);
    trials.sort_by(|a, b| capacity(b).total_cmp(&capacity(a)));
    trials.iter().find_map(full)
}

/// Runs all cases on all cores. Returns the results in the order of the seeds.
fn run_all(cases: u64) -> Vec<(u64, [Outcome; 3])> {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let mut results: Vec<_> = thread::scope(|scope| {
        let work = || {
            let mut own = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= cases {
                    return own;
                }
                own.extend(run(&Case::of(seed)).map(|results| (seed, results)));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    results.sort_by_key(|(seed, _)| *seed);
    results
}

/// Returns the median and 90th percentile of the regret, and the numbers of breaches and misses.
fn figures(results: &[(u64, [Outcome; 3])], of: usize) -> (f64, f64, usize, usize) {
    let own = || results.iter().map(|(_, results)| results[of]);
    let mut regrets: Vec<_> = own()
        .map(|result| if let Outcome::Regret(regret) = result { regret } else { f64::INFINITY })
        .collect();
    regrets.sort_by(f64::total_cmp);
    let at = |q: usize| regrets[(regrets.len() * q / 100).min(regrets.len() - 1)];
    let count = |what: Outcome| own().filter(|result| *result == what).count();
    (at(50), at(90), count(Outcome::Breach), count(Outcome::Missed))
}

#[test]
fn what_is_advised_is_nearly_the_best_there_is() {
    let results = run_all(CASES);
    let mut table = String::new();
    for (name, of) in [("advisor", 0), ("the guide's table", 1), ("random search", 2)] {
        let (median, p90, breaches, missed) = figures(&results, of);
        let _ = writeln!(
            table,
            "{name}: regret median {:.2} %, p90 {:.2} %; {breaches} breaches, {missed} missed",
            median * 100.0,
            p90 * 100.0,
        );
    }
    println!("{} workloads\n{table}", results.len());
    for (seed, results) in
        results.iter().filter(|(_, results)| !matches!(results[0], Outcome::Regret(r) if r < 0.05))
    {
        println!("{:?}\n{:?}", results[0], Case::of(*seed));
    }
    let (median, p90, breaches, _) = figures(&results, 0);
    assert!(median <= 0.01 && p90 <= 0.05 && breaches == 0, "{table}");
}

#[test]
fn a_neighbour_that_comes_and_goes_is_a_reason_to_refuse() {
    // Shorter batches are below the resolution of the noise check.
    let is_heavy = |case: &Case| case.truth.per_batch_ms > 2.0;
    for case in (0..30).map(Case::of).filter(is_heavy) {
        let seed = case.seed;
        let (recording, period) = case.record(0, SAMPLE);
        let arrivals = Arrivals::of(&recording, period);
        let mut bench = Simulated { has_neighbour: true, ..Simulated::new(&case, &arrivals) };
        let evidence = advise(&mut bench, Case::header(&recording, period), &case);
        let refusal = recommend(&evidence, case.objective).refusal;
        assert!(matches!(refusal, Some(crate::Refusal::Noisy { .. })), "{seed}: {refusal:?}");
    }
}

#[test]
fn equals_are_seldom_said_to_be_different() {
    const PAIRS: u64 = 200;
    let mut different = 0;
    for seed in 0..PAIRS {
        let case = Case::of(seed);
        let (recording, period) = case.record(0, SAMPLE);
        let arrivals = Arrivals::of(&recording, period);
        let mut bench = Simulated::new(&case, &arrivals);
        // A candidate with a value of 1s, and the same candidate with a different spelling.
        let all = Candidate::all();
        let all: Vec<_> =
            all.iter().filter(|one| one.settings.iter().any(|setting| setting.value == "1s")).collect();
        let index = usize::try_from(seed).expect("small");
        let one = all[index % all.len()].clone();
        let mut other = one.clone();
        for setting in other.settings.iter_mut().filter(|setting| setting.value == "1s") {
            "1000ms".clone_into(&mut setting.value);
        }
        assert!(one != other && one.config() == other.config(), "{one} and {other}");
        let mut rounds = |candidate: &Candidate| -> Vec<_> {
            let parts = (0..ROUNDS).map(|round| Part { round, ..WHOLE });
            parts.flat_map(|part| bench.try_candidate(candidate, part)).collect()
        };
        let (a, b) = (rounds(&one), rounds(&other));
        let (a, b): (Vec<_>, Vec<_>) = (a.iter().collect(), b.iter().collect());
        different += u64::from(compare(&a, &b, case.objective.goal).is_some_and(is_different));
    }
    println!("{different} of {PAIRS} pairs");
    assert!(different * 20 <= PAIRS, "{different} of {PAIRS} equal pairs differ significantly");
}

/// A bench that never completes batches of `too_large` or more records and runs out of time after `left` measurements.
struct Limited {
    too_large: u64,
    left: u32,
}

impl Bench for Limited {
    fn serve(&mut self, load: Load, _: Duration) -> Result<Option<Duration>, Ended> {
        self.left = self.left.checked_sub(1).ok_or(Ended::OutOfTime)?;
        Ok((load.records < self.too_large).then(|| Duration::from_micros(1000 + 10 * load.records)))
    }

    fn try_candidate(&mut self, _: &Candidate, _: Part) -> Result<Trial, Ended> {
        Err(Ended::OutOfTime)
    }

    fn most_records(&self) -> u64 {
        20_000
    }
}

#[test]
fn a_calibration_has_what_was_measured_when_its_time_is_over_and_nothing_else() {
    let goes_on = &mut |_: Step<'_>| ControlFlow::Continue(());
    let budget = Duration::from_secs(30);
    let mut calibrated = |too_large, left| calibrate(&mut Limited { too_large, left }, budget, 1, goes_on);
    let all = calibrated(u64::MAX, 1000).unwrap();
    assert_eq!(all.measured_to(), Some(20_000), "the largest that the bench can have");
    assert_eq!(calibrated(500, 1000).unwrap().measured_to(), Some(200));
    assert_eq!(calibrated(u64::MAX, 3).unwrap().points.len(), 3);
    assert_eq!(calibrated(u64::MAX, 0), Err(Ended::OutOfTime));
}

#[test]
fn whatever_ends_predictions_all_strategies_are_among_them() {
    let case = Case::of(1);
    let (recording, period) = case.record(0, SAMPLE);
    let arrivals = Arrivals::of(&recording, period);
    let header = Header {
        cost: Cost::line(Duration::from_millis(1), Duration::from_micros(10)),
        current: Some(Candidate::defaults()),
        ..Case::header(&recording, period)
    };
    let mut left = 7;
    let predicted = predict_all(&header, &arrivals, &mut |step| match step {
        Step::Predicted(_) => {
            left -= 1;
            if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(Ended::OutOfTime) }
        }
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(predicted[0].candidate, Candidate::defaults());
    let strategies: BTreeSet<_> = predicted.iter().map(|trial| trial.candidate.strategy).collect();
    assert_eq!((predicted.len(), strategies.len()), (7, 6));
    // End in the middle of a simulation.
    let mut steps = 0;
    let none = predict_all(&header, &arrivals, &mut |_| {
        steps += 1;
        if steps < 100 { ControlFlow::Continue(()) } else { ControlFlow::Break(Ended::Interrupted) }
    });
    assert!(none.len() < 2 && steps == 100, "{steps} steps");
}

/// Tries a recommendation at the bounds of its validity range, and beyond them.
#[test]
fn at_the_bounds_of_a_recommendation_trials_say_what_the_bounds_say() {
    const CASES: u64 = 40;
    /// Bounds are predictions, so trials may differ by the margin of predictions.
    const MARGIN: f64 = 1.2;
    let (mut checked, mut by_latency, mut wrong) = (0, 0, Vec::new());
    for case in (0..CASES).map(Case::of) {
        let (recording, period) = case.record(0, SAMPLE);
        let arrivals = Arrivals::of(&recording, period);
        let mut bench = Simulated::new(&case, &arrivals);
        let evidence = advise(&mut bench, Case::header(&recording, period), &case);
        let advice = recommend(&evidence, case.objective);
        let Some(best) = advice.recommendation.as_ref().and_then(|best| advice.evaluation(&best.candidate))
        else {
            continue;
        };
        // Set a limit slightly above the current p99, so that other rates exceed it.
        let limit = best.p99_upper_ms.map(|ms| Duration::from_secs_f64(ms * 1.3 / 1e3));
        let case = Case { objective: Objective { p99: limit, ..case.objective }, ..case.clone() };
        let mut goes_on = || ControlFlow::Continue(());
        let Ok(range) = validity_range(&evidence.header, &arrivals, best, &[], case.objective, &mut goes_on)
        else {
            continue;
        };
        let (rate, peak) =
            (evidence.header.profile.records_per_s, evidence.header.profile.peak_records_per_s);
        let limit_ms = case.objective.p99.map_or(f64::INFINITY, |limit| limit.as_secs_f64() * 1e3);
        let at = |records_per_s: f64| {
            let factor = records_per_s / rate;
            let faster = arrivals.faster(factor);
            let trial = predict(&best.candidate, &faster, &mut |records| {
                case.truth.of_candidate(&best.candidate, records)
            });
            let capacity = trial.capacity_records_per_s.unwrap_or(0.0) / (1.2 * peak * factor);
            (capacity, trial.replay.map_or(f64::INFINITY, |replay| replay.p99_ms))
        };
        for (bound, beyond) in [(&range.from, 0.8), (&range.until, 1.25)] {
            let Some(bound) = bound else { continue };
            checked += 1;
            let (capacity, p99_ms) = at(bound.records_per_s);
            let holds_there = capacity * MARGIN >= 1.0 && p99_ms <= limit_ms * MARGIN;
            let (capacity, p99_ms) = at(bound.records_per_s * beyond);
            let ends_beyond = match bound.because {
                Because::LatencyLimit => {
                    by_latency += 1;
                    p99_ms * (1.0 + 0.15) * MARGIN >= limit_ms
                }
                _ => capacity <= MARGIN,
            };
            if !(holds_there && ends_beyond) {
                wrong.push((
                    case.seed,
                    best.candidate.to_string(),
                    bound.clone(),
                    limit_ms,
                    p99_ms,
                    capacity,
                ));
            }
        }
    }
    println!("{checked} bounds, {by_latency} of them by the limit of a p99, wrong: {wrong:#?}");
    assert!(checked >= 20 && by_latency > 5, "{checked} bounds, {by_latency} by a p99");
    assert!(wrong.len() * 20 <= checked, "{} of {checked}", wrong.len());
}

/// Checks that the stated capacity is at most the throughput of draining a backlog, without trials and with a cost that
/// was measured for some batch sizes only.
#[test]
fn no_capacity_is_beyond_what_a_drain_does() {
    for case in (0..12).map(Case::of) {
        let (recording, period) = case.record(0, SAMPLE);
        let arrivals = Arrivals::of(&recording, period);
        let mut bench = Simulated::new(&case, &arrivals);
        let goes_on = &mut |_: Step<'_>| ControlFlow::Continue(());
        for most in [50, 1000] {
            let mut measured: Vec<_> =
                [1, 10, most].map(|records| Load { records, is_parallel: false }).to_vec();
            measured.dedup();
            let measured: Vec<_> = measured
                .into_iter()
                .map(|load| (load.records, bench.serve(load, Duration::ZERO).unwrap().unwrap()))
                .collect();
            let cost = Cost::fit(&measured).unwrap();
            let header = Header { cost: cost.clone(), ..Case::header(&recording, period) };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of sizes")]
            let mean_bytes = header.profile.mean_bytes.ceil() as u64;
            let predicted = predict_all(&header, &arrivals, goes_on);
            let evidence = Evidence { is_complete: true, ..Evidence::predicted(header, predicted) };
            for tried in recommend(&evidence, case.objective).candidates {
                let at_most = most as f64 / case.truth.of(most).as_secs_f64();
                let largest = tried.candidate.plan(Some(mean_bytes)).batch_records.max;
                let is_larger = largest > most;
                assert_eq!(tried.capacity_is_at_least, is_larger, "{}", tried.candidate);
                assert!(
                    !is_larger || tried.capacity_records_per_s <= at_most * 1.15,
                    "{}: {}, {at_most} with batches of {most}: {case:?}",
                    tried.candidate,
                    tried.capacity_records_per_s
                );
            }
        }
    }
}
