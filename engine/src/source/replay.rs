//! Replays a recording through the engine at its recorded times: open loop, whoever is slow.

use std::sync::Arc;
use std::time::Duration;

use velo_schema::Tier;

use super::{Filled, Source, SourceError, SourceEvent};
use crate::columns::{BatchBuilder, LaneId, LaneName, Record};
use crate::core::Tick;
use crate::core::batcher::Room;

/// A record of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recorded {
    /// When it came, from the start of the recording.
    pub at: Duration,
    /// Its partition.
    pub partition: i32,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

impl Recorded {
    /// Bytes of its key and value.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        [&self.key, &self.value].into_iter().flatten().map(|bytes| bytes.len() as u64).sum()
    }
}

/// Records in the order in which they came.
pub type Recording = Arc<[Recorded]>;

/// How a recording is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At the recorded times.
    Recorded,
    /// All at once: how much can be done at most.
    Saturated,
}

/// Replays a recording, over and over, until `length` has passed. One lane: what is measured is
/// batching, and a batch is filled from all lanes of a consumer alike.
#[derive(Debug)]
pub struct ReplaySource {
    recording: Recording,
    /// How long the recording is, which is also the distance between two rounds of it.
    period: Duration,
    length: Duration,
    pace: Pace,
    start: Option<Tick>,
    /// How many records have been handed out, over all rounds.
    next: usize,
    ended: bool,
}

const LANE: LaneId = LaneId(0);

impl ReplaySource {
    /// A replay of `recording`, which lasts `period`, for `length`.
    ///
    /// # Panics
    /// Where there is nothing to replay.
    #[must_use]
    pub fn new(recording: Recording, period: Duration, length: Duration, pace: Pace) -> Self {
        assert!(!recording.is_empty() && !period.is_zero(), "a recording has records and a length");
        Self { recording, period, length, pace, start: None, next: 0, ended: false }
    }

    /// When the next record is due, from the start; `None` at the end.
    fn due(&self) -> Option<Duration> {
        let round = u32::try_from(self.next / self.recording.len()).ok()?;
        let at = self.recording[self.next % self.recording.len()].at;
        let due = match self.pace {
            Pace::Recorded => self.period.checked_mul(round)? + at,
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
            events.extend([SourceEvent::Assigned(LANE, name, 0), SourceEvent::AssignmentComplete]);
        }
        let over =
            self.pace == Pace::Saturated && self.start.is_some_and(|start| now.since(start) >= self.length);
        if !self.ended && (self.due().is_none() || over) {
            self.ended = true;
            events.push(SourceEvent::Ended(LANE));
        }
        Ok(())
    }

    fn fill(
        &mut self,
        now: Tick,
        lane: LaneId,
        tier: Tier,
        room: Room,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        let start = self.start.unwrap_or(now);
        let (mut taken, mut bytes) = (0, 0);
        let mut drained = self.ended;
        let mut exceeds = false;
        while taken < room.records && !drained {
            let arrival = self.due().map(|due| match self.pace {
                Pace::Recorded => start + due,
                Pace::Saturated => now,
            });
            let Some(arrival) = arrival.filter(|arrival| *arrival <= now) else {
                drained = true;
                break;
            };
            let record = &self.recording[self.next % self.recording.len()];
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
                    timestamp_ms: None,
                    arrival_ns: i64::try_from(arrival.0).unwrap_or(i64::MAX),
                    key: record.key.as_deref(),
                    value: record.value.as_deref(),
                    headers: None,
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
