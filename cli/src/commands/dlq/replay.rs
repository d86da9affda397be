//! `velo dlq replay`: writes the records of dead letters to the topics that they came from, or to a sink, each once.
//!
//! 1. The survey reads the queue: its dead letters and the receipts of earlier replays.
//! 2. If an earlier replay was interrupted, the target is searched for its records, from the offsets in its `Began`
//!    receipt on.
//! 3. The queue is read again and records are sent in parts. After the brokers have acknowledged a part, a receipt
//!    is written for it.
#![allow(clippy::disallowed_methods, reason = "--rate needs a clock and waits")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use velo_engine::batch::Batch;
use velo_engine::failpoint::{Edge, Mutant, is_on, reach};
use velo_engine::kafka::{
    ClientSettings, DeadLetter, KafkaError, NewRecord, RecordProducer, Start, TopicReader, Until,
    topic_settings,
};
use velo_engine::waker::Waker;

use super::history::{History, Offsets};
use super::receipt::Receipt;
use super::{filter, is_selected, origin, watched};
use crate::args::DlqReplayArgs;
use crate::kafka::settings;
use crate::progress::above;
use crate::render::letters::Origin;
use crate::render::style;

/// The header of a replayed record with the coordinates of its original: `topic[partition]@offset`.
const REPLAY_OF: &str = "velo.replay.of";
/// The most records, and bytes of payload, that are sent before their receipt is written.
const PART_RECORDS: usize = 10_000;
const PART_BYTES: usize = 16 << 20;
/// The most ranges of offsets in one receipt, which keeps it below the size limit of any topic.
const RANGES_PER_RECEIPT: usize = 1000;

pub(crate) fn replay(args: &DlqReplayArgs) -> Result<ExitCode> {
    let settings = settings(&args.letters.broker)?;
    let queue = &args.letters.topic;
    if args.to_sink.as_ref() == Some(queue) {
        bail!("cannot replay '{queue}' to itself; set --to-sink to another topic");
    }
    let survey = Survey::take(&settings, args)?;
    if survey.foreign > 0 {
        anstream::eprintln!(
            "{} records of '{queue}' have no origin headers and are not replayed",
            survey.foreign
        );
    }
    if survey.letters.iter().all(|letter| !letter.is_selected) {
        println!("{}", filter(&args.letters).without_match(queue, &survey.others));
        return Ok(ExitCode::SUCCESS);
    }
    let mut replay = Replay::prepare(&settings, args, survey)?;
    replay.send_all()?;
    replay.finish()
}

/// A dead letter, without its payload.
struct Seen {
    partition: i32,
    offset: i64,
    origin: Origin,
    timestamp_ms: Option<i64>,
    is_selected: bool,
}

/// The contents of the queue.
struct Survey {
    letters: Vec<Seen>,
    history: History,
    /// The offset after the last dead letter, by queue partition.
    ends: BTreeMap<i32, i64>,
    others: BTreeMap<String, u64>,
    foreign: u64,
}

impl Survey {
    fn take(settings: &ClientSettings, args: &DlqReplayArgs) -> Result<Self> {
        let mut survey = Self {
            letters: Vec::new(),
            history: History::default(),
            ends: BTreeMap::new(),
            others: BTreeMap::new(),
            foreign: 0,
        };
        watched(settings, &args.letters.topic, "reading", (&BTreeMap::new(), Until::Written), |batch| {
            for row in 0..batch.len() {
                survey.add(args, batch, row)?;
            }
            Ok(())
        })?;
        Ok(survey)
    }

    fn add(&mut self, args: &DlqReplayArgs, batch: &Batch, row: u32) -> Result<()> {
        let partition = partition_of(batch, row);
        if let Some(receipt) = Receipt::read(batch, row)? {
            self.history.note(partition, receipt);
            return Ok(());
        }
        let Some(letter) = DeadLetter::read(batch, row) else {
            self.foreign += 1;
            return Ok(());
        };
        let is_selected = is_selected(&args.letters, batch, row, &letter);
        if !is_selected {
            *self.others.entry(letter.stage.clone()).or_default() += 1;
        }
        let offset = batch.offset(row);
        self.ends.insert(partition, offset + 1);
        self.letters.push(Seen {
            partition,
            offset,
            origin: origin(&letter),
            timestamp_ms: letter.timestamp_ms.or(batch.timestamp_ms(row)),
            is_selected,
        });
        Ok(())
    }
}

fn partition_of(batch: &Batch, row: u32) -> i32 {
    batch.origin(row).map_or(-1, |origin| origin.partition)
}

/// A topic that is written to.
#[derive(Default)]
struct Target {
    /// The number of partitions; `None` if there is no such topic.
    partitions: Option<usize>,
    /// Records that earlier replays or this one have written to it.
    there: HashSet<Origin>,
    /// The newest records by key, if the topic is compacted.
    newest: Option<Newest>,
    /// True if this replay has written its `Began` receipt.
    has_begun: bool,
    sent: u64,
    skipped: u64,
    superseded: u64,
}

/// The newest records of a compacted topic, by key.
#[derive(Default)]
struct Newest {
    /// Offsets in this topic; of a replayed record that of its original.
    offsets: HashMap<Vec<u8>, i64>,
    times_ms: HashMap<Vec<u8>, i64>,
}

/// A record on its way to its target.
struct Outgoing {
    /// Partition and offset of the dead letter in the queue.
    letter: (i32, i64),
    origin: Origin,
    target: String,
    partition: Option<i32>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp_ms: Option<i64>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Outgoing {
    fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        length(&self.key) + length(&self.value) + headers
    }

    fn send(&self, producer: &RecordProducer) -> Result<usize, KafkaError> {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let record = NewRecord {
            partition: self.partition,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            timestamp_ms: self.timestamp_ms,
            headers: &headers,
        };
        producer.send(&self.target, record)
    }
}

/// A replay under way.
struct Replay<'a> {
    settings: &'a ClientSettings,
    args: &'a DlqReplayArgs,
    /// The id of this replay in its receipts.
    id: String,
    reader: TopicReader,
    producer: RecordProducer,
    survey: Survey,
    targets: BTreeMap<String, Target>,
    part: Vec<Outgoing>,
    part_bytes: usize,
    /// Further dead letters of records in `part`: the original, and partition and offset in the queue.
    duplicates: Vec<(Origin, (i32, i64))>,
    /// Acknowledged dead letters without a receipt, by target and queue partition.
    arrived: BTreeMap<(String, i32), Offsets>,
    /// The earliest time at which `--rate` allows the next record.
    next_send: Instant,
    /// How many records were selected to be sent, which `--limit` bounds.
    taken: u64,
    /// How many records `--limit` left out.
    left: u64,
    /// How many records could not be written.
    failed: u64,
}

impl<'a> Replay<'a> {
    /// Determines which records the targets have, and writes the missing receipts of interrupted replays.
    fn prepare(settings: &'a ClientSettings, args: &'a DlqReplayArgs, survey: Survey) -> Result<Self> {
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

    fn target_of<'b>(&'b self, origin: &'b Origin) -> &'b str {
        self.args.to_sink.as_deref().unwrap_or(&origin.topic)
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

    fn send_all(&mut self) -> Result<()> {
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

    /// Sends the part, waits for the acknowledgements, and writes its receipts.
    fn send_part(&mut self) -> Result<()> {
        if self.args.dry_run {
            return Ok(());
        }
        self.part_bytes = 0;
        let part = std::mem::take(&mut self.part);
        self.begin(&part)?;
        reach(Edge::ReplayBegun);
        if is_on(Mutant::ReceiptBeforeWrite) {
            for record in &part {
                let arrived = self.arrived.entry((record.target.clone(), record.letter.0)).or_default();
                arrived.insert((record.letter.1, record.letter.1 + 1));
            }
            self.note()?;
            reach(Edge::ReplayNoted);
        }
        let mut numbers = HashMap::new();
        let mut failed = Vec::new();
        for (index, record) in part.iter().enumerate() {
            self.wait_for_turn();
            match record.send(&self.producer) {
                Ok(number) => drop(numbers.insert(number, index)),
                Err(error) => failed.push((index, error)),
            }
        }
        let cut_off = "some records were not acknowledged; fix the cause and repeat the replay to write them";
        let settled = self.producer.settle().context(cut_off)?;
        failed.extend(
            settled
                .into_iter()
                .filter_map(|undelivered| Some((*numbers.get(&undelivered.number)?, undelivered.error))),
        );
        failed.sort_by_key(|(index, _)| *index);
        // The brokers reject whole requests. Sent one by one, only the invalid record is rejected.
        let mut outage = None;
        let mut refused = HashSet::new();
        for (index, error) in failed {
            refused.insert(index);
            if error.is_passing() {
                outage = Some(error);
            } else if outage.is_none() {
                match part[index].send(&self.producer).and_then(|_| self.producer.flush()) {
                    Ok(()) => drop(refused.remove(&index)),
                    Err(error) if error.is_passing() => outage = Some(error),
                    Err(error) => self.failed(&part[index].origin, &error),
                }
            }
        }
        let duplicates = std::mem::take(&mut self.duplicates);
        for (index, record) in part.into_iter().enumerate() {
            let again = duplicates.iter().filter(|(origin, _)| *origin == record.origin);
            let letters: Vec<_> = again.map(|(_, at)| *at).chain([record.letter]).collect();
            if !refused.contains(&index) {
                for (partition, offset) in letters {
                    let arrived = self.arrived.entry((record.target.clone(), partition)).or_default();
                    arrived.insert((offset, offset + 1));
                }
            } else if let Some(target) = self.targets.get_mut(&record.target) {
                target.sent -= 1;
                target.skipped -= letters.len() as u64 - 1;
                target.there.remove(&record.origin);
            }
        }
        reach(Edge::ReplayWritten);
        self.note()?;
        reach(Edge::ReplayNoted);
        outage.map_or(Ok(()), |error| Err(error).context(cut_off))
    }

    /// Waits until `--rate` allows the next record. Lost time is not made up for, so the rate is never exceeded.
    fn wait_for_turn(&mut self) {
        let Some(rate) = self.args.rate else { return };
        std::thread::sleep(self.next_send.saturating_duration_since(Instant::now()));
        self.next_send = self.next_send.max(Instant::now()) + Duration::from_secs_f64(1.0 / rate);
    }

    /// Writes the `Began` receipts of the part's targets.
    fn begin(&mut self, part: &[Outgoing]) -> Result<()> {
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
    fn note(&mut self) -> Result<()> {
        for ((target, partition), offsets) in std::mem::take(&mut self.arrived) {
            for ranges in offsets.ranges().chunks(RANGES_PER_RECEIPT) {
                let receipt = Receipt::Wrote { target: target.clone(), offsets: ranges.to_vec() };
                self.write([partition], &receipt)?;
            }
        }
        self.settle_receipts()
    }

    /// Writes the `Ended` receipt of these replays.
    fn end(&self, target: &str, replays: Vec<String>) -> Result<()> {
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

    fn settle_receipts(&self) -> Result<()> {
        self.producer.flush().with_context(|| self.cannot_note())
    }

    fn cannot_note(&self) -> String {
        format!(
            "cannot write a replay receipt to '{}', without which a repeated replay writes the same records again; \
             grant the user Write on the topic",
            self.args.letters.topic
        )
    }

    /// Counts and reports a record that cannot be written. The replay continues with the others.
    fn failed(&mut self, of: &Origin, error: &dyn std::fmt::Display) {
        self.failed += 1;
        above(|| anstream::eprintln!("{} {of} was not replayed: {error}", style::error("error:")));
    }

    fn finish(mut self) -> Result<ExitCode> {
        if !self.args.dry_run {
            self.note()?;
            for (name, _) in self.targets.iter().filter(|(_, target)| target.has_begun) {
                self.end(name, vec![self.id.clone()])?;
            }
            self.settle_receipts()?;
            reach(Edge::ReplayEnded);
        }
        let would = if self.args.dry_run { "would be " } else { "" };
        for (name, target) in self.targets.iter().filter(|(_, target)| target.partitions.is_some()) {
            let Target { sent, skipped, superseded, .. } = target;
            println!("{name}: {sent} {would}replayed, {skipped} already present");
            if *superseded > 0 {
                println!(
                    "{name}: {superseded} skipped: the topic is compacted and has newer records of the same keys \
                     (--over-newer writes them anyway)"
                );
            }
        }
        if self.left > 0 {
            println!("{} left for the next replay (--limit)", self.left);
        }
        if self.failed > 0 {
            bail!("{} records of '{}' were not replayed", self.failed, self.args.letters.topic);
        }
        Ok(ExitCode::SUCCESS)
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
