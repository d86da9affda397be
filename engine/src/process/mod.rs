//! What a job does with a batch: rows in, outputs and failed rows out.
#![allow(clippy::disallowed_methods, reason = "a synthetic processor takes its time")]

use std::ops::Range;
use std::time::Duration;

use serde_json::error::Category;

use crate::columns::{Batch, Headers};
use crate::core::failure::{RowError, Stage};
use crate::core::{Verdict, Weight};

/// Which attempt at a batch this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// 0 for the first.
    pub number: u32,
}

/// A record that a processor makes, or passes on, on account of an input row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputRecord {
    /// The input row itself, byte for byte.
    Forward,
    /// A new record.
    New {
        /// Its key.
        key: Option<Vec<u8>>,
        /// Its value.
        value: Option<Vec<u8>>,
        /// Its headers; `None` for those of the input row.
        headers: Option<Headers>,
    },
}

/// What a processor has put out, by input row. It is written in the order of the rows; the records of
/// a row stay in the order in which they were put out.
#[derive(Debug, Default)]
pub struct Output {
    /// Every row is passed on, once, before the records that it has besides.
    forwards_all: bool,
    records: Vec<(u32, OutputRecord)>,
}

impl Output {
    /// Passes every input row on as it is, without a copy.
    pub fn forward_all(&mut self) {
        self.forwards_all = true;
    }

    /// Passes an input row on as it is, without a copy.
    pub fn forward(&mut self, row: u32) {
        self.records.push((row, OutputRecord::Forward));
    }

    /// Makes a new record for an input row, with the headers of that row.
    pub fn push(&mut self, row: u32, key: Option<Vec<u8>>, value: Option<Vec<u8>>) {
        self.records.push((row, OutputRecord::New { key, value, headers: None }));
    }

    /// Makes a new record for an input row, with headers of its own.
    pub fn push_with_headers(
        &mut self,
        row: u32,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        headers: Headers,
    ) {
        self.records.push((row, OutputRecord::New { key, value, headers: Some(headers) }));
    }

    /// Takes over what was put out for a batch of these rows of ours.
    pub(crate) fn append(&mut self, picked: Self, rows: &[u32]) {
        if picked.forwards_all {
            self.records.extend(rows.iter().map(|row| (*row, OutputRecord::Forward)));
        }
        let ours = picked.records.into_iter().map(|(row, record)| (rows[row as usize], record));
        self.records.extend(ours);
    }

    /// Puts the records into the order of their rows.
    pub(crate) fn sort(&mut self) {
        if !self.records.is_sorted_by_key(|(row, _)| *row) {
            self.records.sort_by_key(|(row, _)| *row);
        }
    }

    /// Whether every row is passed on as it is, and nothing else is put out.
    #[must_use]
    pub fn is_input(&self) -> bool {
        self.forwards_all && self.records.is_empty()
    }

    /// The records of `rows`, which are in the order of the rows once it [is sorted](Self::sort).
    pub(crate) fn of_rows(&self, rows: Range<u32>) -> impl Iterator<Item = (u32, &OutputRecord)> {
        debug_assert!(self.records.is_sorted_by_key(|(row, _)| *row));
        let before = |row: u32| self.records.partition_point(|(other, _)| *other < row);
        let mut own = self.records[before(rows.start)..before(rows.end)].iter().peekable();
        let mut forwarded = if self.forwards_all { rows } else { rows.end..rows.end };
        std::iter::from_fn(move || {
            let own_is_next = |(row, _): &&(u32, _)| forwarded.is_empty() || *row < forwarded.start;
            match own.next_if(own_is_next) {
                Some((row, record)) => Some((*row, record)),
                None => forwarded.next().map(|row| (row, &OutputRecord::Forward)),
            }
        })
    }

    /// The rows that records were put out for one by one.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> {
        self.records.iter().map(|(row, _)| *row)
    }

    /// How many records each row of a batch of `rows` rows has.
    #[must_use]
    pub fn counts(&self, rows: u32) -> Vec<u32> {
        let mut counts = vec![u32::from(self.forwards_all); rows as usize];
        for (row, _) in &self.records {
            counts[*row as usize] += 1;
        }
        counts
    }

    /// How much each row of `batch` has put out, but for those that failed.
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

/// Why a batch was not processed as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// These rows failed; all others are done and their output stands.
    Rows(Vec<RowError>),
    /// A record is bad and nobody knows which, so nothing is done: the batch is halved until it is found.
    Unnamed(String),
    /// Nothing was processed, and no record is to blame: the batch is held and tried again.
    System(String),
    /// Nothing was processed, and no later attempt can succeed either: the job ends with this reason.
    Fatal(String),
}

/// Why nothing of a batch was processed, without any record being to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unprocessed {
    pub message: String,
    /// True if no later attempt can succeed.
    pub is_fatal: bool,
}

impl From<Unprocessed> for Failure {
    fn from(Unprocessed { message, is_fatal }: Unprocessed) -> Self {
        if is_fatal { Self::Fatal(message) } else { Self::System(message) }
    }
}

impl From<Unprocessed> for Verdict {
    fn from(Unprocessed { message, is_fatal }: Unprocessed) -> Self {
        let (system, fatal) = if is_fatal { (None, Some(message)) } else { (Some(message), None) };
        Self { system, fatal, ..Self::default() }
    }
}

/// A job's work on its batches.
pub trait Processor: Send {
    /// Processes a batch on a worker. What it puts into `out` is written only for rows that succeed.
    ///
    /// # Errors
    /// [`Failure::Rows`] if records are to blame, [`Failure::Unnamed`] if one of them is, [`Failure::System`] if
    /// none is, and [`Failure::Fatal`] if no later attempt can succeed.
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure>;

    /// Another one that does the same on another thread. Under `batch.parallel` each gets some of the
    /// keys, always the same ones; several workers of a job take whole batches as they come. `None`
    /// where the work cannot be shared.
    fn fork(&self) -> Option<Box<dyn Processor>> {
        None
    }

    /// What ends a [`process`](Self::process) that is under way, and those of all forks, where
    /// something can: it is called when the job ends, whatever is in flight.
    fn interrupt(&self) -> Option<Interrupt> {
        None
    }
}

/// Ends what a processor is at.
pub type Interrupt = Box<dyn Fn() + Send + Sync>;

/// Passes every record on: `SELECT *`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forward;

impl Processor for Forward {
    fn process(&mut self, _: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
        out.forward_all();
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn Processor>> {
        Some(Box::new(*self))
    }
}

/// Passes every record on after taking as long as a real processor would: a fixed time for a batch
/// and a time for each record. For trying a strategy before the real work exists.
#[derive(Debug, Clone, Copy, Default)]
pub struct Synthetic {
    /// For each batch.
    pub per_batch: Duration,
    /// For each record.
    pub per_record: Duration,
}

impl Synthetic {
    /// How long a batch of `records` takes.
    #[must_use]
    pub fn service_time(&self, records: u32) -> Duration {
        self.per_batch + self.per_record * records
    }
}

impl Processor for Synthetic {
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
        // A synthetic round trip waits, as a real one would: it leaves the core to others.
        std::thread::sleep(self.service_time(batch.len()));
        Forward.process(batch, out, attempt)
    }

    fn fork(&self) -> Option<Box<dyn Processor>> {
        Some(Box::new(*self))
    }
}

/// How a record's value is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueFormat {
    /// Any bytes.
    #[default]
    Bytes,
    /// A JSON object.
    Json,
}

impl ValueFormat {
    /// The rows of `batch` whose values are not in this format.
    #[must_use]
    pub fn check(self, batch: &Batch) -> Vec<RowError> {
        match self {
            Self::Bytes => Vec::new(),
            Self::Json => (0..batch.len()).filter_map(|row| json_error(batch, row)).collect(),
        }
    }
}

/// What is wrong, and where; never what stands there, which is nobody's business.
fn json_error(batch: &Batch, row: u32) -> Option<RowError> {
    // A null deletes its key in a compacted topic; it has no format.
    let value = batch.value(row)?;
    let reason = match std::str::from_utf8(value) {
        Err(error) => format!("no UTF-8 from byte {} on", error.valid_up_to()),
        Ok(text) => {
            let error = serde_json::from_str::<JsonObject>(text).err()?;
            let what = match error.classify() {
                Category::Eof => "it ends too early",
                Category::Data => "it is another kind of value",
                Category::Syntax | Category::Io => "its syntax is wrong",
            };
            format!("{what}, at line {} column {}", error.line(), error.column())
        }
    };
    let message = format!("the value is not a JSON object: {reason}");
    Some(RowError { row, stage: Stage::Decode, message, retriable: false })
}

/// Accepts a JSON object of any content and keeps nothing of it.
struct JsonObject;

impl<'de> serde::Deserialize<'de> for JsonObject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = JsonObject;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
                use serde::de::IgnoredAny;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(JsonObject)
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{BatchBuilder, LaneId, Names, Record};
    use std::sync::Arc;

    fn batch(values: &[&[u8]]) -> Arc<Batch> {
        let mut builder = BatchBuilder::default();
        for (offset, value) in (0..).zip(values) {
            builder.push(LaneId(0), Record { offset, value: Some(value), ..Record::default() });
        }
        builder.seal(Names::default())
    }

    #[test]
    fn only_objects_are_json_objects() {
        let values: [&[u8]; 8] =
            [b"{}", b" {\"a\": [1, {\"b\": null}]} ", b"[]", b"1", b"{", b"", b"{\"a\": \"\xFF\"}", b"{} {}"];
        let bad: Vec<_> = ValueFormat::Json.check(&batch(&values)).iter().map(|error| error.row).collect();
        assert_eq!(bad, [2, 3, 4, 5, 6, 7]);
        assert!(ValueFormat::Bytes.check(&batch(&values)).is_empty());
        let secret = ValueFormat::Json.check(&batch(&[b"\"hunter2\""]));
        assert!(!secret[0].message.contains("hunter2"), "{}", secret[0].message);
    }

    #[test]
    fn a_tombstone_is_no_json_and_no_mistake() {
        let mut builder = BatchBuilder::default();
        builder.push(LaneId(0), Record::default());
        assert!(ValueFormat::Json.check(&builder.seal(Names::default())).is_empty());
    }

    #[test]
    fn outputs_are_counted_and_picked_by_row() {
        let mut output = Output::default();
        output.forward(0);
        output.push(2, None, Some(b"x".to_vec()));
        output.push(2, None, Some(b"y".to_vec()));
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
        let values: Vec<_> = output.of_rows(2..3).map(|(_, record)| record.clone()).collect();
        let new = |value: &[u8]| OutputRecord::New { key: None, value: Some(value.to_vec()), headers: None };
        assert_eq!(values, [new(b"x"), new(b"y")]);
    }

    #[test]
    fn what_a_row_puts_out_weighs_its_records_and_their_bytes() {
        let mut output = Output::default();
        output.forward(0);
        output.push(1, Some(b"k".to_vec()), Some(b"xy".to_vec()));
        output.push(1, None, None);
        let failed = RowError { row: 2, stage: Stage::Process, message: String::new(), retriable: false };
        let weights = output.weights(&batch(&[b"abcd", b"", b"", b""]), &[failed]);
        let weight = |row, records, bytes| Weight { row, records, bytes };
        assert_eq!(weights, [weight(0, 1, 4), weight(1, 2, 3), weight(3, 0, 0)]);
    }
}
