//! Sinks write outputs and dead letters: rows in, one acknowledgement per record out.

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

/// An output record to write.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The ticket of the record.
    pub ticket: Ticket,
    /// The batch of the input row.
    pub batch: &'a Batch,
    /// The record to write.
    pub record: OutputRecord<'a>,
    /// The topic and partition of the input row.
    pub origin: &'a LaneName,
}

/// A row to write unchanged to the dead letter queue.
#[derive(Debug, Clone, Copy)]
pub struct Rejected<'a> {
    /// The ticket of the dead letter.
    pub ticket: Ticket,
    /// The batch of the row.
    pub batch: &'a Batch,
    /// The topic and partition of the row.
    pub origin: &'a LaneName,
    /// The error of the row.
    pub error: &'a RowError,
    /// The number of attempts to process the batch.
    pub attempts: u32,
}

/// Rows of one lane whose outputs are written in row order.
#[derive(Clone)]
pub struct OutgoingRows<'a> {
    /// The id of the batch.
    pub id: BatchId,
    /// The batch of the rows.
    pub batch: &'a Batch,
    /// The outputs of the batch.
    pub output: &'a Output,
    /// The rows.
    pub rows: Range<u32>,
    /// The topic and partition of the rows.
    pub origin: &'a LaneName,
    /// Returns false once the lane is no longer owned. The remaining rows must not be written after that.
    pub is_open: &'a dyn Fn() -> bool,
}

/// A destination of records. All workers share the sink. A call can block, which is back-pressure.
pub trait Sink: Send + Sync {
    /// Writes one output record.
    fn write(&self, outgoing: Outgoing<'_>) -> Sent;
    /// Writes the outputs of rows. Appends the acknowledgements of records that were written by then to `arrived`.
    ///
    /// The provided method writes one record after the other. Sinks that can write several records at once override it.
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
    /// Writes a row unchanged to the dead letter queue.
    fn dead_letter(&self, rejected: Rejected<'_>) -> Sent;
    /// Commits all records that were written since the last commit or abort in one transaction with these offsets.
    /// There may be offsets and no record. Called only with `JobConfig::exactly_once`. The provided method does nothing.
    ///
    /// # Errors
    /// If the transaction was not committed.
    fn commit(&self, offsets: &[(LaneName, i64)]) -> Result<(), TransactionError> {
        let _ = offsets;
        Ok(())
    }
    /// Aborts the transaction with all records that were written since the last [`commit`](Self::commit) or abort.
    /// Called only with `JobConfig::exactly_once`. The provided method does nothing.
    ///
    /// # Errors
    /// If no more records can be written.
    fn abort(&self) -> Result<(), TransactionError> {
        Ok(())
    }
    /// Returns the number of records that were taken and are not acknowledged. The provided method returns 0.
    fn unacknowledged(&self) -> usize {
        0
    }
    /// Returns true if a write waits for the brokers although it has passed no record to them. The provided method
    /// returns false.
    fn is_waiting(&self) -> bool {
        false
    }
    /// Closes the sink at the end of the job. Records that were not sent will be read again. Blocked calls must return.
    /// The provided method does nothing.
    fn close(&self) {}
}

/// A sink that discards all records, for dry runs and trials.
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
