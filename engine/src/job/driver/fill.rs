//! Fills batches: the lanes that may have records and the free capacity of the core in, rows in the open batch and
//! events for the core out.

use super::state::Driver;
use crate::core::Event;
use crate::core::batcher::Capacity;
use crate::failpoint::{Edge, reach};
use crate::ids::LaneId;
use crate::source::{Filled, Source};

impl<S: Source> Driver<S> {
    /// Fills batches from all lanes in turn until no record is queued or no record can be taken. Returns true if a
    /// record was taken.
    pub(super) fn fill(&mut self) -> bool {
        let mut took_any = false;
        loop {
            self.count_buffers();
            self.find_ready();
            let mut took = false;
            let mut drained = true;
            for _ in 0..self.ready.len() {
                let room = self.core.capacity();
                if room.records == 0 {
                    return took_any;
                }
                let Some(lane) = self.ready.pop() else { break };
                if !self.core.is_active(lane) {
                    continue;
                }
                if !self.core.takes_from(lane) {
                    self.ready.push(lane);
                    continue;
                }
                let (taken, lane_drained) = self.fill_from(lane, room);
                // The batch may be full and sealed now, and no buffer free for the next one.
                self.count_buffers();
                took |= taken > 0;
                drained &= lane_drained;
                if !lane_drained {
                    self.ready.push(lane);
                }
            }
            took_any |= took;
            if drained && !self.lanes.is_empty() {
                self.step(Event::Idle);
            }
            if !took || self.core.is_done() {
                return took_any;
            }
        }
    }

    /// Tells the core whether a batch can be filled. Without a free buffer, the core takes no records.
    fn count_buffers(&mut self) {
        let out_of_buffers = !self.builder.is_ready();
        if out_of_buffers != self.out_of_buffers {
            self.out_of_buffers = out_of_buffers;
            self.step(Event::OutOfBuffers(out_of_buffers));
        }
    }

    /// Queues the lanes that may have records.
    fn find_ready(&mut self) {
        if !self.source.ready(&mut self.called) {
            self.called.extend(&self.lanes);
        }
        self.called.drain(..).for_each(|lane| self.ready.push(lane));
    }

    fn fill_from(&mut self, lane: LaneId, room: Capacity) -> (u64, bool) {
        let now = self.now();
        let (rows, bytes) = (self.builder.len(), self.builder.bytes());
        let result = self.source.fill(now, lane, self.core.tier(), room, &mut self.builder);
        let (filled, error) = match result {
            Ok(filled) => (filled, None),
            Err(error) => (Filled { calls: 1, drained: true, ..Filled::default() }, Some(error)),
        };
        self.meter.empty_calls += filled.empty_calls;
        let taken = u64::from(self.builder.len() - rows);
        // Rows that were appended before an error are part of the open batch.
        if taken > 0 {
            let bytes = self.builder.bytes() - bytes;
            self.builder.mark_taken(now);
            self.meter.took(now, filled.calls, taken, bytes);
            self.offsets.clear();
            self.builder.offsets_from(rows, &mut self.offsets);
            self.core.step(now, Event::Rows(lane, &self.offsets, bytes), &mut self.actions);
            self.perform();
            reach(Edge::LaneFilled);
        }
        debug_assert!(
            self.core.is_done() || self.builder.len() == self.core.open_batch_rows(),
            "the open batch of the builder and of the core differ"
        );
        if filled.exceeds {
            self.step(Event::Exceeds);
        }
        if let Some(error) = error {
            self.source_failed(error);
        }
        (taken, filled.drained)
    }
}
