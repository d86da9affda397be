//! The columns of a batch: records in, columns and ranges of rows out.

use std::ops::Range;

use super::{Headers, view};
use crate::ids::{LaneId, Tick};

/// Consecutive rows of one lane in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The lane of the rows.
    pub lane: LaneId,
    /// The rows of the batch.
    pub rows: Range<u32>,
}

/// The timestamp of a record without a timestamp.
pub(super) const NO_TIMESTAMP: i64 = -1;

/// The fields of a record except its key and value.
#[derive(Debug, Default)]
pub(super) struct Cells {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub arrival_ns: i64,
    pub headers: Option<Headers>,
}

/// The columns of a batch.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub keys: Vec<u128>,
    pub values: Vec<u128>,
    pub key_validity: Validity,
    pub value_validity: Validity,
    pub timestamps_ms: Vec<i64>,
    pub headers: Vec<(u32, Headers)>,
    /// Ranges of rows of one lane at consecutive offsets: the first row and its offset.
    offsets: Vec<(u32, i64)>,
    /// Ranges of rows with the same creation time: the row after the last one and the time.
    arrivals_ns: Vec<(u32, i64)>,
    /// Ranges of rows that were taken at the same time: the row after the last one and the time.
    taken: Vec<(u32, Tick)>,
    pub runs: Vec<Run>,
    pub bytes: u64,
}

impl Columns {
    pub(super) fn rows(&self) -> u32 {
        u32::try_from(self.keys.len()).expect("a batch has fewer than 2^32 rows")
    }

    /// Appends a row.
    pub(super) fn push(&mut self, lane: LaneId, key: Option<u128>, value: Option<u128>, cells: Cells) {
        let row = self.rows();
        let Cells { offset, timestamp_ms, arrival_ns, headers } = cells;
        let continues = match self.runs.last_mut() {
            Some(run) if run.lane == lane => {
                run.rows.end = row + 1;
                self.offsets.last().is_some_and(|(first, start)| start + i64::from(row - first) == offset)
            }
            _ => {
                self.runs.push(Run { lane, rows: row..row + 1 });
                false
            }
        };
        if !continues {
            self.offsets.push((row, offset));
        }
        match self.arrivals_ns.last_mut() {
            Some((end, at)) if *at == arrival_ns => *end = row + 1,
            _ => self.arrivals_ns.push((row + 1, arrival_ns)),
        }
        self.bytes += u64::from(key.map_or(0, view::length)) + u64::from(value.map_or(0, view::length));
        self.key_validity.push(key.is_some());
        self.value_validity.push(value.is_some());
        self.timestamps_ms.push(timestamp_ms);
        self.headers.extend(headers.map(|headers| (row, headers)));
        self.keys.push(key.unwrap_or(0));
        self.values.push(value.unwrap_or(0));
    }

    /// Marks the rows that were appended since the last mark as taken at `now`.
    pub(super) fn mark_taken(&mut self, now: Tick) {
        let end = self.rows();
        match self.taken.last_mut() {
            Some((marked, _)) if *marked == end => {}
            Some((marked, at)) if *at == now => *marked = end,
            _ => self.taken.push((end, now)),
        }
    }

    /// Returns the offset of a row.
    pub(super) fn offset(&self, row: u32) -> i64 {
        let index = self.offsets.partition_point(|(first, _)| *first <= row);
        let (first, offset) = self.offsets[index.checked_sub(1).expect("a row of the batch")];
        offset + i64::from(row - first)
    }

    /// Calls `each` with the offsets of the rows from `row` on, as ranges in row order.
    pub(super) fn offsets_from(&self, row: u32, mut each: impl FnMut(Range<i64>)) {
        let first = self.offsets.partition_point(|(first, _)| *first <= row).saturating_sub(1);
        let ends = self.offsets.iter().skip(first + 1).map(|(start, _)| *start).chain([self.rows()]);
        for ((start, offset), end) in self.offsets.iter().skip(first).zip(ends) {
            let from = row.max(*start);
            if from < end {
                let at = |row: u32| offset + i64::from(row - start);
                each(at(from)..at(end));
            }
        }
    }

    /// Returns the creation time of a row in nanoseconds on the engine's clock.
    pub(super) fn arrival_ns(&self, row: u32) -> i64 {
        let index = self.arrivals_ns.partition_point(|(end, _)| *end <= row);
        self.arrivals_ns[index].1
    }

    /// Returns the creation times of these rows in row order, each with the number of consecutive rows that have it.
    pub(super) fn arrivals_ns(&self, rows: Range<u32>) -> impl Iterator<Item = (i64, u32)> {
        within(&self.arrivals_ns, rows)
    }

    /// Returns the times at which these rows were taken in row order, each with the number of consecutive rows that
    /// have it. Rows without a mark are left out.
    pub(super) fn taken(&self, rows: Range<u32>) -> impl Iterator<Item = (Tick, u32)> {
        within(&self.taken, rows)
    }

    /// Removes all rows and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.key_validity.clear();
        self.value_validity.clear();
        self.timestamps_ms.clear();
        self.headers.clear();
        self.offsets.clear();
        self.arrivals_ns.clear();
        self.taken.clear();
        self.runs.clear();
        self.bytes = 0;
    }
}

/// Returns the values of `rows` in row order, each with the number of consecutive rows that have it. `values` has each
/// value with the row after the last one that has it.
fn within<T: Copy>(values: &[(u32, T)], rows: Range<u32>) -> impl Iterator<Item = (T, u32)> {
    let mut start = rows.start;
    let first = values.partition_point(|(end, _)| *end <= start);
    values[first..].iter().map_while(move |(end, value)| {
        let count = rows.end.min(*end).checked_sub(start).filter(|count| *count > 0)?;
        start += count;
        Some((*value, count))
    })
}

/// The validity of a column: one bit per row, which is 1 if the row is not null. Without null rows, no bits are stored.
#[derive(Debug, Default)]
pub(crate) struct Validity {
    bits: Vec<u8>,
    rows: usize,
}

impl Validity {
    pub(crate) fn push(&mut self, is_valid: bool) {
        let row = self.rows;
        self.rows += 1;
        if is_valid && self.bits.is_empty() {
            return;
        }
        if self.bits.is_empty() {
            self.bits.resize(row / 8, u8::MAX);
            self.bits.push((1 << (row % 8)) - 1);
        } else if row.is_multiple_of(8) {
            self.bits.push(0);
        }
        if let Some(last) = self.bits.last_mut().filter(|_| is_valid) {
            *last |= 1 << (row % 8);
        }
    }

    /// Returns true if a row is not null.
    pub(crate) fn is_valid(&self, row: usize) -> bool {
        self.bits.get(row / 8).is_none_or(|byte| byte >> (row % 8) & 1 == 1)
    }

    /// Returns one bit per row, starting with the lowest bit of each byte: 1 if the row is not null. Returns `None` if
    /// no row is null.
    #[cfg(feature = "arrow")]
    pub(crate) fn bits(&self) -> Option<&[u8]> {
        (!self.bits.is_empty()).then_some(&self.bits)
    }

    fn clear(&mut self) {
        self.bits.clear();
        self.rows = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_valid_until_they_are_null() {
        for first_null in [0, 1, 7, 8, 9, 30] {
            let mut validity = Validity::default();
            let is_valid = |row: usize| row < first_null || row.is_multiple_of(3);
            (0..40).for_each(|row| validity.push(is_valid(row)));
            assert!((0..40).all(|row| validity.is_valid(row) == is_valid(row)), "{first_null}");
        }
        let mut validity = Validity::default();
        (0..40).for_each(|_| validity.push(true));
        assert!(validity.bits.is_empty() && validity.is_valid(39));
    }

    #[test]
    fn offsets_are_ranges_that_end_at_gaps_and_lanes() {
        let mut columns = Columns::default();
        for (lane, offset) in [(0, 5), (0, 6), (0, 8), (1, 9), (1, 10), (0, 9)] {
            columns.push(LaneId(lane), None, None, Cells { offset, ..Cells::default() });
        }
        let from = |row| {
            let mut found = Vec::new();
            columns.offsets_from(row, |range| found.push(range));
            found
        };
        assert_eq!(from(0), [5..7, 8..9, 9..11, 9..10]);
        assert_eq!(from(1), [6..7, 8..9, 9..11, 9..10]);
        assert_eq!((from(4), from(6)), (vec![10..11, 9..10], vec![]));
        assert_eq!((0..6).map(|row| columns.offset(row)).collect::<Vec<_>>(), [5, 6, 8, 9, 10, 9]);
    }
}
