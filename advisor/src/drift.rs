//! How far the rate may go before a recommendation ends: the same arrivals, faster and slower, by the model.

use crate::advice::{Because, Bound, Goal, Holds, Wishes};
use crate::candidate::Candidate;
use crate::predict::{Arrivals, predict};
use crate::recommend::{HEADROOM, MARGIN_PREDICTED};
use crate::trial::{Header, Trial};

/// How much better another one must be before it is a reason to change.
const OVERTAKEN: f64 = 0.1;
/// Rates that are looked at, over the one that was measured.
const FASTER: [f64; 9] = [1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 3.0, 5.0, 10.0];
const SLOWER: [f64; 8] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.2, 0.1];

/// The rates between which `candidate` is the one to take, among `others`; none where the model would not take it at
/// the present rate either, and so has nothing to say of others.
#[must_use]
pub fn holds(
    header: &Header,
    arrivals: &Arrivals,
    candidate: &Candidate,
    others: &[Candidate],
    wishes: Wishes,
) -> Option<Holds> {
    const STEPS: u32 = 5;
    let ends_at = |factor: f64| end(header, &arrivals.faster(factor), factor, candidate, others, wishes);
    if ends_at(1.0).is_some() {
        return None;
    }
    let first_end = |factors: &[f64]| {
        let (place, mut because) =
            factors.iter().enumerate().find_map(|(place, factor)| Some((place, ends_at(*factor)?)))?;
        // It still held at the factor before; in between it is looked for by halves.
        let mut holds = place.checked_sub(1).map_or(1.0, |before| factors[before]);
        let mut ends = factors[place];
        for _ in 0..STEPS {
            let middle = f64::midpoint(holds, ends);
            match ends_at(middle) {
                Some(why) => (ends, because) = (middle, why),
                None => holds = middle,
            }
        }
        Some(Bound { records_per_s: header.profile.records_per_s * holds, because })
    };
    Some(Holds { candidate: candidate.clone(), wishes, from: first_end(&SLOWER), until: first_end(&FASTER) })
}

/// Why it is not the one to take for these arrivals; none where it is.
fn end(
    header: &Header,
    arrivals: &Arrivals,
    factor: f64,
    candidate: &Candidate,
    others: &[Candidate],
    wishes: Wishes,
) -> Option<Because> {
    let predicted = |candidate: &Candidate| {
        predict(candidate, arrivals, &mut |records| header.cost_of(candidate, records))
    };
    let needed = HEADROOM * header.profile.peak_records_per_s * factor;
    let keeps_up = |trial: &Trial| trial.capacity_records_per_s >= Some(needed) && trial.replay.is_some();
    let is_in_time = |trial: &Trial| {
        let upper_s =
            trial.replay.map_or(f64::INFINITY, |replay| replay.p99_ms / 1e3 * (1.0 + MARGIN_PREDICTED));
        wishes.p99.is_none_or(|limit| upper_s <= limit.as_secs_f64())
    };
    let own = predicted(candidate);
    if !keeps_up(&own) {
        return Some(Because::FallsBehind);
    }
    if !is_in_time(&own) {
        return Some(Because::LatencyLimit);
    }
    let score = |trial: &Trial| match wishes.goal {
        Goal::Latency => trial.replay.map(|replay| replay.p99_ms),
        Goal::Throughput => trial.capacity_records_per_s.map(|capacity| 1.0 / capacity),
        // What a batch holds does not depend on the rate, and how much work a record is hardly does.
        Goal::Memory | Goal::Cpu => None,
    };
    let own = score(&own)?;
    let feasible = others.iter().map(predicted).filter(|trial| keeps_up(trial) && is_in_time(trial));
    let better = feasible.filter_map(|trial| Some((score(&trial)?, trial.candidate)));
    let best = better.min_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 * (1.0 + OVERTAKEN) < own).then_some(Because::Overtaken { candidate: best.1 })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use velo_engine::processor::Synthetic;

    use super::*;
    use crate::cost::Cost;
    use crate::profile::Profile;
    use crate::trial::{Setup, VERSION, Work};

    #[test]
    fn a_recommendation_ends_where_its_arithmetic_says() {
        let one = Candidate::all().into_iter().find(|all| all.to_string() == "low_latency 1").unwrap();
        let header = Header {
            version: VERSION,
            topic: String::new(),
            setup: Setup::default(),
            wishes: Wishes { goal: Goal::Latency, p99: None, memory_bytes: None },
            max_batch_records: None,
            profile: Profile::random(50.0, 100),
            work: Work::new(Synthetic::default(), Duration::ZERO),
            // 500 a second, one by one.
            cost: Cost::line(Duration::from_millis(2), Duration::ZERO),
            current: None,
        };
        let arrivals = Arrivals::random(50.0, 100);
        let alone = holds(&header, &arrivals, &one, &[], header.wishes).unwrap();
        assert_eq!(alone.from, None);
        let until = alone.until.unwrap();
        // 500 / 1.2 is 417.
        assert!((405.0..=417.0).contains(&until.records_per_s), "{until:?}");
        assert_eq!(until.because, Because::FallsBehind);
        let many = Candidate::all().into_iter().find(|all| all.to_string() == "low_latency 50").unwrap();
        let beside = holds(&header, &arrivals, &one, std::slice::from_ref(&many), header.wishes).unwrap();
        let until = beside.until.unwrap();
        assert_eq!(until.because, Because::Overtaken { candidate: many });
        assert!(until.records_per_s < 400.0, "{until:?}");
        let impossible = Wishes { p99: Some(Duration::from_millis(1)), ..header.wishes };
        assert_eq!(holds(&header, &arrivals, &one, &[], impossible), None);
    }
}
