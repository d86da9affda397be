//! A source of records in memory: one lane whose records are all available immediately.

use velo_schema::Tier;

use super::{Filled, Source, SourceError, SourceEvent};
use crate::batch::{BatchBuilder, Record};
use crate::core::batcher::Capacity;
use crate::ids::Tick;
use crate::ids::{LaneId, LaneName};

/// A source of keys and values in memory, in order. Timestamps are null.
#[derive(Debug)]
pub struct MemorySource {
    records: Vec<(Option<Vec<u8>>, Vec<u8>)>,
    next: usize,
    announced: bool,
}

impl MemorySource {
    /// Creates a source of these values, without keys.
    #[must_use]
    pub fn new(values: Vec<Vec<u8>>) -> Self {
        Self::of(values.into_iter().map(|value| (None, value)).collect())
    }

    /// Creates a source of these keys and values.
    #[must_use]
    pub fn keyed(records: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        Self::of(records.into_iter().map(|(key, value)| (Some(key), value)).collect())
    }

    fn of(records: Vec<(Option<Vec<u8>>, Vec<u8>)>) -> Self {
        Self { records, next: 0, announced: false }
    }
}

const LANE: LaneId = LaneId(0);

impl Source for MemorySource {
    fn poll(&mut self, _: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        if !self.announced {
            self.announced = true;
            let name = LaneName { topic: "memory".into(), partition: 0 };
            events.push(SourceEvent::Assigned(LANE, name, 0));
        } else if self.next == self.records.len() {
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
        let (mut taken, mut bytes) = (0, 0);
        let mut exceeds = false;
        while let Some((key, value)) = self.records.get(self.next).filter(|_| taken < room.records) {
            let record = Record {
                offset: i64::try_from(self.next).unwrap_or(i64::MAX),
                arrival_ns: i64::try_from(now.0).unwrap_or(i64::MAX),
                key: key.as_deref(),
                value: Some(value),
                ..Record::default()
            };
            let size = record.payload_bytes();
            exceeds = !room.fits(taken, bytes, size);
            if exceeds {
                break;
            }
            batch.push(lane, record);
            (taken, bytes) = (taken + 1, bytes + size);
            self.next += 1;
        }
        let drained = self.next == self.records.len();
        let calls = if tier == Tier::Standard { taken } else { u64::from(taken > 0) };
        Ok(Filled { calls, empty_calls: u64::from(taken == 0), drained, exceeds })
    }
}
