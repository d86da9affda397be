//! A queue of the lanes that may have records. Records are taken from the lanes in turn.

use std::collections::{BTreeSet, VecDeque};

use crate::ids::LaneId;

/// A queue of lanes without duplicates.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    queue: VecDeque<LaneId>,
    queued: BTreeSet<LaneId>,
}

impl ReadyQueue {
    /// Appends a lane, unless it is queued already.
    pub(super) fn push(&mut self, lane: LaneId) {
        if self.queued.insert(lane) {
            self.queue.push_back(lane);
        }
    }

    /// Removes and returns the first lane.
    pub(super) fn pop(&mut self) -> Option<LaneId> {
        let lane = self.queue.pop_front()?;
        self.queued.remove(&lane);
        Some(lane)
    }

    /// Returns the number of lanes.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_queued_once_and_in_turn() {
        let mut queue = ReadyQueue::default();
        for lane in [3, 1, 3, 2, 1] {
            queue.push(LaneId(lane));
        }
        assert_eq!((queue.len(), queue.pop()), (3, Some(LaneId(3))));
        queue.push(LaneId(3));
        assert_eq!(std::iter::from_fn(|| queue.pop()).map(|lane| lane.0).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
