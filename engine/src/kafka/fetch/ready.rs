//! Lanes whose queues have stopped being empty: filled by the client's threads, taken by the poll thread.

use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::LaneId;
use crate::waker::Waker;

/// A list of lanes. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct ReadyLanes {
    lanes: Arc<Mutex<Vec<LaneId>>>,
    waker: Waker,
}

impl ReadyLanes {
    /// Returns an empty list that wakes `waker` when a lane is added.
    pub fn new(waker: Waker) -> Self {
        Self { lanes: Arc::default(), waker }
    }

    /// Adds a lane.
    pub fn add(&self, lane: LaneId) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
        self.waker.wake();
    }

    /// Moves the lanes to the end of `into`.
    pub fn take(&self, into: &mut Vec<LaneId>) {
        into.append(&mut self.lanes.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
