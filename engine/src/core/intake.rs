//! Takes records into the open batch and seals the batch.

use std::ops::Range;

use super::action::{Action, JobError};
use super::batcher::{Capacity, SealReason};
use super::batches::{BatchState, InFlight};
use super::lanes::LaneState;
use super::machine::{Core, Phase};
use crate::ids::{LaneId, Tick};

/// The number of records in sealed batches that wait for a worker at which no more records are taken. More waiting
/// records would cost memory without a gain.
const MOST_WAITING_RECORDS: u32 = 10_000;
/// The number of bytes in sealed batches that wait for a worker at which no more records are taken.
const MOST_WAITING_BYTES: u64 = 8 << 20;

impl Core {
    /// Returns the free capacity of the open batch. Zero records mean back-pressure.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let full = self.unprocessed.len() > self.config.workers || self.leads() || self.is_saturated();
        if full || self.phase != Phase::Running {
            return Capacity::default();
        }
        let room = self.batcher.capacity();
        let left = self.bytes_left();
        let bytes = room.bytes.unwrap_or(u64::MAX).min(left);
        // The first record of a batch is limited only by the memory in flight.
        let first_bytes = room.is_empty.then_some(left);
        // A record of any size fits if it is the only one in memory.
        let is_empty = self.fits_any(room);
        Capacity { bytes: (bytes < u64::MAX).then_some(bytes), is_empty, first_bytes, ..room }
    }

    /// Returns true if the batches that wait for a worker have reached their limit.
    fn leads(&self) -> bool {
        let waiting = self.unprocessed().filter(|batch| batch.state == BatchState::Waiting);
        let (rows, bytes) =
            waiting.fold((0, 0), |(rows, bytes), batch| (rows + batch.rows, bytes + batch.bytes));
        rows >= MOST_WAITING_RECORDS || bytes >= MOST_WAITING_BYTES
    }

    /// Returns the number of payload bytes that can be taken in addition to those in flight.
    pub(super) fn bytes_left(&self) -> u64 {
        match self.config.max_unsettled_bytes {
            u64::MAX => u64::MAX,
            most => most.saturating_sub(self.bytes_in_flight()),
        }
    }

    /// Returns true if the open batch is empty and a record of any size fits into it.
    pub(super) fn fits_any(&self, room: Capacity) -> bool {
        let is_alone = self.bytes_in_flight() == 0;
        room.is_empty && (is_alone || self.config.max_unsettled_bytes == u64::MAX)
    }

    /// Notes that the next record does not fit into the open batch or into the memory in flight.
    pub(super) fn exceed(&mut self) {
        let room = self.batcher.capacity();
        let by_batch = room.bytes.unwrap_or(u64::MAX);
        if room.is_empty || self.bytes_left() < by_batch {
            self.crowded = true;
        } else {
            self.batcher.exceed();
        }
    }

    /// Returns true if a limit on records in flight is reached.
    pub(super) fn is_saturated(&self) -> bool {
        self.unsettled_bytes + self.open_bytes >= self.config.max_unsettled_bytes
            || self.unsettled_records >= self.config.max_unsettled_records
            || self.out_of_buffers
            || self.crowded
    }

    /// Returns the number of payload bytes that were taken and are not settled.
    #[must_use]
    pub fn bytes_in_flight(&self) -> u64 {
        self.unsettled_bytes + self.open_bytes
    }

    /// Returns true if a lane has neither ended nor been revoked.
    #[must_use]
    pub fn is_active(&self, lane: LaneId) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.state == LaneState::Active)
    }

    /// Returns true if records can be taken from a lane: the lane is active, and no batch with its rows waits for a
    /// retry.
    #[must_use]
    pub fn takes_from(&self, lane: LaneId) -> bool {
        let active = self.is_active(lane);
        let held =
            |batch: &InFlight| matches!(batch.state, BatchState::Holding { .. }) && batch.runs.has(lane);
        active && !self.unprocessed().any(held)
    }

    /// Returns the number of rows of the open batch.
    #[must_use]
    pub fn open_batch_rows(&self) -> u32 {
        self.open_runs.len()
    }

    pub(super) fn rows(
        &mut self,
        now: Tick,
        lane: LaneId,
        offsets: &[Range<i64>],
        bytes: u64,
        actions: &mut Vec<Action>,
    ) {
        let delivered = self.lanes.change(lane, |lane| {
            lane.tracker.deliver(offsets).map_err(|offset| (offset, lane.tracker.next()))
        });
        let sequence = match delivered.expect("records come from assigned lanes") {
            Ok(sequence) => sequence,
            Err((offset, next)) => {
                let reason =
                    format!("the source delivered offset {offset} of a partition after offset {}", next - 1);
                return self.fail(None, JobError::Source(reason), actions);
            }
        };
        let count = offsets.iter().map(|range| u64::try_from(range.end - range.start).unwrap_or(0)).sum();
        self.open_runs.push(lane, count, sequence);
        self.open_bytes += bytes;
        self.unsettled_records += count;
        self.ledger.delivered += count;
        self.batcher.add(now, count, bytes);
        self.idle = false;
    }

    pub(super) fn seal_due(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let waiting = self.unprocessed().any(|batch| batch.state == BatchState::Waiting);
        let worker_free = !waiting && self.running() < self.config.workers;
        let due =
            self.batcher.due(now, self.idle && worker_free).or_else(|| self.drain_due()).or_else(|| {
                // No batch in flight will free memory.
                let alone = self.batches.is_empty() && self.is_saturated() && !self.batcher.is_empty();
                let full = self.open_bytes >= self.config.max_unsettled_bytes;
                let crowded = self.crowded && !self.batcher.is_empty();
                (alone || full || crowded).then_some(SealReason::Memory)
            });
        let Some(reason) = due else { return };
        self.batcher.reset();
        let next_runs = self.spare_runs.pop().unwrap_or_default();
        let runs = std::mem::replace(&mut self.open_runs, next_runs);
        let rows = runs.len();
        let bytes = std::mem::take(&mut self.open_bytes);
        self.unsettled_bytes += bytes;
        let live = runs.spans(&(0..rows)).filter(|span| self.lanes.contains(span.lane));
        let open_rows = live.map(|span| span.rows.end - span.rows.start).sum();
        // A batch whose lanes were all revoked is not processed.
        let state = if open_rows == 0 { BatchState::Processed } else { BatchState::Waiting };
        let full = reason == SealReason::Count;
        let id = self.batches.push(InFlight {
            runs,
            rows,
            bytes,
            state,
            full,
            retries: 0,
            attempts: 0,
            open_rows,
            started: None,
        });
        actions.push(Action::Seal(id, reason));
        if open_rows == 0 {
            self.drop_settled(id, actions);
        } else {
            self.unprocessed.push_back(id);
        }
    }

    /// Returns [`SealReason::Drain`] if the open batch has rows and need not wait for more.
    pub(super) fn drain_due(&self) -> Option<SealReason> {
        let mut draining = self.lanes.draining();
        let nothing_comes = self.nothing_comes() || draining.any(|(id, ..)| self.open_runs.has(id));
        (!self.batcher.is_empty() && nothing_comes).then_some(SealReason::Drain)
    }

    /// Returns true if no more records will be taken from any lane.
    pub(super) fn nothing_comes(&self) -> bool {
        self.phase == Phase::Stopping || self.lanes.have_ended()
    }
}
