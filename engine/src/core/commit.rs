//! Decides which offsets are committed and when, with or without a transaction.

use std::collections::BTreeMap;

use super::action::Action;
use super::lanes::{Lane, is_live, write_all_but};
use super::machine::Core;
use super::runs::Span;
use super::transaction::Transaction;
use crate::failpoint::{Mutant, is_on};
use crate::ids::{LaneId, Tick};

impl Core {
    /// Returns true if every committable offset is known to be committed.
    pub(super) fn is_committed(&self) -> bool {
        self.commit_in_flight.is_none() && !self.lanes.uncommitted().any(|(_, lane)| self.may_commit(lane))
    }

    /// Returns the committable offsets that are not known to be committed.
    #[must_use]
    pub fn committable(&self) -> Vec<(LaneId, i64)> {
        let lanes = self.lanes.uncommitted().filter(|(_, lane)| self.may_commit(lane));
        let ahead = i64::from(is_on(Mutant::WatermarkOffByOne));
        lanes.map(|(id, lane)| (id, lane.tracker.watermark() + ahead)).collect()
    }

    /// Returns true if a lane has an offset to commit. With transactions, offsets of unsettled records are committed
    /// with their outputs.
    pub(super) fn may_commit(&self, lane: &Lane) -> bool {
        let alone = self.transaction.is_none() || lane.tracker.unsettled() == 0;
        alone && lane.tracker.watermark() > lane.committed
    }

    /// Returns true if a commit can begin now.
    pub(super) fn can_commit(&self) -> bool {
        self.commit_in_flight.is_none() && self.transaction.as_ref().is_none_or(Transaction::is_idle)
    }

    /// Adds processed batches to the transaction, and commits the transaction if it is complete.
    pub(super) fn transact(&mut self, now: Tick, actions: &mut Vec<Action>) {
        if self.transaction.is_none() {
            return;
        }
        let closed = self.nothing_comes() || self.is_saturated() || self.lanes.is_draining();
        let Some(transaction) = &mut self.transaction else { return };
        let (batches, lanes) = (&self.batches, &self.lanes);
        let live = |id, row| batches.get(id).is_some_and(|batch| is_live(batch, lanes, row));
        while let Some(member) = transaction.join(now, closed, live) {
            // All lanes of the batch may have been revoked.
            let Some(batch) = batches.get(member.id) else { continue };
            if member.again {
                if is_on(Mutant::OlderTransactionCounts) {
                    continue;
                }
                actions.push(Action::Rewrite(member.id));
            }
            write_all_but(member.id, batch, lanes, member.left_out().into_iter(), actions);
            let live = member.dead.iter().filter(|error| is_live(batch, lanes, error.row));
            let dead: Vec<_> = live.cloned().collect();
            if !dead.is_empty() {
                actions.push(Action::DeadLetter(member.id, dead, member.attempts));
            }
        }
        let open_rows = |id| batches.get(id).map_or(0, |batch| batch.open_rows);
        if transaction.is_complete(now, closed, open_rows) {
            self.commit_transaction(actions);
        }
    }

    /// Commits the open transaction with the offsets of its batches, and those of lanes without unsettled records.
    fn commit_transaction(&mut self, actions: &mut Vec<Action>) {
        let mut offsets: BTreeMap<_, _> = self.committable().into_iter().collect();
        let Some(transaction) = &mut self.transaction else { return };
        for batch in transaction.members().iter().filter_map(|member| self.batches.get(member.id)) {
            for Span { lane, sequence, .. } in batch.runs.spans(&(0..batch.rows)) {
                if let Some(Lane { tracker, .. }) = self.lanes.get(lane) {
                    offsets.insert(lane, tracker.watermark_at(sequence.end));
                }
            }
        }
        let offsets: Vec<_> = offsets.into_iter().collect();
        transaction.commit(offsets.clone());
        actions.push(Action::CommitTransaction(offsets));
    }

    pub(super) fn abort_transaction(&mut self, actions: &mut Vec<Action>) {
        if self.transaction.as_mut().is_some_and(Transaction::abort) {
            actions.push(Action::AbortTransaction);
        }
    }

    pub(super) fn transaction_committed(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let (members, offsets) = self.transaction.as_mut().map(Transaction::committed).unwrap_or_default();
        for member in members {
            for (rows, state) in member.fates() {
                self.settle(now, member.id, rows.clone(), *state, actions);
            }
        }
        self.committed(offsets);
        self.commit_failed = false;
    }

    pub(super) fn transaction_aborted(&mut self, now: Tick) {
        let Some(transaction) = &mut self.transaction else { return };
        if transaction.is_committing() {
            self.commit_failed = true;
            self.next_commit = now + self.config.commit_interval;
        }
        transaction.aborted(now);
    }

    pub(super) fn commit_due(&mut self, now: Tick, actions: &mut Vec<Action>) {
        // The last commit does not wait for the interval, unless the commit before it has failed.
        let is_last = self.end_of_input && self.is_settled() && !self.commit_failed;
        if !self.can_commit() || (now < self.next_commit && !is_last) {
            return;
        }
        let offsets = self.committable();
        if offsets.is_empty() {
            return;
        }
        self.next_commit = now + self.config.commit_interval;
        // A commit outside of transactions could arrive late, after a newer one of a transaction. The last commit of a
        // lane cannot: the group refuses it as soon as another member has the partition.
        if let Some(transaction) = &mut self.transaction {
            transaction.commit(offsets.clone());
            actions.push(Action::CommitTransaction(offsets));
        } else {
            self.commit_in_flight = Some(offsets.clone());
            actions.push(Action::Commit(offsets));
        }
    }

    pub(super) fn commit_ended(&mut self, now: Tick, ok: bool) {
        let offsets = self.commit_in_flight.take().unwrap_or_default();
        self.commit_failed = !ok;
        if ok {
            self.committed(offsets);
        } else {
            self.next_commit = now + self.config.commit_interval;
        }
    }

    pub(super) fn committed(&mut self, offsets: Vec<(LaneId, i64)>) {
        for (id, offset) in offsets {
            self.lanes.change(id, |lane| lane.committed = lane.committed.max(offset));
        }
    }
}
