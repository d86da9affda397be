//! Records as columns: appended one by one, sealed into a [`Batch`] whose payload is never copied again.
//!
//! Keys and values are 16-byte views in the layout of Arrow's binary view arrays: a length, then the
//! bytes themselves up to 12, else a prefix of 4 bytes, a buffer's index and an offset into it.

mod builder;

use std::ops::Range;
use std::sync::Arc;

use crate::ids::{LaneId, LaneName, Names, Tick};

pub use builder::BatchBuilder;

const INLINE: usize = 12;

/// A length and where its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
struct View {
    length: u32,
    /// Inline bytes, or prefix (4), buffer index (4), offset (4), little-endian.
    rest: [u8; INLINE],
}

impl View {
    fn word(&self, at: usize) -> usize {
        let bytes = [self.rest[at], self.rest[at + 1], self.rest[at + 2], self.rest[at + 3]];
        u32::from_le_bytes(bytes) as usize
    }

    fn bytes<'a>(&'a self, buffers: &'a [Vec<u8>]) -> &'a [u8] {
        let length = self.length as usize;
        if length <= INLINE {
            &self.rest[..length]
        } else {
            let offset = self.word(8);
            &buffers[self.word(4)][offset..offset + length]
        }
    }
}

/// A record's headers: names and values, in order; a value may be null.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record on its way into a batch. `None` is Kafka's null, which is not an empty text.
#[derive(Debug, Clone, Default)]
pub struct Record<'a> {
    /// Its offset in its partition.
    pub offset: i64,
    /// Milliseconds since the epoch, `None` where the record has none.
    pub timestamp_ms: Option<i64>,
    /// Nanoseconds on the engine's clock at which it came into being; negative before the start.
    pub arrival_ns: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers, if there are any.
    pub headers: Option<Headers>,
}

impl Record<'_> {
    /// Bytes of key and value, which is what a batch's size in bytes counts.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        (self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)) as u64
    }
}

/// Rows of one lane that stand together in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Whose rows.
    pub lane: LaneId,
    /// Which rows of the batch.
    pub rows: Range<u32>,
}

#[derive(Debug, Default)]
struct Columns {
    keys: Vec<View>,
    values: Vec<View>,
    nulls: Vec<Nulls>,
    offsets: Vec<i64>,
    timestamps_ms: Vec<i64>,
    arrivals_ns: Vec<i64>,
    /// When rows were taken: those up to the first number at that time, and so on.
    taken: Vec<(u32, Tick)>,
    headers: Vec<(u32, Headers)>,
    runs: Vec<Run>,
    bytes: u64,
}

impl Columns {
    fn with_capacity(rows: usize) -> Self {
        Self {
            keys: Vec::with_capacity(rows),
            values: Vec::with_capacity(rows),
            nulls: Vec::with_capacity(rows),
            offsets: Vec::with_capacity(rows),
            timestamps_ms: Vec::with_capacity(rows),
            arrivals_ns: Vec::with_capacity(rows),
            ..Self::default()
        }
    }

    /// No rows, in the same memory.
    fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.nulls.clear();
        self.offsets.clear();
        self.timestamps_ms.clear();
        self.arrivals_ns.clear();
        self.taken.clear();
        self.headers.clear();
        self.runs.clear();
        self.bytes = 0;
    }
}

/// Which of a row's parts are null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Nulls {
    key: bool,
    value: bool,
}

const NO_TIMESTAMP: i64 = -1;

/// A sealed batch: rows over shared buffers.
#[derive(Debug, Default)]
pub struct Batch {
    columns: Columns,
    /// Shared with its parts; a batch that is not filled has none.
    payload: Option<Arc<Vec<Vec<u8>>>>,
    /// Where its lanes come from.
    names: Names,
}

impl Batch {
    fn payload(&self) -> &[Vec<u8>] {
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
        u32::try_from(self.columns.offsets.len()).unwrap_or(u32::MAX)
    }

    /// Whether there are none; a sealed batch always has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.offsets.is_empty()
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
        (!self.columns.nulls[row].key).then(|| self.columns.keys[row].bytes(self.payload()))
    }

    /// The row's value.
    #[must_use]
    pub fn value(&self, row: u32) -> Option<&[u8]> {
        let row = row as usize;
        (!self.columns.nulls[row].value).then(|| self.columns.values[row].bytes(self.payload()))
    }

    /// The row's offset in its partition.
    #[must_use]
    pub fn offset(&self, row: u32) -> i64 {
        self.columns.offsets[row as usize]
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
        self.columns.arrivals_ns[row as usize]
    }

    /// When these rows were taken from their source, and how many of them at that time; rows that nobody has
    /// marked are left out.
    pub(crate) fn taken(&self, rows: Range<u32>) -> impl Iterator<Item = (Tick, u32)> {
        let mut start = rows.start;
        let first = self.columns.taken.partition_point(|(end, _)| *end <= start);
        self.columns.taken[first..].iter().map_while(move |(end, at)| {
            let count = rows.end.min(*end).checked_sub(start).filter(|count| *count > 0)?;
            start += count;
            Some((*at, count))
        })
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
        let columns = &mut picked.columns;
        columns.clear();
        for (index, &row) in (0_u32..).zip(rows) {
            let (lane, at) = (self.lane(row), row as usize);
            match columns.runs.last_mut() {
                Some(run) if run.lane == lane => run.rows.end = index + 1,
                _ => columns.runs.push(Run { lane, rows: index..index + 1 }),
            }
            columns.keys.push(self.columns.keys[at]);
            columns.values.push(self.columns.values[at]);
            columns.nulls.push(self.columns.nulls[at]);
            columns.offsets.push(self.columns.offsets[at]);
            columns.timestamps_ms.push(self.columns.timestamps_ms[at]);
            columns.arrivals_ns.push(self.columns.arrivals_ns[at]);
            let headers = self.headers(row);
            if !headers.is_empty() {
                columns.headers.push((index, headers.to_vec()));
            }
            columns.bytes += self.row_bytes(row);
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
        let (key, value) = (self.columns.keys[row as usize], self.columns.values[row as usize]);
        u64::from(key.length) + u64::from(value.length)
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
