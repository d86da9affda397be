//! A sink that keeps records in memory, for examples and tests.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Outgoing, Rejected, Sent, Sink};
use crate::ids::LaneId;
use crate::process::OutputRecord;

/// A record in a [`MemorySink`]: the lane and offset of its input row, and its value.
pub type Kept = (LaneId, i64, Option<Vec<u8>>);

/// A sink that keeps records in memory, for examples and tests.
#[derive(Debug, Default)]
pub struct MemorySink {
    written: Arc<Mutex<Written>>,
}

/// The records in a [`MemorySink`].
#[derive(Debug, Default)]
pub struct Written {
    /// The outputs, in the order in which they were written.
    pub records: Vec<Kept>,
    /// The dead letters, in the order in which they were written.
    pub dead_letters: Vec<Kept>,
}

impl MemorySink {
    /// Returns the written records, which are shared with the sink.
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
            OutputRecord::New { value, .. } => value.map(<[u8]>::to_vec),
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
