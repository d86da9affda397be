//! Prepares a replay: the survey in, the targets with the records that they have out. Writes the receipts that
//! interrupted replays did not write.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use velo_engine::kafka::{ClientSettings, RecordProducer, Start, TopicReader, Until, topic_settings};
use velo_engine::waker::Waker;

use super::outgoing::REPLAY_OF;
use super::state::Replay;
use super::survey::{Seen, Survey};
use super::target::{Newest, Target};
use crate::args::DlqReplayArgs;
use crate::commands::dlq::watched;

impl<'a> Replay<'a> {
    /// Determines which records the targets have, and writes the missing receipts of interrupted replays.
    pub(super) fn prepare(
        settings: &'a ClientSettings,
        args: &'a DlqReplayArgs,
        survey: Survey,
    ) -> Result<Self> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut replay = Self {
            settings,
            args,
            id: format!("{}-{}", since.as_nanos(), std::process::id()),
            reader: TopicReader::connect(settings, 0, Waker::default())?,
            producer: RecordProducer::connect(settings, Duration::from_millis(5))?,
            survey,
            targets: BTreeMap::new(),
            part: Vec::new(),
            part_bytes: 0,
            duplicates: Vec::new(),
            arrived: BTreeMap::new(),
            next_send: Instant::now(),
            taken: 0,
            left: 0,
            failed: 0,
        };
        for name in replay.wanted() {
            let partitions = replay.reader.partition_count(&name)?;
            if partitions.is_none() && args.to_sink.is_some() {
                bail!("there is no topic '{name}' to replay to; create it first");
            }
            let mut target = Target { partitions, ..Target::default() };
            if partitions.is_some() {
                replay.look(&name, &mut target)?;
            }
            replay.targets.insert(name, target);
        }
        if !args.dry_run {
            replay.note()?;
            for (name, _) in replay.targets.iter().filter(|(_, target)| target.partitions.is_some()) {
                replay.end(name, replay.survey.history.open(name).0)?;
            }
            replay.settle_receipts()?;
        }
        Ok(replay)
    }

    /// Returns the targets of the selected dead letters.
    fn wanted(&self) -> BTreeSet<String> {
        let selected = self.survey.letters.iter().filter(|letter| letter.is_selected);
        selected.map(|letter| self.target_of(&letter.origin).to_owned()).collect()
    }

    /// Finds the records that a target has already, and the newest record of each key if the target is compacted.
    fn look(&mut self, name: &str, target: &mut Target) -> Result<()> {
        let (cut_off, starts) = self.survey.history.open(name);
        let found = if cut_off.is_empty() { HashSet::new() } else { replayed(self.settings, name, &starts)? };
        // Earlier replays may have written dead letters to this target that have another target now.
        for letter in &self.survey.letters {
            if self.survey.history.has(name, letter.partition, letter.offset) {
                target.there.insert(letter.origin.clone());
            } else if found.contains(&letter.origin.to_string()) {
                target.there.insert(letter.origin.clone());
                let arrived = self.arrived.entry((name.to_owned(), letter.partition)).or_default();
                arrived.insert((letter.offset, letter.offset + 1));
            }
        }
        let is_missing = |letter: &&Seen| {
            letter.is_selected
                && self.target_of(&letter.origin) == name
                && !target.there.contains(&letter.origin)
        };
        let missing: Vec<_> = self.survey.letters.iter().filter(is_missing).collect();
        // A topic whose settings are unknown may be compacted.
        let may_be_compacted = || {
            let settings = topic_settings(self.settings, &self.reader, name);
            settings.is_compacted || !settings.is_known
        };
        if !self.args.over_newer && !missing.is_empty() && may_be_compacted() {
            target.newest = Some(self.newest(name, &missing)?);
        }
        Ok(())
    }

    /// Reads a topic from the oldest of these dead letters on and returns the newest record of each key.
    fn newest(&self, name: &str, letters: &[&Seen]) -> Result<Newest> {
        let partitions = self.reader.partitions(name)?;
        let mut starts = BTreeMap::<i32, i64>::new();
        if letters.iter().any(|letter| letter.origin.topic != name) {
            let oldest_ms = letters.iter().filter_map(|letter| letter.timestamp_ms).min().unwrap_or(0);
            let offsets = self.reader.offsets(name, &partitions, Start::Timestamp(oldest_ms))?;
            starts.extend(partitions.iter().map(|partition| partition.partition).zip(offsets));
        } else {
            // A partition without a dead letter has none of their keys, so it is not read.
            starts.extend(partitions.iter().map(|partition| (partition.partition, partition.high)));
            for letter in letters {
                let start = starts.entry(letter.origin.partition).or_insert(0);
                *start = (*start).min(letter.origin.offset);
            }
        }
        let own = format!("{name}[");
        let mut newest = Newest::default();
        watched(self.settings, name, "checking for newer records in", (&starts, Until::Written), |batch| {
            for row in 0..batch.len() {
                let Some(key) = batch.key(row) else { continue };
                let replayed = batch.headers(row).iter().find(|(name, _)| name == REPLAY_OF);
                let replayed = replayed.and_then(|(_, of)| std::str::from_utf8(of.as_deref()?).ok());
                let was = replayed.and_then(|of| of.strip_prefix(&own)?.rsplit_once('@')?.1.parse().ok());
                let offset = was.unwrap_or(batch.offset(row));
                let known = newest.offsets.entry(key.to_vec()).or_insert(offset);
                *known = (*known).max(offset);
                if let Some(time) = batch.timestamp_ms(row) {
                    let known = newest.times_ms.entry(key.to_vec()).or_insert(time);
                    *known = (*known).max(time);
                }
            }
            Ok(())
        })?;
        Ok(newest)
    }
}

/// Reads a topic from these offsets on and returns the original coordinates of its replayed records.
fn replayed(settings: &ClientSettings, target: &str, starts: &BTreeMap<i32, i64>) -> Result<HashSet<String>> {
    let mut there = HashSet::new();
    watched(settings, target, "checking for replayed records in", (starts, Until::Written), |batch| {
        let headers = (0..batch.len()).flat_map(|row| batch.headers(row));
        let replayed = headers.filter(|(name, _)| name == REPLAY_OF);
        there.extend(replayed.filter_map(|(_, of)| String::from_utf8(of.clone()?).ok()));
        Ok(())
    })?;
    Ok(there)
}
