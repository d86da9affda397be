//! Fills batches: records in, sealed batches out. The memory of dropped batches is reused.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::buffer::{Buffer, Buffers};
use super::columns::{Cells, Columns, NO_TIMESTAMP};
use super::ring::Ring;
use super::view::{self, INLINE};
use super::{Batch, Headers, Record};
use crate::ids::{LaneId, Names, Tick};

/// The maximum number of dropped batches whose memory is kept.
const MOST_SPARE_BATCHES: usize = 4;
/// The maximum number of bytes that are kept of dropped batches.
const MOST_SPARE_BYTES: u64 = 16 << 20;

/// The open batch, and memory for the batches after it.
///
/// A builder with a ring has a fixed number of batches. A batch is filled again after the last reference to it was
/// dropped. While all batches are referred to, no batch [is ready](Self::is_ready), which is back-pressure. A builder
/// without a ring is always ready. It reuses the memory of recycled batches.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    columns: Columns,
    buffers: Buffers,
    /// The batch of the ring that the open batch is sealed into.
    slot: Option<Arc<Batch>>,
    ring: Option<Ring>,
    spare: Vec<(Columns, Buffers)>,
    spare_bytes: u64,
}

/// The index of a [shared](BatchBuilder::share) buffer in the open batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferIndex(usize);

/// A record whose key and value are in a shared buffer.
#[derive(Debug, Clone, Default)]
pub struct SharedRecord {
    /// The offset in the partition.
    pub offset: i64,
    /// The timestamp in milliseconds since the epoch; `None` if the record has none.
    pub timestamp_ms: Option<i64>,
    /// The creation time in nanoseconds on the engine's clock; negative if before the start of the engine.
    pub arrival_ns: i64,
    /// The bytes of the key in the buffer; `None` for null.
    pub key: Option<Range<usize>>,
    /// The bytes of the value in the buffer; `None` for null.
    pub value: Option<Range<usize>>,
    /// The headers, if the record has any.
    pub headers: Option<Headers>,
}

impl BatchBuilder {
    /// Creates a builder with a ring of `batches` batches.
    ///
    /// # Panics
    /// If `batches` is 0.
    #[must_use]
    pub fn with_ring(batches: usize) -> Self {
        Self { ring: Some(Ring::new(batches)), ..Self::default() }
    }

    /// Returns true if a batch can be filled. A builder with a ring is not ready while all of its batches are referred
    /// to.
    pub fn is_ready(&mut self) -> bool {
        let Some(ring) = &mut self.ring else { return true };
        if self.slot.is_none() {
            self.slot = ring.take();
            if let Some(batch) = self.slot.as_mut().and_then(Arc::get_mut) {
                // No other reference exists, so the memory of the batch can be filled until the batch is sealed.
                self.columns = std::mem::take(&mut batch.columns);
                self.columns.clear();
                if let Some(buffers) = batch.payload.as_mut().and_then(Arc::get_mut) {
                    self.buffers = Buffers::of(std::mem::take(buffers));
                }
            }
        }
        self.slot.is_some()
    }

    /// Appends a record of `lane`. The key and the value are copied.
    ///
    /// # Panics
    /// If the key or the value has 4 GiB or more, which no broker accepts, or if no batch [is ready](Self::is_ready).
    pub fn push(&mut self, lane: LaneId, record: Record<'_>) {
        assert!(self.slot.is_some() || self.is_ready(), "a batch is filled only when one is free");
        let key = record.key.map(|bytes| self.buffers.copy(bytes));
        let value = record.value.map(|bytes| self.buffers.copy(bytes));
        let timestamp_ms = record.timestamp_ms.unwrap_or(NO_TIMESTAMP);
        let Record { offset, arrival_ns, headers, .. } = record;
        self.columns.push(lane, key, value, Cells { offset, timestamp_ms, arrival_ns, headers });
    }

    /// Adds a shared buffer to the open batch. Records that are [appended](Self::push_shared) later can refer to its
    /// bytes. The buffer lives as long as the batch and every batch that was picked from it.
    ///
    /// # Panics
    /// If the buffer has 4 GiB or more, or if no batch [is ready](Self::is_ready).
    pub fn share(&mut self, buffer: Bytes) -> BufferIndex {
        assert!(self.slot.is_some() || self.is_ready(), "a batch is filled only when one is free");
        assert!(u32::try_from(buffer.len()).is_ok(), "a shared buffer is shorter than 4 GiB");
        BufferIndex(self.buffers.share(buffer))
    }

    /// Appends a record of `lane` whose key and value are in a shared buffer. Only keys and values of up to 12 bytes
    /// are copied.
    ///
    /// # Panics
    /// If the key or the value is not within the buffer, or the buffer is not shared with the open batch.
    pub fn push_shared(&mut self, lane: LaneId, buffer: BufferIndex, record: SharedRecord) {
        let Buffer::Shared(bytes) = &self.buffers.list[buffer.0] else { panic!("the buffer is not shared") };
        let view = |range: Range<usize>| {
            let (start, bytes) = (range.start, &bytes[range]);
            if bytes.len() <= INLINE { view::inline(bytes) } else { view::pointing(bytes, buffer.0, start) }
        };
        let (key, value) = (record.key.map(view), record.value.map(view));
        let timestamp_ms = record.timestamp_ms.unwrap_or(NO_TIMESTAMP);
        let SharedRecord { offset, arrival_ns, headers, .. } = record;
        self.columns.push(lane, key, value, Cells { offset, timestamp_ms, arrival_ns, headers });
    }

    /// Marks the rows that were appended since the last mark as taken from the source at `now`.
    pub(crate) fn mark_taken(&mut self, now: Tick) {
        self.columns.mark_taken(now);
    }

    /// Returns the number of rows of the open batch.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.columns.rows()
    }

    /// Returns true if the open batch has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.keys.is_empty()
    }

    /// Returns the number of bytes of the keys and values in the open batch.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.columns.bytes
    }

    /// Appends the offsets of the rows from `row` on to `ranges`, in row order.
    pub fn offsets_from(&self, row: u32, ranges: &mut Vec<Range<i64>>) {
        self.columns.offsets_from(row, |range| ranges.push(range));
    }

    /// Seals the open batch with the names of its lanes, and starts the next batch.
    ///
    /// # Panics
    /// Never: an open batch has no other references.
    pub fn seal(&mut self, names: Names) -> Arc<Batch> {
        let Some(ring) = &mut self.ring else {
            let (next_columns, next_buffers) = self.spare.pop().unwrap_or_default();
            self.spare_bytes -= next_buffers.pinned_bytes();
            let columns = std::mem::replace(&mut self.columns, next_columns);
            let payload = self.buffers.replace(next_buffers);
            return Arc::new(Batch { columns, payload: Some(Arc::new(payload)), names });
        };
        let mut slot = self.slot.take().unwrap_or_default();
        let batch = Arc::get_mut(&mut slot).expect("an open batch has no other references");
        batch.columns = std::mem::take(&mut self.columns);
        let payload = Arc::get_mut(batch.payload.get_or_insert_default());
        *payload.expect("the payload has no other references") = self.buffers.replace(Buffers::default());
        batch.names = names;
        ring.sealed(&slot);
        slot
    }

    /// Keeps the memory of a batch for later batches, if there is no other reference to the batch.
    pub(crate) fn recycle(&mut self, batch: Arc<Batch>) {
        if self.ring.is_some() || self.spare.len() >= MOST_SPARE_BATCHES {
            return;
        }
        let Some(Batch { mut columns, payload, .. }) = Arc::into_inner(batch) else { return };
        let Some(buffers) = payload.and_then(Arc::into_inner) else { return };
        columns.clear();
        let buffers = Buffers::of(buffers);
        let bytes = buffers.pinned_bytes();
        if self.spare_bytes + bytes <= MOST_SPARE_BYTES {
            self.spare_bytes += bytes;
            self.spare.push((columns, buffers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::buffer::BUFFER_BYTES;

    fn fill(builder: &mut BatchBuilder, offsets: Range<i64>, value: &[u8]) -> Arc<Batch> {
        for offset in offsets {
            builder.push(LaneId(0), Record { offset, value: Some(value), ..Record::default() });
        }
        builder.seal(Names::default())
    }

    #[test]
    fn payload_larger_than_a_buffer_spreads_over_several() {
        let large = vec![1_u8; BUFFER_BYTES / 2 + 1];
        let batch = fill(&mut BatchBuilder::default(), 0..3, &large);
        assert_eq!(batch.payload().len(), 3);
        assert!((0..3).all(|row| batch.value(row) == Some(large.as_slice())));
    }

    #[test]
    fn a_batch_is_filled_again_once_nobody_refers_to_it() {
        let mut builder = BatchBuilder::with_ring(2);
        let first = fill(&mut builder, 0..5, b"a value that is not inline");
        let second = fill(&mut builder, 5..7, b"another value, also not inline");
        assert!(!builder.is_ready(), "both are referred to");
        let address = Arc::as_ptr(&first);
        drop(first);
        assert!(builder.is_ready());
        let third = fill(&mut builder, 7..8, b"short");
        assert_eq!(Arc::as_ptr(&third), address);
        assert_eq!((third.len(), third.offset(0), third.value(0)), (1, 7, Some(b"short".as_slice())));
        assert_eq!(second.value(1), Some(b"another value, also not inline".as_slice()));
    }

    #[test]
    fn rows_know_when_they_were_taken() {
        let mut builder = BatchBuilder::with_ring(1);
        for round in 0..2 {
            let push = |builder: &mut BatchBuilder, rows: i64, at| {
                (0..rows).for_each(|offset| builder.push(LaneId(0), Record { offset, ..Record::default() }));
                builder.mark_taken(Tick(at));
            };
            push(&mut builder, 2, 10);
            push(&mut builder, 0, 15);
            push(&mut builder, 3, 20);
            push(&mut builder, 1, 20);
            let batch = builder.seal(Names::default());
            let taken = |rows| batch.taken(rows).map(|(at, count)| (at.0, count)).collect::<Vec<_>>();
            assert_eq!(taken(0..6), [(10, 2), (20, 4)], "round {round}");
            assert_eq!(
                (taken(1..3), taken(4..5), taken(2..2)),
                (vec![(10, 1), (20, 1)], vec![(20, 1)], vec![])
            );
        }
    }

    #[test]
    fn a_part_of_a_batch_keeps_its_memory_from_being_filled_again() {
        let mut builder = BatchBuilder::with_ring(1);
        let batch = fill(&mut builder, 0..3, b"a value that is not inline");
        let part = batch.pick(&[1]);
        drop(batch);
        assert!(!builder.is_ready());
        assert_eq!(part.value(0), Some(b"a value that is not inline".as_slice()));
        drop(part);
        assert!(builder.is_ready());
    }
}
