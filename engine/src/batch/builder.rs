//! Filling batches: records in, sealed batches out, in memory that is used again.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::buffer::Buffer;
use super::columns::{Cells, Columns, NO_TIMESTAMP};
use super::ring::Ring;
use super::view::{self, INLINE};
use super::{Batch, Headers, Record};
use crate::ids::{LaneId, Names, Tick};

/// A new buffer begins at this size, far below the 4 GiB that a view's offset reaches. The first buffer of a batch
/// grows to this size; further ones have it from the beginning, so that a batch of many megabytes is never copied to
/// grow.
pub(super) const BUFFER_BYTES: usize = 1 << 20;

/// The memory of batches that are gone is kept for the next ones, up to this many batches and bytes.
const MOST_SPARE_BATCHES: usize = 4;
const MOST_SPARE_BYTES: u64 = 16 << 20;

/// A batch that is being filled, and memory to fill next.
///
/// With a ring there is a fixed number of batches. A batch whose last reference is gone is filled again; while all are
/// referred to there is none to fill, which is back-pressure. Without a ring there is always one to fill, in the memory
/// of a batch that was [given back](Self::recycle) if there is one.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    columns: Columns,
    /// Buffers of the open batch. Those after `filling` are empty.
    buffers: Vec<Buffer>,
    /// The index of the buffer that is filled by copying.
    filling: usize,
    /// The batch that the open one becomes, with a ring.
    slot: Option<Arc<Batch>>,
    ring: Option<Ring>,
    spare: Vec<(Columns, Vec<Buffer>)>,
    spare_bytes: u64,
}

/// The index of a [shared](BatchBuilder::share) buffer in the open batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferIndex(usize);

/// A record whose key and value are in a shared buffer.
#[derive(Debug, Clone, Default)]
pub struct SharedRecord {
    /// Its offset in its partition.
    pub offset: i64,
    /// Milliseconds since the epoch; `None` if the record has no timestamp.
    pub timestamp_ms: Option<i64>,
    /// Nanoseconds on the engine's clock at which it came into being; negative before the start.
    pub arrival_ns: i64,
    /// Where the key is in the buffer; `None` for null.
    pub key: Option<Range<usize>>,
    /// Where the value is in the buffer; `None` for null.
    pub value: Option<Range<usize>>,
    /// The headers, if there are any.
    pub headers: Option<Headers>,
}

impl BatchBuilder {
    /// Returns a builder that fills at most `batches` batches, again and again.
    ///
    /// # Panics
    /// If `batches` is 0.
    #[must_use]
    pub fn with_ring(batches: usize) -> Self {
        Self { ring: Some(Ring::new(batches)), ..Self::default() }
    }

    /// True if there is a batch to fill: always without a ring; with a ring while not all of its batches are referred
    /// to.
    pub fn is_ready(&mut self) -> bool {
        let Some(ring) = &mut self.ring else { return true };
        if self.slot.is_none() {
            self.slot = ring.take();
            if let Some(batch) = self.slot.as_mut().and_then(Arc::get_mut) {
                // The batch's memory is ours to fill until it is sealed.
                self.columns = std::mem::take(&mut batch.columns);
                if let Some(buffers) = batch.payload.as_mut().and_then(Arc::get_mut) {
                    self.buffers = std::mem::take(buffers);
                }
                empty(&mut self.columns, &mut self.buffers);
                self.filling = 0;
            }
        }
        self.slot.is_some()
    }

    /// Appends a record of `lane` and copies its key and value.
    ///
    /// # Panics
    /// If a key or a value is longer than 4 GiB, which no broker takes, or if no batch [is ready](Self::is_ready).
    pub fn push(&mut self, lane: LaneId, record: Record<'_>) {
        assert!(self.slot.is_some() || self.is_ready(), "a batch is filled only when one is free");
        let key = record.key.map(|bytes| self.copy(bytes));
        let value = record.value.map(|bytes| self.copy(bytes));
        let timestamp_ms = record.timestamp_ms.unwrap_or(NO_TIMESTAMP);
        let Record { offset, arrival_ns, headers, .. } = record;
        self.columns.push(lane, key, value, Cells { offset, timestamp_ms, arrival_ns, headers });
    }

    /// Adds a buffer to the open batch whose bytes records may point into. The batch, and every part of it, keeps the
    /// buffer alive.
    ///
    /// # Panics
    /// If the buffer is longer than 4 GiB, or if no batch [is ready](Self::is_ready).
    pub fn share(&mut self, buffer: Bytes) -> BufferIndex {
        assert!(self.slot.is_some() || self.is_ready(), "a batch is filled only when one is free");
        assert!(u32::try_from(buffer.len()).is_ok(), "a shared buffer is shorter than 4 GiB");
        // The buffers after it are empty: it takes the place of the next one to be filled.
        let started = self.buffers.get(self.filling).is_some_and(|buffer| !buffer.as_slice().is_empty());
        let index = self.filling + usize::from(started);
        self.buffers.insert(index, Buffer::Shared(buffer));
        self.filling = index + 1;
        BufferIndex(index)
    }

    /// Appends a record of `lane` whose key and value are in a shared buffer, without copying more than 12 bytes of
    /// either.
    ///
    /// # Panics
    /// If the key or the value is not within the buffer, or the buffer is not shared with the open batch.
    pub fn push_shared(&mut self, lane: LaneId, buffer: BufferIndex, record: SharedRecord) {
        let Buffer::Shared(bytes) = &self.buffers[buffer.0] else { panic!("the buffer is not a shared one") };
        let view = |range: Range<usize>| {
            let (start, bytes) = (range.start, &bytes[range]);
            if bytes.len() <= INLINE { view::inline(bytes) } else { view::pointing(bytes, buffer.0, start) }
        };
        let (key, value) = (record.key.map(view), record.value.map(view));
        let timestamp_ms = record.timestamp_ms.unwrap_or(NO_TIMESTAMP);
        let SharedRecord { offset, arrival_ns, headers, .. } = record;
        self.columns.push(lane, key, value, Cells { offset, timestamp_ms, arrival_ns, headers });
    }

    /// Marks the rows that were appended since the last mark as taken from their source at `now`.
    pub(crate) fn mark_taken(&mut self, now: Tick) {
        self.columns.mark_taken(now);
    }

    /// Copies bytes into the batch.
    fn copy(&mut self, bytes: &[u8]) -> u128 {
        if bytes.len() <= INLINE {
            return view::inline(bytes);
        }
        let filled = self.buffers.get(self.filling).map_or(0, |buffer| buffer.as_slice().len());
        if filled + bytes.len() > BUFFER_BYTES && filled > 0 {
            self.filling += 1;
        }
        if self.filling == self.buffers.len() {
            let further = if self.buffers.is_empty() { 0 } else { BUFFER_BYTES };
            self.buffers.push(Buffer::Own(Vec::with_capacity(further.max(bytes.len()))));
        }
        let Buffer::Own(buffer) = &mut self.buffers[self.filling] else {
            unreachable!("the buffer that is filled is the batch's own")
        };
        let view = view::pointing(bytes, self.filling, buffer.len());
        buffer.extend_from_slice(bytes);
        view
    }

    /// Returns the number of rows so far.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.columns.rows()
    }

    /// True if there are no rows yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.keys.is_empty()
    }

    /// Returns the bytes of keys and values so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.columns.bytes
    }

    /// Adds the offsets of the rows from `row` on to `ranges`, in the order of the rows.
    pub fn offsets_from(&self, row: u32, ranges: &mut Vec<Range<i64>>) {
        self.columns.offsets_from(row, |range| ranges.push(range));
    }

    /// Seals the batch, whose lanes have these names, and begins the next one.
    ///
    /// # Panics
    /// Never: nobody else knows a batch before it is sealed.
    pub fn seal(&mut self, names: Names) -> Arc<Batch> {
        self.filling = 0;
        let Some(ring) = &mut self.ring else {
            let (next_columns, next_buffers) = self.spare.pop().unwrap_or_default();
            self.spare_bytes -= pinned(&next_buffers);
            let columns = std::mem::replace(&mut self.columns, next_columns);
            let payload = std::mem::replace(&mut self.buffers, next_buffers);
            return Arc::new(Batch { columns, payload: Some(Arc::new(payload)), names });
        };
        let mut slot = self.slot.take().unwrap_or_default();
        let batch = Arc::get_mut(&mut slot).expect("nobody else knows a batch that is not sealed");
        batch.columns = std::mem::take(&mut self.columns);
        let payload = Arc::get_mut(batch.payload.get_or_insert_default());
        *payload.expect("nobody else knows its payload") = std::mem::take(&mut self.buffers);
        batch.names = names;
        ring.sealed(&slot);
        slot
    }

    /// Takes back the memory of a batch, if nobody else refers to it.
    pub(crate) fn recycle(&mut self, batch: Arc<Batch>) {
        if self.ring.is_some() || self.spare.len() >= MOST_SPARE_BATCHES {
            return;
        }
        let Some(Batch { mut columns, payload, .. }) = Arc::into_inner(batch) else { return };
        let Some(mut buffers) = payload.and_then(Arc::into_inner) else { return };
        empty(&mut columns, &mut buffers);
        let bytes = pinned(&buffers);
        if self.spare_bytes + bytes <= MOST_SPARE_BYTES {
            self.spare_bytes += bytes;
            self.spare.push((columns, buffers));
        }
    }
}

/// Removes all rows and keeps the memory that is the batch's own.
fn empty(columns: &mut Columns, buffers: &mut Vec<Buffer>) {
    columns.clear();
    buffers.retain_mut(|buffer| match buffer {
        Buffer::Own(bytes) => {
            bytes.clear();
            true
        }
        Buffer::Shared(_) => false,
    });
}

fn pinned(buffers: &[Buffer]) -> u64 {
    buffers.iter().map(Buffer::pinned_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

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
