//! A sealed batch, which processors and sinks read.

use std::ops::Range;
use std::sync::Arc;

use super::buffer::{Buffer, bytes_of};
use super::columns::{Cells, Columns, NO_TIMESTAMP, Run};
use super::view;
use crate::ids::{LaneId, LaneName, Names, Tick};

/// A sealed batch of records in columns.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) columns: Columns,
    /// The buffers of keys and values, shared with the batches that were picked from this one. `None` if the batch was
    /// never filled or was released.
    pub(super) payload: Option<Arc<Vec<Buffer>>>,
    /// The names of the lanes.
    pub(super) names: Names,
}

impl Batch {
    pub(super) fn payload(&self) -> &[Buffer] {
        self.payload.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Returns the topic and partition of a row, if they are known.
    #[must_use]
    pub fn origin(&self, row: u32) -> Option<&LaneName> {
        self.names.get(self.lane(row))
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.columns.rows()
    }

    /// Returns true if the batch has no rows. A batch that the engine has sealed has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.keys.is_empty()
    }

    /// Returns the number of bytes of the keys and values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.columns.bytes
    }

    /// Returns the runs of rows by lane, in row order.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.columns.runs
    }

    /// Returns the key of a row; `None` for null.
    #[must_use]
    pub fn key(&self, row: u32) -> Option<&[u8]> {
        let row = row as usize;
        self.columns.key_validity.is_valid(row).then(|| bytes_of(&self.columns.keys[row], self.payload()))
    }

    /// Returns the value of a row; `None` for null.
    #[must_use]
    pub fn value(&self, row: u32) -> Option<&[u8]> {
        let row = row as usize;
        self.columns.value_validity.is_valid(row).then(|| bytes_of(&self.columns.values[row], self.payload()))
    }

    /// Returns the offset of a row in its partition.
    #[must_use]
    pub fn offset(&self, row: u32) -> i64 {
        self.columns.offset(row)
    }

    /// Returns the timestamp of a row in milliseconds since the epoch, if it has one.
    #[must_use]
    pub fn timestamp_ms(&self, row: u32) -> Option<i64> {
        let timestamp = self.columns.timestamps_ms[row as usize];
        (timestamp != NO_TIMESTAMP).then_some(timestamp)
    }

    /// Returns the creation time of a record in nanoseconds on the engine's clock; negative if before the start of the
    /// engine.
    #[must_use]
    pub fn arrival_ns(&self, row: u32) -> i64 {
        self.columns.arrival_ns(row)
    }

    /// Returns the creation times of these rows in nanoseconds on the engine's clock, in row order, each with the
    /// number of consecutive rows that have it.
    pub(crate) fn arrivals_ns(&self, rows: Range<u32>) -> impl Iterator<Item = (i64, u32)> {
        self.columns.arrivals_ns(rows)
    }

    /// Returns the times at which these rows were taken from the source, in row order, each with the number of
    /// consecutive rows that have it. Rows without a mark are left out.
    pub(crate) fn taken(&self, rows: Range<u32>) -> impl Iterator<Item = (Tick, u32)> {
        self.columns.taken(rows)
    }

    /// Returns the number of bytes of memory that the buffers of the batch keep allocated. Each buffer is counted once.
    #[must_use]
    pub fn pinned_bytes(&self) -> u64 {
        self.payload().iter().map(Buffer::pinned_bytes).sum()
    }

    /// Returns the headers of a row.
    #[must_use]
    pub fn headers(&self, row: u32) -> &[(String, Option<Vec<u8>>)] {
        let found = self.columns.headers.binary_search_by_key(&row, |(row, _)| *row);
        found.map_or(&[], |index| self.columns.headers[index].1.as_slice())
    }

    /// Returns the index of the [run](Self::runs) that contains a row.
    #[must_use]
    pub fn run_of(&self, row: u32) -> usize {
        self.columns.runs.partition_point(|run| run.rows.end <= row)
    }

    /// Returns a batch of these rows, given in ascending order. It shares the payload of this batch.
    ///
    /// # Panics
    /// If the batch has no such row.
    #[must_use]
    pub fn pick(&self, rows: &[u32]) -> Self {
        let mut picked = Self::default();
        self.pick_into(rows, &mut picked);
        picked
    }

    /// Does the same as [`pick`](Self::pick) in the memory of another batch.
    pub(crate) fn pick_into(&self, rows: &[u32], picked: &mut Self) {
        debug_assert!(rows.is_sorted());
        let (from, columns) = (&self.columns, &mut picked.columns);
        columns.clear();
        for &row in rows {
            let at = row as usize;
            let cells = Cells {
                offset: from.offset(row),
                timestamp_ms: from.timestamps_ms[at],
                arrival_ns: from.arrival_ns(row),
                headers: Some(self.headers(row)).filter(|headers| !headers.is_empty()).map(<[_]>::to_vec),
            };
            let key = from.key_validity.is_valid(at).then(|| from.keys[at]);
            let value = from.value_validity.is_valid(at).then(|| from.values[at]);
            columns.push(self.lane(row), key, value, cells);
        }
        picked.payload.clone_from(&self.payload);
        picked.names = self.names.clone();
    }

    /// Removes all rows and drops the payload, so that its memory can be reused.
    pub(crate) fn release(&mut self) {
        self.payload = None;
        self.columns.clear();
    }

    /// Returns the number of bytes of the key and value of a row.
    #[must_use]
    pub fn row_bytes(&self, row: u32) -> u64 {
        let at = row as usize;
        u64::from(view::length(self.columns.keys[at])) + u64::from(view::length(self.columns.values[at]))
    }

    /// Returns the lane of a row.
    ///
    /// # Panics
    /// If the batch has no such row.
    #[must_use]
    pub fn lane(&self, row: u32) -> LaneId {
        self.columns.runs[self.run_of(row)].lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Record};
    use crate::ids::LaneId;

    fn record(offset: i64, value: Option<&[u8]>) -> Record<'_> {
        Record { offset, key: Some(b"k"), value, ..Record::default() }
    }

    #[test]
    fn what_goes_in_comes_out_whatever_its_length() {
        let long = vec![7_u8; 40];
        let values: [Option<&[u8]>; 5] =
            [None, Some(b""), Some(b"twelve bytes"), Some(b"thirteen byte"), Some(&long)];
        let mut builder = BatchBuilder::default();
        for (offset, value) in (0..).zip(values) {
            builder.push(LaneId(0), record(offset, value));
        }
        assert_eq!(builder.bytes(), 5 + 12 + 13 + 40);
        let batch = builder.seal(Names::default());
        for (row, value) in (0..).zip(values) {
            assert_eq!(batch.value(row), value);
            assert_eq!(batch.key(row), Some(b"k".as_slice()));
            assert_eq!(batch.timestamp_ms(row), None);
        }
        assert!(builder.is_empty());
    }

    #[test]
    fn runs_say_whose_rows_are_whose() {
        let mut builder = BatchBuilder::default();
        for (offset, lane) in [(0, 1), (1, 1), (0, 2), (2, 1)] {
            builder.push(LaneId(lane), record(offset, None));
        }
        let batch = builder.seal(Names::default());
        assert_eq!(batch.runs().len(), 3);
        assert_eq!((0..4).map(|row| batch.lane(row).0).collect::<Vec<_>>(), [1, 1, 2, 1]);
    }

    #[test]
    fn headers_belong_to_their_row() {
        let mut builder = BatchBuilder::default();
        builder.push(LaneId(0), record(0, None));
        let headers = vec![("h".to_owned(), None)];
        builder.push(LaneId(0), Record { headers: Some(headers.clone()), ..record(1, None) });
        let batch = builder.seal(Names::default());
        assert!(batch.headers(0).is_empty());
        assert_eq!(batch.headers(1), headers);
    }

    #[test]
    fn picked_rows_are_those_rows_and_share_their_payload() {
        let long = vec![7_u8; 40];
        let mut builder = BatchBuilder::default();
        for (offset, lane) in [(0, 1), (1, 2), (2, 2), (3, 1), (4, 1)] {
            let headers = (offset == 3).then(|| vec![("h".to_owned(), None)]);
            builder.push(LaneId(lane), Record { headers, ..record(offset, Some(&long)) });
        }
        let batch = builder.seal(Names::default());
        let picked = batch.pick(&[0, 2, 3]);
        let row =
            |row: u32| (picked.offset(row), picked.lane(row).0, picked.value(row), picked.headers(row).len());
        assert_eq!(
            [row(0), row(1), row(2)],
            [(0, 1, Some(&*long), 0), (2, 2, Some(&*long), 0), (3, 1, Some(&*long), 1)]
        );
        assert_eq!((picked.len(), picked.bytes(), picked.runs().len()), (3, 3 * 41, 3));
        let payload = |batch: &Batch| batch.payload().as_ptr();
        assert_eq!(payload(&picked), payload(&batch));
    }
}
