//! The lanes with a queue that is no longer empty. Client threads add lanes, and the poll thread takes them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::LaneId;
use crate::waker::Waker;

/// A list of lanes. Clones share the list.
#[derive(Debug, Clone)]
pub(super) struct ReadyLanes {
    lanes: Arc<Mutex<BTreeSet<LaneId>>>,
    waker: Waker,
}

impl ReadyLanes {
    /// Creates an empty list that wakes `waker` when a lane is added.
    pub(super) fn new(waker: Waker) -> Self {
        Self { lanes: Arc::default(), waker }
    }

    /// Adds a lane.
    pub(super) fn add(&self, lane: LaneId) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).insert(lane);
        self.waker.wake();
    }

    /// Moves all lanes to the end of `into`.
    pub(super) fn take(&self, into: &mut Vec<LaneId>) {
        into.extend(std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner)));
    }
}
