//! Where outputs and dead letters go: rows in, one acknowledgement for each record out.

use std::sync::{Arc, Mutex, PoisonError};

use crate::columns::{Batch, BatchId, LaneId};
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

/// What became of a record that was sent.
#[derive(Debug)]
pub struct Ack {
    /// Which record.
    pub ticket: Ticket,
    /// Whether it arrived.
    pub result: Result<(), SendError>,
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
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).push(ack);
        self.waker.wake();
    }

    /// Leaves several at once.
    pub fn extend(&self, acks: impl IntoIterator<Item = Ack>) {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).extend(acks);
        self.waker.wake();
    }

    /// Takes all that have arrived, into an empty `into`.
    pub fn take(&self, into: &mut Vec<Ack>) {
        std::mem::swap(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner), into);
    }
}

/// Where a lane's records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneName {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
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

/// Where records are written. Shared by all workers; a call may block for back-pressure.
pub trait Sink: Send + Sync {
    /// Sends one record. Its [`Ack`] comes later, exactly once.
    fn write(&self, outgoing: Outgoing<'_>);
    /// Sends a row, as it came, to the dead letter queue. Its [`Ack`] comes later, exactly once.
    fn dead_letter(&self, ticket: Ticket, batch: &Batch, origin: &LaneName, error: &RowError);
    /// The job has ended: what is not sent by now will be read again. Calls that block return.
    fn close(&self) {}
}

/// Writes nothing and acknowledges at once: dry runs and trials.
#[derive(Debug)]
pub struct Discard {
    acks: Acks,
}

impl Discard {
    /// A sink that leaves its acknowledgements in `acks`.
    #[must_use]
    pub fn new(acks: Acks) -> Self {
        Self { acks }
    }
}

impl Sink for Discard {
    fn write(&self, outgoing: Outgoing<'_>) {
        self.acks.push(Ack { ticket: outgoing.ticket, result: Ok(()) });
    }

    fn dead_letter(&self, ticket: Ticket, _: &Batch, _: &LaneName, _: &RowError) {
        self.acks.push(Ack { ticket, result: Ok(()) });
    }
}

/// A record that a [`MemorySink`] holds: its lane, offset and value.
pub type Kept = (LaneId, i64, Option<Vec<u8>>);

/// Keeps what is written in memory: examples and tests.
#[derive(Debug)]
pub struct MemorySink {
    acks: Acks,
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
    /// An empty sink that leaves its acknowledgements in `acks`, and the place where it keeps things.
    #[must_use]
    pub fn new(acks: Acks) -> (Self, Arc<Mutex<Written>>) {
        let written = Arc::<Mutex<Written>>::default();
        (Self { acks, written: Arc::clone(&written) }, written)
    }
}

impl Sink for MemorySink {
    fn write(&self, outgoing: Outgoing<'_>) {
        let Outgoing { ticket, batch, record, .. } = outgoing;
        let value = match record {
            OutputRecord::Forward => batch.value(ticket.row).map(<[u8]>::to_vec),
            OutputRecord::New { value, .. } => value.clone(),
        };
        let kept = (batch.lane(ticket.row), batch.offset(ticket.row), value);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).records.push(kept);
        self.acks.push(Ack { ticket, result: Ok(()) });
    }

    fn dead_letter(&self, ticket: Ticket, batch: &Batch, _: &LaneName, _: &RowError) {
        let value = batch.value(ticket.row).map(<[u8]>::to_vec);
        let kept = (batch.lane(ticket.row), batch.offset(ticket.row), value);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).dead_letters.push(kept);
        self.acks.push(Ack { ticket, result: Ok(()) });
    }
}
