//! What may still be written: nothing once the job is closing, and no row of a lane that somebody else has now.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::columns::LaneId;

/// Asked before each row is handed to the sink. Clones are one gate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_closing: AtomicBool,
    has_gone: AtomicBool,
    gone: RwLock<BTreeSet<LaneId>>,
}

impl Gate {
    /// Lets nothing pass from now on.
    pub fn close(&self) {
        self.0.is_closing.store(true, Ordering::Release);
    }

    /// Lets no row of this lane pass from now on. A lane that is assigned again has another id.
    pub fn close_lane(&self, lane: LaneId) {
        self.0.gone.write().unwrap_or_else(PoisonError::into_inner).insert(lane);
        self.0.has_gone.store(true, Ordering::Release);
    }

    /// True if nothing may pass any more.
    pub fn is_closing(&self) -> bool {
        self.0.is_closing.load(Ordering::Acquire)
    }

    /// True if rows of this lane may pass.
    pub fn is_open(&self, lane: LaneId) -> bool {
        let is_gone = || self.0.gone.read().unwrap_or_else(PoisonError::into_inner).contains(&lane);
        !self.is_closing() && (!self.0.has_gone.load(Ordering::Acquire) || !is_gone())
    }
}
