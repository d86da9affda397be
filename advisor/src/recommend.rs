//! Sample, predictions and trials in, advice out. Pure: the same trials give the same advice.

use std::collections::BTreeMap;
use std::time::Duration;

use velo_schema::StrategyKind;
use velo_schema::guide::{Condition, Met, choose_when};

use crate::advice::{Advice, Gain, Goal, Recommendation, Refusal, Tried, VERSION as ADVICE_VERSION, Wishes};
use crate::candidate::Candidate;
use crate::cost::median;
use crate::predict::ENOUGH_BATCHES;
use crate::profile::Profile;
use crate::trial::{Evidence, Header, Trial};

mod rounds;

use rounds::{Across, Rounds};

/// How much more than the busiest second a configuration must be able to do.
pub(crate) const HEADROOM: f64 = 1.2;
/// Of candidates that are this close to the best, the simplest is taken.
const TIE: f64 = 0.01;
/// One that can do so much more than the busiest second needs gets over a stall soon.
const TO_SPARE: f64 = 2.0;
/// How much more latency that is worth.
const STEADY: f64 = 0.05;
/// What is less different from the current configuration is not worth a change.
const WORTH: f64 = 0.03;
/// How far a measured 99th percentile may be off, and a predicted one.
const MARGIN_MEASURED: f64 = 0.05;
pub(crate) const MARGIN_PREDICTED: f64 = 0.15;
/// What is added to that as the prediction rests on fewer batches.
const MARGIN_FEW: f64 = 0.35;
/// Rounds that differ by more than this factor say nothing.
const NOISE: f64 = 2.0;

/// The advice that follows from the evidence.
#[must_use]
pub fn recommend(evidence: &Evidence, wishes: Wishes) -> Advice {
    let Header { topic, profile, work, cost, current, .. } = &evidence.header;
    let tried = ranked(evidence, wishes);
    let is_measured = !evidence.trials.is_empty();
    // What was only predicted is a reason to try it, not to recommend it, while there is better.
    let feasible: Vec<_> =
        tried.iter().filter(|tried| tried.is_feasible && (tried.rounds > 0 || !is_measured)).collect();
    let noise = noise(evidence, feasible.first().map(|best| &best.candidate), wishes.goal);
    let recommendation = feasible.first().filter(|_| noise.is_none()).map(|best| {
        let mut others = feasible.iter().map(|tried| &tried.candidate);
        let runner_up = others.find(|other| is_another(other, &best.candidate));
        let gain_over = |other: &Candidate| gain(evidence, &tried, &best.candidate, other, wishes.goal);
        Recommendation {
            runner_up: runner_up.cloned(),
            gain_over_runner_up: runner_up.and_then(gain_over),
            gain: current.as_ref().and_then(gain_over),
            is_current: current.as_ref() == Some(&best.candidate),
            holds: evidence.holds.iter().find(|holds| holds.is_of(&best.candidate, wishes)).cloned(),
            ..describe(best, profile, wishes)
        }
    });
    let refusal = match recommendation {
        Some(_) => None,
        None => Some(match (refuse(&tried, profile, wishes), noise) {
            // It is counted, whatever was measured.
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
        goal: wishes.goal,
        p99_limit_ms: wishes.p99.map(ms),
        memory_limit_bytes: wishes.memory_bytes,
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

/// Whom to try: the best by what is known so far, and among them always what runs now and what the
/// guide's table would choose, to compare with.
#[must_use]
pub fn shortlist(evidence: &Evidence, wishes: Wishes, most: usize) -> Vec<Candidate> {
    let Header { profile, current, .. } = &evidence.header;
    let ranked: Vec<_> = ranked(evidence, wishes).into_iter().map(|tried| tried.candidate).collect();
    let always: Vec<_> = current.iter().cloned().chain([table_choice(profile, wishes)]).collect();
    let mut chosen: Vec<_> = ranked
        .iter()
        .filter(|candidate| !always.contains(candidate))
        .take(most.saturating_sub(always.len()))
        .collect();
    chosen.extend(ranked.iter().filter(|candidate| always.contains(candidate)));
    chosen.into_iter().cloned().collect()
}

/// What the guide's table alone would choose: the first strategy whose conditions all hold, at the first
/// size of the decision matrix's row.
#[must_use]
pub fn table_choice(profile: &Profile, wishes: Wishes) -> Candidate {
    const ORDER: [StrategyKind; 4] = [
        StrategyKind::LowLatency,
        StrategyKind::MegaBatch,
        StrategyKind::MemoryBased,
        StrategyKind::AdaptiveSize,
    ];
    let conditions = choose_when(&profile.workload(wishes.p99));
    let holds = |strategy: &StrategyKind| {
        let mut own = conditions.iter().filter(|condition| condition.strategy == *strategy);
        own.all(|Condition { met, .. }| *met == Met::Met)
    };
    let strategy = ORDER.into_iter().find(holds).unwrap_or(StrategyKind::FixedSize);
    let of_strategy = |candidate: &Candidate| candidate.strategy == strategy;
    let on_the_matrix = |candidate: &Candidate| candidate.plan(None).matrix_row.is_some();
    let all = Candidate::all();
    let mut own: Vec<_> = all.into_iter().filter(of_strategy).collect();
    let row = own.iter().position(on_the_matrix).unwrap_or(0);
    own.swap_remove(row)
}

/// Whether a candidate differs in more than how long it waits.
fn is_another(one: &Candidate, other: &Candidate) -> bool {
    let size = |candidate: &Candidate| candidate.plan(None).batch_records;
    one.strategy != other.strategy || size(one) != size(other)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Every candidate with what is known of it, the best first.
fn ranked(evidence: &Evidence, wishes: Wishes) -> Vec<Tried> {
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
            summary(candidate, predicted, (&trials, across), header, wishes)
        })
        .collect();
    rank(&mut tried, wishes.goal, header);
    tried
}

fn median_of(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    if values.is_empty() { None } else { Some(median(&mut values)) }
}

/// By how much fewer records a batch of bytes may hold than was seen: the mean size of the records that will come lies
/// within four standard errors of the one that was sampled.
fn size_margin(candidate: &Candidate, profile: &Profile) -> f64 {
    const STANDARD_ERRORS: f64 = 4.0;
    match candidate.strategy {
        StrategyKind::MemoryBased => {
            1.0 + STANDARD_ERRORS * profile.bytes_variation / (profile.records.max(1) as f64).sqrt()
        }
        _ => 1.0,
    }
}

/// Of a candidate with a prediction, its trials and what they come to over all rounds.
fn summary(
    candidate: &Candidate,
    predicted: Option<&Trial>,
    (trials, across): (&[&Trial], Option<Across>),
    header: &Header,
    wishes: Wishes,
) -> Tried {
    let profile = &header.profile;
    let measured = median_of(trials.iter().filter_map(|trial| trial.capacity_records_per_s));
    let capacity = measured.or(predicted.and_then(|trial| trial.capacity_records_per_s)).unwrap_or(0.0);
    // Records are taken from the client while others are processed: the slower of both is what it can do.
    let fetch_us = profile.fetch.map_or(0.0, |fetch| fetch.of(candidate.plan(None).tier));
    let capacity = if fetch_us > 0.0 { capacity.min(1e6 / fetch_us) } else { capacity };
    let capacities = || trials.iter().filter_map(|trial| trial.capacity_records_per_s);
    let model = predicted.and_then(|trial| trial.replay);
    // Rounds grow longer: those that are long enough count.
    let replays = || trials.iter().filter_map(|trial| trial.replay);
    let enough = || replays().filter(|replay| replay.batches >= ENOUGH_BATCHES);
    let modelled = enough().next().is_none();
    let may_be_modelled = trials.is_empty() || replays().next().is_some();
    let model = model.filter(|_| modelled && may_be_modelled);
    // Where there is no model either, a few batches are all there is.
    let few = || replays().filter(|replay| modelled && model.is_none() && replay.batches > 0);
    let shown = || enough().chain(model).chain(few());
    let p99_ms =
        across.map(|across| across.middle_ms).or_else(|| median_of(shown().map(|replay| replay.p99_ms)));
    // It would not do better in a hard round that it was not in.
    let hardest = across.map(|across| across.hardest_ms);
    let worst = shown().map(|replay| replay.p99_ms).chain(hardest).reduce(f64::max);
    let least = shown().map(|replay| replay.p99_ms).reduce(f64::min);
    let fewest = shown().map(|replay| replay.batches).min().unwrap_or(0);
    let lacking = ENOUGH_BATCHES.saturating_sub(fewest) as f64 / ENOUGH_BATCHES as f64;
    let margin = 1.0 + if modelled { MARGIN_PREDICTED + MARGIN_FEW * lacking } else { MARGIN_MEASURED };
    let p99_upper_ms = worst.map(|worst| worst * margin);
    // A round that fell behind has no latencies to compare with a limit.
    let fell_behind = trials.iter().any(|trial| trial.replay.is_none());
    // The worst round counts, as it does for a limit.
    let surely = capacities().fold(capacity, f64::min) / size_margin(candidate, profile);
    let keeps_up = surely >= HEADROOM * profile.peak_records_per_s && p99_ms.is_some() && !fell_behind;
    let mean_records = median_of(shown().map(|replay| replay.mean_records));
    let memory_bytes = memory_bytes(candidate, profile);
    let is_within = p99_upper_ms.is_some_and(|upper| wishes.p99.is_none_or(|limit| upper <= ms(limit)))
        && wishes.memory_bytes.is_none_or(|limit| memory_bytes <= limit);
    let largest = candidate.plan(Some(mean_of(profile))).batch_records.max;
    let capacity_is_at_least =
        measured.is_none() && header.cost.measured_to().is_some_and(|most| largest > most);
    Tried {
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

/// Three batches as large as they get, and never less than three of the largest record.
fn memory_bytes(candidate: &Candidate, profile: &Profile) -> u64 {
    const BATCHES: u64 = 3;
    let mean = mean_of(profile);
    let records = candidate.plan(Some(mean)).batch_records.max;
    // A window holds what comes while it is open.
    let window = candidate.config().strategy.max_wait().as_secs_f64() * profile.peak_records_per_s;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let records = match candidate.strategy {
        StrategyKind::TimeWindow => records.min(window.ceil() as u64).max(1),
        _ => records,
    };
    records.saturating_mul(mean).max(profile.max_bytes).saturating_mul(BATCHES)
}

/// Of all threads together: several are done earlier, and have no less to do.
fn work_of_a_record(header: &Header, records: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of counts")]
    let whole = (records.round() as u64).max(1);
    ms(header.cost.of(whole)) / whole as f64
}

/// How good it is; lower is better.
fn score(tried: &Tried, goal: Goal) -> f64 {
    match goal {
        Goal::Latency if tried.keeps_up => tried.p99_ms.unwrap_or(f64::INFINITY),
        Goal::Memory if tried.keeps_up => tried.memory_bytes as f64,
        Goal::Cpu if tried.keeps_up => tried.work_ms_per_record,
        _ => 1.0 / tried.capacity_records_per_s.max(1e-9),
    }
}

/// The best first: feasible ones by the goal, then those that keep up, then the rest. Where the lowest latency
/// is that of one with little to spare, one with enough goes before it that is nearly as good. Of those that are as
/// good as the best, what runs now, then, for latency, what waits for less, else what has a lower p99, then the
/// simplest.
fn rank(tried: &mut [Tried], goal: Goal, header: &Header) {
    let current = header.current.as_ref();
    let enough = TO_SPARE * header.profile.peak_records_per_s;
    let is_steady = |tried: &Tried| goal != Goal::Latency || tried.capacity_records_per_s >= enough;
    let group = |tried: &Tried| match (tried.is_feasible, tried.keeps_up) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    };
    tried.sort_by(|a, b| group(a).cmp(&group(b)).then(score(a, goal).total_cmp(&score(b, goal))));
    // What was tried goes before what was predicted to be as good.
    let Some(first) = tried.iter().position(|tried| tried.rounds > 0).or(Some(0)) else { return };
    let Some(best) = tried.get(first) else { return };
    let is_near = |other: &Tried, best: &Tried, worth: f64| {
        group(other) == group(best) && score(other, goal) <= score(best, goal) * (1.0 + worth)
    };
    let is_instead = |other: &&Tried| {
        (other.rounds > 0 || best.rounds == 0) && is_steady(other) && is_near(other, best, STEADY)
    };
    let best = tried.iter().find(is_instead).unwrap_or(best).clone();
    let is_tie = |other: &Tried| {
        if Some(&other.candidate) == current {
            return is_near(other, &best, WORTH);
        }
        is_near(other, &best, TIE) && (is_steady(other) || !is_steady(&best))
    };
    tried.sort_by(|a, b| {
        let key = |tried: &Tried| (group(tried), !is_tie(tried), tried.rounds == 0 && is_tie(tried));
        let is_current = |tried: &Tried| Some(&tried.candidate) == current;
        let by_score = || score(a, goal).total_cmp(&score(b, goal));
        let by_simplicity = || {
            let wait = |tried: &Tried| match goal {
                // The shorter it waits, the less it matters when fewer records come.
                Goal::Latency => tried.candidate.config().strategy.max_wait(),
                _ => Duration::ZERO,
            };
            // Other goals do not ask for it, and nobody minds.
            let p99 = |tried: &Tried| tried.p99_ms.filter(|_| goal != Goal::Latency).unwrap_or(0.0);
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

/// The recommendation against what runs now, by rounds in which both were tried.
fn gain(
    evidence: &Evidence,
    tried: &[Tried],
    best: &Candidate,
    current: &Candidate,
    goal: Goal,
) -> Option<Gain> {
    let of = |candidate: &Candidate| tried.iter().find(|tried| tried.candidate == *candidate);
    let (best_tried, current_tried) = (of(best)?, of(current).filter(|tried| tried.keeps_up)?);
    let interval = compare(&rounds_of(evidence, best), &rounds_of(evidence, current), goal);
    // The rounds that both had say more than what each did over all of its own.
    let ratio = match interval {
        Some((low, high)) => (low * high).sqrt(),
        None => score(best_tried, goal) / score(current_tried, goal),
    };
    let is_certain = interval.is_some_and(is_different);
    Some(Gain { ratio, interval, is_certain }).filter(|gain| gain.ratio.is_finite())
}

pub(crate) fn rounds_of<'a>(evidence: &'a Evidence, candidate: &Candidate) -> Vec<&'a Trial> {
    evidence.trials.iter().filter(|trial| trial.candidate == *candidate).collect()
}

/// The interval of 95 % of the ratio of two candidates' scores, from the log-ratios of the rounds that both had;
/// none with fewer than three.
#[must_use]
pub fn compare(a: &[&Trial], b: &[&Trial], goal: Goal) -> Option<(f64, f64)> {
    // Student's t at 97.5 % for 2 degrees of freedom and more.
    const T: [f64; 9] = [4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    let of = |trial: &Trial| match goal {
        Goal::Latency => trial.replay.map(|replay| replay.p99_ms),
        Goal::Throughput => trial.capacity_records_per_s.map(|capacity| 1.0 / capacity),
        // They do not differ from round to round.
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

/// Whether an interval of a ratio is beyond a difference that matters.
#[must_use]
pub fn is_different((low, high): (f64, f64)) -> bool {
    low > 1.0 + WORTH || high < 1.0 / (1.0 + WORTH)
}

/// Where the same thing took very different times, because something else was in the way.
fn noise(evidence: &Evidence, best: Option<&Candidate>, goal: Goal) -> Option<Refusal> {
    let spread = evidence.header.cost.spread;
    if spread > NOISE {
        return Some(Refusal::Noisy { what: "batches of one size".to_owned(), factor: spread });
    }
    // How much more than is needed something can do matters to nobody else; latencies differ from round to round
    // because the rounds do.
    let best = best.filter(|_| goal == Goal::Throughput)?;
    let rounds = rounds_of(evidence, best);
    let mut capacities: Vec<_> = rounds.iter().filter_map(|trial| trial.capacity_records_per_s).collect();
    capacities.sort_by(f64::total_cmp);
    // One round of several may have been disturbed; the middle ones count.
    let edge = capacities.len().saturating_sub(1) / 3;
    let (low, high) = (*capacities.get(edge)?, *capacities.get(capacities.len() - 1 - edge)?);
    let what = format!("the rounds of {best}");
    (high > NOISE * low).then(|| Refusal::Noisy { what, factor: high / low })
}

fn describe(best: &Tried, profile: &Profile, wishes: Wishes) -> Recommendation {
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
        conditions: choose_when(&profile.workload(wishes.p99)),
        is_current: false,
        gain: None,
        runner_up: None,
        gain_over_runner_up: None,
        holds: None,
        // Peaks grow with the rate.
        holds_until_records_per_s: profile.records_per_s * best.capacity_records_per_s
            / (HEADROOM * profile.peak_records_per_s),
    }
}

/// Which constraint nothing meets: throughput first, then memory, then latency.
fn refuse(tried: &[Tried], profile: &Profile, wishes: Wishes) -> Refusal {
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
    if let (Some(smallest), Some(limit_bytes)) = (smallest, wishes.memory_bytes)
        && smallest.memory_bytes > limit_bytes
    {
        return Refusal::MemoryLimit {
            best: smallest.candidate.clone(),
            needed_bytes: smallest.memory_bytes,
            limit_bytes,
            largest_record_bytes: profile.max_bytes,
        };
    }
    let fits = |tried: &&Tried| wishes.memory_bytes.is_none_or(|limit| tried.memory_bytes <= limit);
    let upper = |tried: &Tried| tried.p99_upper_ms.unwrap_or(f64::INFINITY);
    let fastest = keep_up().filter(fits).min_by(|a, b| upper(a).total_cmp(&upper(b)));
    fastest.zip(wishes.p99).map_or(Refusal::NoTrials, |(best, limit)| Refusal::LatencyLimit {
        best: best.candidate.clone(),
        p99_ms: upper(best),
        limit_ms: ms(limit),
    })
}

#[cfg(test)]
mod tests;
