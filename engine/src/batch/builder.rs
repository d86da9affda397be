//! Filling batches: records in, sealed batches out, in buffers that are used again or not.

use std::sync::Arc;

use crate::ids::Tick;

use super::{Batch, Columns, INLINE, NO_TIMESTAMP, Nulls, Record, Run, View};
use crate::ids::{LaneId, Names};

/// A new buffer is begun here, far below the 2 GiB that a view's offset reaches. The first buffer of a
/// batch grows to this size; further ones have it from the beginning, so that a batch of many megabytes is
/// never copied to grow.
pub(super) const BUFFER_BYTES: usize = 1 << 20;

/// A batch that is being filled, and the ring of batches whose buffers are used again.
///
/// With a ring, sealed batches stay in it. A batch whose last reference has gone is filled again, in
/// the memory that it has; while all are referred to, there is none to fill, which is back-pressure.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    columns: Columns,
    /// Buffers, filled one after the other; those behind `filling` are empty.
    buffers: Vec<Vec<u8>>,
    filling: usize,
    /// What the open batch becomes, where memory is used again.
    slot: Option<Arc<Batch>>,
    ring: Option<Ring>,
}

/// Batches that were sealed, each free to be filled again once nobody else refers to it.
#[derive(Debug)]
struct Ring {
    sealed: Vec<Arc<Batch>>,
    /// Batches there may be, the open one included.
    most: usize,
    /// How many there are.
    made: usize,
}

impl BatchBuilder {
    /// A builder that fills at most `batches` batches, again and again.
    ///
    /// # Panics
    /// Where that is none.
    #[must_use]
    pub fn with_ring(batches: usize) -> Self {
        assert!(batches > 0, "a ring has a batch");
        let ring = Ring { sealed: Vec::with_capacity(batches), most: batches, made: 0 };
        Self { ring: Some(ring), ..Self::default() }
    }

    /// Whether there is a batch to fill: without a ring always, with one as long as not all of its
    /// batches are referred to.
    pub fn is_ready(&mut self) -> bool {
        let Some(ring) = &mut self.ring else { return true };
        if self.slot.is_none() {
            self.slot = ring.take();
            if let Some(batch) = self.slot.as_mut().and_then(Arc::get_mut) {
                // The batch's memory is ours to fill until it is sealed.
                self.columns = std::mem::take(&mut batch.columns);
                self.columns.clear();
                if let Some(buffers) = batch.payload.as_mut().and_then(Arc::get_mut) {
                    self.buffers = std::mem::take(buffers);
                }
                self.buffers.iter_mut().for_each(Vec::clear);
                self.filling = 0;
            }
        }
        self.slot.is_some()
    }

    /// Appends a record of `lane`, copying its payload.
    ///
    /// # Panics
    /// Where a key or a value is longer than 4 GiB, which no broker takes, or no batch
    /// [is ready](Self::is_ready).
    pub fn push(&mut self, lane: LaneId, record: Record<'_>) {
        assert!(self.slot.is_some() || self.is_ready(), "a batch is filled only when one is free");
        let row = self.len();
        let columns = &mut self.columns;
        match columns.runs.last_mut() {
            Some(run) if run.lane == lane => run.rows.end = row + 1,
            _ => columns.runs.push(Run { lane, rows: row..row + 1 }),
        }
        columns.bytes += record.payload_bytes();
        columns.nulls.push(Nulls { key: record.key.is_none(), value: record.value.is_none() });
        columns.offsets.push(record.offset);
        columns.timestamps_ms.push(record.timestamp_ms.unwrap_or(NO_TIMESTAMP));
        columns.arrivals_ns.push(record.arrival_ns);
        columns.headers.extend(record.headers.map(|headers| (row, headers)));
        let key = self.view(record.key.unwrap_or_default());
        let value = self.view(record.value.unwrap_or_default());
        self.columns.keys.push(key);
        self.columns.values.push(value);
    }

    /// Marks the rows that were appended since the last mark as taken from their source at `now`.
    pub(crate) fn mark_taken(&mut self, now: Tick) {
        let end = self.len();
        match self.columns.taken.last_mut() {
            Some((marked, _)) if *marked == end => {}
            Some((marked, at)) if *at == now => *marked = end,
            _ => self.columns.taken.push((end, now)),
        }
    }

    fn view(&mut self, bytes: &[u8]) -> View {
        let length = u32::try_from(bytes.len()).expect("records are shorter than 4 GiB");
        let mut view = View { length, rest: [0; INLINE] };
        if bytes.len() <= INLINE {
            view.rest[..bytes.len()].copy_from_slice(bytes);
            return view;
        }
        let filled = self.buffers.get(self.filling).map_or(0, Vec::len);
        if filled + bytes.len() > BUFFER_BYTES && filled > 0 {
            self.filling += 1;
        }
        if self.filling == self.buffers.len() {
            let further = if self.buffers.is_empty() { 0 } else { BUFFER_BYTES };
            self.buffers.push(Vec::with_capacity(further.max(bytes.len())));
        }
        let buffer = &mut self.buffers[self.filling];
        let word = |n: usize| u32::try_from(n).expect("buffers are bounded").to_le_bytes();
        view.rest[..4].copy_from_slice(&bytes[..4]);
        view.rest[4..8].copy_from_slice(&word(self.filling));
        view.rest[8..].copy_from_slice(&word(buffer.len()));
        buffer.extend_from_slice(bytes);
        view
    }

    /// Rows so far.
    ///
    /// # Panics
    /// Never: a batch holds fewer rows than its largest configurable size.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.columns.offsets.len()).expect("batch sizes are below 2^31")
    }

    /// Whether there are no rows yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.offsets.is_empty()
    }

    /// Payload bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.columns.bytes
    }

    /// The offsets of the rows from `row` on.
    #[must_use]
    pub fn offsets_from(&self, row: u32) -> &[i64] {
        &self.columns.offsets[row as usize..]
    }

    /// Seals the batch, whose lanes have these names, and begins the next one.
    ///
    /// # Panics
    /// Never: nobody else knows a batch before it is sealed.
    pub fn seal(&mut self, names: Names) -> Arc<Batch> {
        let Some(ring) = &mut self.ring else {
            let (rows, capacity) = (self.columns.offsets.len(), self.buffers.first().map_or(0, Vec::len));
            let columns = std::mem::replace(&mut self.columns, Columns::with_capacity(rows));
            // The next batch's first buffer is about as large as this one's.
            let next = (capacity > 0).then(|| Vec::with_capacity(capacity));
            let payload = std::mem::replace(&mut self.buffers, next.into_iter().collect());
            self.filling = 0;
            return Arc::new(Batch { columns, payload: Some(Arc::new(payload)), names });
        };
        let mut slot = self.slot.take().unwrap_or_default();
        let batch = Arc::get_mut(&mut slot).expect("nobody else knows a batch that is not sealed");
        batch.columns = std::mem::take(&mut self.columns);
        let payload = Arc::get_mut(batch.payload.get_or_insert_default());
        *payload.expect("nobody else knows its payload") = std::mem::take(&mut self.buffers);
        batch.names = names;
        ring.sealed.push(Arc::clone(&slot));
        slot
    }
}

impl Ring {
    /// A batch that nobody refers to; a new one while there may be more.
    fn take(&mut self) -> Option<Arc<Batch>> {
        let free = |batch: &mut Arc<Batch>| {
            // Parts of a batch share its payload and may outlive it.
            let payload = Arc::get_mut(batch).and_then(|batch| batch.payload.as_mut());
            payload.is_some_and(|payload| Arc::get_mut(payload).is_some())
        };
        if let Some(index) = self.sealed.iter_mut().position(free) {
            return Some(self.sealed.swap_remove(index));
        }
        (self.made < self.most).then(|| {
            self.made += 1;
            Arc::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(builder: &mut BatchBuilder, offsets: std::ops::Range<i64>, value: &[u8]) -> Arc<Batch> {
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
