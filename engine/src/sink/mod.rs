//! Where outputs and dead letters go: rows in, one acknowledgement for each record out.

mod acks;
mod memory;

use crate::batch::Batch;
use crate::core::failure::RowError;
use crate::ids::LaneName;
use crate::process::OutputRecord;

pub(crate) use acks::add_ack;
pub use acks::{Ack, Acks, SendError, Sent, Ticket, TransactionError};
pub use memory::{Kept, MemorySink, Written};

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
