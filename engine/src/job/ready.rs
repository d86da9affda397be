//! The lanes that may have records, each asked in its turn.

use std::collections::{BTreeSet, VecDeque};

use crate::ids::LaneId;

/// A queue of lanes in which each is at most once.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    queue: VecDeque<LaneId>,
    queued: BTreeSet<LaneId>,
}

impl ReadyQueue {
    /// Adds a lane at the end, unless it is queued.
    pub fn push(&mut self, lane: LaneId) {
        if self.queued.insert(lane) {
            self.queue.push_back(lane);
        }
    }

    /// Takes the first lane.
    pub fn pop(&mut self) -> Option<LaneId> {
        let lane = self.queue.pop_front()?;
        self.queued.remove(&lane);
        Some(lane)
    }

    /// Returns the number of lanes.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_queued_once_and_in_turn() {
        let mut queue = ReadyQueue::default();
        [3, 1, 3, 2, 1].into_iter().for_each(|lane| queue.push(LaneId(lane)));
        assert_eq!((queue.len(), queue.pop()), (3, Some(LaneId(3))));
        queue.push(LaneId(3));
        assert_eq!(std::iter::from_fn(|| queue.pop()).map(|lane| lane.0).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
