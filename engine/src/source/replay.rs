//! Replays a recording through the engine at its recorded times, as an open loop: a slow consumer does not delay
//! arrivals.

use std::sync::Arc;
use std::time::Duration;

use velo_schema::Tier;

use super::{Filled, Source, SourceError, SourceEvent};
use crate::batch::{BatchBuilder, Headers, Record};
use crate::core::batcher::Capacity;
use crate::ids::Tick;
use crate::ids::{LaneId, LaneName};

/// A record of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recorded {
    /// The time of the record since the start of the recording.
    pub at: Duration,
    /// The delay from that time until a consumer could read the record, because producers and brokers batch records.
    pub delay: Duration,
    /// The partition.
    pub partition: i32,
    /// The key; `None` for null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` for null.
    pub value: Option<Vec<u8>>,
    /// The headers, if there are any.
    pub headers: Option<Headers>,
    /// The record's timestamp in milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
}

impl Recorded {
    /// Returns when a consumer could read the record, since the start of the recording.
    #[must_use]
    pub fn available(&self) -> Duration {
        self.at + self.delay
    }

    /// Returns the number of bytes of key and value.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        [&self.key, &self.value].into_iter().flatten().map(|bytes| bytes.len() as u64).sum()
    }
}

/// Records in the order in which a consumer could read them.
pub type Recording = Arc<[Recorded]>;

/// The pace of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Each record at the time at which it became available. Latencies count from the time of the record.
    Recorded,
    /// All records immediately, to measure the maximum throughput.
    Saturated,
}

/// Replays a recording repeatedly until `length` has passed. There is one lane: the replay measures batching, and a
/// batch is filled from all lanes of a consumer in the same way.
#[derive(Debug)]
pub struct ReplaySource {
    recording: Recording,
    /// The length of the recording, which is also the interval between two rounds.
    period: Duration,
    length: Duration,
    pace: Pace,
    /// The position in the recording at which the replay starts.
    from: Duration,
    /// The index of the first record at or after `from`.
    first: usize,
    start: Option<Tick>,
    /// The number of records delivered so far, over all rounds.
    next: usize,
    ended: bool,
}

const LANE: LaneId = LaneId(0);

impl ReplaySource {
    /// Creates a replay of `recording`, which lasts `period`, for `length`.
    ///
    /// # Panics
    /// If the recording is empty or `period` is zero.
    #[must_use]
    pub fn new(recording: Recording, period: Duration, length: Duration, pace: Pace) -> Self {
        assert!(!recording.is_empty() && !period.is_zero(), "a recording has records and a length");
        Self {
            recording,
            period,
            length,
            pace,
            from: Duration::ZERO,
            first: 0,
            start: None,
            next: 0,
            ended: false,
        }
    }

    /// Sets the position in the recording at which the replay starts. After the end of the recording, the replay
    /// continues at its beginning.
    #[must_use]
    pub fn beginning_at(mut self, from: Duration) -> Self {
        let first = self.recording.partition_point(|record| record.available() < from);
        // After the last record the next record is the first.
        (self.from, self.first) =
            if first < self.recording.len() { (from, first) } else { Default::default() };
        self
    }

    /// Returns the index of the next record and the number of its round, from 0.
    fn upcoming(&self) -> (usize, usize) {
        let place = self.first + self.next;
        (place % self.recording.len(), place / self.recording.len())
    }

    /// Returns when the next record is available, since the start of the replay; `None` at the end.
    fn due(&self) -> Option<Duration> {
        let (index, round) = self.upcoming();
        let at = self.recording[index].available();
        let due = match self.pace {
            Pace::Recorded => {
                let at = self.period.checked_mul(u32::try_from(round).ok()?)?.checked_add(at)?;
                at.checked_sub(self.from)?
            }
            Pace::Saturated => Duration::ZERO,
        };
        (due < self.length).then_some(due)
    }
}

impl Source for ReplaySource {
    fn poll(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        if self.start.is_none() {
            self.start = Some(now);
            let name = LaneName { topic: "replay".into(), partition: 0 };
            events.push(SourceEvent::Assigned(LANE, name, 0));
        }
        let over =
            self.pace == Pace::Saturated && self.start.is_some_and(|start| now.since(start) >= self.length);
        if !self.ended && (self.due().is_none() || over) {
            self.ended = true;
            events.extend([SourceEvent::Ended(LANE), SourceEvent::EndOfInput(true)]);
        }
        Ok(())
    }

    fn fill(
        &mut self,
        now: Tick,
        lane: LaneId,
        tier: Tier,
        room: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        let start = self.start.unwrap_or(now);
        let (mut taken, mut bytes) = (0, 0);
        let mut drained = self.ended;
        let mut exceeds = false;
        while taken < room.records && !drained {
            let available = self.due().map(|due| match self.pace {
                Pace::Recorded => start + due,
                Pace::Saturated => now,
            });
            let Some(available) = available.filter(|available| *available <= now) else {
                drained = true;
                break;
            };
            let record = &self.recording[self.upcoming().0];
            // The time of the record may be before the start of the replay.
            let delay = if self.pace == Pace::Recorded { record.delay } else { Duration::ZERO };
            let arrival_ns = i128::from(available.0) - i128::try_from(delay.as_nanos()).unwrap_or(i128::MAX);
            let size = record.payload_bytes();
            exceeds = !room.fits(taken, bytes, size);
            if exceeds {
                break;
            }
            bytes += size;
            batch.push(
                lane,
                Record {
                    offset: i64::try_from(self.next).unwrap_or(i64::MAX),
                    timestamp_ms: record.timestamp_ms,
                    arrival_ns: i64::try_from(arrival_ns).unwrap_or(i64::MAX),
                    key: record.key.as_deref(),
                    value: record.value.as_deref(),
                    headers: record.headers.clone(),
                },
            );
            self.next += 1;
            taken += 1;
        }
        let calls = if tier == Tier::Standard { taken } else { u64::from(taken > 0) };
        Ok(Filled { calls, empty_calls: u64::from(taken == 0), drained, exceeds })
    }

    fn next_due(&self) -> Option<Tick> {
        let start = self.start.filter(|_| !self.ended)?;
        match self.pace {
            Pace::Recorded => Some(start + self.due().unwrap_or(self.length)),
            Pace::Saturated => Some(start + self.length),
        }
    }
}
