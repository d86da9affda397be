//! Split partition queues and how records leave them: shared by the group's source and the reader.
#![allow(clippy::disallowed_methods, reason = "the wall clock, for the age of records")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode;
use velo_schema::Tier;

use super::KafkaError;
use super::context::Context;
use super::error::{Class, class};
use super::ffi::{Message, Messages, PartitionQueue};
use crate::batch::{BatchBuilder, Record};
use crate::core::batcher::Room;
use crate::ids::Tick;
use crate::ids::{LaneId, LaneName};
use crate::memory::MemoryBudget;
use crate::source::{Filled, SourceError, SourceEvent};
use crate::waker::Waker;

/// How long a partition may fail to be read, for a reason that passes by itself, before the job ends.
const FETCH_PATIENCE: Duration = Duration::from_mins(2);
/// After how long without a further error fetches are taken to succeed.
const FETCH_SILENCE: Duration = Duration::from_secs(30);

/// A partition's queue and how far it has been read.
pub(super) struct Lane {
    pub id: LaneId,
    pub name: LaneName,
    queue: PartitionQueue,
    /// What was taken from the queue and did not fit into the batch.
    rest: Messages,
    /// Bytes of a record, about.
    mean_bytes: u64,
    /// The offset of the next record to take.
    pub position: i64,
    /// Whether there is no record before `position` that was not taken, which nobody was told yet.
    passed: bool,
    /// Where the run ends, if it does.
    end: Option<i64>,
    ended: bool,
    /// Why nothing can be read at `position`.
    broken: Option<String>,
    /// Since when it cannot be read for a reason that passes by itself, and the reason.
    failing: Option<Failing>,
}

/// Fetches that fail. The client repeats the error for as long as they do.
#[derive(Debug)]
struct Failing {
    since: Tick,
    last: Tick,
    reason: String,
}

/// All lanes of a consumer.
pub(super) struct Lanes {
    open: Vec<Lane>,
    next_id: u32,
    ended: Vec<LaneId>,
    now: Tick,
    notices: Vec<String>,
    /// Nanoseconds from the engine's start to the epoch; what arrival times are counted with.
    start_epoch_ns: Option<i64>,
    /// About so many bytes are taken from a queue with one call.
    call_bytes: u64,
    /// How large a record is taken to be before anything is known.
    first_record_bytes: u64,
}

impl Lanes {
    pub fn new(memory: &MemoryBudget) -> Self {
        Self {
            open: Vec::new(),
            next_id: 0,
            ended: Vec::new(),
            now: Tick::default(),
            notices: Vec::new(),
            start_epoch_ns: None,
            call_bytes: memory.call_bytes(),
            first_record_bytes: memory.first_record_bytes(),
        }
    }

    /// Tells the time, and fixes the engine's clock against the wall clock the first time it is called.
    pub fn set_clock(&mut self, now: Tick) {
        self.now = now;
        self.start_epoch_ns.get_or_insert_with(|| {
            let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let start = epoch.as_nanos().saturating_sub(u128::from(now.0));
            i64::try_from(start).unwrap_or(i64::MAX)
        });
    }

    /// Begins a lane; must come before the partition is assigned.
    pub fn begin(
        &mut self,
        consumer: &Arc<BaseConsumer<Context>>,
        name: &LaneName,
        (position, end): (i64, Option<i64>),
        waker: &Waker,
        events: &mut Vec<SourceEvent>,
    ) -> Result<LaneId, KafkaError> {
        let LaneName { topic, partition } = name;
        let queue = PartitionQueue::split(consumer, topic, *partition, waker)
            .ok_or_else(|| KafkaError::new(format!("no queue for {topic}[{partition}]")))?;
        let id = LaneId(self.next_id);
        self.next_id += 1;
        let ended = end.is_some_and(|end| position >= end);
        events.push(SourceEvent::Assigned(id, name.clone(), position));
        self.ended.extend(ended.then_some(id));
        let rest = Messages::default();
        self.open.push(Lane {
            id,
            name: name.clone(),
            queue,
            rest,
            mean_bytes: self.first_record_bytes,
            position,
            passed: false,
            end,
            ended,
            broken: None,
            failing: None,
        });
        Ok(id)
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// True if every lane has been read to its end.
    pub fn all_ended(&self) -> bool {
        self.open.iter().all(|lane| lane.ended)
    }

    /// True if a partition is read here and has been read to its end.
    pub fn has_ended(&self, topic: &str, partition: i32) -> bool {
        self.find(topic, partition).is_some_and(|lane| lane.ended)
    }

    /// Reports which lanes have ended, or have come to the end for now, since the last call.
    ///
    /// # Errors
    /// If a lane has failed to be read for too long.
    pub fn report(&mut self, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        for lane in self.open.iter_mut().filter(|lane| lane.passed) {
            lane.passed = false;
            events.push(SourceEvent::Position(lane.id, lane.position));
        }
        events.extend(self.ended.drain(..).map(SourceEvent::Ended));
        events.extend(self.notices.drain(..).map(SourceEvent::Notice));
        let now = self.now;
        for lane in &mut self.open {
            // A fetch that brings nothing says nothing.
            if lane.failing.take_if(|failing| now.since(failing.last) >= FETCH_SILENCE).is_some() {
                events.push(SourceEvent::Notice(format!("{} is read again", lane.name)));
            }
        }
        let is_over = |failing: &&Failing| now.since(failing.since) >= FETCH_PATIENCE;
        let over = self.open.iter().find_map(|lane| Some((lane, lane.failing.as_ref().filter(is_over)?)));
        over.map_or(Ok(()), |(lane, Failing { reason, .. })| {
            Err(SourceError(format!("{} cannot be read for {FETCH_PATIENCE:?}: {reason}", lane.name)))
        })
    }

    /// Lanes that cannot be read on where they are, and why.
    pub fn broken(&self) -> impl Iterator<Item = (&Lane, &str)> {
        self.open.iter().filter_map(|lane| Some((lane, lane.broken.as_deref()?)))
    }

    /// All lanes and where they are, to be fetched again from there.
    pub fn refetch(&mut self) -> Vec<(LaneName, i64)> {
        let again = |lane: &mut Lane| {
            lane.rest.clear();
            (lane.name.clone(), lane.position)
        };
        self.open.iter_mut().map(again).collect()
    }

    /// Goes on at `position` with a lane that could not be read.
    pub fn resume(&mut self, id: LaneId, position: i64) {
        if let Some(lane) = self.open.iter_mut().find(|lane| lane.id == id) {
            lane.position = position;
            lane.broken = None;
            lane.rest.clear();
        }
    }

    pub fn find(&self, topic: &str, partition: i32) -> Option<&Lane> {
        self.open.iter().find(|lane| &*lane.name.topic == topic && lane.name.partition == partition)
    }

    pub fn ids(&self) -> Vec<LaneId> {
        self.open.iter().map(|lane| lane.id).collect()
    }

    pub fn name(&self, id: LaneId) -> Option<&LaneName> {
        self.open.iter().find(|lane| lane.id == id).map(|lane| &lane.name)
    }

    /// Ends a lane and its queue.
    pub fn end(&mut self, id: LaneId) {
        self.open.retain(|lane| lane.id != id);
    }

    pub fn clear(&mut self) {
        self.open.clear();
    }

    /// Appends the records that are in the lane's queue already, as far as there is room.
    pub fn fill(
        &mut self,
        id: LaneId,
        tier: Tier,
        room: Room,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        let Self { open, ended, start_epoch_ns, call_bytes, now, notices, .. } = self;
        let Some(lane) = open.iter_mut().find(|lane| lane.id == id) else {
            return Ok(Filled { drained: true, ..Filled::default() });
        };
        let failed_before = lane.failing.is_some();
        let filled = lane.fill(tier, room, (*now, start_epoch_ns.unwrap_or(0), *call_bytes), batch);
        match &lane.failing {
            Some(Failing { reason, .. }) if !failed_before => {
                notices.push(format!("{} cannot be read, and is tried again: {reason}", lane.name));
            }
            None if failed_before => notices.push(format!("{} is read again", lane.name)),
            _ => {}
        }
        ended.extend(lane.ended.then_some(id));
        filled
    }
}

impl Lane {
    fn fill(
        &mut self,
        tier: Tier,
        room: Room,
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
            let mut more = false;
            if asked {
                more = self.ask(tier, room, (taken, batch.bytes() - bytes), call_bytes);
                if self.rest.len() == 0 {
                    filled.empty_calls += 1;
                    filled.drained = true;
                    break;
                }
            }
            let before = batch.len();
            filled.exceeds = self.take_fitting(room, (rows, bytes), (now, epoch), batch)?;
            // A call may bring nothing but the news that the partition's end is reached.
            let brought_records = batch.len() > before;
            filled.calls += u64::from(asked && brought_records);
            filled.empty_calls += u64::from(asked && !brought_records);
            // A batch call that brought less than was asked for has emptied what was there.
            if tier != Tier::Standard && asked && !more {
                break;
            }
        }
        filled.drained |= self.ended || self.broken.is_some();
        Ok(filled)
    }

    /// Takes messages from the queue: one, or as many as are there and most probably fit, up to a few
    /// megabytes. Whether more may be there.
    fn ask(&mut self, tier: Tier, room: Room, (taken, taken_bytes): (u64, u64), call_bytes: u64) -> bool {
        match tier {
            Tier::Standard => {
                self.queue.pop(&mut self.rest);
                true
            }
            Tier::Buffered | Tier::Auto => {
                let by_bytes =
                    room.bytes.map(|bytes| bytes.saturating_sub(taken_bytes) / self.mean_bytes + 1);
                let at_once = call_bytes / self.mean_bytes + 1;
                let wanted = (room.records - taken).min(by_bytes.unwrap_or(u64::MAX));
                let most = usize::try_from(wanted.min(at_once)).unwrap_or(usize::MAX);
                self.queue.pop_batch(most, &mut self.rest);
                wanted > at_once && self.rest.len() == most
            }
        }
    }

    /// Appends what was taken from the queue as far as it fits; whether something does not.
    fn take_fitting(
        &mut self,
        room: Room,
        (rows, bytes): (u32, u64),
        clock: (Tick, i64),
        batch: &mut BatchBuilder,
    ) -> Result<bool, SourceError> {
        let mut rest = std::mem::take(&mut self.rest);
        let fitted = self.take_from(&mut rest, room, (rows, bytes), clock, batch);
        // What does not fit, or comes after an error, is still to be taken.
        self.rest = rest;
        fitted
    }

    fn take_from(
        &mut self,
        rest: &mut Messages,
        room: Room,
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
            // The client fetches again by itself.
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
                return Err(SourceError(format!("{} cannot be read on: {reason}", self.name)));
            }
            None => self.failing = None,
        }
        // A partition that is fetched again may bring what was taken before.
        if offset < self.position {
            return Ok(());
        }
        if self.ended || self.end.is_some_and(|end| offset >= end) {
            self.ended = true;
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
