//! What became of records that were sent: acknowledgements, and where they are left for the poll thread.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::BatchId;
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
