//! Decides whether a row may still be written: not after the job began to close, and not if its lane was lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::ids::LaneId;

/// Checked before each row is handed to the sink. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_closing: AtomicBool,
    has_gone: AtomicBool,
    gone: RwLock<BTreeSet<LaneId>>,
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
