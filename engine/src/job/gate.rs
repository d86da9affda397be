//! Decides whether a row may still be written. Rows are not written after the job has started to close or after their
//! lane was lost.

#![allow(clippy::disallowed_methods, reason = "the clock shows whether the process was suspended")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use crate::ids::LaneId;

/// The time after a poll of the source in which a worker may write a batch directly. The poll thread polls at least
/// ten times a second.
const TRUST: Duration = Duration::from_secs(2);

/// A gate that is checked before each row is passed to the sink. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_closing: AtomicBool,
    has_gone: AtomicBool,
    gone: RwLock<BTreeSet<LaneId>>,
    /// The time at which the source last confirmed its lanes, by both clocks. Only the wall clock advances while the
    /// machine is suspended.
    confirmed: Mutex<Option<(Instant, SystemTime)>>,
}

impl Gate {
    /// Closes the gate for all rows.
    pub(super) fn close(&self) {
        self.0.is_closing.store(true, Ordering::Release);
    }

    /// Closes the gate for the rows of a lane. A partition that is assigned again gets another lane id.
    pub(super) fn close_lane(&self, lane: LaneId) {
        self.0.gone.write().unwrap_or_else(PoisonError::into_inner).insert(lane);
        self.0.has_gone.store(true, Ordering::Release);
    }

    /// Notes that the source was polled and has reported all lost lanes.
    pub(super) fn confirm(&self) {
        let now = Some((Instant::now(), SystemTime::now()));
        *self.0.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Returns true if the source was polled recently. If the process was suspended, it returns false, because the
    /// lanes may be lost.
    pub(super) fn is_confirmed(&self) -> bool {
        let confirmed = *self.0.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed.is_some_and(|(at, wall)| {
            at.elapsed() < TRUST && wall.elapsed().is_ok_and(|passed| passed < TRUST)
        })
    }

    /// Returns true if the gate is closed for all rows.
    pub(super) fn is_closing(&self) -> bool {
        self.0.is_closing.load(Ordering::Acquire)
    }

    /// Returns true if rows of this lane may be written.
    pub(super) fn is_open(&self, lane: LaneId) -> bool {
        let is_gone = || self.0.gone.read().unwrap_or_else(PoisonError::into_inner).contains(&lane);
        !self.is_closing() && (!self.0.has_gone.load(Ordering::Acquire) || !is_gone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_lane_is_closed_and_the_others_stay_open() {
        let gate = Gate::default();
        gate.close_lane(LaneId(3));
        assert!(!gate.is_open(LaneId(3)) && gate.is_open(LaneId(4)));
        gate.close();
        assert!(!gate.is_open(LaneId(4)));
    }

    #[test]
    fn nothing_is_confirmed_before_the_source_was_polled_or_long_after() {
        let gate = Gate::default();
        assert!(!gate.is_confirmed());
        gate.confirm();
        let (at, wall) = gate.0.confirmed.lock().unwrap().expect("it was confirmed");
        *gate.0.confirmed.lock().unwrap() = Some((at, wall - TRUST));
        assert!(!gate.is_confirmed(), "a machine was suspended: only the wall clock has gone on");
    }
}
