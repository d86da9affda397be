//! The queue of one partition: messages in, rows of the open batch and the state of the lane out.

use rdkafka::error::RDKafkaErrorCode;
use velo_schema::Tier;

use super::super::clock::Clock;
use super::super::lane::{Broken, FailureKind, Fate, Lane};
use crate::batch::{BatchBuilder, Record};
use crate::core::batcher::Capacity;
use crate::kafka::error::{Class, class};
use crate::kafka::ffi::{Message, Messages, PartitionQueue};
use crate::source::{Filled, SourceError};

/// The queue of a partition.
pub(super) struct Queue {
    messages: PartitionQueue,
    /// The messages that were taken from the queue and did not fit into the batch.
    rest: Messages,
    /// The approximate size of a record, in bytes.
    mean_bytes: u64,
    /// The approximate number of bytes to take with one call.
    call_bytes: u64,
}

/// The messages that a call has left in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The queue is empty.
    None,
    /// The queue probably has messages that fit into the batch.
    Some,
    /// The queue may have messages.
    Unknown,
}

impl Queue {
    pub(super) fn new(queue: PartitionQueue, call_bytes: u64, mean_bytes: u64) -> Self {
        Self { messages: queue, rest: Messages::default(), mean_bytes, call_bytes }
    }

    /// Drops the messages that were taken from the queue and did not fit.
    pub(super) fn drop_rest(&mut self) {
        self.rest.clear();
    }

    /// Appends records from the queue to the batch, up to `room`, without waiting for a fetch.
    pub(super) fn fill(
        &mut self,
        lane: &mut Lane,
        (tier, room): (Tier, Capacity),
        clock: Clock,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        let mut filled = Filled::default();
        let (rows, bytes) = (batch.len(), batch.bytes());
        while lane.is_open() && !filled.exceeds {
            let taken = u64::from(batch.len() - rows);
            if taken >= room.records {
                break;
            }
            let asked = self.rest.len() == 0;
            let mut left = Left::Unknown;
            if asked {
                left = self.ask(tier, room, (taken, batch.bytes() - bytes));
                if self.rest.len() == 0 {
                    filled.empty_calls += 1;
                    filled.drained = true;
                    break;
                }
            }
            let before = batch.len();
            filled.exceeds = self.take_fitting(lane, room, (rows, bytes), clock, batch)?;
            // A call can return only the message that the end of the partition was reached.
            let brought_records = batch.len() > before;
            filled.calls += u64::from(asked && brought_records);
            filled.empty_calls += u64::from(asked && !brought_records);
            // A call that brought no record says nothing about the rest of the queue, which calls back only once it was
            // empty.
            let is_answered = brought_records || left == Left::None;
            if tier != Tier::Standard && asked && left != Left::Some && is_answered {
                // An empty queue calls back when it has messages again.
                filled.drained |= left == Left::None && self.rest.len() == 0;
                break;
            }
        }
        filled.drained |= !lane.is_open();
        Ok(filled)
    }

    /// Takes messages from the queue: a single one in the standard tier, otherwise as many as probably fit into the
    /// batch, up to about `call_bytes`.
    fn ask(&mut self, tier: Tier, room: Capacity, (taken, taken_bytes): (u64, u64)) -> Left {
        match tier {
            Tier::Standard => {
                self.messages.pop(&mut self.rest);
                Left::Unknown
            }
            Tier::Buffered | Tier::Auto => {
                let by_bytes =
                    room.bytes.map(|bytes| bytes.saturating_sub(taken_bytes) / self.mean_bytes + 1);
                let at_once = self.call_bytes / self.mean_bytes + 1;
                let wanted = (room.records - taken).min(by_bytes.unwrap_or(u64::MAX));
                let most = usize::try_from(wanted.min(at_once)).unwrap_or(usize::MAX);
                self.messages.pop_batch(most, &mut self.rest);
                match self.rest.len() {
                    // A batch call that returns fewer messages than requested has emptied the queue.
                    len if len < most => Left::None,
                    _ if wanted > at_once => Left::Some,
                    _ => Left::Unknown,
                }
            }
        }
    }

    /// Appends the messages that were taken from the queue. Returns true if a record does not fit.
    fn take_fitting(
        &mut self,
        lane: &mut Lane,
        room: Capacity,
        (rows, bytes): (u32, u64),
        clock: Clock,
        batch: &mut BatchBuilder,
    ) -> Result<bool, SourceError> {
        let mut rest = std::mem::take(&mut self.rest);
        let mut fits = Ok(true);
        while let Some(message) = rest.first() {
            let (taken, taken_bytes) = (u64::from(batch.len() - rows), batch.bytes() - bytes);
            if message.error().is_none() {
                let size = message.payload_bytes();
                if !room.fits(taken, taken_bytes, size) {
                    fits = Ok(false);
                    break;
                }
                self.mean_bytes = (self.mean_bytes * 15 + size).div_ceil(16).max(1);
            }
            let taken = take(lane, message, clock, batch);
            rest.drop_first();
            if let Err(error) = taken {
                fits = Err(error);
                break;
            }
        }
        // The messages that do not fit or come after an error are kept.
        self.rest = rest;
        fits.map(|fits| !fits)
    }
}

fn take(
    lane: &mut Lane,
    message: Message<'_>,
    clock: Clock,
    batch: &mut BatchBuilder,
) -> Result<(), SourceError> {
    let offset = message.offset();
    match message.error() {
        Some(RDKafkaErrorCode::PartitionEOF) => {
            lane.failing = None;
            lane.pass(offset);
            return Ok(());
        }
        Some(error @ (RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::LogTruncation)) => {
            lane.broken = Some(Broken::new(reason(error, message)));
            return Ok(());
        }
        // The client retries the fetch.
        Some(error) if class(error) == Class::Passing => {
            lane.fetch_failed(clock.now, FailureKind::Silent, || reason(error, message));
            return Ok(());
        }
        Some(error) => {
            let reason = reason(error, message);
            return Err(SourceError(format!("{} cannot be read any further: {reason}", lane.name)));
        }
        None => lane.failing = None,
    }
    match lane.fate(offset) {
        Fate::Known => {}
        // There is no record between the last one that was taken and this one: markers of transactions, say.
        Fate::Beyond => lane.pass_to_end(),
        Fate::Take => {
            let timestamp_ms = message.timestamp_ms();
            batch.push(
                lane.id,
                Record {
                    offset,
                    timestamp_ms,
                    arrival_ns: clock.arrival_ns(timestamp_ms),
                    key: message.key(),
                    value: message.value(),
                    headers: message.headers(),
                },
            );
            lane.took(offset);
        }
    }
    Ok(())
}

fn reason(error: RDKafkaErrorCode, message: Message<'_>) -> String {
    let detail = message.value().map(String::from_utf8_lossy).unwrap_or_default();
    format!("{error} ({detail})")
}
