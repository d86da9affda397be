//! What a job does with a batch: rows in, outputs and failed rows out.
#![allow(clippy::disallowed_methods, reason = "a synthetic processor takes its time")]

use std::ops::Range;
use std::time::Duration;

use serde_json::error::Category;

use crate::columns::Batch;
use crate::core::failure::{RowError, Stage};

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
    },
}

/// What a processor has put out, by input row.
#[derive(Debug, Default)]
pub struct Output {
    /// Every row is passed on, once, in order.
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

    /// Makes a new record on account of an input row.
    pub fn push(&mut self, row: u32, key: Option<Vec<u8>>, value: Option<Vec<u8>>) {
        self.records.push((row, OutputRecord::New { key, value }));
    }

    /// Takes over what was put out for a batch of these rows of ours.
    pub(crate) fn append(&mut self, picked: Self, rows: &[u32]) {
        if picked.forwards_all {
            self.records.extend(rows.iter().map(|row| (*row, OutputRecord::Forward)));
        }
        let ours = picked.records.into_iter().map(|(row, record)| (rows[row as usize], record));
        self.records.extend(ours);
    }

    /// The records of the rows in `rows`, in the order in which they were put out; rows that are
    /// passed on with all others come first.
    pub fn of_rows(&self, rows: &[Range<u32>]) -> impl Iterator<Item = (u32, &OutputRecord)> {
        let forwarded = rows.iter().filter(|_| self.forwards_all).cloned().flatten();
        let wanted = |row: &u32| rows.iter().any(|range| range.contains(row));
        let own = self.records.iter().filter(move |(row, _)| wanted(row)).map(|(row, record)| (*row, record));
        forwarded.map(|row| (row, &OutputRecord::Forward)).chain(own)
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
}

/// A job's work on its batches.
pub trait Processor: Send {
    /// Processes a batch on a worker. What it puts into `out` is written only for rows that succeed.
    ///
    /// # Errors
    /// [`Failure::Rows`] where records are to blame, [`Failure::Unnamed`] where one of them is,
    /// [`Failure::System`] where none is.
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure>;
}

/// Passes every record on: `SELECT *`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forward;

impl Processor for Forward {
    fn process(&mut self, _: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
        out.forward_all();
        Ok(())
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
    use crate::columns::{BatchBuilder, LaneId, Record};

    fn batch(values: &[&[u8]]) -> Batch {
        let mut builder = BatchBuilder::default();
        for (offset, value) in (0..).zip(values) {
            builder.push(LaneId(0), Record { offset, value: Some(value), ..Record::default() });
        }
        builder.seal()
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
        assert!(ValueFormat::Json.check(&builder.seal()).is_empty());
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
        assert_eq!(all.of_rows(&[0..1, 1..2]).map(|(row, _)| row).collect::<Vec<_>>(), [0, 1, 1]);
        assert_eq!(output.of_rows(&[0..1, 2..3]).count(), 3);
    }
}
