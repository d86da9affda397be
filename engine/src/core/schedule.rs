//! Decides which batches run. A batch waits for every earlier unprocessed batch that has rows of the same lane.

use super::action::{Action, JobError};
use super::batches::{BatchState, InFlight};
use super::machine::Core;
use crate::ids::{BatchId, Tick};

impl Core {
    pub(super) fn unprocessed(&self) -> impl Iterator<Item = &InFlight> {
        self.unprocessed.iter().filter_map(|id| self.batches.get(*id))
    }

    pub(super) fn running(&self) -> usize {
        self.unprocessed().filter(|batch| matches!(batch.state, BatchState::Running { .. })).count()
    }

    /// Runs batches on the free workers. A batch is skipped if an earlier unprocessed batch has rows of the same lane.
    pub(super) fn run_ready(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let mut free = self.config.workers.saturating_sub(self.running());
        for (index, id) in self.unprocessed.iter().enumerate() {
            let attempt = match self.batches.get(*id).map(|batch| batch.state) {
                Some(BatchState::Waiting) => 0,
                Some(BatchState::Holding { attempt, until }) if now >= until => attempt,
                _ => continue,
            };
            let mut earlier = self.unprocessed.range(..index);
            if free == 0 || earlier.any(|earlier| self.share_a_lane(*earlier, *id)) {
                continue;
            }
            free -= 1;
            if let Some(batch) = self.batches.get_mut(*id) {
                batch.state = BatchState::Running { attempt, since: now };
                actions.push(Action::Run(*id, attempt));
            }
        }
    }

    /// Fails the job if a batch has been processed for longer than the limit. Otherwise no other member could take
    /// over its partitions.
    pub(super) fn end_stuck(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let most = self.config.max_batch_time;
        let is_stuck = |id: &BatchId| match self.batches.get(*id).map(|batch| (batch.state, batch.started)) {
            // A batch that no processor has started is not stuck: it may wait for a blocked sink.
            Some((BatchState::Running { attempt, .. }, Some((started, since)))) => {
                attempt == started && now.since(since) >= most
            }
            _ => false,
        };
        if let Some(id) = self.unprocessed.iter().copied().find(|id| is_stuck(id)) {
            self.fail(Some(id), JobError::Stuck(most), actions);
        }
    }

    pub(super) fn share_a_lane(&self, one: BatchId, other: BatchId) -> bool {
        let (Some(one), Some(other)) = (self.batches.get(one), self.batches.get(other)) else { return false };
        one.runs.shares_a_lane_with(&other.runs)
    }
}
