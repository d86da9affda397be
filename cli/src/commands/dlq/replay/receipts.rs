//! Writes the receipts of a replay to the queue: its begin, its acknowledged records and its end in, receipts out.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use velo_engine::kafka::NewRecord;

use super::outgoing::Outgoing;
use super::state::Replay;
use crate::commands::dlq::receipt::Receipt;

/// The most ranges of offsets in one receipt, which keeps it below the size limit of any topic.
const RANGES_PER_RECEIPT: usize = 1000;

impl Replay<'_> {
    /// Writes the `Began` receipts of the part's targets.
    pub(super) fn begin(&mut self, part: &[Outgoing]) -> Result<()> {
        let names: BTreeSet<_> = part.iter().map(|record| record.target.as_str()).collect();
        for name in names {
            let Some(target) = self.targets.get_mut(name).filter(|target| !target.has_begun) else {
                continue;
            };
            target.has_begun = true;
            let partitions = self.reader.partitions(name)?;
            let ends = partitions.iter().map(|partition| (partition.partition, partition.high)).collect();
            let receipt = Receipt::Began { replay: self.id.clone(), target: name.to_owned(), ends };
            self.write(self.survey.ends.keys().copied(), &receipt)?;
        }
        self.settle_receipts()
    }

    /// Writes receipts for acknowledged records.
    pub(super) fn note(&mut self) -> Result<()> {
        for ((target, partition), offsets) in std::mem::take(&mut self.arrived) {
            for ranges in offsets.ranges().chunks(RANGES_PER_RECEIPT) {
                let receipt = Receipt::Wrote { target: target.clone(), offsets: ranges.to_vec() };
                self.write([partition], &receipt)?;
            }
        }
        self.settle_receipts()
    }

    /// Writes the `Ended` receipt of these replays.
    pub(super) fn end(&self, target: &str, replays: Vec<String>) -> Result<()> {
        if replays.is_empty() {
            return Ok(());
        }
        let receipt = Receipt::Ended { replays, target: target.to_owned() };
        self.write(self.survey.ends.keys().copied(), &receipt)
    }

    fn write(&self, partitions: impl IntoIterator<Item = i32>, receipt: &Receipt) -> Result<()> {
        let value = receipt.value()?;
        for partition in partitions {
            let record = NewRecord {
                partition: Some(partition),
                // A compacted queue rejects records without a key, and keeps only the newest record of a key.
                key: Some(&value),
                value: Some(&value),
                headers: &Receipt::HEADERS,
                timestamp_ms: None,
            };
            self.producer.send(&self.args.letters.topic, record).with_context(|| self.cannot_note())?;
        }
        Ok(())
    }

    pub(super) fn settle_receipts(&self) -> Result<()> {
        self.producer.flush().with_context(|| self.cannot_note())
    }

    fn cannot_note(&self) -> String {
        format!(
            "cannot write a replay receipt to '{}', without which a repeated replay writes the same records again; \
             grant the user Write on the topic",
            self.args.letters.topic
        )
    }
}
