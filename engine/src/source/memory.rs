//! A source over records in memory: one lane, all of it there at once.

use velo_schema::Tier;

use super::{Filled, Source, SourceError, SourceEvent};
use crate::columns::{BatchBuilder, LaneId, Record};
use crate::core::Tick;
use crate::core::batcher::Room;
use crate::sink::LaneName;

/// Values in memory, in order; keys and timestamps are null.
#[derive(Debug)]
pub struct MemorySource {
    values: Vec<Vec<u8>>,
    next: usize,
    announced: bool,
}

impl MemorySource {
    /// A source of these values.
    #[must_use]
    pub fn new(values: Vec<Vec<u8>>) -> Self {
        Self { values, next: 0, announced: false }
    }
}

const LANE: LaneId = LaneId(0);

impl Source for MemorySource {
    fn poll(&mut self, _: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        if !self.announced {
            self.announced = true;
            let name = LaneName { topic: "memory".into(), partition: 0 };
            events.extend([SourceEvent::Assigned(LANE, name, 0), SourceEvent::AssignmentComplete]);
        } else if self.next == self.values.len() {
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
        let (mut taken, mut bytes) = (0, 0);
        let mut exceeds = false;
        while let Some(value) = self.values.get(self.next).filter(|_| taken < room.records) {
            let size = value.len() as u64;
            exceeds = !room.fits(taken, bytes, size);
            if exceeds {
                break;
            }
            batch.push(
                lane,
                Record {
                    offset: i64::try_from(self.next).unwrap_or(i64::MAX),
                    arrival_ns: i64::try_from(now.0).unwrap_or(i64::MAX),
                    value: Some(value),
                    ..Record::default()
                },
            );
            (taken, bytes) = (taken + 1, bytes + size);
            self.next += 1;
        }
        let drained = self.next == self.values.len();
        let calls = if tier == Tier::Standard { taken } else { u64::from(taken > 0) };
        Ok(Filled { calls, empty_calls: u64::from(taken == 0), drained, exceeds })
    }
}
