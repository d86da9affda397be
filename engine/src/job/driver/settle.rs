//! Results of workers, acknowledgements of the sink and ends of transactions in; settled rows and other events for the
//! core out.

use std::ops::Range;

use super::state::Driver;
use crate::core::failure::Stage;
use crate::core::{Event, Fate, JobError};
use crate::ids::BatchId;
use crate::job::pending::Pending;
use crate::sink::{Ack, SendError, TransactionError};
use crate::source::Source;

impl<S: Source> Driver<S> {
    pub(super) fn take_finished(&mut self) {
        let started: Vec<_> = self.pool.started().collect();
        for (id, attempt) in started {
            self.step(Event::Started(id, attempt));
        }
        let finished: Vec<_> = self.pool.finished().collect();
        for done in finished {
            if let Some(in_flight) = self.batches.get_mut(&done.id) {
                in_flight.pending = Pending::of(&done.expected);
                in_flight.expected = done.expected;
                in_flight.output = done.output;
                in_flight.is_written = done.is_written;
            }
            self.step(Event::Finished(done.id, &done.verdict));
        }
    }

    /// Settles the rows of which all records are acknowledged. Consecutive rows are settled together.
    pub(super) fn take_acks(&mut self, acks: &mut Vec<Ack>) {
        for (id, rows) in std::mem::take(&mut self.silent) {
            self.settle(id, rows, Fate::Ok);
        }
        for Ack { batch, rows, dead_letter, result } in acks.drain(..) {
            self.written += u64::from(rows.end - rows.start);
            match result {
                Err(error) => self.refused(batch, rows.start, dead_letter, error),
                Ok(()) if dead_letter => self.settle(batch, rows, Fate::Dlq),
                Ok(()) => self.arrived(batch, rows),
            }
        }
    }

    pub(super) fn transaction_ended(&mut self, result: Result<(), TransactionError>) {
        tracing::debug!(?result, "transaction ended");
        self.ending_transactions -= 1;
        self.written += 1;
        if let Err(TransactionError::Fatal(reason)) = result {
            return self.abort(JobError::Sink(format!("transaction: {reason}")));
        }
        self.step(Event::TransactionEnded(result.is_ok()));
        if let Err(error) = result {
            self.notice(format!("a transaction was aborted and is written again: {error}"));
        }
    }

    /// Handles the acknowledgement of one output of each of these rows.
    fn arrived(&mut self, batch: BatchId, rows: Range<u32>) {
        let Some(in_flight) = self.batches.get_mut(&batch) else { return };
        let mut complete = Vec::new();
        in_flight.pending.arrived(rows, |rows| complete.push(rows));
        for rows in complete {
            self.settle(batch, rows, Fate::Ok);
        }
    }

    fn refused(&mut self, batch: BatchId, row: u32, dead_letter: bool, error: SendError) {
        match error {
            SendError::Sink(reason) => {
                let to = if dead_letter { "dead letter queue" } else { "sink" };
                self.abort(JobError::Sink(format!("{to}: {reason}")));
            }
            SendError::Transaction(reason) => {
                self.undone = Some(reason);
                self.step(Event::TransactionFailed);
                self.undone = None;
            }
            SendError::Record(reason) => {
                // Only the first rejected output of a row is reported.
                let first = self.batches.get_mut(&batch).is_none_or(|batch| batch.pending.refused(row));
                if first || dead_letter {
                    let stage = if dead_letter { Stage::DeadLetter } else { Stage::Write };
                    self.step(Event::Refused(batch, row, stage, &reason));
                }
            }
        }
    }

    fn settle(&mut self, id: BatchId, rows: Range<u32>, fate: Fate) {
        let now = self.now();
        self.meter.last = now;
        if fate == Fate::Ok
            && let Some(in_flight) = self.batches.get_mut(&id)
        {
            if self.transactional {
                in_flight.arrived.push(rows.clone());
            } else {
                self.meter.settled(now, in_flight.batch.arrivals_ns(rows.clone()));
                self.meter.settled_since(now, in_flight.batch.taken(rows.clone()));
            }
        }
        self.step(Event::Acked(id, rows, fate));
    }
}
