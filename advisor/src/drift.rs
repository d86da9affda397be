//! How far the rate may go before a recommendation ends: the same arrivals, faster and slower, by the model, if the
//! model is right at the rate of today.

use std::ops::ControlFlow;

use crate::advice::{Because, Bound, Goal, Holds, Tried, Wishes};
use crate::candidate::Candidate;
use crate::predict::{Arrivals, GoesOn, predict_while};
use crate::recommend::{HEADROOM, MARGIN_PREDICTED};
use crate::trial::{Header, Trial};

/// How much better another one must be before it is a reason to change.
const OVERTAKEN: f64 = 0.1;
/// Rates that are looked at, over the one that was measured.
const FASTER: [f64; 9] = [1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 3.0, 5.0, FASTEST];
/// Nobody has looked at what comes faster than so many times the rate that was measured.
pub const FASTEST: f64 = 10.0;
const SLOWER: [f64; 8] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.2, 0.1];

/// How far a prediction may be off what trials say at the same rate.
const AGREES: f64 = 1.3;
/// A difference of less is none.
const AGREES_MS: f64 = 2.0;

/// Why no bounds are given.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NoBounds {
    /// The model is wrong at the rate of today.
    #[error(
        "how far the rate may drift is not known: at the rate of today the model has a p99 of {predicted_ms:.1} ms and \
         the trials one of {measured_ms:.1} ms"
    )]
    Disagrees {
        /// What the model says.
        predicted_ms: f64,
        /// What trials said.
        measured_ms: f64,
    },
    /// The model would not take it at the rate of today.
    #[error(
        "how far the rate may drift is not known: by the model alone another candidate would be recommended"
    )]
    NotTaken,
    /// The search was ended before its end.
    #[error(
        "how far the rate may drift was not searched to the end: the budget was used up, or it was interrupted"
    )]
    Ended,
}

/// The rates between which `best` is the one to take, among `others`.
///
/// # Errors
/// If the model has nothing to say about other rates.
pub fn holds(
    header: &Header,
    arrivals: &Arrivals,
    best: &Tried,
    others: &[Candidate],
    wishes: Wishes,
    goes_on: GoesOn<'_>,
) -> Result<Holds, NoBounds> {
    const STEPS: u32 = 5;
    let candidate = &best.candidate;
    let own = predicted(header, candidate, arrivals, goes_on)?;
    agrees(&own, best)?;
    let mut ends_at =
        |factor: f64| end(header, (&arrivals.faster(factor), factor), candidate, others, wishes, goes_on);
    if ends_at(1.0)?.is_some() {
        return Err(NoBounds::NotTaken);
    }
    let mut first_end = |factors: &[f64]| -> Result<Option<Bound>, NoBounds> {
        let mut holds = 1.0;
        for factor in factors {
            let Some(mut because) = ends_at(*factor)? else {
                holds = *factor;
                continue;
            };
            // It still held at the factor before; in between it is looked for by halves.
            let mut ends = *factor;
            for _ in 0..STEPS {
                let middle = f64::midpoint(holds, ends);
                match ends_at(middle)? {
                    Some(why) => (ends, because) = (middle, why),
                    None => holds = middle,
                }
            }
            return Ok(Some(Bound { records_per_s: header.profile.records_per_s * holds, because }));
        }
        Ok(None)
    };
    let (from, until) = (first_end(&SLOWER)?, first_end(&FASTER)?);
    // What trials have measured goes before the model.
    let capacity = header.profile.records_per_s * best.capacity_records_per_s
        / (HEADROOM * header.profile.peak_records_per_s);
    let by_capacity = Bound { records_per_s: capacity, because: Because::FallsBehind };
    let fastest = header.profile.records_per_s * FASTEST;
    let until = until.into_iter().chain([by_capacity]).filter(|until| until.records_per_s <= fastest);
    let until = until.min_by(|a, b| a.records_per_s.total_cmp(&b.records_per_s));
    Ok(Holds { candidate: candidate.clone(), wishes, from, until })
}

/// Whether a prediction is near what trials of the same arrivals said, if there were any.
fn agrees(own: &Trial, best: &Tried) -> Result<(), NoBounds> {
    let measured_ms = best.p99_ms.filter(|_| !best.modelled && best.rounds > 0);
    let Some((measured_ms, replay)) = measured_ms.zip(own.replay) else { return Ok(()) };
    let predicted_ms = replay.p99_ms;
    let ratio = (predicted_ms / measured_ms).max(measured_ms / predicted_ms);
    if ratio > AGREES && (predicted_ms - measured_ms).abs() > AGREES_MS {
        return Err(NoBounds::Disagrees { predicted_ms, measured_ms });
    }
    Ok(())
}

fn predicted(
    header: &Header,
    candidate: &Candidate,
    arrivals: &Arrivals,
    goes_on: GoesOn<'_>,
) -> Result<Trial, NoBounds> {
    let mut serve = |records| header.cost_of(candidate, records);
    predict_while(candidate, arrivals, goes_on, &mut serve).ok_or(NoBounds::Ended)
}

/// Why it is not the one to take for these arrivals; `None` if it is.
fn end(
    header: &Header,
    (arrivals, factor): (&Arrivals, f64),
    candidate: &Candidate,
    others: &[Candidate],
    wishes: Wishes,
    goes_on: GoesOn<'_>,
) -> Result<Option<Because>, NoBounds> {
    let needed = HEADROOM * header.profile.peak_records_per_s * factor;
    let keeps_up = |trial: &Trial| trial.capacity_records_per_s >= Some(needed) && trial.replay.is_some();
    let is_in_time = |trial: &Trial| {
        let upper_s =
            trial.replay.map_or(f64::INFINITY, |replay| replay.p99_ms / 1e3 * (1.0 + MARGIN_PREDICTED));
        wishes.p99.is_none_or(|limit| upper_s <= limit.as_secs_f64())
    };
    let own = predicted(header, candidate, arrivals, goes_on)?;
    if !keeps_up(&own) {
        return Ok(Some(Because::FallsBehind));
    }
    if !is_in_time(&own) {
        return Ok(Some(Because::LatencyLimit));
    }
    let score = |trial: &Trial| match wishes.goal {
        Goal::Latency => trial.replay.map(|replay| replay.p99_ms),
        Goal::Throughput => trial.capacity_records_per_s.map(|capacity| 1.0 / capacity),
        // What a batch holds does not depend on the rate, and how much work a record is hardly does.
        Goal::Memory | Goal::Cpu => None,
    };
    let Some(own) = score(&own) else { return Ok(None) };
    let mut best: Option<(f64, Candidate)> = None;
    for other in others {
        let trial = predicted(header, other, arrivals, goes_on)?;
        let Some(found) = score(&trial).filter(|_| keeps_up(&trial) && is_in_time(&trial)) else { continue };
        if best.as_ref().is_none_or(|(least, _)| found < *least) {
            best = Some((found, trial.candidate));
        }
    }
    let better = best.filter(|(least, _)| least * (1.0 + OVERTAKEN) < own);
    Ok(better.map(|(_, candidate)| Because::Overtaken { candidate }))
}

/// Never ends a search.
pub fn to_the_end() -> ControlFlow<()> {
    ControlFlow::Continue(())
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
        let tried = |p99_ms: Option<f64>| tried(&one, 500.0, p99_ms);
        let bounds = |others: &[Candidate], wishes| {
            holds(&header, &arrivals, &tried(None), others, wishes, &mut to_the_end)
        };
        let alone = bounds(&[], header.wishes).unwrap();
        assert_eq!(alone.from, None);
        let until = alone.until.unwrap();
        // 500 / 1.2 is 417.
        assert!((405.0..=417.0).contains(&until.records_per_s), "{until:?}");
        assert_eq!(until.because, Because::FallsBehind);
        let many = Candidate::all().into_iter().find(|all| all.to_string() == "low_latency 50").unwrap();
        let beside = bounds(std::slice::from_ref(&many), header.wishes).unwrap();
        let until = beside.until.unwrap();
        assert_eq!(until.because, Because::Overtaken { candidate: many });
        assert!(until.records_per_s < 400.0, "{until:?}");
        let impossible = Wishes { p99: Some(Duration::from_millis(1)), ..header.wishes };
        assert_eq!(bounds(&[], impossible), Err(NoBounds::NotTaken));
        // Trials that say something else than the model leave it nothing to say.
        let of =
            |p99_ms| holds(&header, &arrivals, &tried(Some(p99_ms)), &[], header.wishes, &mut to_the_end);
        let predicted_ms =
            predicted(&header, &one, &arrivals, &mut to_the_end).unwrap().replay.unwrap().p99_ms;
        assert!(of(predicted_ms * 1.1).is_ok());
        let other = predicted_ms * 3.0;
        assert_eq!(of(other), Err(NoBounds::Disagrees { predicted_ms, measured_ms: other }));
        let ended =
            holds(&header, &arrivals, &tried(None), &[], header.wishes, &mut || ControlFlow::Break(()));
        assert_eq!(ended, Err(NoBounds::Ended));
    }

    /// A candidate as trials have it, with a p99 if any was measured.
    fn tried(candidate: &Candidate, capacity: f64, p99_ms: Option<f64>) -> Tried {
        Tried {
            candidate: candidate.clone(),
            rounds: 4,
            capacity_records_per_s: capacity,
            capacity_range: None,
            capacity_is_at_least: false,
            p50_ms: None,
            p99_ms,
            p99_lower_ms: None,
            p99_upper_ms: None,
            mean_records: None,
            memory_bytes: 0,
            work_ms_per_record: 0.0,
            modelled: p99_ms.is_none(),
            keeps_up: true,
            is_feasible: true,
        }
    }
}
