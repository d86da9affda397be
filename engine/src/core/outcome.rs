//! Handles the result of a processed batch and the acknowledgements of its writes.

use std::ops::Range;

use super::action::{Action, JobError};
use super::batcher::SealReason;
use super::batches::{BatchState, InFlight};
use super::event::Verdict;
use super::failure::{Decision, RowError, Stage};
use super::lanes::{for_each_live, is_live, open_rows_of, write_all_but};
use super::ledger::Settled;
use super::machine::Core;
use super::runs::Span;
use super::transaction::Member;
use crate::failpoint::{Mutant, is_on};
use crate::ids::{BatchId, Tick};

impl Core {
    /// Starts to write the groups that are full or need not wait for more rows.
    pub(super) fn write_groups(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let Some(regroup) = &self.regroup else { return };
        if !regroup.is_empty() {
            let nothing_is_processed = self.unprocessed.is_empty();
            let idle = self.idle && nothing_is_processed && self.batcher.is_empty();
            let due = regroup.due(now, idle).or_else(|| {
                let drained = nothing_is_processed && self.batcher.is_empty() && self.nothing_comes();
                if drained || self.lanes.is_draining() {
                    Some(SealReason::Drain)
                } else {
                    (nothing_is_processed && self.is_saturated()).then_some(SealReason::Memory)
                }
            });
            if let (Some(reason), Some(regroup)) = (due, &mut self.regroup) {
                regroup.seal(reason);
            }
        }
        let Some(regroup) = &mut self.regroup else { return };
        let (batches, lanes) = (&self.batches, &self.lanes);
        while let Some(group) = regroup.next(now, |part| open_rows_of(batches, lanes, part)) {
            actions.push(Action::Group(group.reason, group.records));
            for (id, rows) in group.parts {
                if let Some(batch) = batches.get(id) {
                    for_each_live(batch, lanes, &rows, |rows| actions.push(Action::Write(id, rows)));
                }
            }
            // A group without live rows is complete at once.
            regroup.recount(now, |part| open_rows_of(batches, lanes, part));
        }
    }

    pub(super) fn finished(&mut self, now: Tick, id: BatchId, verdict: &Verdict, actions: &mut Vec<Action>) {
        let Some(batch) = self.batches.get_mut(id) else { return };
        let BatchState::Running { attempt, since } = batch.state else { return };
        batch.attempts = attempt + 1;
        if let Some(reason) = &verdict.fatal {
            return self.fail(None, JobError::Processor(reason.clone()), actions);
        }
        // A batch whose lanes were all revoked is not retried.
        let is_wanted = batch.open_rows > 0;
        if verdict.system.is_some() && is_on(Mutant::SkipOnOutage) {
            let rows = batch.rows;
            batch.state = BatchState::Processed;
            self.unprocessed.retain(|other| *other != id);
            return self.settle(now, id, 0..rows, Settled::Skipped, actions);
        }
        if let Some(message) = verdict.system.as_ref().filter(|_| is_wanted) {
            let delay = self.config.failure.process.backoff(attempt, self.config.seed ^ u64::from(id.0));
            batch.state = BatchState::Holding { attempt: attempt + 1, until: now + delay };
            actions.push(Action::Hold(id, delay, message.clone()));
            return;
        }
        // The service time adjusts the size of the next batch. Failed attempts are not measured.
        self.batcher.observe(u64::from(batch.rows), now.since(since), batch.full);
        self.tier = self.batcher.tier(self.tier);
        let errors: Vec<_> =
            verdict.rows.iter().filter(|error| is_live(batch, &self.lanes, error.row)).cloned().collect();
        let (retries, attempts) = (batch.retries, batch.attempts);
        let decide = |error: &RowError| self.config.failure.of(error.stage).decide(error, retries);
        if let Some(error) = errors.iter().find(|error| decide(error) == Decision::Fail) {
            let error = match retries {
                0 => JobError::Batch(error.clone()),
                retries => JobError::Exhausted(error.clone(), retries),
            };
            return self.fail(Some(id), error, actions);
        }
        // The whole batch is retried. If the rows that succeeded were written first, the records of a key could be
        // reordered.
        if let Some(error) = errors.iter().find(|error| decide(error) == Decision::Retry) {
            let policy = self.config.failure.of(error.stage);
            let delay = policy.backoff(retries, self.config.seed ^ u64::from(id.0));
            batch.retries += 1;
            batch.state = BatchState::Holding { attempt: attempt + 1, until: now + delay };
            actions.push(Action::Hold(id, delay, error.message.clone()));
            return;
        }
        batch.state = BatchState::Processed;
        self.unprocessed.retain(|other| *other != id);
        let (dead, skipped): (Vec<_>, Vec<_>) =
            errors.into_iter().partition(|error| decide(error) == Decision::DeadLetter);
        if let Some(transaction) = &mut self.transaction {
            let rows = skipped.iter().map(|error| error.row).collect();
            transaction.add(Member::new(id, dead, rows, attempts));
            if !skipped.is_empty() {
                actions.push(Action::Skip(id, skipped));
            }
            // All lanes of the batch may have been revoked.
            return self.drop_settled(id, actions);
        }
        self.write(now, id, verdict, actions);
        let early = if is_on(Mutant::CommitBeforeDeadLetter) { dead.clone() } else { Vec::new() };
        if !dead.is_empty() {
            actions.push(Action::DeadLetter(id, dead, attempts));
        }
        for error in early {
            self.settle(now, id, error.row..error.row + 1, Settled::Dlq, actions);
        }
        self.skip(now, id, skipped, actions);
        self.drop_settled(id, actions);
    }

    /// Writes the outputs of the rows that succeeded, or adds them to the open group.
    pub(super) fn write(&mut self, now: Tick, id: BatchId, verdict: &Verdict, actions: &mut Vec<Action>) {
        let Some(batch) = self.batches.get(id) else { return };
        let lanes = &self.lanes;
        let Some(regroup) = &mut self.regroup else {
            let failed = verdict.rows.iter().map(|error| error.row);
            return write_all_but(id, batch, lanes, failed, actions);
        };
        for weight in verdict.weights.iter().filter(|weight| is_live(batch, lanes, weight.row)) {
            if weight.records == 0 {
                actions.push(Action::Write(id, weight.row..weight.row + 1));
            } else {
                regroup.add(now, id, *weight);
            }
        }
    }

    pub(super) fn skip(&mut self, now: Tick, id: BatchId, errors: Vec<RowError>, actions: &mut Vec<Action>) {
        if errors.is_empty() {
            return;
        }
        let rows: Vec<_> = errors.iter().map(|error| error.row).collect();
        actions.push(Action::Skip(id, errors));
        for row in rows {
            self.settle(now, id, row..row + 1, Settled::Skipped, actions);
        }
    }

    pub(super) fn refused(
        &mut self,
        now: Tick,
        id: BatchId,
        row: u32,
        stage: Stage,
        message: &str,
        actions: &mut Vec<Action>,
    ) {
        // A row of a revoked lane is processed by the next owner of the partition.
        if !self.batches.get(id).is_some_and(|batch| is_live(batch, &self.lanes, row)) {
            return;
        }
        let error = RowError { row, stage, message: message.to_owned(), retriable: false };
        let decision = self.config.failure.of(stage).decide_refused(&error);
        if let Some(transaction) = &mut self.transaction {
            // A transaction that is being aborted accepts no more records. Its batches join the next transaction
            // without this row.
            let is_open = transaction.is_open();
            if !transaction.has(id) {
                return;
            }
            match decision {
                Decision::Skip => {
                    if transaction.skip(id, row) {
                        actions.push(Action::Skip(id, vec![error]));
                        self.acked(now, id, row..row + 1, Settled::Skipped, actions);
                    }
                    return;
                }
                Decision::DeadLetter if !transaction.bury(id, error.clone()) || !is_open => return,
                Decision::DeadLetter | Decision::Fail | Decision::Retry => {}
            }
        }
        match decision {
            Decision::Skip => self.skip(now, id, vec![error], actions),
            Decision::DeadLetter => {
                let attempts = self.batches.get(id).map_or(1, |batch| batch.attempts);
                actions.push(Action::DeadLetter(id, vec![error], attempts));
            }
            Decision::Fail if stage == Stage::DeadLetter => {
                self.fail(Some(id), JobError::DeadLetterRefused(error), actions);
            }
            // A permanent rejection is not retried.
            Decision::Fail | Decision::Retry => self.fail(Some(id), JobError::Batch(error), actions),
        }
    }

    /// Settles acknowledged rows. With transactions, the rows are settled when their transaction is committed.
    pub(super) fn acked(
        &mut self,
        now: Tick,
        id: BatchId,
        rows: Range<u32>,
        state: Settled,
        actions: &mut Vec<Action>,
    ) {
        let Some(transaction) = &mut self.transaction else {
            if is_on(Mutant::CommitBeforeDeadLetter) && state == Settled::Dlq {
                return;
            }
            return self.settle(now, id, rows, state, actions);
        };
        let Some(batch) = self.batches.get(id) else { return };
        let live = batch.runs.spans(&rows).filter(|span| self.lanes.contains(span.lane));
        let count = live.map(|span| span.rows.end - span.rows.start).sum();
        transaction.arrived(id, rows, state, count);
    }

    pub(super) fn settle(
        &mut self,
        now: Tick,
        id: BatchId,
        rows: Range<u32>,
        state: Settled,
        actions: &mut Vec<Action>,
    ) {
        let Some(batch) = self.batches.get_mut(id) else { return };
        for Span { lane, rows, sequence } in batch.runs.spans(&rows) {
            let count = sequence.end - sequence.start;
            if self.lanes.change(lane, |lane| lane.tracker.settle(sequence)).is_none() {
                continue;
            }
            if let Some(regroup) = &mut self.regroup {
                regroup.settled(now, id, &rows);
            }
            batch.open_rows -= u32::try_from(count).expect("a batch has fewer than 2^31 rows");
            self.unsettled_records -= count;
            match state {
                Settled::Ok => self.ledger.ok += count,
                Settled::Dlq => self.ledger.dlq += count,
                Settled::Skipped => self.ledger.skipped += count,
            }
        }
        self.drop_settled(id, actions);
    }

    pub(super) fn drop_settled(&mut self, id: BatchId, actions: &mut Vec<Action>) {
        let is_settled = |batch: &InFlight| batch.open_rows == 0 && batch.state == BatchState::Processed;
        if self.batches.get(id).is_some_and(is_settled)
            && let Some(mut batch) = self.batches.remove(id)
        {
            self.unsettled_bytes -= batch.bytes;
            self.crowded = false;
            batch.runs.clear();
            self.spare_runs.push(batch.runs);
            actions.push(Action::Drop(id));
        }
    }
}
