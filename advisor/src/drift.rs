//! Searches the range of rates in which a recommendation is valid: simulates the same arrivals at higher and lower
//! rates, provided that the model agrees with the trials at the measured rate.

use std::ops::ControlFlow;

use crate::candidate::Candidate;
use crate::evaluation::{Evaluation, HEADROOM};
use crate::evidence::Header;
use crate::objective::{Goal, Objective};
use crate::predict::{Arrivals, GoesOn, predict_while};
use crate::recommend::MARGIN_PREDICTED;
use crate::trial::Trial;
use crate::validity::{Because, Bound, ValidityRange};

/// Smallest advantage of another candidate that ends the validity.
const OVERTAKEN: f64 = 0.1;
/// Higher rates to check, as multiples of the measured rate.
const FASTER: [f64; 9] = [1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 3.0, 5.0, FASTEST];
/// Highest rate to check, as a multiple of the measured rate.
pub const FASTEST: f64 = 10.0;
/// Lower rates to check, as multiples of the measured rate.
const SLOWER: [f64; 8] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.2, 0.1];

/// Largest ratio between the predicted and the measured p99 at which the model agrees with the trials.
const AGREES: f64 = 1.3;
/// Largest difference between the predicted and the measured p99 that is always accepted.
const AGREES_MS: f64 = 2.0;

/// Reason why there is no validity range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NoBounds {
    /// The model disagrees with the trials at the measured rate.
    #[error(
        "the valid range of rates is unknown: at the measured rate, the model predicts a p99 of {predicted_ms:.1} ms, \
         but the trials measured {measured_ms:.1} ms"
    )]
    Disagrees {
        /// Predicted p99.
        predicted_ms: f64,
        /// Measured p99.
        measured_ms: f64,
    },
    /// The model recommends another candidate at the measured rate.
    #[error(
        "the valid range of rates is unknown: at the measured rate, the model alone prefers another candidate"
    )]
    NotTaken,
    /// The search was ended early.
    #[error(
        "the valid range of rates is unknown: the search was interrupted, or the time budget was used up"
    )]
    Ended,
}

/// Returns the range of rates in which `best` is preferable to `others`.
///
/// # Errors
/// If the model disagrees with the trials or prefers another candidate at the measured rate, or if the search was ended
/// early.
pub fn validity_range(
    header: &Header,
    arrivals: &Arrivals,
    best: &Evaluation,
    others: &[Candidate],
    objective: Objective,
    goes_on: GoesOn<'_>,
) -> Result<ValidityRange, NoBounds> {
    const STEPS: u32 = 5;
    let candidate = &best.candidate;
    let own = predicted(header, candidate, arrivals, goes_on)?;
    agrees(&own, best)?;
    let mut ends_at =
        |factor: f64| end(header, (&arrivals.faster(factor), factor), candidate, others, objective, goes_on);
    if ends_at(1.0)?.is_some() {
        return Err(NoBounds::NotTaken);
    }
    let mut first_end = |factors: &[f64]| -> Result<Option<Bound>, NoBounds> {
        let mut valid = 1.0;
        for factor in factors {
            let Some(mut because) = ends_at(*factor)? else {
                valid = *factor;
                continue;
            };
            // The bound is between the previous factor and this one: bisect.
            let mut ends = *factor;
            for _ in 0..STEPS {
                let middle = f64::midpoint(valid, ends);
                match ends_at(middle)? {
                    Some(why) => (ends, because) = (middle, why),
                    None => valid = middle,
                }
            }
            return Ok(Some(Bound { records_per_s: header.profile.records_per_s * valid, because }));
        }
        Ok(None)
    };
    let (from, until) = (first_end(&SLOWER)?, first_end(&FASTER)?);
    // The measured capacity takes precedence over the model.
    let capacity = header.profile.records_per_s * best.capacity_records_per_s
        / (HEADROOM * header.profile.peak_records_per_s);
    let by_capacity = Bound { records_per_s: capacity, because: Because::FallsBehind };
    let fastest = header.profile.records_per_s * FASTEST;
    let until = until.into_iter().chain([by_capacity]).filter(|until| until.records_per_s <= fastest);
    let until = until.min_by(|a, b| a.records_per_s.total_cmp(&b.records_per_s));
    Ok(ValidityRange { candidate: candidate.clone(), wishes: objective, from, until })
}

/// Checks that a prediction is close to the trials of the same arrivals, if there are any.
fn agrees(own: &Trial, best: &Evaluation) -> Result<(), NoBounds> {
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

/// Returns the reason why a candidate is not preferable for these arrivals; `None` if it is.
fn end(
    header: &Header,
    (arrivals, factor): (&Arrivals, f64),
    candidate: &Candidate,
    others: &[Candidate],
    objective: Objective,
    goes_on: GoesOn<'_>,
) -> Result<Option<Because>, NoBounds> {
    let needed = HEADROOM * header.profile.peak_records_per_s * factor;
    let keeps_up = |trial: &Trial| trial.capacity_records_per_s >= Some(needed) && trial.replay.is_some();
    let is_in_time = |trial: &Trial| {
        let upper_s =
            trial.replay.map_or(f64::INFINITY, |replay| replay.p99_ms / 1e3 * (1.0 + MARGIN_PREDICTED));
        objective.p99.is_none_or(|limit| upper_s <= limit.as_secs_f64())
    };
    let own = predicted(header, candidate, arrivals, goes_on)?;
    if !keeps_up(&own) {
        return Ok(Some(Because::FallsBehind));
    }
    if !is_in_time(&own) {
        return Ok(Some(Because::LatencyLimit));
    }
    let score = |trial: &Trial| match objective.goal {
        Goal::Latency => trial.replay.map(|replay| replay.p99_ms),
        Goal::Throughput => trial.capacity_records_per_s.map(|capacity| 1.0 / capacity),
        // The memory of a batch does not depend on the rate, and the work per record hardly does.
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

/// Callback that lets a search run to its end.
pub fn to_the_end() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use velo_engine::process::Synthetic;

    use super::*;
    use crate::cost::Cost;
    use crate::evidence::VERSION;
    use crate::profile::Profile;
    use crate::trial::{Setup, Work};

    #[test]
    fn a_recommendation_ends_where_its_arithmetic_says() {
        let one = Candidate::all().into_iter().find(|all| all.to_string() == "low_latency 1").unwrap();
        let header = Header {
            version: VERSION,
            topic: String::new(),
            setup: Setup::default(),
            wishes: Objective { goal: Goal::Latency, p99: None, memory_bytes: None },
            max_batch_records: None,
            profile: Profile::random(50.0, 100),
            work: Work::new(Synthetic::default(), Duration::ZERO),
            // 500 records/s in batches of one record.
            cost: Cost::line(Duration::from_millis(2), Duration::ZERO),
            current: None,
        };
        let arrivals = Arrivals::random(50.0, 100);
        let own = |p99_ms: Option<f64>| evaluation(&one, 500.0, p99_ms);
        let bounds = |others: &[Candidate], objective| {
            validity_range(&header, &arrivals, &own(None), others, objective, &mut to_the_end)
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
        let impossible = Objective { p99: Some(Duration::from_millis(1)), ..header.wishes };
        assert_eq!(bounds(&[], impossible), Err(NoBounds::NotTaken));
        // If the trials contradict the model, there is no range.
        let of = |p99_ms| {
            validity_range(&header, &arrivals, &own(Some(p99_ms)), &[], header.wishes, &mut to_the_end)
        };
        let predicted_ms =
            predicted(&header, &one, &arrivals, &mut to_the_end).unwrap().replay.unwrap().p99_ms;
        assert!(of(predicted_ms * 1.1).is_ok());
        let other = predicted_ms * 3.0;
        assert_eq!(of(other), Err(NoBounds::Disagrees { predicted_ms, measured_ms: other }));
        let ended =
            validity_range(
                &header,
                &arrivals,
                &own(None),
                &[],
                header.wishes,
                &mut || ControlFlow::Break(()),
            );
        assert_eq!(ended, Err(NoBounds::Ended));
    }

    /// Returns the evaluation of a candidate, with a p99 if it was measured.
    fn evaluation(candidate: &Candidate, capacity: f64, p99_ms: Option<f64>) -> Evaluation {
        Evaluation {
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
