//! Handles revoked lanes: they are drained and released, or fenced at once.

use super::action::Action;
use super::batches::{BatchState, InFlight};
use super::lanes::open_rows_of;
use super::machine::Core;
use super::transaction::Member;
use crate::ids::{LaneId, Tick};

impl Core {
    /// Removes a lane that is no longer owned. Its records in flight will be read again by the next owner.
    pub(super) fn fence(&mut self, now: Tick, id: LaneId, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.remove(id) else { return };
        // Records of the lane may be uncommitted. The source reports again whether the whole input was read.
        self.end_of_input = false;
        let batches = &self.batches;
        let has_its_rows = |member: &Member| batches.get(member.id).is_some_and(|batch| batch.runs.has(id));
        // Outputs of the lane must not become visible without its offsets.
        if self.transaction.as_ref().is_some_and(|open| open.members().iter().any(has_its_rows)) {
            self.abort_transaction(actions);
        }
        self.ledger.gaps += lane.tracker.gaps();
        self.ledger.uncommitted += lane.tracker.unsettled();
        self.unsettled_records -= lane.tracker.unsettled();
        self.recount_open_rows(id);
        if let Some(regroup) = &mut self.regroup {
            let (batches, lanes) = (&self.batches, &self.lanes);
            regroup.recount(now, |part| open_rows_of(batches, lanes, part));
        }
        // A batch without live rows is neither processed nor retried.
        for batch in self.batches.iter_mut().filter(|batch| batch.open_rows == 0) {
            if !matches!(batch.state, BatchState::Running { .. }) {
                batch.state = BatchState::Processed;
            }
        }
        let is_processed = |batch: &InFlight| batch.state == BatchState::Processed;
        let batches = &self.batches;
        self.unprocessed.retain(|id| !batches.get(*id).is_some_and(is_processed));
        let emptied: Vec<_> =
            self.batches.iter().filter(|(_, batch)| batch.open_rows == 0).map(|(id, _)| id).collect();
        for batch in emptied {
            self.drop_settled(batch, actions);
        }
    }

    /// Counts the unsettled rows of the batches that have rows of a fenced lane.
    pub(super) fn recount_open_rows(&mut self, fenced: LaneId) {
        let lanes = &self.lanes;
        for batch in self.batches.iter_mut() {
            if batch.runs.has(fenced) {
                let live = batch
                    .runs
                    .spans(&(0..batch.rows))
                    .filter_map(|span| Some(lanes.get(span.lane)?.tracker.unsettled_in(span.sequence)));
                batch.open_rows = live.sum();
            }
        }
    }

    pub(super) fn release_drained(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let done: Vec<_> = self
            .lanes
            .draining()
            .filter(|(_, lane, until)| lane.tracker.unsettled() == 0 || now >= *until)
            .map(|(id, lane, _)| {
                // A transaction that is being committed may raise the watermark, so it is known only if all rows are
                // settled.
                let is_certain = self.transaction.is_none() || lane.tracker.unsettled() == 0;
                // What is committed already is not committed again, least of all outside a transaction.
                let watermark = lane.tracker.watermark();
                (id, (is_certain && watermark > lane.committed).then_some(watermark))
            })
            .collect();
        if done.is_empty() {
            return;
        }
        for (id, _) in &done {
            self.fence(now, *id, actions);
        }
        actions.push(Action::Release(done));
    }
}
