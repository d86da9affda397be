//! The output of a processor, by input row.

use std::ops::Range;

use crate::batch::{Batch, Buffers, Headers, Validity, view};
use crate::core::Weight;
use crate::core::failure::RowError;

/// An output record for an input row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputRecord<'a> {
    /// The input row, unchanged.
    Forward,
    /// A new record.
    New {
        /// The key; `None` for null.
        key: Option<&'a [u8]>,
        /// The value; `None` for null.
        value: Option<&'a [u8]>,
        /// The headers; `None` for those of the input row.
        headers: Option<&'a Headers>,
    },
}

/// The number of acknowledgements that each row requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    /// One for each row.
    OneEach,
    /// One for each row except these, in ascending order: rows without output, and rows with several records and their
    /// number.
    Except { silent: Vec<Range<u32>>, several: Vec<(u32, u32)> },
}

impl Expected {
    fn of(counts: &[u32]) -> Self {
        let (mut silent, mut several) = (Vec::<Range<u32>>::new(), Vec::new());
        for (row, count) in (0_u32..).zip(counts) {
            match (count, silent.last_mut()) {
                (0, Some(last)) if last.end == row => last.end = row + 1,
                (0, _) => silent.push(row..row + 1),
                (1, _) => {}
                _ => several.push((row, *count)),
            }
        }
        if silent.is_empty() && several.is_empty() { Self::OneEach } else { Self::Except { silent, several } }
    }
}

/// The output of a processor for a batch, as columns. Records are written in the order of the input rows. The records
/// of a row keep the order in which they were added.
#[derive(Debug, Default)]
pub struct Output {
    /// True if every row is forwarded once, before its other records.
    forwards_all: bool,
    /// The input row of each record that was added individually, and its place in the columns; in row order once
    /// [sorted](Self::sort).
    records: Vec<(u32, Place)>,
    keys: Vec<u128>,
    values: Vec<u128>,
    key_validity: Validity,
    value_validity: Validity,
    /// The headers of records that have their own, by place.
    headers: Vec<(u32, Headers)>,
    buffers: Buffers,
}

/// The location of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The record is the input row.
    Input,
    /// The record is in the columns at this index.
    Column(u32),
}

impl Output {
    /// Forwards every input row unchanged, without a copy.
    pub fn forward_all(&mut self) {
        self.forwards_all = true;
    }

    /// Forwards an input row unchanged, without a copy.
    pub fn forward(&mut self, row: u32) {
        self.records.push((row, Place::Input));
    }

    /// Adds a new record for an input row, with the headers of that row.
    pub fn push(&mut self, row: u32, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.add(row, key, value);
    }

    /// Adds a new record for an input row, with its own headers.
    pub fn push_with_headers(
        &mut self,
        row: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Headers,
    ) {
        let place = self.add(row, key, value);
        self.headers.push((place, headers));
    }

    fn add(&mut self, row: u32, key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
        let place = u32::try_from(self.keys.len()).expect("an output has fewer than 2^32 records");
        self.records.push((row, Place::Column(place)));
        let key = key.map(|bytes| self.buffers.copy(bytes));
        let value = value.map(|bytes| self.buffers.copy(bytes));
        self.add_views(key, value);
        place
    }

    fn add_views(&mut self, key: Option<u128>, value: Option<u128>) {
        self.key_validity.push(key.is_some());
        self.value_validity.push(value.is_some());
        self.keys.push(key.unwrap_or(0));
        self.values.push(value.unwrap_or(0));
    }

    /// Appends the output for a batch that was picked from these rows. Keys and values are not copied.
    pub(crate) fn append(&mut self, picked: Self, rows: &[u32]) {
        if picked.forwards_all {
            self.records.extend(rows.iter().map(|row| (*row, Place::Input)));
        }
        let first = u32::try_from(self.keys.len()).expect("an output has fewer than 2^32 records");
        let ours = |(row, place): (u32, Place)| {
            let place = match place {
                Place::Input => Place::Input,
                Place::Column(place) => Place::Column(first + place),
            };
            (rows[row as usize], place)
        };
        self.records.extend(picked.records.into_iter().map(ours));
        self.headers.extend(picked.headers.into_iter().map(|(place, headers)| (first + place, headers)));
        let moved = self.buffers.append(picked.buffers);
        for place in 0..picked.keys.len() {
            let view = |views: &[u128], validity: &Validity| {
                validity.is_valid(place).then(|| view::moved(views[place], moved))
            };
            let (key, value) =
                (view(&picked.keys, &picked.key_validity), view(&picked.values, &picked.value_validity));
            self.add_views(key, value);
        }
    }

    /// Sorts the records by row.
    pub(crate) fn sort(&mut self) {
        if !self.records.is_sorted_by_key(|(row, _)| *row) {
            self.records.sort_by_key(|(row, _)| *row);
        }
    }

    fn record(&self, place: Place) -> OutputRecord<'_> {
        let Place::Column(place) = place else { return OutputRecord::Forward };
        let at = place as usize;
        let headers = self.headers.binary_search_by_key(&place, |(place, _)| *place).ok();
        OutputRecord::New {
            key: self.key_validity.is_valid(at).then(|| self.buffers.bytes(&self.keys[at])),
            value: self.value_validity.is_valid(at).then(|| self.buffers.bytes(&self.values[at])),
            headers: headers.map(|index| &self.headers[index].1),
        }
    }

    /// Returns true if the output is exactly the input.
    #[must_use]
    pub fn is_input(&self) -> bool {
        self.forwards_all && self.records.is_empty()
    }

    /// Returns the records of `rows` in row order. The output must be [sorted](Self::sort).
    pub(crate) fn of_rows(&self, rows: Range<u32>) -> impl Iterator<Item = (u32, OutputRecord<'_>)> {
        debug_assert!(self.records.is_sorted_by_key(|(row, _)| *row));
        let before = |row: u32| self.records.partition_point(|(other, _)| *other < row);
        let mut own = self.records[before(rows.start)..before(rows.end)].iter().peekable();
        let mut forwarded = if self.forwards_all { rows } else { rows.end..rows.end };
        std::iter::from_fn(move || {
            let own_is_next = |(row, _): &&(u32, _)| forwarded.is_empty() || *row < forwarded.start;
            match own.next_if(own_is_next) {
                Some((row, place)) => Some((*row, self.record(*place))),
                None => forwarded.next().map(|row| (row, OutputRecord::Forward)),
            }
        })
    }

    /// Returns the row of each record that was added individually.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> {
        self.records.iter().map(|(row, _)| *row)
    }

    /// Returns the number of records of each row of a batch of `rows` rows.
    #[must_use]
    pub fn counts(&self, rows: u32) -> Vec<u32> {
        let mut counts = vec![u32::from(self.forwards_all); rows as usize];
        for (row, _) in &self.records {
            counts[*row as usize] += 1;
        }
        counts
    }

    /// Returns the number of acknowledgements that settle each row of a batch of `rows` rows.
    pub(crate) fn expected(&self, rows: u32) -> Expected {
        if self.is_input() { Expected::OneEach } else { Expected::of(&self.counts(rows)) }
    }

    /// Returns the size of the output of each row of `batch` that is not in `failed`.
    pub(crate) fn weights(&self, batch: &Batch, failed: &[RowError]) -> Vec<Weight> {
        let mut weights: Vec<_> = (0..batch.len()).map(|row| Weight { row, records: 0, bytes: 0 }).collect();
        for (row, record) in self.of_rows(0..batch.len()) {
            let weight = &mut weights[row as usize];
            weight.records += 1;
            weight.bytes += match record {
                OutputRecord::Forward => batch.row_bytes(row),
                OutputRecord::New { key, value, .. } => {
                    [key, value].into_iter().flatten().map(|bytes| bytes.len() as u64).sum()
                }
            };
        }
        weights.retain(|weight| failed.binary_search_by_key(&weight.row, |error| error.row).is_err());
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Record};
    use crate::core::failure::Stage;
    use crate::ids::{LaneId, Names};
    use std::sync::Arc;

    fn batch(values: &[&[u8]]) -> Arc<Batch> {
        let mut builder = BatchBuilder::default();
        for (offset, value) in (0..).zip(values) {
            builder.push(LaneId(0), Record { offset, value: Some(value), ..Record::default() });
        }
        builder.seal(Names::default())
    }

    #[test]
    fn outputs_are_counted_and_picked_by_row() {
        let mut output = Output::default();
        output.forward(0);
        output.push(2, None, Some(b"x"));
        output.push(2, None, Some(b"y"));
        assert_eq!(output.counts(3), [1, 0, 2]);
        let mut all = Output::default();
        all.forward_all();
        all.push(1, None, None);
        assert_eq!(all.counts(3), [1, 2, 1]);
        let rows = |output: &Output, rows| output.of_rows(rows).map(|(row, _)| row).collect::<Vec<_>>();
        assert_eq!((rows(&all, 0..2), rows(&all, 2..3)), (vec![0, 1, 1], vec![2]));
        assert_eq!((rows(&output, 0..3), rows(&output, 1..2)), (vec![0, 2, 2], vec![]));
        output.push(1, None, None);
        output.sort();
        assert_eq!(rows(&output, 0..3), [0, 1, 2, 2]);
        let values: Vec<_> = output.of_rows(2..3).map(|(_, record)| record).collect();
        let new = |value: &'static [u8]| OutputRecord::New { key: None, value: Some(value), headers: None };
        assert_eq!(values, [new(b"x"), new(b"y")]);
    }

    #[test]
    fn what_a_row_puts_out_weighs_its_records_and_their_bytes() {
        let mut output = Output::default();
        output.forward(0);
        output.push(1, Some(b"k"), Some(b"xy"));
        output.push(1, None, None);
        let failed = RowError { row: 2, stage: Stage::Process, message: String::new(), retriable: false };
        let weights = output.weights(&batch(&[b"abcd", b"", b"", b""]), &[failed]);
        let weight = |row, records, bytes| Weight { row, records, bytes };
        assert_eq!(weights, [weight(0, 1, 4), weight(1, 2, 3), weight(3, 0, 0)]);
    }

    #[test]
    fn parts_of_an_output_are_put_together_without_a_copy() {
        let (long, longer) = ([b'a'; 100], [b'b'; 200]);
        let headers = vec![("h".to_owned(), None)];
        let mut first = Output::default();
        first.push(0, None, Some(&long));
        let mut second = Output::default();
        second.push_with_headers(1, Some(&longer), None, headers.clone());
        second.forward(0);
        let OutputRecord::New { key: Some(key), .. } = second.record(Place::Column(0)) else {
            panic!("a key")
        };
        let address = key.as_ptr();
        let mut all = Output::default();
        all.append(first, &[5]);
        all.append(second, &[2, 3]);
        all.push(4, None, Some(&longer));
        all.sort();
        let found: Vec<_> = all.of_rows(0..6).collect();
        let new = |key, value, headers| OutputRecord::New { key, value, headers };
        let expected = [
            (2, OutputRecord::Forward),
            (3, new(Some(&longer[..]), None, Some(&headers))),
            (4, new(None, Some(&longer[..]), None)),
            (5, new(None, Some(&long[..]), None)),
        ];
        assert_eq!(found, expected);
        assert!(matches!(found[1].1, OutputRecord::New { key: Some(key), .. } if key.as_ptr() == address));
    }
}
