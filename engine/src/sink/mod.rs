//! Where outputs and dead letters go: rows in, one acknowledgement for each record out.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::columns::{Batch, BatchId, LaneId, LaneName};
use crate::core::failure::RowError;
use crate::processor::OutputRecord;
use crate::waker::Waker;

/// A record on its way: which batch and row it is on account of, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The batch.
    pub batch: BatchId,
    /// The row.
    pub row: u32,
    /// Whether it goes to the dead letter queue.
    pub dead_letter: bool,
}

/// What became of records that were sent: one of each of these rows.
#[derive(Debug)]
pub struct Ack {
    /// The batch.
    pub batch: BatchId,
    /// The rows.
    pub rows: Range<u32>,
    /// Whether they went to the dead letter queue.
    pub dead_letter: bool,
    /// Whether they arrived.
    pub result: Result<(), SendError>,
}

impl Ack {
    /// Of a single record.
    #[must_use]
    pub fn of(ticket: Ticket, result: Result<(), SendError>) -> Self {
        let Ticket { batch, row, dead_letter } = ticket;
        Self { batch, rows: row..row + 1, dead_letter, result }
    }

    /// Takes the acknowledgement of the rows behind these in, if both arrived and they are such rows.
    fn merge(&mut self, next: &Self) -> bool {
        let follows = (self.batch, self.dead_letter, self.rows.end)
            == (next.batch, next.dead_letter, next.rows.start)
            && self.result.is_ok()
            && next.result.is_ok();
        if follows {
            self.rows.end = next.rows.end;
        }
        follows
    }
}

/// Adds an acknowledgement to others, as part of the last one where that is possible.
pub(crate) fn add_ack(acks: &mut Vec<Ack>, ack: Ack) {
    if !acks.last_mut().is_some_and(|last| last.merge(&ack)) {
        acks.push(ack);
    }
}

/// Whether a record that was sent has arrived by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It has; no [`Ack`] follows.
    Arrived,
    /// Its [`Ack`] comes later, exactly once.
    Pending,
}

/// Why a record did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The record itself is to blame: too large, say. Others may arrive.
    #[error("{0}")]
    Record(String),
    /// No record is to blame: no other one would arrive either.
    #[error("{0}")]
    Sink(String),
    /// What is written in the open transaction cannot be committed any more; it may be in the next one.
    #[error("{0}")]
    Transaction(String),
}

/// Why a transaction was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// It is undone; what was written in it may be written again.
    #[error("{0}")]
    Undone(String),
    /// Nothing more can be written.
    #[error("{0}")]
    Fatal(String),
}

/// Where acknowledgements are left for the poll thread.
#[derive(Debug, Clone, Default)]
pub struct Acks {
    arrived: Arc<Mutex<Vec<Ack>>>,
    waker: Waker,
}

impl Acks {
    /// Acknowledgements that wake `waker`.
    #[must_use]
    pub fn new(waker: Waker) -> Self {
        Self { arrived: Arc::default(), waker }
    }

    /// Leaves one.
    pub fn push(&self, ack: Ack) {
        add_ack(&mut self.arrived.lock().unwrap_or_else(PoisonError::into_inner), ack);
        self.waker.wake();
    }

    /// Leaves several at once.
    pub(crate) fn extend(&self, acks: Vec<Ack>) {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).extend(acks);
        self.waker.wake();
    }

    /// Takes all that have arrived, into an empty `into`.
    pub fn take(&self, into: &mut Vec<Ack>) {
        std::mem::swap(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner), into);
    }
}

/// A record to write, and the row that it is on account of.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Its ticket.
    pub ticket: Ticket,
    /// The batch of the row.
    pub batch: &'a Batch,
    /// What to write.
    pub record: &'a OutputRecord,
    /// Where the row came from.
    pub origin: &'a LaneName,
}

/// A row to send to the dead letter queue, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Rejected<'a> {
    /// Its ticket.
    pub ticket: Ticket,
    /// The batch of the row.
    pub batch: &'a Batch,
    /// Where the row came from.
    pub origin: &'a LaneName,
    /// What was wrong with it.
    pub error: &'a RowError,
    /// How often its batch was tried.
    pub attempts: u32,
}

/// Where records are written. Shared by all workers; a call may block for back-pressure.
pub trait Sink: Send + Sync {
    /// Sends one record.
    fn write(&self, outgoing: Outgoing<'_>) -> Sent;
    /// Sends a row, as it came, to the dead letter queue.
    fn dead_letter(&self, rejected: Rejected<'_>) -> Sent;
    /// Commits everything that was written since the last call, together with these offsets: for sinks
    /// that write in transactions, under `JobConfig::exactly_once`.
    ///
    /// # Errors
    /// Where it is not committed.
    fn commit(&self, offsets: &[(LaneName, i64)]) -> Result<(), TransactionError> {
        let _ = offsets;
        Ok(())
    }
    /// Undoes everything that was written since the last [`commit`](Self::commit).
    ///
    /// # Errors
    /// Where nothing more can be written.
    fn abort(&self) -> Result<(), TransactionError> {
        Ok(())
    }
    /// The job has ended: what is not sent by now will be read again. Calls that block return.
    fn close(&self) {}
}

/// Writes nothing: dry runs and trials.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Sink for Discard {
    fn write(&self, _: Outgoing<'_>) -> Sent {
        Sent::Arrived
    }

    fn dead_letter(&self, _: Rejected<'_>) -> Sent {
        Sent::Arrived
    }
}

/// A record that a [`MemorySink`] holds: its lane, offset and value.
pub type Kept = (LaneId, i64, Option<Vec<u8>>);

/// Keeps what is written in memory: examples and tests.
#[derive(Debug, Default)]
pub struct MemorySink {
    written: Arc<Mutex<Written>>,
}

/// What a [`MemorySink`] was given.
#[derive(Debug, Default)]
pub struct Written {
    /// Outputs, in order.
    pub records: Vec<Kept>,
    /// Dead letters, in order.
    pub dead_letters: Vec<Kept>,
}

impl MemorySink {
    /// Where it keeps things.
    #[must_use]
    pub fn written(&self) -> Arc<Mutex<Written>> {
        Arc::clone(&self.written)
    }
}

impl Sink for MemorySink {
    fn write(&self, outgoing: Outgoing<'_>) -> Sent {
        let Outgoing { ticket, batch, record, .. } = outgoing;
        let value = match record {
            OutputRecord::Forward => batch.value(ticket.row).map(<[u8]>::to_vec),
            OutputRecord::New { value, .. } => value.clone(),
        };
        let kept = (batch.lane(ticket.row), batch.offset(ticket.row), value);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).records.push(kept);
        Sent::Arrived
    }

    fn dead_letter(&self, Rejected { ticket, batch, .. }: Rejected<'_>) -> Sent {
        let value = batch.value(ticket.row).map(<[u8]>::to_vec);
        let kept = (batch.lane(ticket.row), batch.offset(ticket.row), value);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).dead_letters.push(kept);
        Sent::Arrived
    }
}
