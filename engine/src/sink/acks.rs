//! Acknowledgements of sent records, and their queue to the poll thread.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::BatchId;
use crate::waker::Waker;

/// The identity of a record in flight: its input row and its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The batch of the input row.
    pub batch: BatchId,
    /// The input row.
    pub row: u32,
    /// True if the record is sent to the dead letter queue.
    pub dead_letter: bool,
}

/// The acknowledgement or rejection of one record of each of these rows.
#[derive(Debug)]
pub struct Ack {
    /// The batch of the rows.
    pub batch: BatchId,
    /// The rows.
    pub rows: Range<u32>,
    /// True if the records were sent to the dead letter queue.
    pub dead_letter: bool,
    /// The error if the records were rejected.
    pub result: Result<(), SendError>,
}

impl Ack {
    /// Creates the acknowledgement or rejection of a single record.
    #[must_use]
    pub fn of(ticket: Ticket, result: Result<(), SendError>) -> Self {
        let Ticket { batch, row, dead_letter } = ticket;
        Self { batch, rows: row..row + 1, dead_letter, result }
    }

    /// Adds the rows of `next` if they follow these rows and both acknowledgements are positive. Returns true if the
    /// rows were added.
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

/// Appends an acknowledgement. It is merged with the last one if possible.
pub(crate) fn add_ack(acks: &mut Vec<Ack>, ack: Ack) {
    if !acks.last_mut().is_some_and(|last| last.merge(&ack)) {
        acks.push(ack);
    }
}

/// The state of a record after it was passed to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The record was written. No [`Ack`] follows.
    Arrived,
    /// The record is in flight. Exactly one [`Ack`] follows.
    Pending,
}

/// Why a record was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The record itself was rejected, for example because it is too large. Other records may be accepted.
    #[error("{0}")]
    Record(String),
    /// The sink cannot accept any record.
    #[error("{0}")]
    Sink(String),
    /// The open transaction can no longer be committed. Its records can be written in the next transaction.
    #[error("{0}")]
    Transaction(String),
}

/// Why a transaction was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The transaction was aborted. Its records can be written again.
    #[error("{0}")]
    Undone(String),
    /// No more records can be written.
    #[error("{0}")]
    Fatal(String),
}

/// The queue of acknowledgements to the poll thread. Clones share the queue.
#[derive(Debug, Clone, Default)]
pub struct Acks {
    arrived: Arc<Mutex<Vec<Ack>>>,
    waker: Waker,
}

impl Acks {
    /// Creates a queue that wakes `waker` when acknowledgements are pushed.
    #[must_use]
    pub fn new(waker: Waker) -> Self {
        Self { arrived: Arc::default(), waker }
    }

    /// Pushes an acknowledgement and wakes the poll thread.
    pub fn push(&self, ack: Ack) {
        add_ack(&mut self.arrived.lock().unwrap_or_else(PoisonError::into_inner), ack);
        self.waker.wake();
    }

    /// Pushes acknowledgements and wakes the poll thread, also if there are none.
    pub(crate) fn extend(&self, acks: Vec<Ack>) {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).extend(acks);
        self.waker.wake();
    }

    /// Moves all acknowledgements into `into`, which must be empty.
    pub fn take(&self, into: &mut Vec<Ack>) {
        std::mem::swap(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner), into);
    }
}
