//! `velo dlq`: what is in a dead letter queue, and its records back to where they came from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use velo_engine::columns::Batch;
use velo_engine::kafka::{
    ClientSettings, DeadLetter, KafkaError, NewRecord, RecordProducer, TopicReader, scan,
};
use velo_engine::waker::Waker;

use crate::args::{DlqArgs, DlqReplayArgs, DlqShowArgs, TextOrJson};
use crate::kafka::settings;
use crate::render::letters::{ByError, Letter, Letters, Origin};

/// The header that says which record a replayed one is.
const REPLAY_OF: &str = "velo.replay.of";

pub(crate) fn show(args: &DlqShowArgs) -> Result<ExitCode> {
    let settings = settings(&args.letters.broker)?;
    let mut letters = Letters { version: 1, topic: args.letters.topic.clone(), ..Letters::default() };
    let mut by_error = BTreeMap::<(String, String), u64>::new();
    // The newest of each partition; partitions are read in parts and in turn.
    let mut newest = BTreeMap::<i32, std::collections::VecDeque<Letter>>::new();
    read(&settings, &args.letters, |batch, row, letter| {
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
    letters.by_error =
        by_error.into_iter().map(|((stage, error), count)| ByError { stage, error, count }).collect();
    letters.by_error.sort_by_key(|by_error| std::cmp::Reverse(by_error.count));
    letters.newest = newest.into_values().flat_map(|letters| letters.into_iter().rev()).collect();
    letters.newest.truncate(args.limit);
    let mut out = anstream::stdout().lock();
    match args.format {
        TextOrJson::Text => write!(out, "{}", letters.text())?,
        TextOrJson::Json => {
            serde_json::to_writer_pretty(&mut out, &letters)?;
            writeln!(out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the queue and hands every selected letter over, and every record that is none.
fn read(
    settings: &ClientSettings,
    args: &DlqArgs,
    mut each: impl FnMut(&Batch, u32, Option<DeadLetter>) -> Result<()>,
) -> Result<()> {
    let is_selected = |letter: &DeadLetter| {
        args.stage.as_ref().is_none_or(|stage| letter.stage == *stage)
            && args.error.as_ref().is_none_or(|error| letter.error.contains(error))
    };
    watched(settings, &args.topic, |batch| {
        for row in 0..batch.len() {
            match DeadLetter::read(batch, row) {
                Some(letter) if !is_selected(&letter) => {}
                letter => each(batch, row, letter)?,
            }
        }
        Ok(())
    })
}

/// Reads a topic behind a progress bar, which is there only on a terminal.
fn watched(settings: &ClientSettings, topic: &str, mut each: impl FnMut(&Batch) -> Result<()>) -> Result<()> {
    let bar = ProgressBar::new(0).with_message(topic.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} reading {msg}: {pos} of {len} offsets") {
        bar.set_style(style);
    }
    let result = scan::<Error>(settings, topic, |batch, total| {
        bar.set_length(total);
        bar.inc(batch.len().into());
        each(batch)
    });
    bar.finish_and_clear();
    result.with_context(|| format!("topic '{topic}'"))
}

fn described(batch: &Batch, row: u32, letter: DeadLetter) -> Letter {
    let length = |bytes: Option<&[u8]>| bytes.map(|bytes| bytes.len() as u64);
    Letter {
        partition: batch.origin(row).map_or(-1, |origin| origin.partition),
        offset: batch.offset(row),
        origin: origin(&letter),
        stage: letter.stage,
        error: letter.error,
        group: letter.group,
        attempts: letter.attempts,
        timestamp_ms: batch.timestamp_ms(row),
        key_bytes: length(batch.key(row)),
        value_bytes: length(batch.value(row)),
    }
}

fn origin(letter: &DeadLetter) -> Origin {
    let DeadLetter { origin, offset, .. } = letter;
    Origin { topic: origin.topic.to_string(), partition: origin.partition, offset: *offset }
}

/// A record to send back.
struct Returned {
    of: Origin,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp_ms: Option<i64>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

pub(crate) fn replay(args: &DlqReplayArgs) -> Result<ExitCode> {
    let settings = settings(&args.letters.broker)?;
    let queue = &args.letters.topic;
    if args.to_sink.as_ref() == Some(queue) {
        bail!("'{queue}' would be replayed to itself, without end");
    }
    let mut by_target = BTreeMap::<String, Vec<Returned>>::new();
    let (mut selected, mut foreign) = (HashSet::new(), 0_u64);
    read(&settings, &args.letters, |batch, row, letter| {
        let Some(letter) = letter else {
            foreign += 1;
            return Ok(());
        };
        let of = origin(&letter);
        // A job that was cut off may have sent the same record there twice.
        if selected.insert(of.clone()) {
            let target = args.to_sink.clone().unwrap_or_else(|| of.topic.clone());
            by_target.entry(target).or_default().push(Returned {
                of,
                key: batch.key(row).map(<[u8]>::to_vec),
                value: batch.value(row).map(<[u8]>::to_vec),
                timestamp_ms: batch.timestamp_ms(row),
                headers: letter.headers,
            });
        }
        Ok(())
    })?;
    if foreign > 0 {
        anstream::eprintln!(
            "{foreign} records of '{queue}' do not say which record they were; they stay there"
        );
    }
    if by_target.is_empty() {
        println!("no dead letter of '{queue}' is selected");
    }
    for (target, records) in by_target {
        let (sent, there) = send_back(&settings, args, &target, &records)?;
        let would = if args.dry_run { "would be " } else { "" };
        println!("{target}: {sent} records {would}replayed, {there} were there already");
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to the target what it does not have yet; returns how many that are, and how many it has.
fn send_back(
    settings: &ClientSettings,
    args: &DlqReplayArgs,
    target: &str,
    records: &[Returned],
) -> Result<(u64, u64)> {
    let reader = TopicReader::connect(settings, 0, Waker::default())?;
    let count = |topic: &str| -> Result<Option<usize>, KafkaError> { reader.partition_count(topic) };
    let Some(partitions) = count(target)? else { bail!("there is no topic '{target}' to replay to") };
    let there = replayed(settings, target)?;
    let mut counts = HashMap::new();
    let producer = RecordProducer::connect(settings, Duration::from_millis(5))?;
    let (mut sent, mut skipped) = (0, 0);
    for record in records {
        let of = record.of.to_string();
        if there.contains(of.as_bytes()) {
            skipped += 1;
            continue;
        }
        sent += 1;
        if args.dry_run {
            continue;
        }
        if !counts.contains_key(&record.of.topic) {
            counts.insert(record.of.topic.clone(), count(&record.of.topic)?);
        }
        // A record keeps its partition where the target has as many; else its key decides.
        let keeps = counts[&record.of.topic] == Some(partitions);
        let own = record.headers.iter().filter(|(name, _)| name != REPLAY_OF);
        let own = own.map(|(name, value)| (name.as_str(), value.as_deref()));
        let headers: Vec<_> = own.chain([(REPLAY_OF, Some(of.as_bytes()))]).collect();
        let new = NewRecord {
            partition: keeps.then_some(record.of.partition),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            timestamp_ms: record.timestamp_ms,
            headers: &headers,
        };
        producer.send(target, new)?;
    }
    producer.flush().with_context(|| {
        format!(
            "not all records arrived in '{target}'; repeat the replay once that is mended, it writes the rest"
        )
    })?;
    Ok((sent, skipped))
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
