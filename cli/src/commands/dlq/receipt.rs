//! Receipts of replays, which are records of the dead letter queue itself: encodes and decodes them.
//!
//! A receipt is written to the partition of the dead letters that it covers, after them. Retention deletes a partition
//! from its beginning, so a dead letter never outlives its receipts.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use velo_engine::batch::Batch;
use velo_engine::dead_letter::DeadLetter;

/// The header of a record that is a receipt; its value is the format's version.
const HEADER: &str = "velo.replay.receipt";
const VERSION: &str = "1";

/// A step of a replay. It covers dead letters of its own partition of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Receipt {
    /// The replay begins to write to `target`. `ends` holds pairs of partition and end offset of `target` at that time;
    /// every record of the replay has that offset or a higher one.
    Began { replay: String, target: String, ends: Vec<(i32, i64)> },
    /// The brokers have acknowledged the records of the dead letters in these ranges of queue offsets (start included,
    /// end excluded) in `target`.
    Wrote { target: String, offsets: Vec<(i64, i64)> },
    /// `Wrote` receipts cover everything that these replays wrote to `target`.
    Ended { replays: Vec<String>, target: String },
}

impl Receipt {
    /// The headers of a receipt's record.
    pub(super) const HEADERS: [(&'static str, Option<&'static [u8]>); 1] =
        [(HEADER, Some(VERSION.as_bytes()))];

    /// Returns the value of the receipt's record.
    pub(super) fn value(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads the receipt in a row of the queue. Returns `None` for other records, and for a dead letter whose original
    /// record was a receipt of another queue.
    ///
    /// # Errors
    /// If the receipt has another version or cannot be decoded.
    pub(super) fn read(batch: &Batch, row: u32) -> Result<Option<Self>> {
        let header = batch.headers(row).iter().find(|(name, _)| name == HEADER);
        let Some((_, version)) = header.filter(|_| DeadLetter::read(batch, row).is_none()) else {
            return Ok(None);
        };
        let place = batch.origin(row).map_or(-1, |origin| origin.partition);
        let what = || format!("cannot read the replay receipt at [{place}]@{}", batch.offset(row));
        anyhow::ensure!(
            version.as_deref() == Some(VERSION.as_bytes()),
            "{}: its version is not {VERSION}; a newer version of velo has replayed dead letters of this queue",
            what()
        );
        serde_json::from_slice(batch.value(row).unwrap_or_default()).with_context(what).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use velo_engine::batch::{BatchBuilder, Record};
    use velo_engine::ids::{LaneId, Names};

    use super::*;

    #[test]
    fn receipts_round_trip_and_receipts_of_other_versions_are_rejected() {
        let target = "orders".to_owned();
        let receipts = [
            Receipt::Began { replay: "1-2".to_owned(), target: target.clone(), ends: vec![(0, 17), (1, 0)] },
            Receipt::Wrote { target: target.clone(), offsets: vec![(1, 4), (7, 8)] },
            Receipt::Ended { replays: vec!["1-2".to_owned()], target },
        ];
        let read = |version: &[u8], value: &[u8]| {
            let mut builder = BatchBuilder::default();
            let headers = Some(vec![(HEADER.to_owned(), Some(version.to_vec()))]);
            builder.push(LaneId(0), Record { value: Some(value), headers, ..Record::default() });
            Receipt::read(&builder.seal(Names::default()), 0)
        };
        for receipt in receipts {
            let value = receipt.value().unwrap();
            assert_eq!(read(b"1", &value).unwrap(), Some(receipt));
            let error = read(b"2", &value).unwrap_err().to_string();
            assert!(error.contains("a newer version of velo"), "{error}");
        }
        assert!(read(b"1", b"{\"event\": \"sold\"}").is_err());
    }
}
