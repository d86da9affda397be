use super::*;
use crate::trial::{VERSION, Work};
use velo_engine::processor::Synthetic;
use velo_engine::source::replay::Recorded;

/// A candidate, its capacity, and the 99th percentiles of its rounds.
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
        profile,
        work: Work::new(Synthetic::default(), Duration::ZERO),
        cost: Cost::line(Duration::from_millis(1), Duration::from_micros(10)),
        current: None,
    };
    let trial = |text: &str, capacity: f64, p99_ms: Option<f64>| Trial {
        candidate: candidate(text),
        capacity_records_per_s: Some(capacity),
        replay: p99_ms.map(replay),
    };
    let rounds = |(text, capacity, p99s): &Row<'_>| -> Vec<Trial> {
        match p99s {
            [] => vec![trial(text, *capacity, None)],
            p99s => p99s.iter().map(|p99| trial(text, *capacity, Some(*p99))).collect(),
        }
    };
    Evidence {
        header,
        predicted: Vec::new(),
        trials: rows.iter().flat_map(rounds).collect(),
        is_complete: true,
    }
}

fn wishes(goal: Goal, p99_ms: Option<u64>) -> Wishes {
    Wishes { goal, p99: p99_ms.map(Duration::from_millis), memory_bytes: None }
}

fn chosen(evidence: &Evidence, wishes: Wishes) -> Result<String, Refusal> {
    let advice = recommend(evidence, wishes);
    match (advice.recommendation, advice.refusal) {
        (Some(recommendation), None) => Ok(recommendation.candidate.to_string()),
        (None, Some(refusal)) => Err(refusal),
        both => panic!("{both:?}"),
    }
}

const ONE: &str = "low_latency 1";
const FIVE: &str = "low_latency 5";
const MANY: &str = "fixed_size 500, 50ms";

#[test]
fn the_goal_decides_among_what_keeps_up() {
    let evidence =
        evidence(1000, &[(ONE, 1100.0, &[2.0]), (FIVE, 5000.0, &[4.0]), (MANY, 90_000.0, &[500.0])]);
    assert_eq!(chosen(&evidence, wishes(Goal::Latency, None)).unwrap(), FIVE);
    assert_eq!(chosen(&evidence, wishes(Goal::Throughput, None)).unwrap(), MANY);
    assert_eq!(chosen(&evidence, wishes(Goal::Throughput, Some(100))).unwrap(), FIVE);
    assert_eq!(chosen(&evidence, wishes(Goal::Memory, None)).unwrap(), FIVE);
}

#[test]
fn of_equals_the_simplest_is_taken_and_what_runs_now_before_it() {
    let mut evidence = evidence(
        100,
        &[("fixed_size 200, 50ms", 1000.0, &[10.0]), ("fixed_size 100, 50ms", 1000.0, &[10.05])],
    );
    let latency = wishes(Goal::Latency, None);
    assert_eq!(chosen(&evidence, latency).unwrap(), "fixed_size 100, 50ms");
    evidence.header.current = Some(candidate("fixed_size 200, 50ms"));
    let advice = recommend(&evidence, latency).recommendation.unwrap();
    assert!(advice.is_current && advice.candidate.to_string() == "fixed_size 200, 50ms");
}

#[test]
fn of_equal_latencies_the_one_that_waits_for_less_is_taken() {
    let evidence =
        evidence(100, &[("fixed_size 500, 1s", 1000.0, &[10.0]), ("fixed_size 500, 10ms", 1000.0, &[10.0])]);
    assert_eq!(chosen(&evidence, wishes(Goal::Latency, None)).unwrap(), "fixed_size 500, 10ms");
    assert_eq!(chosen(&evidence, wishes(Goal::Throughput, None)).unwrap(), "fixed_size 500, 1s");
}

#[test]
fn a_round_that_fell_behind_is_not_forgotten() {
    let mut evidence = evidence(100, &[(ONE, 1000.0, &[5.0, 5.0, 5.0]), (FIVE, 1000.0, &[9.0])]);
    evidence.trials[0].replay = None;
    assert_eq!(chosen(&evidence, wishes(Goal::Latency, Some(20))).unwrap(), FIVE);
}

#[test]
fn one_slow_round_of_several_breaks_the_limit() {
    let evidence = evidence(100, &[(ONE, 1000.0, &[5.0, 50.0]), (FIVE, 1000.0, &[19.0])]);
    assert_eq!(chosen(&evidence, wishes(Goal::Latency, Some(20))).unwrap(), FIVE);
}

#[test]
fn too_few_batches_are_judged_by_the_model() {
    let mut evidence = evidence(100, &[(MANY, 10_000.0, &[1.0])]);
    evidence.trials[0].replay.as_mut().unwrap().batches = 3;
    evidence.predicted = vec![Trial { replay: Some(replay(505.0)), ..evidence.trials[0].clone() }];
    let tried = recommend(&evidence, wishes(Goal::Latency, None)).candidates.remove(0);
    assert!(tried.modelled && tried.p99_ms == Some(505.0), "{tried:?}");
}

#[test]
fn without_trials_the_predictions_decide_and_it_says_so() {
    let mut evidence = evidence(100, &[(ONE, 1000.0, &[5.0]), (FIVE, 1000.0, &[9.0])]);
    evidence.predicted = std::mem::take(&mut evidence.trials);
    let advice = recommend(&evidence, wishes(Goal::Latency, None));
    assert!(!advice.measured && advice.candidates.iter().all(|tried| tried.modelled));
    assert_eq!(advice.recommendation.unwrap().candidate.to_string(), ONE);
}

#[test]
fn what_was_only_predicted_is_not_recommended_before_what_was_tried() {
    let mut evidence = evidence(100, &[(ONE, 1000.0, &[5.0])]);
    evidence.predicted =
        vec![Trial { candidate: candidate(FIVE), replay: Some(replay(1.0)), ..evidence.trials[0].clone() }];
    assert_eq!(chosen(&evidence, wishes(Goal::Latency, None)).unwrap(), ONE);
}

#[test]
fn a_refusal_names_the_constraint_that_binds() {
    let latency = wishes(Goal::Latency, None);
    let slow = evidence(1000, &[(MANY, 1100.0, &[5.0])]);
    assert!(matches!(chosen(&slow, latency), Err(Refusal::NothingKeepsUp { .. })));
    let late = evidence(100, &[(MANY, 9000.0, &[50.0])]);
    let refusal = chosen(&late, wishes(Goal::Latency, Some(20)));
    assert!(matches!(refusal, Err(Refusal::LatencyLimit { .. })));
    let tight = Wishes { memory_bytes: Some(50), ..latency };
    assert!(matches!(chosen(&late, tight), Err(Refusal::MemoryLimit { largest_record_bytes: 100, .. })));
    assert_eq!(chosen(&evidence(1, &[]), latency), Err(Refusal::NoTrials));
    let mut noisy = evidence(100, &[(ONE, 1000.0, &[5.0, 5.0])]);
    noisy.trials[1].capacity_records_per_s = Some(3000.0);
    assert!(matches!(chosen(&noisy, latency), Err(Refusal::Noisy { .. })));
}

#[test]
fn swapping_two_candidates_trials_swaps_the_advice() {
    let order = |a, b| evidence(100, &[(a, 9000.0, &[2.0]), (b, 9000.0, &[30.0])]);
    let latency = wishes(Goal::Latency, None);
    assert_eq!(chosen(&order(ONE, MANY), latency).unwrap(), ONE);
    assert_eq!(chosen(&order(MANY, ONE), latency).unwrap(), MANY);
}

#[test]
fn the_table_chooses_by_the_conditions() {
    let profile = evidence(1000, &[]).header.profile;
    let soon = table_choice(&profile, wishes(Goal::Latency, Some(100)));
    assert_eq!(soon.strategy, StrategyKind::LowLatency);
    let later = table_choice(&profile, wishes(Goal::Latency, Some(5000)));
    assert_eq!(later.strategy, StrategyKind::FixedSize);
    assert!(later.plan(None).matrix_row.is_some());
}
