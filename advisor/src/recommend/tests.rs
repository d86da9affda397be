use super::*;
use crate::advice::Confirmation;
use crate::cost::Cost;
use crate::delays::Availability;
use crate::evidence::VERSION;
use crate::profile::FetchCost;
use crate::trial::{Replay, Setup, Work};
use crate::verdict::{Action, Breach, Confidence, Live};
use velo_engine::process::Synthetic;
use velo_engine::source::replay::Recorded;
use velo_schema::Tier;

/// A candidate, its capacity, and the p99 of each of its rounds.
type Row<'a> = (&'a str, f64, &'a [f64]);

fn candidate(text: &str) -> Candidate {
    Candidate::all().into_iter().find(|candidate| candidate.to_string() == text).expect(text)
}

fn replay(p99_ms: f64) -> Replay {
    Replay { records_per_s: 1.0, p50_ms: 1.0, p99_ms, batches: 100, mean_records: 10.0 }
}

fn evidence(rate: u64, rows: &[Row<'_>]) -> Evidence {
    let recording: Vec<_> = (0..rate)
        .map(|n| Recorded {
            at: Duration::from_micros(n * 1_000_000 / rate),
            value: Some(vec![0; 100]),
            ..Recorded::default()
        })
        .collect();
    let profile = Profile::of(&recording, Duration::from_secs(1)).unwrap();
    let header = Header {
        version: VERSION,
        topic: "t".into(),
        setup: Setup::default(),
        wishes: objective(Goal::Latency, None),
        max_batch_records: None,
        profile,
        work: Work::new(Synthetic::default(), Duration::ZERO),
        cost: Cost::line(Duration::from_millis(1), Duration::from_micros(10)),
        current: None,
    };
    let trial = |text: &str, round: u32, capacity: f64, p99_ms: Option<f64>| Trial {
        candidate: candidate(text),
        round,
        capacity_records_per_s: Some(capacity),
        replay: p99_ms.map(replay),
        failed_share: 0.0,
    };
    let rounds = |(text, capacity, p99s): &Row<'_>| -> Vec<Trial> {
        match p99s {
            [] => vec![trial(text, 0, *capacity, None)],
            p99s => (0..).zip(*p99s).map(|(round, p99)| trial(text, round, *capacity, Some(*p99))).collect(),
        }
    };
    let trials = rows.iter().flat_map(rounds).collect();
    Evidence { trials, is_complete: true, ..Evidence::predicted(header, Vec::new()) }
}

fn objective(goal: Goal, p99_ms: Option<u64>) -> Objective {
    Objective { goal, p99: p99_ms.map(Duration::from_millis), memory_bytes: None }
}

fn chosen(evidence: &Evidence, objective: Objective) -> Result<String, Refusal> {
    let advice = recommend(evidence, objective);
    match (advice.recommendation, advice.refusal) {
        (Some(recommendation), None) => Ok(recommendation.candidate.to_string()),
        (None, Some(refusal)) => Err(refusal),
        both => panic!("{both:?}"),
    }
}

const ONE: &str = "low_latency 1";
const FIVE: &str = "low_latency 5";
const TEN: &str = "low_latency 10";
const MANY: &str = "fixed_size 500, 50ms";

/// Returns evidence in which the best two candidates took part in an additional round, which was hard for all.
fn with_a_hard_round() -> Evidence {
    let best: &[f64] = &[4.0, 80.0, 4.2];
    evidence(1000, &[(FIVE, 5000.0, best), (TEN, 5000.0, &[5.0, 100.0]), (MANY, 90_000.0, &[12.0])])
}

#[test]
fn who_was_in_a_hard_round_is_no_worse_for_it() {
    let evidence = with_a_hard_round();
    assert_eq!(chosen(&evidence, objective(Goal::Latency, None)).unwrap(), FIVE);
    let tried = recommend(&evidence, objective(Goal::Latency, None)).candidates;
    let order: Vec<_> = tried.iter().map(|tried| tried.candidate.to_string()).collect();
    assert_eq!(order, [FIVE, TEN, MANY]);
    // Normalised to a round of median difficulty.
    let p99s_ms: Vec<_> = tried.iter().map(|tried| tried.p99_ms.unwrap()).collect();
    for (p99_ms, expected) in p99s_ms.iter().zip([4.2, 5.2, 12.5]) {
        assert!((p99_ms / expected).ln().abs() < 0.1, "{p99s_ms:?}");
    }
}

#[test]
fn who_was_not_in_a_hard_round_does_not_meet_a_limit_by_that() {
    let refusal = chosen(&with_a_hard_round(), objective(Goal::Latency, Some(50))).unwrap_err();
    assert!(matches!(refusal, Refusal::LatencyLimit { p99_ms, .. } if p99_ms > 80.0), "{refusal:?}");
}

#[test]
fn what_hit_one_of_two_is_not_held_against_the_other() {
    let rows = [(FIVE, 5000.0, &[4.0, 40.0][..]), (TEN, 5000.0, &[5.0, 5.0]), (MANY, 90_000.0, &[12.0])];
    assert_eq!(chosen(&evidence(1000, &rows), objective(Goal::Latency, Some(20))).unwrap(), TEN);
}

#[test]
fn the_goal_decides_among_what_keeps_up() {
    let evidence =
        evidence(1000, &[(ONE, 1100.0, &[2.0]), (FIVE, 5000.0, &[4.0]), (MANY, 90_000.0, &[500.0])]);
    assert_eq!(chosen(&evidence, objective(Goal::Latency, None)).unwrap(), FIVE);
    assert_eq!(chosen(&evidence, objective(Goal::Throughput, None)).unwrap(), MANY);
    assert_eq!(chosen(&evidence, objective(Goal::Throughput, Some(100))).unwrap(), FIVE);
    assert_eq!(chosen(&evidence, objective(Goal::Memory, None)).unwrap(), FIVE);
}

#[test]
fn of_equals_the_simplest_is_taken_and_what_runs_now_before_it() {
    let mut evidence = evidence(
        100,
        &[("fixed_size 200, 50ms", 1000.0, &[10.0]), ("fixed_size 100, 50ms", 1000.0, &[10.05])],
    );
    let latency = objective(Goal::Latency, None);
    assert_eq!(chosen(&evidence, latency).unwrap(), "fixed_size 100, 50ms");
    evidence.header.current = Some(candidate("fixed_size 200, 50ms"));
    let advice = recommend(&evidence, latency).recommendation.unwrap();
    assert!(advice.is_current && advice.candidate.to_string() == "fixed_size 200, 50ms");
}

#[test]
fn of_equal_latencies_the_one_that_waits_for_less_is_taken() {
    let evidence =
        evidence(100, &[("fixed_size 500, 1s", 1000.0, &[10.0]), ("fixed_size 500, 10ms", 1000.0, &[10.0])]);
    assert_eq!(chosen(&evidence, objective(Goal::Latency, None)).unwrap(), "fixed_size 500, 10ms");
    assert_eq!(chosen(&evidence, objective(Goal::Throughput, None)).unwrap(), "fixed_size 500, 1s");
}

#[test]
fn a_round_that_fell_behind_is_not_forgotten() {
    let mut evidence = evidence(100, &[(ONE, 1000.0, &[5.0, 5.0, 5.0]), (FIVE, 1000.0, &[9.0])]);
    evidence.trials[0].replay = None;
    assert_eq!(chosen(&evidence, objective(Goal::Latency, Some(20))).unwrap(), FIVE);
}

#[test]
fn one_slow_round_of_several_breaks_the_limit() {
    let evidence = evidence(100, &[(ONE, 1000.0, &[5.0, 50.0]), (FIVE, 1000.0, &[19.0])]);
    assert_eq!(chosen(&evidence, objective(Goal::Latency, Some(20))).unwrap(), FIVE);
}

#[test]
fn nothing_does_more_than_the_client_hands_out() {
    let mut evidence = evidence(100, &[(ONE, 9000.0, &[5.0]), (MANY, 900_000.0, &[50.0])]);
    evidence.header.profile.fetch = Some(FetchCost { standard_us: 200.0, buffered_us: 5.0 });
    let advice = recommend(&evidence, objective(Goal::Throughput, None));
    let capacities = advice.candidates.iter().map(|tried| tried.capacity_records_per_s);
    assert_eq!(capacities.collect::<Vec<_>>(), [200_000.0, 5000.0]);
}

#[test]
fn too_few_batches_are_judged_by_the_model() {
    let mut evidence = evidence(100, &[(MANY, 10_000.0, &[1.0])]);
    evidence.trials[0].replay.as_mut().unwrap().batches = 3;
    evidence.predicted = vec![Trial { replay: Some(replay(505.0)), ..evidence.trials[0].clone() }];
    let tried = recommend(&evidence, objective(Goal::Latency, None)).candidates.remove(0);
    assert!(tried.modelled && tried.p99_ms == Some(505.0), "{tried:?}");
}

#[test]
fn without_trials_the_predictions_decide_and_it_says_so() {
    let mut evidence = evidence(100, &[(ONE, 1000.0, &[5.0]), (FIVE, 1000.0, &[9.0])]);
    evidence.predicted = std::mem::take(&mut evidence.trials);
    let advice = recommend(&evidence, objective(Goal::Latency, None));
    assert!(!advice.measured && advice.candidates.iter().all(|tried| tried.modelled));
    assert_eq!(advice.recommendation.unwrap().candidate.to_string(), ONE);
}

#[test]
fn what_was_only_predicted_is_not_recommended_before_what_was_tried() {
    let mut evidence = evidence(100, &[(ONE, 1000.0, &[5.0])]);
    evidence.predicted =
        vec![Trial { candidate: candidate(FIVE), replay: Some(replay(1.0)), ..evidence.trials[0].clone() }];
    assert_eq!(chosen(&evidence, objective(Goal::Latency, None)).unwrap(), ONE);
}

#[test]
fn a_refusal_names_the_constraint_that_binds() {
    let latency = objective(Goal::Latency, None);
    let slow = evidence(1000, &[(MANY, 1100.0, &[5.0])]);
    assert!(matches!(chosen(&slow, latency), Err(Refusal::NothingKeepsUp { .. })));
    let late = evidence(100, &[(MANY, 9000.0, &[50.0])]);
    let refusal = chosen(&late, objective(Goal::Latency, Some(20)));
    assert!(matches!(refusal, Err(Refusal::LatencyLimit { .. })));
    let tight = Objective { memory_bytes: Some(50), ..latency };
    assert!(matches!(chosen(&late, tight), Err(Refusal::MemoryLimit { largest_record_bytes: 100, .. })));
    assert_eq!(chosen(&evidence(1, &[]), latency), Err(Refusal::NoTrials));
    let mut noisy = evidence(100, &[(ONE, 1000.0, &[5.0, 5.0])]);
    noisy.trials[1].capacity_records_per_s = Some(3000.0);
    assert!(matches!(chosen(&noisy, objective(Goal::Throughput, None)), Err(Refusal::Noisy { .. })));
    assert!(chosen(&noisy, latency).is_ok());
    let mut noisy = evidence(100, &[(ONE, 1000.0, &[5.0])]);
    noisy.header.cost.spread = 3.0;
    assert!(matches!(chosen(&noisy, latency), Err(Refusal::Noisy { .. })));
    assert!(matches!(chosen(&noisy, tight), Err(Refusal::MemoryLimit { .. })));
}

#[test]
fn swapping_two_candidates_trials_swaps_the_advice() {
    let order = |a, b| evidence(100, &[(a, 9000.0, &[2.0]), (b, 9000.0, &[30.0])]);
    let latency = objective(Goal::Latency, None);
    assert_eq!(chosen(&order(ONE, MANY), latency).unwrap(), ONE);
    assert_eq!(chosen(&order(MANY, ONE), latency).unwrap(), MANY);
}

#[test]
fn the_table_chooses_by_the_conditions() {
    let profile = evidence(1000, &[]).header.profile;
    let soon = table_choice(&profile, objective(Goal::Latency, Some(100)));
    assert_eq!(soon.strategy, StrategyKind::LowLatency);
    let later = table_choice(&profile, objective(Goal::Latency, Some(5000)));
    assert_eq!(later.strategy, StrategyKind::FixedSize);
    assert!(later.plan(None).matrix_row.is_some());
}

#[test]
fn the_live_topic_may_speak_against_it() {
    let live = |p99_ms: f64, records: u64| Confirmation {
        records,
        seconds: 3.0,
        records_per_s: 100.0,
        p50_ms: 1.0,
        p99_ms,
        tier: Tier::Standard,
        records_per_call: 1.0,
        batches: 30,
        warm_up_s: 1.0,
    };
    // The expected p99 is at most 10.5 ms.
    let mut evidence = evidence(100, &[(ONE, 1000.0, &[10.0])]);
    let availability = Availability { least_ms: 1.0, p50_ms: 2.0, p99_ms: 3.0, least_counts: true };
    evidence.header.profile.availability = Some(availability);
    let advice = |limit: Option<u64>, best: Confirmation, current: Option<Confirmation>| Advice {
        confirmation: Some(best),
        current_confirmation: current,
        ..recommend(&evidence, objective(Goal::Latency, limit))
    };
    assert_eq!(advice(None, live(13.0, 300), None).doubt(), None);
    assert_eq!(advice(None, live(0.0, 0), None).doubt(), None);
    assert_eq!(advice(Some(20), live(13.0, 300), Some(live(12.0, 300))).doubt(), None);
    let says = |advice: Advice, what: &str| {
        let doubt = advice.doubt().unwrap();
        assert!(doubt.contains(what), "{doubt}");
    };
    says(advice(None, live(14.0, 300), None), "compared with at most 10.5 ms in the trials");
    let with = |availability| {
        let mut advice = advice(None, live(14.0, 300), None);
        advice.profile.as_mut().unwrap().availability = availability;
        advice
    };
    assert_eq!(with(None).doubt(), None);
    let skewed = Availability { least_ms: 5000.0, least_counts: false, ..availability };
    assert_eq!(with(Some(skewed)).doubt(), None);
    says(advice(Some(20), live(21.0, 300), None), "above the limit of 20.0 ms");
    says(advice(None, live(13.0, 300), Some(live(9.0, 300))), "9.0 ms for the current configuration");
}

#[test]
fn one_with_enough_to_spare_goes_before_one_that_is_hardly_faster() {
    let latency = objective(Goal::Latency, None);
    let of = |p99_ms: f64, capacity: f64| {
        let evidence = evidence(1000, &[(FIVE, 1500.0, &[10.0]), (MANY, capacity, &[p99_ms])]);
        chosen(&evidence, latency).unwrap()
    };
    assert_eq!(of(10.4, 2100.0), MANY);
    assert_eq!(of(10.4, 1900.0), FIVE);
    assert_eq!(of(10.6, 2100.0), FIVE);
    // The current configuration is kept nevertheless.
    let mut evidence = evidence(1000, &[(FIVE, 1500.0, &[10.0]), (MANY, 9000.0, &[10.2])]);
    evidence.header.current = Some(candidate(FIVE));
    assert_eq!(chosen(&evidence, latency).unwrap(), FIVE);
}

fn live(p99_ms: f64) -> Confirmation {
    Confirmation {
        records: 300,
        seconds: 3.0,
        records_per_s: 100.0,
        p50_ms: 1.0,
        p99_ms,
        tier: Tier::Standard,
        records_per_call: 1.0,
        batches: 30,
        warm_up_s: 1.0,
    }
}

#[test]
fn the_verdict_says_what_to_do_and_how_what_runs_now_stands() {
    let of = |p99s: &[f64], current: &str, limit: u64| {
        let mut evidence = evidence(100, &[(FIVE, 5000.0, p99s), (TEN, 5000.0, &[50.0, 51.0, 50.0])]);
        evidence.header.current = Some(candidate(current));
        let verdict = recommend(&evidence, objective(Goal::Latency, Some(limit))).verdict.unwrap();
        (verdict.action, verdict.current.unwrap())
    };
    let fast = &[10.0, 10.0, 10.0];
    let (action, current) = of(fast, FIVE, 20);
    assert_eq!((action, current.meets), (Action::Keep, Some(true)));
    let (action, current) = of(fast, TEN, 60);
    assert_eq!((action, current.meets, current.breaks), (Action::Change, Some(true), None));
    let (action, current) = of(fast, TEN, 20);
    assert_eq!((action, current.meets), (Action::Change, Some(false)));
    assert!(
        matches!(current.breaks, Some(Breach::Latency { limit_ms, .. }) if (limit_ms - 20.0).abs() < 1e-9),
        "{current:?}"
    );
    // If no candidate meets the limit, including the current configuration, it is not kept.
    let (action, current) = of(fast, TEN, 5);
    assert_eq!((action, current.meets), (Action::Reconsider, Some(false)));
    // A candidate without trials has no evaluation.
    let (action, current) = of(fast, MANY, 5);
    assert_eq!((action, current.meets), (Action::Reconsider, None));
}

#[test]
fn what_the_live_topic_says_is_part_of_the_verdict() {
    let mut evidence = evidence(100, &[(ONE, 1000.0, &[10.0, 10.0, 10.0, 10.0])]);
    evidence.header.profile.availability =
        Some(Availability { least_ms: 1.0, p50_ms: 2.0, p99_ms: 3.0, least_counts: true });
    let advice = recommend(&evidence, objective(Goal::Latency, Some(100)));
    let of = |confirmation, unconfirmed: Option<&str>| {
        let unconfirmed = unconfirmed.map(str::to_owned);
        Advice { confirmation, unconfirmed, ..advice.clone() }.concluded().verdict.unwrap()
    };
    let verdict = of(Some(live(10.0)), None);
    assert_eq!((verdict.action, verdict.confidence), (Action::Change, Confidence::High));
    assert_eq!((&verdict.live, verdict.reservations.as_slice()), (&Live::Agrees, &[][..]));
    let verdict = of(Some(live(150.0)), None);
    assert_eq!((verdict.action, verdict.confidence), (Action::MeasureAgain, Confidence::Low));
    let how = verdict.contradiction().unwrap();
    assert!(how.contains("150.0 ms, above the limit of 100.0 ms"), "{how}");
    let verdict = of(None, Some("three batches take 15s"));
    assert_eq!((verdict.action, verdict.confidence), (Action::Change, Confidence::Medium));
    assert!(verdict.reservations[0].ends_with("three batches take 15s"), "{verdict:?}");
    let silent = Confirmation { records: 0, batches: 0, ..live(0.0) };
    assert!(matches!(of(Some(silent), None).live, Live::Unconfirmed { .. }));
}

#[test]
fn a_capacity_without_a_trial_of_its_own_size_is_a_least_one() {
    let mut evidence = evidence(100, &[(ONE, 1000.0, &[5.0]), (MANY, 9000.0, &[50.0])]);
    evidence.header.cost =
        Cost::fit(&[(1, Duration::from_millis(1)), (100, Duration::from_millis(3))]).unwrap();
    let at_least = |evidence: &Evidence| {
        let advice = recommend(evidence, objective(Goal::Throughput, None));
        advice.evaluation(&candidate(MANY)).unwrap().capacity_is_at_least
    };
    assert!(!at_least(&evidence), "it was tried");
    for trial in &mut evidence.trials {
        trial.capacity_records_per_s = None;
    }
    assert!(at_least(&evidence));
}
