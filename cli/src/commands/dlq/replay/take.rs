//! Selects the records to write: the queue in, parts of records without those that their targets have out.

use std::collections::BTreeMap;

use anyhow::Result;
use velo_engine::batch::Batch;
use velo_engine::dead_letter::DeadLetter;
use velo_engine::kafka::Until;

use super::outgoing::{Outgoing, REPLAY_OF};
use super::state::Replay;
use super::survey::partition_of;
use crate::commands::dlq::receipt::Receipt;
use crate::commands::dlq::{is_selected, origin, watched};

/// The most records, and bytes of payload, that are sent before their receipt is written.
const PART_RECORDS: usize = 10_000;
const PART_BYTES: usize = 16 << 20;

impl Replay<'_> {
    pub(super) fn send_all(&mut self) -> Result<()> {
        let (settings, queue) = (self.settings, self.args.letters.topic.clone());
        watched(settings, &queue, "replaying", (&BTreeMap::new(), Until::Written), |batch| {
            for row in 0..batch.len() {
                // Dead letters that arrived after the survey are left for the next replay.
                let end = self.survey.ends.get(&partition_of(batch, row)).copied().unwrap_or(0);
                if batch.offset(row) >= end || Receipt::read(batch, row)?.is_some() {
                    continue;
                }
                let Some(letter) = DeadLetter::read(batch, row) else { continue };
                if is_selected(&self.args.letters, batch, row, &letter) {
                    self.take(batch, row, letter)?;
                }
            }
            Ok(())
        })?;
        self.send_part()
    }

    /// Adds a dead letter's record to the part, unless its target has it or has a newer one.
    fn take(&mut self, batch: &Batch, row: u32, letter: DeadLetter) -> Result<()> {
        let origin = origin(&letter);
        let name = self.target_of(&origin).to_owned();
        let at = (partition_of(batch, row), batch.offset(row));
        let Some(target) = self.targets.get_mut(&name) else { return Ok(()) };
        let Some(partitions) = target.partitions else {
            self.failed(&origin, &"its topic does not exist; set --to-sink to write it to another topic");
            return Ok(());
        };
        // An interrupted job may have written the same record to the queue twice.
        if target.there.contains(&origin) {
            target.skipped += 1;
            if self.part.iter().any(|record| record.origin == origin && record.target == name) {
                self.duplicates.push((origin, at));
            } else {
                self.arrived.entry((name, at.0)).or_default().insert((at.1, at.1 + 1));
            }
            return Ok(());
        }
        let timestamp_ms = letter.timestamp_ms.or(batch.timestamp_ms(row));
        let key = batch.key(row);
        if let (Some(newest), Some(key)) = (&mut target.newest, key) {
            let is_older = if origin.topic == name {
                newest.offsets.get(key).is_some_and(|offset| *offset > origin.offset)
            } else {
                newest.times_ms.get(key).zip(timestamp_ms).is_some_and(|(newest, own)| *newest > own)
            };
            if is_older {
                target.superseded += 1;
                return Ok(());
            }
            // Later dead letters of the same key must be newer than this one.
            if let Some(time) = timestamp_ms {
                newest.times_ms.insert(key.to_vec(), time);
            }
        }
        if self.args.limit.is_some_and(|limit| self.taken >= limit as u64) {
            self.left += 1;
            return Ok(());
        }
        self.taken += 1;
        target.sent += 1;
        target.there.insert(origin.clone());
        if self.args.dry_run {
            return Ok(());
        }
        // The record keeps its partition if the target has as many partitions; otherwise its key selects one.
        let is_there = usize::try_from(origin.partition).is_ok_and(|partition| partition < partitions);
        let keeps = is_there
            && (origin.topic == name || self.reader.partition_count(&origin.topic)? == Some(partitions));
        let mut headers = letter.headers;
        headers.retain(|(name, _)| name != REPLAY_OF);
        headers.push((REPLAY_OF.to_owned(), Some(origin.to_string().into_bytes())));
        let outgoing = Outgoing {
            letter: at,
            partition: keeps.then_some(origin.partition),
            origin,
            target: name,
            key: key.map(<[u8]>::to_vec),
            value: batch.value(row).map(<[u8]>::to_vec),
            timestamp_ms,
            headers,
        };
        self.part_bytes += outgoing.bytes();
        self.part.push(outgoing);
        // With `--rate`, a receipt is written about once a second.
        let records = self.args.rate.map_or(PART_RECORDS as f64, |rate| rate.min(PART_RECORDS as f64));
        if self.part.len() as f64 >= records || self.part_bytes >= PART_BYTES {
            self.send_part()?;
        }
        Ok(())
    }
}
