//! Where outputs and dead letters go: rows in, one acknowledgement for each record out.

mod acks;
mod memory;

use std::ops::Range;

use crate::batch::Batch;
use crate::core::failure::RowError;
use crate::ids::{BatchId, LaneName};
use crate::process::{Output, OutputRecord};

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

/// Rows of one lane whose outputs are to be written, in order.
#[derive(Clone)]
pub struct OutgoingRows<'a> {
    /// The number of the batch.
    pub id: BatchId,
    /// The batch of the rows.
    pub batch: &'a Batch,
    /// The outputs of the batch.
    pub output: &'a Output,
    /// The rows.
    pub rows: Range<u32>,
    /// The topic and partition that the rows came from.
    pub origin: &'a LaneName,
    /// False once the lane is somebody else's: the rest of the rows is theirs to write.
    pub is_open: &'a dyn Fn() -> bool,
}

/// Where records are written. Shared by all workers; a call may block for back-pressure.
pub trait Sink: Send + Sync {
    /// Sends one record.
    fn write(&self, outgoing: Outgoing<'_>) -> Sent;
    /// Sends the outputs of rows, and adds the acknowledgements of records that have arrived already to `arrived`.
    ///
    /// A sink that can write many records at once does so here; the provided method writes one after the other.
    fn write_rows(&self, outgoing: OutgoingRows<'_>, arrived: &mut Vec<Ack>) {
        let OutgoingRows { id, batch, output, rows, origin, is_open } = outgoing;
        for (row, record) in output.of_rows(rows) {
            if !is_open() {
                return;
            }
            let ticket = Ticket { batch: id, row, dead_letter: false };
            if self.write(Outgoing { ticket, batch, record, origin }) == Sent::Arrived {
                add_ack(arrived, Ack::of(ticket, Ok(())));
            }
        }
    }
    /// Sends a row, as it came, to the dead letter queue.
    fn dead_letter(&self, rejected: Rejected<'_>) -> Sent;
    /// Commits everything that was written since the last call, together with these offsets: for sinks
    /// that write in transactions, with `JobConfig::exactly_once`.
    ///
    /// # Errors
    /// If it is not committed.
    fn commit(&self, offsets: &[(LaneName, i64)]) -> Result<(), TransactionError> {
        let _ = offsets;
        Ok(())
    }
    /// Undoes everything that was written since the last [`commit`](Self::commit).
    ///
    /// # Errors
    /// If nothing more can be written.
    fn abort(&self) -> Result<(), TransactionError> {
        Ok(())
    }
    /// The job has ended: records that are not sent by now will be read again. Calls that block return.
    fn close(&self) {}
}

/// Writes nothing: dry runs and trials.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Sink for Discard {
    fn write(&self, _: Outgoing<'_>) -> Sent {
        Sent::Arrived
    }

    fn write_rows(&self, OutgoingRows { id, output, rows, .. }: OutgoingRows<'_>, arrived: &mut Vec<Ack>) {
        if output.is_input() {
            return add_ack(arrived, Ack { batch: id, rows, dead_letter: false, result: Ok(()) });
        }
        for (row, _) in output.of_rows(rows) {
            add_ack(arrived, Ack::of(Ticket { batch: id, row, dead_letter: false }, Ok(())));
        }
    }

    fn dead_letter(&self, _: Rejected<'_>) -> Sent {
        Sent::Arrived
    }
}
