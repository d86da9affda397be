//! `velo dlq`: what is in a dead letter queue, and its records back to where they came from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use indicatif::ProgressBar;
use velo_engine::columns::Batch;
use velo_engine::kafka::{ClientSettings, DeadLetter, NewRecord, RecordProducer, TopicReader, scan};
use velo_engine::waker::Waker;

use crate::args::{DlqArgs, DlqReplayArgs, DlqShowArgs, TextOrJson};
use crate::kafka::settings;
use crate::progress::{Status, above};
use crate::render::letters::{ByError, Filter, Letter, Letters, Origin};
use crate::render::style;

/// The header that says which record a replayed one is.
const REPLAY_OF: &str = "velo.replay.of";

pub(crate) fn show(args: &DlqShowArgs) -> Result<ExitCode> {
    let settings = settings(&args.letters.broker)?;
    let mut letters = Letters { version: 1, topic: args.letters.topic.clone(), ..Letters::default() };
    let mut by_error = BTreeMap::<(String, String), u64>::new();
    // The newest of each partition; partitions are read in parts and in turn.
    let mut newest = BTreeMap::<i32, std::collections::VecDeque<Letter>>::new();
    let others = read(&settings, &args.letters, |batch, row, letter| {
        let Some(letter) = letter else {
            letters.foreign += 1;
            return Ok(());
        };
        letters.selected += 1;
        *by_error.entry((letter.stage.clone(), alike(&letter.error))).or_default() += 1;
        let letter = described(batch, row, letter);
        let of_partition = newest.entry(letter.partition).or_default();
        of_partition.push_back(letter);
        if of_partition.len() > args.limit {
            of_partition.pop_front();
        }
        Ok(())
    })?;
    letters.others = others;
    letters.by_error =
        by_error.into_iter().map(|((stage, error), count)| ByError { stage, error, count }).collect();
    letters.by_error.sort_by_key(|by_error| std::cmp::Reverse(by_error.count));
    letters.newest = newest.into_values().flatten().collect();
    letters.newest.sort_by_key(|letter| std::cmp::Reverse((letter.timestamp_ms, letter.offset)));
    letters.newest.truncate(args.limit);
    let mut out = anstream::stdout().lock();
    match args.format {
        TextOrJson::Text => write!(out, "{}", letters.text(&filter(&args.letters)))?,
        TextOrJson::Json => {
            serde_json::to_writer_pretty(&mut out, &letters)?;
            writeln!(out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn filter(args: &DlqArgs) -> Filter<'_> {
    Filter { stage: args.stage.as_deref(), error: args.error.as_deref() }
}

/// Reads the queue and hands over every dead letter that is selected, and every record that is no dead letter.
/// Returns how many others there are, by stage.
fn read(
    settings: &ClientSettings,
    args: &DlqArgs,
    mut each: impl FnMut(&Batch, u32, Option<DeadLetter>) -> Result<()>,
) -> Result<BTreeMap<String, u64>> {
    let mut others = BTreeMap::new();
    let is_selected = |letter: &DeadLetter| {
        args.stage.as_ref().is_none_or(|stage| letter.stage == *stage)
            && args.error.as_ref().is_none_or(|error| letter.error.contains(error))
    };
    watched(settings, &args.topic, |batch| {
        for row in 0..batch.len() {
            match DeadLetter::read(batch, row) {
                Some(letter) if !is_selected(&letter) => *others.entry(letter.stage).or_default() += 1,
                letter => each(batch, row, letter)?,
            }
        }
        Ok(())
    })?;
    Ok(others)
}

/// Reads a topic behind a progress bar, which is there only on a terminal.
fn watched(settings: &ClientSettings, topic: &str, mut each: impl FnMut(&Batch) -> Result<()>) -> Result<()> {
    let bar = ProgressBar::new(0).with_message(topic.to_owned());
    let line = Status::start(bar, "{spinner} reading {msg}: {pos} of {len} offsets");
    let result = scan::<Error>(settings, topic, |batch, total| {
        line.bar().set_length(total);
        line.bar().inc(batch.len().into());
        each(batch)
    });
    drop(line);
    result.with_context(|| format!("topic '{topic}'"))
}

fn described(batch: &Batch, row: u32, letter: DeadLetter) -> Letter {
    let length = |bytes: Option<&[u8]>| bytes.map(|bytes| bytes.len() as u64);
    let timestamp_ms = letter.timestamp_ms.or(batch.timestamp_ms(row));
    Letter {
        partition: batch.origin(row).map_or(-1, |origin| origin.partition),
        offset: batch.offset(row),
        origin: origin(&letter),
        stage: letter.stage,
        error: letter.error,
        group: letter.group,
        attempts: letter.attempts,
        timestamp_ms,
        key_bytes: length(batch.key(row)),
        value_bytes: length(batch.value(row)),
    }
}

fn origin(letter: &DeadLetter) -> Origin {
    let DeadLetter { origin, offset, .. } = letter;
    Origin { topic: origin.topic.to_string(), partition: origin.partition, offset: *offset }
}

pub(crate) fn replay(args: &DlqReplayArgs) -> Result<ExitCode> {
    let settings = settings(&args.letters.broker)?;
    let queue = &args.letters.topic;
    if args.to_sink.as_ref() == Some(queue) {
        bail!("'{queue}' would be replayed to itself, without end");
    }
    let mut replay = Replay {
        reader: TopicReader::connect(&settings, 0, Waker::default())?,
        producer: RecordProducer::connect(&settings, Duration::from_millis(5))?,
        targets: BTreeMap::new(),
        partitions: HashMap::new(),
        failed: 0,
        settings: &settings,
        args,
    };
    let mut foreign = 0_u64;
    let others = read(&settings, &args.letters, |batch, row, letter| {
        match letter {
            Some(letter) => replay.send_back(batch, row, &letter)?,
            None => foreign += 1,
        }
        Ok(())
    })?;
    replay
        .producer
        .flush()
        .context("not all records have arrived; fix that and repeat the replay: it writes what is missing")?;
    let failed = replay.failed;
    if foreign > 0 {
        anstream::eprintln!(
            "{foreign} records of '{queue}' do not say which record they were; they stay there"
        );
    }
    if replay.targets.is_empty() && failed == 0 {
        println!("{}", filter(&args.letters).without_match(queue, &others));
    }
    for (target, Target { sent, skipped, .. }) in replay.targets {
        let would = if args.dry_run { "would be " } else { "" };
        println!("{target}: {sent} records {would}replayed, {skipped} were there already");
    }
    if failed > 0 {
        bail!("{failed} records of '{queue}' were not replayed");
    }
    Ok(ExitCode::SUCCESS)
}

/// A replay under way.
struct Replay<'a> {
    settings: &'a ClientSettings,
    args: &'a DlqReplayArgs,
    reader: TopicReader,
    producer: RecordProducer,
    targets: BTreeMap<String, Target>,
    /// How many partitions topics have, where there are such topics.
    partitions: HashMap<String, Option<usize>>,
    /// Records that could not be sent.
    failed: u64,
}

/// A topic that is written to.
struct Target {
    /// What it has from earlier replays, and from this one.
    there: HashSet<Vec<u8>>,
    sent: u64,
    skipped: u64,
}

impl Replay<'_> {
    /// Writes a letter's record to its target, unless it is there already.
    fn send_back(&mut self, batch: &Batch, row: u32, letter: &DeadLetter) -> Result<()> {
        let of = origin(letter);
        let name = self.args.to_sink.as_ref().unwrap_or(&of.topic);
        let Some(partitions) = self.partitions(name)? else {
            if self.args.to_sink.is_some() {
                bail!("there is no topic '{name}' to replay to");
            }
            self.failed(&of, &"its topic is gone; --to-sink writes it to another one");
            return Ok(());
        };
        // A record keeps its partition where the target has as many; else its key decides.
        let is_there = usize::try_from(of.partition).is_ok_and(|partition| partition < partitions);
        let keeps = is_there && self.partitions(&of.topic)? == Some(partitions);
        if !self.targets.contains_key(name) {
            let there = replayed(self.settings, name)?;
            self.targets.insert(name.clone(), Target { there, sent: 0, skipped: 0 });
        }
        let Some(target) = self.targets.get_mut(name) else { return Ok(()) };
        let header = of.to_string();
        // A job that was cut off may have sent the same record to the queue twice.
        if !target.there.insert(header.clone().into_bytes()) {
            target.skipped += 1;
            return Ok(());
        }
        target.sent += 1;
        if self.args.dry_run {
            return Ok(());
        }
        let own = letter.headers.iter().filter(|(name, _)| name != REPLAY_OF);
        let own = own.map(|(name, value)| (name.as_str(), value.as_deref()));
        let headers: Vec<_> = own.chain([(REPLAY_OF, Some(header.as_bytes()))]).collect();
        let record = NewRecord {
            partition: keeps.then_some(of.partition),
            key: batch.key(row),
            value: batch.value(row),
            timestamp_ms: letter.timestamp_ms.or(batch.timestamp_ms(row)),
            headers: &headers,
        };
        if let Err(error) = self.producer.send(name, record) {
            target.sent -= 1;
            self.failed(&of, &error);
        }
        Ok(())
    }

    /// A record that cannot be sent back stops no other one.
    fn failed(&mut self, of: &Origin, error: &dyn std::fmt::Display) {
        self.failed += 1;
        above(|| anstream::eprintln!("{} {of} was not replayed: {error}", style::error("error:")));
    }

    fn partitions(&mut self, topic: &str) -> Result<Option<usize>> {
        if let Some(known) = self.partitions.get(topic) {
            return Ok(*known);
        }
        let count = self.reader.partition_count(topic)?;
        self.partitions.insert(topic.to_owned(), count);
        Ok(count)
    }
}

/// Which records a topic has from earlier replays.
fn replayed(settings: &ClientSettings, target: &str) -> Result<HashSet<Vec<u8>>> {
    let mut there = HashSet::new();
    watched(settings, target, |batch| {
        let headers = (0..batch.len()).flat_map(|row| batch.headers(row));
        there.extend(headers.filter(|(name, _)| name == REPLAY_OF).filter_map(|(_, value)| value.clone()));
        Ok(())
    })?;
    Ok(there)
}

/// An error with # for each number, so that records which failed alike count together.
fn alike(error: &str) -> String {
    let mut alike = String::with_capacity(error.len());
    for character in error.chars() {
        match character {
            '0'..='9' if alike.ends_with('#') => {}
            '0'..='9' => alike.push('#'),
            _ => alike.push(character),
        }
    }
    alike
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_differ_in_numbers_are_alike() {
        assert_eq!(alike("no UTF-8 from byte 17 on, of 4096"), "no UTF-# from byte # on, of #");
        assert_eq!(alike(""), "");
    }
}
