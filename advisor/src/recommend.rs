//! Sample and trials in, advice out. Pure: the same trials give the same advice.

use std::collections::BTreeMap;
use std::time::Duration;

use velo_schema::Plan;
use velo_schema::guide::choose_when;

use crate::advice::{Advice, Goal, Recommendation, Refusal, Setting, Tried, Wishes};
use crate::candidate::Candidate;
use crate::profile::Profile;
use crate::trial::{Evidence, Replay, Trial};

/// How much more than the busiest second a configuration must be able to do.
const HEADROOM: f64 = 1.2;
/// Differences below this are noise: the simpler of two such candidates is taken.
const TIE: f64 = 0.03;
/// Fewer batches than this do not show their 99th percentile.
const ENOUGH_BATCHES: u64 = 20;

/// The advice that follows from the evidence.
#[must_use]
pub fn recommend(evidence: &Evidence, wishes: Wishes) -> Advice {
    let profile = &evidence.header.profile;
    let mut tried = summaries(&evidence.trials, profile, wishes);
    rank(&mut tried, wishes.goal);
    let feasible: Vec<_> = tried.iter().filter(|tried| tried.is_feasible).collect();
    let recommendation = feasible.first().map(|best| Recommendation {
        runner_up: feasible.get(1).map(|second| second.candidate),
        ..describe(best, profile, wishes)
    });
    let refusal = if recommendation.is_some() { None } else { Some(refuse(&tried, profile, wishes)) };
    Advice {
        version: 1,
        topic: evidence.header.topic.clone(),
        profile: Some(profile.clone()),
        work: Some(evidence.header.work),
        goal: wishes.goal,
        p99_limit_ms: wishes.p99.map(ms),
        candidates: tried,
        recommendation,
        refusal,
        confirmation: None,
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn summaries(trials: &[Trial], profile: &Profile, wishes: Wishes) -> Vec<Tried> {
    let mut by_candidate = BTreeMap::<Candidate, Vec<&Trial>>::new();
    for trial in trials {
        by_candidate.entry(trial.candidate).or_default().push(trial);
    }
    by_candidate.into_iter().map(|(candidate, trials)| summary(candidate, &trials, profile, wishes)).collect()
}

fn summary(candidate: Candidate, trials: &[&Trial], profile: &Profile, wishes: Wishes) -> Tried {
    let capacity = median(trials.iter().map(|trial| trial.capacity_records_per_s)).unwrap_or(0.0);
    let replays: Vec<Replay> = trials.iter().filter_map(|trial| trial.replay).collect();
    let modelled = !replays.is_empty() && replays.iter().any(|replay| replay.batches < ENOUGH_BATCHES);
    let floor = if modelled { model_p99_ms(candidate, capacity, profile) } else { 0.0 };
    let p99s = || replays.iter().map(|replay| replay.p99_ms.max(floor));
    let worst = p99s().reduce(f64::max);
    let keeps_up = capacity >= HEADROOM * profile.peak_records_per_s && !replays.is_empty();
    let within = worst.is_some_and(|worst| wishes.p99.is_none_or(|limit| worst <= ms(limit)));
    Tried {
        candidate,
        rounds: trials.len() as u64,
        capacity_records_per_s: capacity,
        p50_ms: median(replays.iter().map(|replay| replay.p50_ms)),
        p99_ms: median(p99s()),
        worst_p99_ms: worst,
        modelled,
        keeps_up,
        is_feasible: keeps_up && within,
    }
}

/// The first record of a batch waits until it is full, or as long as it may, and is then processed.
fn model_p99_ms(candidate: Candidate, capacity: f64, profile: &Profile) -> f64 {
    let records = candidate.records as f64;
    let fill_ms = records / profile.records_per_s.max(1e-9) * 1e3;
    let service_ms = records / capacity.max(1e-9) * 1e3;
    fill_ms.min(ms(candidate.config().strategy.max_wait())) + service_ms
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The best first: feasible ones by the goal, then those that keep up, then the rest. Within a tie
/// the simplest, which is the order of the candidates.
fn rank(tried: &mut [Tried], goal: Goal) {
    let group = |tried: &Tried| match (tried.is_feasible, tried.keeps_up) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    };
    // Lower is better.
    let score = |tried: &Tried| match goal {
        Goal::Latency if tried.keeps_up => tried.p99_ms.unwrap_or(f64::INFINITY),
        Goal::Latency | Goal::Throughput => 1.0 / tried.capacity_records_per_s.max(1e-9),
    };
    tried.sort_by(|a, b| group(a).cmp(&group(b)).then(score(a).total_cmp(&score(b))));
    let Some(best) = tried.first().copied() else { return };
    let ties = tried
        .iter()
        .take_while(|other| group(other) == group(&best) && score(other) <= score(&best) * (1.0 + TIE))
        .count();
    tried[..ties].sort_by_key(|tried| tried.candidate);
}

fn describe(best: &Tried, profile: &Profile, wishes: Wishes) -> Recommendation {
    let candidate = best.candidate;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of sizes")]
    let plan = Plan::of(&candidate.config(), Some(profile.mean_bytes as u64));
    let settings = candidate.entries().into_iter();
    Recommendation {
        candidate,
        settings: settings
            .map(|entry| Setting { key: entry.key.name().to_owned(), value: entry.value.to_string() })
            .collect(),
        max_poll_records: plan.max_poll_records,
        tier: plan.tier,
        matrix_row: plan.matrix_row,
        nearest_row: plan.nearest_row,
        conditions: choose_when(&profile.workload(wishes.p99)),
        runner_up: None,
        holds_until_records_per_s: best.capacity_records_per_s / HEADROOM,
    }
}

fn refuse(tried: &[Tried], profile: &Profile, wishes: Wishes) -> Refusal {
    let fastest = tried.iter().filter(|tried| tried.keeps_up).min_by(|a, b| {
        a.worst_p99_ms.unwrap_or(f64::INFINITY).total_cmp(&b.worst_p99_ms.unwrap_or(f64::INFINITY))
    });
    if let (Some(best), Some(limit)) = (fastest, wishes.p99) {
        let p99_ms = best.worst_p99_ms.unwrap_or(f64::INFINITY);
        return Refusal::LatencyLimit { best: best.candidate, p99_ms, limit_ms: ms(limit) };
    }
    let strongest = tried.iter().max_by(|a, b| a.capacity_records_per_s.total_cmp(&b.capacity_records_per_s));
    strongest.map_or(Refusal::NoTrials, |best| Refusal::NothingKeepsUp {
        best: best.candidate,
        capacity_records_per_s: best.capacity_records_per_s,
        needed_records_per_s: HEADROOM * profile.peak_records_per_s,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{Header, VERSION, Work};
    use velo_engine::processor::Synthetic;
    use velo_engine::source::replay::Recorded;
    use velo_schema::StrategyKind;

    fn evidence(rate: u64, trials: &[(StrategyKind, u64, f64, Option<f64>)]) -> Evidence {
        let recording: Vec<_> = (0..rate)
            .map(|n| Recorded { at: Duration::from_micros(n * 1_000_000 / rate), ..Recorded::default() })
            .collect();
        let profile = Profile::of(&recording, Duration::from_secs(1)).unwrap();
        let work = Work::new(Synthetic::default(), Duration::ZERO);
        let trial = |(strategy, records, capacity, p99): &(StrategyKind, u64, f64, Option<f64>)| Trial {
            candidate: Candidate { strategy: *strategy, records: *records },
            capacity_records_per_s: *capacity,
            replay: p99.map(|p99_ms| Replay { records_per_s: 1.0, p50_ms: 1.0, p99_ms, batches: 100 }),
        };
        let header = Header { version: VERSION, topic: "t".into(), profile, work };
        Evidence { header, trials: trials.iter().map(trial).collect() }
    }

    fn chosen(evidence: &Evidence, goal: Goal, p99_ms: Option<u64>) -> Result<Candidate, Refusal> {
        let advice = recommend(evidence, Wishes { goal, p99: p99_ms.map(Duration::from_millis) });
        match (advice.recommendation, advice.refusal) {
            (Some(recommendation), None) => Ok(recommendation.candidate),
            (None, Some(refusal)) => Err(refusal),
            both => panic!("{both:?}"),
        }
    }

    use StrategyKind::{FixedSize, LowLatency};

    #[test]
    fn the_goal_decides_among_what_keeps_up() {
        let evidence = evidence(
            1000,
            &[
                (LowLatency, 1, 1100.0, Some(2.0)),
                (LowLatency, 5, 5000.0, Some(4.0)),
                (FixedSize, 500, 90_000.0, Some(500.0)),
            ],
        );
        assert_eq!(chosen(&evidence, Goal::Latency, None).unwrap().records, 5);
        assert_eq!(chosen(&evidence, Goal::Throughput, None).unwrap().records, 500);
        assert_eq!(chosen(&evidence, Goal::Throughput, Some(100)).unwrap().records, 5);
    }

    #[test]
    fn of_equals_the_simplest_is_taken() {
        let evidence = evidence(
            100,
            &[
                (LowLatency, 1, 1000.0, Some(10.0)),
                (FixedSize, 10, 1000.0, Some(10.2)),
                (FixedSize, 50, 1.0, None),
            ],
        );
        assert_eq!(chosen(&evidence, Goal::Latency, None).unwrap().strategy, FixedSize);
    }

    #[test]
    fn one_slow_round_of_several_breaks_the_limit() {
        let evidence = evidence(
            100,
            &[
                (LowLatency, 1, 1000.0, Some(5.0)),
                (LowLatency, 1, 1000.0, Some(50.0)),
                (LowLatency, 2, 1000.0, Some(19.0)),
            ],
        );
        assert_eq!(chosen(&evidence, Goal::Latency, Some(20)).unwrap().records, 2);
    }

    #[test]
    fn too_few_batches_are_judged_by_the_model() {
        let mut evidence = evidence(100, &[(FixedSize, 50, 10_000.0, Some(1.0))]);
        evidence.trials[0].replay.as_mut().unwrap().batches = 3;
        let tried = recommend(&evidence, Wishes { goal: Goal::Latency, p99: None }).candidates[0];
        // 50 records take 500 ms to come and 5 ms to process.
        assert!(tried.modelled && (tried.p99_ms.unwrap() - 505.0).abs() < 1e-6);
    }

    #[test]
    fn a_refusal_names_the_constraint_that_binds() {
        let slow = evidence(1000, &[(FixedSize, 500, 1100.0, Some(5.0))]);
        assert!(matches!(chosen(&slow, Goal::Latency, None), Err(Refusal::NothingKeepsUp { .. })));
        let late = evidence(100, &[(FixedSize, 500, 9000.0, Some(50.0))]);
        assert!(matches!(chosen(&late, Goal::Latency, Some(20)), Err(Refusal::LatencyLimit { .. })));
        assert_eq!(chosen(&evidence(1, &[]), Goal::Latency, None), Err(Refusal::NoTrials));
    }

    #[test]
    fn swapping_two_candidates_trials_swaps_the_advice() {
        let kinds = |a, b| evidence(100, &[(a, 10, 9000.0, Some(2.0)), (b, 10, 9000.0, Some(30.0))]);
        let first = chosen(&kinds(FixedSize, LowLatency), Goal::Latency, None).unwrap();
        let second = chosen(&kinds(LowLatency, FixedSize), Goal::Latency, None).unwrap();
        assert_eq!((first.strategy, second.strategy), (FixedSize, LowLatency));
    }
}
