//! The fetched records of one lane: segments in, rows of the open batch and the state of the lane out.

use velo_schema::Tier;

use super::health::Health;
use super::shared::Shared;
use super::state::News;
use crate::batch::{BatchBuilder, BufferIndex, Record, SharedRecord};
use crate::core::batcher::Capacity;
use crate::kafka::fetch::clock::Clock;
use crate::kafka::fetch::lane::{Fate, Lane};
use crate::protocol::records::{Amount, Next, RecordFields, Segment, SegmentReader};
use crate::source::{Filled, SourceError};

/// The segment of a lane that is being read.
#[derive(Debug, Default)]
pub(super) struct Segments {
    current: Option<(Segment, SegmentReader)>,
    /// What has been read and not been reported yet.
    read: Amount,
}

impl Segments {
    /// Drops the records that were not taken.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Appends records to the batch, up to `room`. Records are copied if `is_copied`, or else the batch refers to the
    /// segment.
    pub(super) fn fill(
        &mut self,
        lane: &mut Lane,
        (tier, room): (Tier, Capacity),
        (clock, is_copied): (Clock, bool),
        batch: &mut BatchBuilder,
        shared: &Shared,
    ) -> Result<Filled, SourceError> {
        let mut filled = Filled::default();
        let mut taken = Taken { rows: batch.len(), bytes: batch.bytes() };
        while lane.is_open() {
            if self.current.is_none() && !self.next(lane, clock, shared)? {
                filled.drained = true;
                break;
            }
            let Some((segment, reader)) = &mut self.current else { break };
            let mut place = Place { clock, buffer: None, segment, is_copied };
            let end = read(lane, reader, room, &mut taken, &mut place, batch)?;
            match end {
                End::Segment => {
                    self.read = self.read.with(segment.amount());
                    self.current = None;
                }
                End::Room => {
                    filled.exceeds = u64::from(batch.len() - taken.rows) < room.records;
                    break;
                }
                End::Lane => break,
            }
        }
        let rows = u64::from(batch.len() - taken.rows);
        // There is no client to call. What is counted is what the tier asks of one.
        filled.calls = if tier == Tier::Standard { rows } else { rows.min(1) };
        filled.empty_calls = u64::from(rows == 0);
        filled.drained |= !lane.is_open();
        Ok(filled)
    }

    /// Takes the next segment. Returns false if there is none.
    fn next(&mut self, lane: &mut Lane, clock: Clock, shared: &Shared) -> Result<bool, SourceError> {
        let (News { segment, health }, is_open_again) =
            shared.state().take(lane.id, std::mem::take(&mut self.read));
        if is_open_again {
            shared.change(|_| ());
        }
        match health {
            None => {}
            Some(Health::Good) => lane.failing = None,
            Some(Health::Failing(kind, reason)) => lane.fetch_failed(clock.now, kind, || reason),
            Some(Health::Broken(broken)) => lane.broken = Some(broken),
            Some(Health::Failed(reason)) => {
                return Err(SourceError(format!("{} cannot be read any further: {reason}", lane.name)));
            }
        }
        if let Some(segment) = segment {
            lane.failing = None;
            let reader = segment.reader();
            self.current = Some((segment, reader));
        }
        Ok(self.current.is_some())
    }
}

/// Why reading has stopped.
enum End {
    Segment,
    Room,
    Lane,
}

/// The state of the batch before the first record was taken.
struct Taken {
    rows: u32,
    bytes: u64,
}

/// Where the records are.
struct Place<'a> {
    clock: Clock,
    /// The segment in the open batch, once a record of it is.
    buffer: Option<BufferIndex>,
    segment: &'a Segment,
    is_copied: bool,
}

fn read(
    lane: &mut Lane,
    reader: &mut SegmentReader,
    room: Capacity,
    taken: &mut Taken,
    place: &mut Place<'_>,
    batch: &mut BatchBuilder,
) -> Result<End, SourceError> {
    loop {
        let (next, after) = reader.next(place.segment).map_err(|error| {
            SourceError(format!(
                "{} cannot be read any further: the record after offset {} is not readable: {error}",
                lane.name,
                lane.position - 1
            ))
        })?;
        match next {
            Next::End => return Ok(End::Segment),
            Next::Passed(offset) => {
                lane.pass(offset);
                *reader = after;
            }
            Next::Record(record) => match lane.fate(record.offset) {
                Fate::Known => *reader = after,
                Fate::Beyond => lane.pass_to_end(),
                Fate::Take => {
                    let (rows, bytes) = (u64::from(batch.len() - taken.rows), batch.bytes() - taken.bytes);
                    if rows >= room.records || !room.fits(rows, bytes, record.payload_bytes()) {
                        return Ok(End::Room);
                    }
                    *reader = after;
                    let offset = record.offset;
                    place.push(lane, record, batch);
                    lane.took(offset);
                }
            },
        }
        if lane.ended {
            return Ok(End::Lane);
        }
    }
}

impl Place<'_> {
    #[inline]
    fn push(&mut self, lane: &Lane, record: RecordFields, batch: &mut BatchBuilder) {
        let RecordFields { offset, timestamp_ms, key, value, headers } = record;
        let arrival_ns = self.clock.arrival_ns(timestamp_ms);
        if self.is_copied {
            let bytes =
                |range: Option<std::ops::Range<usize>>| range.map(|range| &self.segment.buffer[range]);
            let (key, value) = (bytes(key), bytes(value));
            batch.push(lane.id, Record { offset, timestamp_ms, arrival_ns, key, value, headers });
            return;
        }
        let buffer = *self.buffer.get_or_insert_with(|| batch.share(self.segment.buffer.clone()));
        batch.push_shared(
            lane.id,
            buffer,
            SharedRecord { offset, timestamp_ms, arrival_ns, key, value, headers },
        );
    }
}
