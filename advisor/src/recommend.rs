//! Chooses a recommendation: sample, predictions and trials in, advice out. Pure: the same evidence gives the same
//! advice.

use std::collections::BTreeMap;
use std::time::Duration;

use velo_schema::StrategyKind;
use velo_schema::guide::{Condition, Met, choose_when};

use crate::advice::{Advice, Gain, Recommendation, VERSION as ADVICE_VERSION};
use crate::candidate::Candidate;
use crate::cost::median;
use crate::evaluation::{Evaluation, HEADROOM};
use crate::evidence::{Evidence, Header};
use crate::objective::{Goal, Objective};
use crate::predict::ENOUGH_BATCHES;
use crate::profile::Profile;
use crate::refusal::Refusal;
use crate::trial::Trial;

mod rounds;

use rounds::{Across, Rounds};

/// Candidates within this distance of the best are ties; the simplest of them is preferred.
const TIE: f64 = 0.01;
/// Capacity at which a candidate recovers quickly from a stall, as a multiple of the rate in the busiest second.
const TO_SPARE: f64 = 2.0;
/// Additional latency that is acceptable for such a capacity.
const STEADY: f64 = 0.05;
/// Smallest difference from the current configuration that is worth a change.
const WORTH: f64 = 0.03;
/// Margin of a measured p99.
const MARGIN_MEASURED: f64 = 0.05;
/// Margin of a predicted p99.
pub(crate) const MARGIN_PREDICTED: f64 = 0.15;
/// Additional margin of a prediction without any batch; fewer missing batches add proportionally less.
const MARGIN_FEW: f64 = 0.35;
/// Largest ratio between repeated measurements that is not noise.
const NOISE: f64 = 2.0;

/// Returns the advice that follows from the evidence.
#[must_use]
pub fn recommend(evidence: &Evidence, objective: Objective) -> Advice {
    let Header { topic, profile, work, cost, current, .. } = &evidence.header;
    let tried = ranked(evidence, objective);
    let is_measured = !evidence.trials.is_empty();
    // If there are trials, recommend only candidates that were tried.
    let feasible: Vec<_> =
        tried.iter().filter(|tried| tried.is_feasible && (tried.rounds > 0 || !is_measured)).collect();
    let noise = noise(evidence, feasible.first().map(|best| &best.candidate), objective.goal);
    let recommendation = feasible.first().filter(|_| noise.is_none()).map(|best| {
        let mut others = feasible.iter().map(|tried| &tried.candidate);
        let runner_up = others.find(|other| is_another(other, &best.candidate));
        let gain_over = |other: &Candidate| gain(evidence, &tried, &best.candidate, other, objective.goal);
        Recommendation {
            runner_up: runner_up.cloned(),
            gain_over_runner_up: runner_up.and_then(gain_over),
            gain: current.as_ref().and_then(gain_over),
            is_current: current.as_ref() == Some(&best.candidate),
            holds: evidence.holds.iter().find(|holds| holds.is_of(&best.candidate, objective)).cloned(),
            ..describe(best, profile, objective)
        }
    });
    let refusal = match recommendation {
        Some(_) => None,
        None => Some(match (refuse(&tried, profile, objective), noise) {
            // The memory is calculated, so noise does not affect it.
            (memory @ Refusal::MemoryLimit { .. }, _) if feasible.is_empty() => memory,
            (_, Some(noise)) => noise,
            (refusal, None) => refusal,
        }),
    };
    Advice {
        version: ADVICE_VERSION,
        topic: topic.clone(),
        profile: Some(profile.clone()),
        work: Some(*work),
        cost: Some(cost.clone()),
        setup: Some(evidence.header.setup.clone()),
        failed_share: median_of(evidence.trials.iter().map(|trial| trial.failed_share)).unwrap_or(0.0),
        measured: is_measured,
        current: current.clone(),
        goal: objective.goal,
        p99_limit_ms: objective.p99.map(ms),
        memory_limit_bytes: objective.memory_bytes,
        candidates: tried,
        recommendation,
        refusal,
        confirmation: None,
        current_confirmation: None,
        reading: None,
        notes: Vec::new(),
        unconfirmed: None,
        verdict: None,
    }
    .concluded()
}

/// Returns the candidates to try: the best ones according to the evidence so far, and for comparison always the current
/// configuration and the choice of the guide's table.
#[must_use]
pub fn shortlist(evidence: &Evidence, objective: Objective, most: usize) -> Vec<Candidate> {
    let Header { profile, current, .. } = &evidence.header;
    let ranked: Vec<_> = ranked(evidence, objective).into_iter().map(|tried| tried.candidate).collect();
    let always: Vec<_> = current.iter().cloned().chain([table_choice(profile, objective)]).collect();
    let mut chosen: Vec<_> = ranked
        .iter()
        .filter(|candidate| !always.contains(candidate))
        .take(most.saturating_sub(always.len()))
        .collect();
    chosen.extend(ranked.iter().filter(|candidate| always.contains(candidate)));
    chosen.into_iter().cloned().collect()
}

/// Returns the choice of the guide's table: the first strategy whose conditions are all met, with the first size in its
/// row of the decision matrix.
#[must_use]
pub fn table_choice(profile: &Profile, objective: Objective) -> Candidate {
    const ORDER: [StrategyKind; 4] = [
        StrategyKind::LowLatency,
        StrategyKind::MegaBatch,
        StrategyKind::MemoryBased,
        StrategyKind::AdaptiveSize,
    ];
    let conditions = choose_when(&profile.workload(objective.p99));
    let is_met = |strategy: &StrategyKind| {
        let mut own = conditions.iter().filter(|condition| condition.strategy == *strategy);
        own.all(|Condition { met, .. }| *met == Met::Met)
    };
    let strategy = ORDER.into_iter().find(is_met).unwrap_or(StrategyKind::FixedSize);
    let of_strategy = |candidate: &Candidate| candidate.strategy == strategy;
    let on_the_matrix = |candidate: &Candidate| candidate.plan(None).matrix_row.is_some();
    let all = Candidate::all();
    let mut own: Vec<_> = all.into_iter().filter(of_strategy).collect();
    let row = own.iter().position(on_the_matrix).unwrap_or(0);
    own.swap_remove(row)
}

/// Returns true if two candidates differ in more than the wait.
fn is_another(one: &Candidate, other: &Candidate) -> bool {
    let size = |candidate: &Candidate| candidate.plan(None).batch_records;
    one.strategy != other.strategy || size(one) != size(other)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Evaluates every candidate and sorts the evaluations, the best first.
fn ranked(evidence: &Evidence, objective: Objective) -> Vec<Evaluation> {
    let mut known = BTreeMap::<&Candidate, (Option<&Trial>, Vec<&Trial>)>::new();
    for trial in &evidence.predicted {
        known.entry(&trial.candidate).or_default().0 = Some(trial);
    }
    for trial in &evidence.trials {
        known.entry(&trial.candidate).or_default().1.push(trial);
    }
    let header = &evidence.header;
    let rounds = Rounds::of(&evidence.trials);
    let mut tried: Vec<_> = known
        .into_iter()
        .map(|(candidate, (predicted, trials))| {
            let across = rounds.across(&trials);
            evaluate(candidate, predicted, (&trials, across), header, objective)
        })
        .collect();
    rank(&mut tried, objective.goal, header);
    tried
}

fn median_of(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    if values.is_empty() { None } else { Some(median(&mut values)) }
}

/// Returns the margin of a candidate's capacity for the uncertainty of the mean record size, which is assumed to lie
/// within four standard errors of the sampled mean.
fn size_margin(candidate: &Candidate, profile: &Profile) -> f64 {
    const STANDARD_ERRORS: f64 = 4.0;
    match candidate.strategy {
        StrategyKind::MemoryBased => {
            1.0 + STANDARD_ERRORS * profile.bytes_variation / (profile.records.max(1) as f64).sqrt()
        }
        _ => 1.0,
    }
}

/// Evaluates a candidate from its prediction, its trials and its normalised latencies.
fn evaluate(
    candidate: &Candidate,
    predicted: Option<&Trial>,
    (trials, across): (&[&Trial], Option<Across>),
    header: &Header,
    objective: Objective,
) -> Evaluation {
    let profile = &header.profile;
    let measured = median_of(trials.iter().filter_map(|trial| trial.capacity_records_per_s));
    let capacity = measured.or(predicted.and_then(|trial| trial.capacity_records_per_s)).unwrap_or(0.0);
    // Consuming and processing overlap, so the slower of the two limits the capacity.
    let fetch_us = profile.fetch.map_or(0.0, |fetch| fetch.of(candidate.plan(None).tier));
    let capacity = if fetch_us > 0.0 { capacity.min(1e6 / fetch_us) } else { capacity };
    let capacities = || trials.iter().filter_map(|trial| trial.capacity_records_per_s);
    let model = predicted.and_then(|trial| trial.replay);
    // Later rounds are longer. Use the rounds with enough batches.
    let replays = || trials.iter().filter_map(|trial| trial.replay);
    let enough = || replays().filter(|replay| replay.batches >= ENOUGH_BATCHES);
    let modelled = enough().next().is_none();
    let may_be_modelled = trials.is_empty() || replays().next().is_some();
    let model = model.filter(|_| modelled && may_be_modelled);
    // Without a prediction, fall back to rounds with few batches.
    let few = || replays().filter(|replay| modelled && model.is_none() && replay.batches > 0);
    let shown = || enough().chain(model).chain(few());
    let p99_ms =
        across.map(|across| across.middle_ms).or_else(|| median_of(shown().map(|replay| replay.p99_ms)));
    // The hardest round counts even if the candidate was not part of it.
    let hardest = across.map(|across| across.hardest_ms);
    let worst = shown().map(|replay| replay.p99_ms).chain(hardest).reduce(f64::max);
    let least = shown().map(|replay| replay.p99_ms).reduce(f64::min);
    let fewest = shown().map(|replay| replay.batches).min().unwrap_or(0);
    let lacking = ENOUGH_BATCHES.saturating_sub(fewest) as f64 / ENOUGH_BATCHES as f64;
    let margin = 1.0 + if modelled { MARGIN_PREDICTED + MARGIN_FEW * lacking } else { MARGIN_MEASURED };
    let p99_upper_ms = worst.map(|worst| worst * margin);
    // A candidate that fell behind in a round has no latencies to compare with a limit.
    let fell_behind = trials.iter().any(|trial| trial.replay.is_none());
    // The worst round decides, as it does for the latency limit.
    let surely = capacities().fold(capacity, f64::min) / size_margin(candidate, profile);
    let keeps_up = surely >= HEADROOM * profile.peak_records_per_s && p99_ms.is_some() && !fell_behind;
    let mean_records = median_of(shown().map(|replay| replay.mean_records));
    let memory_bytes = memory_bytes(candidate, profile);
    let is_within = p99_upper_ms.is_some_and(|upper| objective.p99.is_none_or(|limit| upper <= ms(limit)))
        && objective.memory_bytes.is_none_or(|limit| memory_bytes <= limit);
    let largest = candidate.plan(Some(mean_of(profile))).batch_records.max;
    let capacity_is_at_least =
        measured.is_none() && header.cost.measured_to().is_some_and(|most| largest > most);
    Evaluation {
        candidate: candidate.clone(),
        rounds: trials.len() as u64,
        capacity_records_per_s: capacity,
        capacity_is_at_least,
        capacity_range: capacities().reduce(f64::min).zip(capacities().reduce(f64::max)),
        p50_ms: median_of(shown().map(|replay| replay.p50_ms)),
        p99_ms,
        p99_lower_ms: least.map(|least| least / margin),
        p99_upper_ms,
        mean_records,
        memory_bytes,
        work_ms_per_record: work_of_a_record(header, mean_records.unwrap_or(1.0)) + fetch_us / 1e3,
        modelled,
        keeps_up,
        is_feasible: keeps_up && is_within,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of sizes")]
fn mean_of(profile: &Profile) -> u64 {
    (profile.mean_bytes.ceil() as u64).max(1)
}

/// Returns the memory of three batches of the largest size, at least three times the largest record.
fn memory_bytes(candidate: &Candidate, profile: &Profile) -> u64 {
    const BATCHES: u64 = 3;
    let mean = mean_of(profile);
    let records = candidate.plan(Some(mean)).batch_records.max;
    // A time window contains at most the records that arrive while it is open.
    let window = candidate.config().strategy.max_wait().as_secs_f64() * profile.peak_records_per_s;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let records = match candidate.strategy {
        StrategyKind::TimeWindow => records.min(window.ceil() as u64).max(1),
        _ => records,
    };
    records.saturating_mul(mean).max(profile.max_bytes).saturating_mul(BATCHES)
}

/// Returns the processing time per record, summed over all threads.
fn work_of_a_record(header: &Header, records: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of counts")]
    let whole = (records.round() as u64).max(1);
    ms(header.cost.of(whole)) / whole as f64
}

/// Returns the score of a candidate; lower is better.
fn score(tried: &Evaluation, goal: Goal) -> f64 {
    match goal {
        Goal::Latency if tried.keeps_up => tried.p99_ms.unwrap_or(f64::INFINITY),
        Goal::Memory if tried.keeps_up => tried.memory_bytes as f64,
        Goal::Cpu if tried.keeps_up => tried.work_ms_per_record,
        _ => 1.0 / tried.capacity_records_per_s.max(1e-9),
    }
}

/// Sorts evaluations, the best first:
///
/// 1. feasible candidates, then candidates that keep up, then the others;
/// 2. within a group, by the score for the goal. For latency, a candidate with at least twice the peak rate as capacity
///    precedes a candidate with less capacity that is at most 5 % faster;
/// 3. candidates that tie with the best: the current configuration, then measured before modelled p99, then the shorter
///    wait (latency) or the lower p99 (other goals), then the simpler candidate.
fn rank(tried: &mut [Evaluation], goal: Goal, header: &Header) {
    let current = header.current.as_ref();
    let enough = TO_SPARE * header.profile.peak_records_per_s;
    let is_steady = |tried: &Evaluation| goal != Goal::Latency || tried.capacity_records_per_s >= enough;
    let group = |tried: &Evaluation| match (tried.is_feasible, tried.keeps_up) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    };
    tried.sort_by(|a, b| group(a).cmp(&group(b)).then(score(a, goal).total_cmp(&score(b, goal))));
    // A tried candidate precedes a candidate that is only predicted to be as good.
    let Some(first) = tried.iter().position(|tried| tried.rounds > 0).or(Some(0)) else { return };
    let Some(best) = tried.get(first) else { return };
    let is_near = |other: &Evaluation, best: &Evaluation, worth: f64| {
        group(other) == group(best) && score(other, goal) <= score(best, goal) * (1.0 + worth)
    };
    let is_instead = |other: &&Evaluation| {
        (other.rounds > 0 || best.rounds == 0) && is_steady(other) && is_near(other, best, STEADY)
    };
    let best = tried.iter().find(is_instead).unwrap_or(best).clone();
    let is_tie = |other: &Evaluation| {
        if Some(&other.candidate) == current {
            return is_near(other, &best, WORTH);
        }
        is_near(other, &best, TIE) && (is_steady(other) || !is_steady(&best))
    };
    tried.sort_by(|a, b| {
        let key = |tried: &Evaluation| (group(tried), !is_tie(tried), tried.rounds == 0 && is_tie(tried));
        let is_current = |tried: &Evaluation| Some(&tried.candidate) == current;
        let by_score = || score(a, goal).total_cmp(&score(b, goal));
        let by_simplicity = || {
            let wait = |tried: &Evaluation| match goal {
                // A shorter wait is less sensitive to a lower rate.
                Goal::Latency => tried.candidate.config().strategy.max_wait(),
                _ => Duration::ZERO,
            };
            // For other goals, the p99 is a tie-breaker.
            let p99 = |tried: &Evaluation| tried.p99_ms.filter(|_| goal != Goal::Latency).unwrap_or(0.0);
            is_current(b)
                .cmp(&is_current(a))
                .then_with(|| a.modelled.cmp(&b.modelled))
                .then_with(|| wait(a).cmp(&wait(b)))
                .then_with(|| p99(a).total_cmp(&p99(b)))
                .then_with(|| a.candidate.complexity().cmp(&b.candidate.complexity()))
        };
        key(a).cmp(&key(b)).then_with(|| if is_tie(a) && is_tie(b) { by_simplicity() } else { by_score() })
    });
}

/// Compares the recommendation with another candidate, by the rounds in which both were tried.
fn gain(
    evidence: &Evidence,
    tried: &[Evaluation],
    best: &Candidate,
    current: &Candidate,
    goal: Goal,
) -> Option<Gain> {
    let of = |candidate: &Candidate| tried.iter().find(|tried| tried.candidate == *candidate);
    let (best_tried, current_tried) = (of(best)?, of(current).filter(|tried| tried.keeps_up)?);
    let interval = compare(&rounds_of(evidence, best), &rounds_of(evidence, current), goal);
    // Common rounds are more precise than the evaluations over different rounds.
    let ratio = match interval {
        Some((low, high)) => (low * high).sqrt(),
        None => score(best_tried, goal) / score(current_tried, goal),
    };
    let is_certain = interval.is_some_and(is_different);
    Some(Gain { ratio, interval, is_certain }).filter(|gain| gain.ratio.is_finite())
}

/// Returns the trials of a candidate.
pub(crate) fn rounds_of<'a>(evidence: &'a Evidence, candidate: &Candidate) -> Vec<&'a Trial> {
    evidence.trials.iter().filter(|trial| trial.candidate == *candidate).collect()
}

/// Returns the 95 % confidence interval of the ratio of two candidates' scores, from the log-ratios of their common
/// rounds; `None` if there are fewer than three.
#[must_use]
pub fn compare(a: &[&Trial], b: &[&Trial], goal: Goal) -> Option<(f64, f64)> {
    // Quantiles of Student's t distribution at 97.5 %, from 2 degrees of freedom on.
    const T: [f64; 9] = [4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    let of = |trial: &Trial| match goal {
        Goal::Latency => trial.replay.map(|replay| replay.p99_ms),
        Goal::Throughput => trial.capacity_records_per_s.map(|capacity| 1.0 / capacity),
        // Memory and work do not vary between rounds.
        Goal::Memory | Goal::Cpu => None,
    };
    let pairs = a.iter().filter_map(|a| Some((a, b.iter().find(|b| b.round == a.round)?)));
    let ratios = pairs.filter_map(|(a, b)| Some((of(a)? / of(b)?).ln()));
    let ratios: Vec<_> = ratios.filter(|ratio| ratio.is_finite()).collect();
    let count = ratios.len();
    let t = *T.get(count.checked_sub(3)?).unwrap_or(&2.2);
    let mean = ratios.iter().sum::<f64>() / count as f64;
    let variance = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / (count as f64 - 1.0);
    let half = t * (variance / count as f64).sqrt();
    Some(((mean - half).exp(), (mean + half).exp()))
}

/// Returns true if the whole interval of a ratio differs from 1 by more than 3 %.
#[must_use]
pub fn is_different((low, high): (f64, f64)) -> bool {
    low > 1.0 + WORTH || high < 1.0 / (1.0 + WORTH)
}

/// Returns a refusal if repeated measurements of the same work differ too much.
fn noise(evidence: &Evidence, best: Option<&Candidate>, goal: Goal) -> Option<Refusal> {
    let spread = evidence.header.cost.spread;
    if spread > NOISE {
        return Some(Refusal::Noisy { what: "batches of the same size".to_owned(), factor: spread });
    }
    // The exact capacity matters only for the throughput goal. Latencies differ between rounds because the replayed
    // arrivals do.
    let best = best.filter(|_| goal == Goal::Throughput)?;
    let rounds = rounds_of(evidence, best);
    let mut capacities: Vec<_> = rounds.iter().filter_map(|trial| trial.capacity_records_per_s).collect();
    capacities.sort_by(f64::total_cmp);
    // A single round may have been disturbed, so compare the middle ones.
    let edge = capacities.len().saturating_sub(1) / 3;
    let (low, high) = (*capacities.get(edge)?, *capacities.get(capacities.len() - 1 - edge)?);
    let what = format!("the trials of {best}");
    (high > NOISE * low).then(|| Refusal::Noisy { what, factor: high / low })
}

/// Returns the recommendation of a candidate, without comparisons.
fn describe(best: &Evaluation, profile: &Profile, objective: Objective) -> Recommendation {
    let candidate = best.candidate.clone();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of sizes")]
    let plan = candidate.plan(Some(profile.mean_bytes as u64));
    Recommendation {
        settings: candidate.clause(),
        candidate,
        max_poll_records: plan.max_poll_records,
        tier: plan.tier,
        matrix_row: plan.matrix_row,
        nearest_row: plan.nearest_row,
        conditions: choose_when(&profile.workload(objective.p99)),
        is_current: false,
        gain: None,
        runner_up: None,
        gain_over_runner_up: None,
        holds: None,
        // The peak is assumed to be proportional to the mean rate.
        holds_until_records_per_s: profile.records_per_s * best.capacity_records_per_s
            / (HEADROOM * profile.peak_records_per_s),
    }
}

/// Returns the limit that no candidate meets: throughput first, then memory, then latency.
fn refuse(tried: &[Evaluation], profile: &Profile, objective: Objective) -> Refusal {
    let strongest = tried.iter().max_by(|a, b| a.capacity_records_per_s.total_cmp(&b.capacity_records_per_s));
    let Some(strongest) = strongest else { return Refusal::NoTrials };
    let keep_up = || tried.iter().filter(|tried| tried.keeps_up);
    if keep_up().next().is_none() {
        return Refusal::NothingKeepsUp {
            best: strongest.candidate.clone(),
            capacity_records_per_s: strongest.capacity_records_per_s,
            needed_records_per_s: HEADROOM * profile.peak_records_per_s,
        };
    }
    let smallest = keep_up().min_by_key(|tried| tried.memory_bytes);
    if let (Some(smallest), Some(limit_bytes)) = (smallest, objective.memory_bytes)
        && smallest.memory_bytes > limit_bytes
    {
        return Refusal::MemoryLimit {
            best: smallest.candidate.clone(),
            needed_bytes: smallest.memory_bytes,
            limit_bytes,
            largest_record_bytes: profile.max_bytes,
        };
    }
    let fits = |tried: &&Evaluation| objective.memory_bytes.is_none_or(|limit| tried.memory_bytes <= limit);
    let upper = |tried: &Evaluation| tried.p99_upper_ms.unwrap_or(f64::INFINITY);
    let fastest = keep_up().filter(fits).min_by(|a, b| upper(a).total_cmp(&upper(b)));
    fastest.zip(objective.p99).map_or(Refusal::NoTrials, |(best, limit)| Refusal::LatencyLimit {
        best: best.candidate.clone(),
        p99_ms: upper(best),
        limit_ms: ms(limit),
    })
}

#[cfg(test)]
mod tests;
