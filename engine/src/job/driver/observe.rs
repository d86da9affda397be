//! The progress of a job: the state of the poll thread in; progress for the observer and the ends of partitions for the
//! report out.

use std::time::Duration;

use super::stall::{Done, Waits};
use super::state::Driver;
use crate::ids::{LaneId, Tick};
use crate::progress::{Lag, Progress};
use crate::report::Counters;
use crate::source::Source;

impl<S: Source> Driver<S> {
    /// Records the watermark and the end of a partition for the report.
    pub(super) fn note_end(&mut self, lane: LaneId, watermark: Option<i64>) {
        if let (Some(name), Some(watermark)) = (self.names.get(lane), watermark) {
            self.meter.ended(name, watermark, self.source.end_offset(lane));
        }
    }

    /// Notifies the user if the job stands still.
    pub(super) fn check_for_stall(&mut self, now: Tick) {
        if !self.stall.is_due(now) {
            return;
        }
        let done = Done { read: self.core.ledger().delivered, written: self.written };
        let waits = self.waits();
        if let Some(notice) = self.stall.check(now, done, waits) {
            self.notice(notice);
        }
    }

    /// Returns what the job waits for outside of the process.
    fn waits(&self) -> Option<Waits> {
        let unacknowledged = self.pool.unacknowledged();
        if unacknowledged > 0 || self.ending_transactions > 0 || self.pool.is_waiting() {
            return Some(Waits::Brokers(unacknowledged));
        }
        // Records that are taken or processed say that fetches succeed.
        if !self.batches.is_empty() {
            return None;
        }
        let is_behind = |lane: &&LaneId| {
            let position = self.source.position(**lane);
            let end = self.source.end_offset(**lane);
            let end = self.source.stable_end(**lane).or(end);
            // The end is unknown until a fetch has succeeded.
            self.core.is_active(**lane)
                && position.is_some_and(|position| end.is_none_or(|end| position < end))
        };
        let partitions = self.lanes.iter().filter(is_behind).count();
        (partitions > 0).then_some(Waits::Fetches(partitions))
    }

    pub(super) fn progress(&mut self) -> Progress {
        let elapsed = self.meter.first.map_or(Duration::ZERO, |first| self.now().since(first));
        Progress {
            ledger: self.core.ledger(),
            elapsed,
            batch_size: self.core.batch_size(),
            tier: self.core.tier(),
            counters: self.counters(),
            bytes_in_flight: self.core.bytes_in_flight(),
            lag: self.lag(),
            is_ready: self.is_ready,
            notices: std::mem::take(&mut self.news),
        }
    }

    /// Returns the counters. They are up to a second old, because adding up histograms takes time.
    fn counters(&mut self) -> Counters {
        const INTERVAL: Duration = Duration::from_secs(1);
        let now = self.now();
        if self.core.is_done() || self.counted.0 <= now {
            self.counted = (now + INTERVAL, self.meter.counters());
        }
        self.counted.1.clone()
    }

    /// Returns the lag of each lane: unsettled records that can be read, and records after them that cannot be read
    /// until an open transaction ends.
    fn lag(&self) -> Vec<Lag> {
        let lag = |(lane, settled): (LaneId, i64)| {
            let end = self.source.end_offset(lane)?;
            let stable = self.source.stable_end(lane).unwrap_or(end).clamp(settled.min(end), end);
            let count = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
            let partition = self.names.get(lane)?.clone();
            Some(Lag { partition, records: count(settled, stable), unstable_records: count(stable, end) })
        };
        self.core.watermarks().filter_map(lag).collect()
    }
}
