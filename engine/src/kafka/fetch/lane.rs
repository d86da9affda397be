//! The queue of one partition: messages in, rows of the open batch and the state of the partition out.

use rdkafka::error::RDKafkaErrorCode;
use velo_schema::Tier;

use crate::batch::{BatchBuilder, Record};
use crate::core::batcher::Capacity;
use crate::ids::{LaneId, LaneName, Tick};
use crate::kafka::error::{Class, class};
use crate::kafka::ffi::{Message, Messages, PartitionQueue};
use crate::source::{Filled, SourceError};

/// The queue of a partition and the position up to which it was read.
pub(in crate::kafka) struct Lane {
    pub id: LaneId,
    pub name: LaneName,
    queue: PartitionQueue,
    /// The messages that were taken from the queue and did not fit into the batch.
    pub(super) rest: Messages,
    /// The approximate size of a record, in bytes.
    mean_bytes: u64,
    /// The offset of the next record to take.
    pub position: i64,
    /// True if `position` was moved past offsets without records and this was not reported yet.
    pub(super) passed: bool,
    /// The offset at which the job stops reading, if there is one.
    pub(super) end: Option<i64>,
    /// True if the lane was read to `end`.
    pub(super) ended: bool,
    /// The reason if the lane cannot be read at `position`.
    pub(super) broken: Option<String>,
    /// The temporary error of the current fetches, if they fail.
    pub(super) failing: Option<Failing>,
}

/// A temporary error of fetches. The client repeats the error while fetches fail.
#[derive(Debug)]
pub(super) struct Failing {
    pub since: Tick,
    pub last: Tick,
    pub reason: String,
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

impl Lane {
    /// Creates a lane that reads a partition from `position` up to, but not including, `end`, if there is one.
    pub(crate) fn new(
        (id, name): (LaneId, LaneName),
        queue: PartitionQueue,
        (position, end): (i64, Option<i64>),
        mean_bytes: u64,
    ) -> Self {
        let ended = end.is_some_and(|end| position >= end);
        let rest = Messages::default();
        Self {
            id,
            name,
            queue,
            rest,
            mean_bytes,
            position,
            passed: false,
            end,
            ended,
            broken: None,
            failing: None,
        }
    }

    /// Appends records from the queue to the batch, up to `room`, without waiting for a fetch.
    pub(crate) fn fill(
        &mut self,
        tier: Tier,
        room: Capacity,
        (now, epoch, call_bytes): (Tick, i64, u64),
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        let mut filled = Filled::default();
        let (rows, bytes) = (batch.len(), batch.bytes());
        while !self.ended && self.broken.is_none() && !filled.exceeds {
            let taken = u64::from(batch.len() - rows);
            if taken >= room.records {
                break;
            }
            let asked = self.rest.len() == 0;
            let mut left = Left::Unknown;
            if asked {
                left = self.ask(tier, room, (taken, batch.bytes() - bytes), call_bytes);
                if self.rest.len() == 0 {
                    filled.empty_calls += 1;
                    filled.drained = true;
                    break;
                }
            }
            let before = batch.len();
            filled.exceeds = self.take_fitting(room, (rows, bytes), (now, epoch), batch)?;
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
        filled.drained |= self.ended || self.broken.is_some();
        Ok(filled)
    }

    /// Takes messages from the queue: a single one in the standard tier, otherwise as many as probably fit into the
    /// batch, up to about `call_bytes`.
    fn ask(&mut self, tier: Tier, room: Capacity, (taken, taken_bytes): (u64, u64), call_bytes: u64) -> Left {
        match tier {
            Tier::Standard => {
                self.queue.pop(&mut self.rest);
                Left::Unknown
            }
            Tier::Buffered | Tier::Auto => {
                let by_bytes =
                    room.bytes.map(|bytes| bytes.saturating_sub(taken_bytes) / self.mean_bytes + 1);
                let at_once = call_bytes / self.mean_bytes + 1;
                let wanted = (room.records - taken).min(by_bytes.unwrap_or(u64::MAX));
                let most = usize::try_from(wanted.min(at_once)).unwrap_or(usize::MAX);
                self.queue.pop_batch(most, &mut self.rest);
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
        room: Capacity,
        (rows, bytes): (u32, u64),
        clock: (Tick, i64),
        batch: &mut BatchBuilder,
    ) -> Result<bool, SourceError> {
        let mut rest = std::mem::take(&mut self.rest);
        let fitted = self.take_from(&mut rest, room, (rows, bytes), clock, batch);
        // The messages that do not fit or come after an error are kept.
        self.rest = rest;
        fitted
    }

    fn take_from(
        &mut self,
        rest: &mut Messages,
        room: Capacity,
        (rows, bytes): (u32, u64),
        clock: (Tick, i64),
        batch: &mut BatchBuilder,
    ) -> Result<bool, SourceError> {
        while let Some(message) = rest.first() {
            let (taken, taken_bytes) = (u64::from(batch.len() - rows), batch.bytes() - bytes);
            if message.error().is_none() {
                let size = message.payload_bytes();
                if !room.fits(taken, taken_bytes, size) {
                    return Ok(true);
                }
                self.mean_bytes = (self.mean_bytes * 15 + size).div_ceil(16).max(1);
            }
            let taken = self.take(message, clock, batch);
            rest.drop_first();
            taken?;
        }
        Ok(false)
    }

    fn take(
        &mut self,
        message: Message<'_>,
        (now, epoch): (Tick, i64),
        batch: &mut BatchBuilder,
    ) -> Result<(), SourceError> {
        let offset = message.offset();
        match message.error() {
            Some(RDKafkaErrorCode::PartitionEOF) => {
                self.failing = None;
                self.ended |= self.end.is_some_and(|end| offset >= end);
                self.passed |= offset > self.position;
                self.position = self.position.max(offset);
                return Ok(());
            }
            Some(error @ (RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::LogTruncation)) => {
                self.broken = Some(reason(error, message));
                return Ok(());
            }
            // The client retries the fetch.
            Some(error) if class(error) == Class::Passing => {
                let failing = self.failing.get_or_insert_with(|| Failing {
                    since: now,
                    last: now,
                    reason: reason(error, message),
                });
                failing.last = now;
                return Ok(());
            }
            Some(error) => {
                let reason = reason(error, message);
                return Err(SourceError(format!("{} cannot be read any further: {reason}", self.name)));
            }
            None => self.failing = None,
        }
        // A partition that is fetched again can return records that were taken before.
        if offset < self.position {
            return Ok(());
        }
        if let Some(end) = self.end.filter(|end| self.ended || offset >= *end) {
            self.ended = true;
            // There is no record between the last one that was taken and this one: markers of transactions, say.
            self.passed |= end > self.position;
            self.position = self.position.max(end);
            return Ok(());
        }
        let timestamp_ms = message.timestamp_ms();
        batch.push(
            self.id,
            Record {
                offset,
                timestamp_ms,
                arrival_ns: timestamp_ms.map_or(0, |ms| ms.saturating_mul(1_000_000).saturating_sub(epoch)),
                key: message.key(),
                value: message.value(),
                headers: message.headers(),
            },
        );
        self.position = offset + 1;
        self.ended = self.end.is_some_and(|end| offset + 1 >= end);
        Ok(())
    }
}

fn reason(error: RDKafkaErrorCode, message: Message<'_>) -> String {
    let detail = message.value().map(String::from_utf8_lossy).unwrap_or_default();
    format!("{error} ({detail})")
}
