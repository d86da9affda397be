//! Decides whether a row may still be written: not after the job began to close, and not if its lane was lost.

#![allow(clippy::disallowed_methods, reason = "a stopped process is noticed by the clock")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use crate::ids::LaneId;

/// How long after the poll thread has visited its source a worker may write a batch without asking. A poll thread
/// visits at least ten times a second.
const TRUST: Duration = Duration::from_secs(2);

/// Checked before each row is handed to the sink. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_closing: AtomicBool,
    has_gone: AtomicBool,
    gone: RwLock<BTreeSet<LaneId>>,
    /// When the source was known to own its lanes, by both clocks: only the wall clock goes on while a machine is
    /// suspended.
    confirmed: Mutex<Option<(Instant, SystemTime)>>,
}

impl Gate {
    /// Closes the gate for all rows.
    pub fn close(&self) {
        self.0.is_closing.store(true, Ordering::Release);
    }

    /// Closes the gate for the rows of a lane. A partition that is assigned again gets another lane id.
    pub fn close_lane(&self, lane: LaneId) {
        self.0.gone.write().unwrap_or_else(PoisonError::into_inner).insert(lane);
        self.0.has_gone.store(true, Ordering::Release);
    }

    /// Notes that the source was polled, and reported every lane that is somebody else's.
    pub fn confirm(&self) {
        let now = Some((Instant::now(), SystemTime::now()));
        *self.0.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// True if the source was polled a moment ago. After a process was stopped for a while it is not, and whether the
    /// lanes are still its own is not known.
    pub fn is_confirmed(&self) -> bool {
        let confirmed = *self.0.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed.is_some_and(|(at, wall)| {
            at.elapsed() < TRUST && wall.elapsed().is_ok_and(|passed| passed < TRUST)
        })
    }

    /// True if the gate is closed for all rows.
    pub fn is_closing(&self) -> bool {
        self.0.is_closing.load(Ordering::Acquire)
    }

    /// True if rows of this lane may be written.
    pub fn is_open(&self, lane: LaneId) -> bool {
        let is_gone = || self.0.gone.read().unwrap_or_else(PoisonError::into_inner).contains(&lane);
        !self.is_closing() && (!self.0.has_gone.load(Ordering::Acquire) || !is_gone())
    }
}
