//! `velo dlq`: shows the contents of a dead letter queue, and replays its records.

mod history;
mod receipt;
mod replay;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use indicatif::ProgressBar;
use velo_engine::batch::Batch;
use velo_engine::dead_letter::DeadLetter;
use velo_engine::kafka::{ClientSettings, Until, scan_from};

use self::receipt::Receipt;
pub(crate) use self::replay::replay;
use crate::args::{DlqArgs, DlqShowArgs, TextOrJson};
use crate::kafka::settings;
use crate::progress::Status;
use crate::render::letters::{ByError, Filter, Letter, Letters, Origin};

pub(crate) fn show(args: &DlqShowArgs) -> Result<ExitCode> {
    let settings = settings(&args.letters.broker)?;
    let mut letters = Letters { version: 1, topic: args.letters.topic.clone(), ..Letters::default() };
    let mut by_error = BTreeMap::<(String, String), u64>::new();
    // The newest dead letters by partition. Partitions are read interleaved, each in the order of its offsets.
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

/// Returns the selection, for messages.
fn filter(args: &DlqArgs) -> Filter<'_> {
    Filter {
        stage: args.stage.as_deref(),
        error: args.error.as_deref(),
        since_ms: args.since,
        until_ms: args.until,
    }
}

/// True if a dead letter matches `--stage`, `--error`, `--since` and `--until`.
fn is_selected(args: &DlqArgs, batch: &Batch, row: u32, letter: &DeadLetter) -> bool {
    let time_ms = letter.timestamp_ms.or(batch.timestamp_ms(row));
    args.stage.as_ref().is_none_or(|stage| letter.stage == *stage)
        && args.error.as_ref().is_none_or(|error| letter.error.contains(error))
        && args.since.is_none_or(|since| time_ms.is_some_and(|time| time >= since))
        && args.until.is_none_or(|until| time_ms.is_some_and(|time| time < until))
}

/// Reads the queue and calls `each` with every selected dead letter, and with `None` for every record that is not a dead
/// letter. Receipts are skipped. Returns the number of dead letters that are not selected, by stage.
fn read(
    settings: &ClientSettings,
    args: &DlqArgs,
    mut each: impl FnMut(&Batch, u32, Option<DeadLetter>) -> Result<()>,
) -> Result<BTreeMap<String, u64>> {
    let mut others = BTreeMap::new();
    watched(settings, &args.topic, "reading", (&BTreeMap::new(), Until::Stable), |batch| {
        for row in 0..batch.len() {
            if Receipt::read(batch, row)?.is_some() {
                continue;
            }
            match DeadLetter::read(batch, row) {
                Some(letter) if !is_selected(args, batch, row, &letter) => {
                    *others.entry(letter.stage).or_default() += 1;
                }
                letter => each(batch, row, letter)?,
            }
        }
        Ok(())
    })?;
    Ok(others)
}

/// Reads a topic from these offsets on, with a progress bar (on a terminal only).
fn watched(
    settings: &ClientSettings,
    topic: &str,
    what: &str,
    (starts, until): (&BTreeMap<i32, i64>, Until),
    mut each: impl FnMut(&Batch) -> Result<()>,
) -> Result<()> {
    let bar = ProgressBar::new(0).with_message(format!("{what} {topic}"));
    let line = Status::start(bar, "{spinner} {msg}: {pos} of {len} offsets");
    let result = scan_from::<Error>(settings, topic, starts, until, |batch, total| {
        line.bar().set_length(total);
        line.bar().inc(batch.len().into());
        each(batch)
    });
    drop(line);
    result.with_context(|| format!("topic '{topic}'"))
}

/// Returns the description of a dead letter that `velo dlq show` prints.
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

/// Replaces each number in an error with `#`, so that errors that differ only in numbers are counted together.
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
    fn errors_that_differ_only_in_numbers_are_alike() {
        assert_eq!(alike("no UTF-8 from byte 17 on, of 4096"), "no UTF-# from byte # on, of #");
        assert_eq!(alike(""), "");
    }
}
