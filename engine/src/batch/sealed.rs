//! A sealed batch: rows over shared buffers, read by processors and sinks.

use std::ops::Range;
use std::sync::Arc;

use super::buffer::Buffer;
use super::columns::{Cells, Columns, NO_TIMESTAMP, Run};
use super::view;
use crate::ids::{LaneId, LaneName, Names, Tick};

/// A sealed batch: rows over shared buffers.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) columns: Columns,
    /// Shared with its parts; a batch that is not filled has none.
    pub(super) payload: Option<Arc<Vec<Buffer>>>,
    /// The names of its lanes.
    pub(super) names: Names,
}

impl Batch {
    pub(super) fn payload(&self) -> &[Buffer] {
        self.payload.as_deref().map_or(&[], Vec::as_slice)
    }

    /// The topic and partition that a row came from, where they are known.
    #[must_use]
    pub fn origin(&self, row: u32) -> Option<&LaneName> {
        self.names.get(self.lane(row))
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.columns.rows()
    }

    /// Whether there are none; a sealed batch always has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.keys.is_empty()
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.columns.bytes
    }

    /// The runs of rows by lane, in the order of the rows.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.columns.runs
    }

    /// The row's key.
    #[must_use]
    pub fn key(&self, row: u32) -> Option<&[u8]> {
        let row = row as usize;
        self.columns.key_validity.is_valid(row).then(|| view::bytes(&self.columns.keys[row], self.payload()))
    }

    /// The row's value.
    #[must_use]
    pub fn value(&self, row: u32) -> Option<&[u8]> {
        let row = row as usize;
        self.columns
            .value_validity
            .is_valid(row)
            .then(|| view::bytes(&self.columns.values[row], self.payload()))
    }

    /// The row's offset in its partition.
    #[must_use]
    pub fn offset(&self, row: u32) -> i64 {
        self.columns.offset(row)
    }

    /// The row's timestamp in milliseconds since the epoch.
    #[must_use]
    pub fn timestamp_ms(&self, row: u32) -> Option<i64> {
        let timestamp = self.columns.timestamps_ms[row as usize];
        (timestamp != NO_TIMESTAMP).then_some(timestamp)
    }

    /// When the record came into being, in nanoseconds on the engine's clock.
    #[must_use]
    pub fn arrival_ns(&self, row: u32) -> i64 {
        self.columns.arrival_ns(row)
    }

    /// Returns when these rows came into being, in nanoseconds on the engine's clock, and how many neighbours did at
    /// that time.
    pub(crate) fn arrivals_ns(&self, rows: Range<u32>) -> impl Iterator<Item = (i64, u32)> {
        self.columns.arrivals_ns(rows)
    }

    /// Returns when these rows were taken from their source, and how many neighbours were at that time; rows without a
    /// mark are left out.
    pub(crate) fn taken(&self, rows: Range<u32>) -> impl Iterator<Item = (Tick, u32)> {
        self.columns.taken(rows)
    }

    /// Returns the bytes of memory that the batch keeps from being used otherwise, each buffer counted once.
    #[must_use]
    pub fn pinned_bytes(&self) -> u64 {
        self.payload().iter().map(Buffer::pinned_bytes).sum()
    }

    /// The row's headers.
    #[must_use]
    pub fn headers(&self, row: u32) -> &[(String, Option<Vec<u8>>)] {
        let found = self.columns.headers.binary_search_by_key(&row, |(row, _)| *row);
        found.map_or(&[], |index| self.columns.headers[index].1.as_slice())
    }

    /// Which of the [`runs`](Self::runs) a row is in.
    #[must_use]
    pub fn run_of(&self, row: u32) -> usize {
        self.columns.runs.partition_point(|run| run.rows.end <= row)
    }

    /// These rows, in ascending order, as a batch of their own that shares the payload.
    ///
    /// # Panics
    /// Where there is no such row.
    #[must_use]
    pub fn pick(&self, rows: &[u32]) -> Self {
        let mut picked = Self::default();
        self.pick_into(rows, &mut picked);
        picked
    }

    /// Like [`pick`](Self::pick), into the memory of another batch.
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

    /// Lets go of the payload, so that its memory may be used again.
    pub(crate) fn release(&mut self) {
        self.payload = None;
        self.columns.clear();
    }

    /// Bytes of a row's key and value.
    #[must_use]
    pub fn row_bytes(&self, row: u32) -> u64 {
        let at = row as usize;
        u64::from(view::length(self.columns.keys[at])) + u64::from(view::length(self.columns.values[at]))
    }

    /// The lane that the row came from.
    ///
    /// # Panics
    /// Where there is no such row.
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
