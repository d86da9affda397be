//! Runs the engine for the check programs: takes a configuration and returns a line that describes the result.

use std::collections::BTreeMap;
use std::time::Duration;

use velo_engine::core::JobError;
use velo_engine::core::batcher::SealReason;
use velo_engine::core::failure::{RowError, Stage};
use velo_engine::report::Report;
use velo_engine::simulate::{Arrival, Served, simulate};
use velo_engine::source::memory::MemorySource;
use velo_engine::{Engine, JobConfig};
use velo_schema::Tier;

/// The workload for batches: 2,000 records per second for 12 s, 2,000 bytes each. A batch takes 1 ms, and 10 µs for each
/// record.
const RECORDS: u32 = 24_000;
const GAP: Duration = Duration::from_micros(500);
const BYTES: u64 = 2000;

/// Describes the batches of a configuration: why they are sealed and how large they are in virtual time, the tier in
/// which the engine reads the same number of records from memory, and any deviation from the plan.
pub(crate) fn batches(config: &JobConfig) -> String {
    let arrivals =
        (0..RECORDS).map(|n| Arrival { at: GAP * n, bytes: BYTES, offset: n.into(), ..Arrival::default() });
    let simulated = simulate(config, arrivals, |rows, _| {
        let records = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        (Duration::from_millis(1) + Duration::from_micros(10) * records).into()
    });
    let largest = simulated.sealed.iter().map(|batch| batch.records).max().unwrap_or(0);
    let values = vec![vec![b'x'; 20]; RECORDS as usize];
    let run = Engine::builder(config.clone()).run(MemorySource::new(values), &mut |_| {});
    let (reasons, disagreement) = (reasons(&simulated.report), disagreement(config, &run));
    format!("{reasons}; largest {largest}, read in the {} tier{disagreement}", run.tier.actual)
}

fn reasons(report: &Report) -> String {
    let word = |reason: SealReason| match reason {
        SealReason::Count => "count",
        SealReason::Bytes => "bytes",
        SealReason::Time => "time",
        SealReason::Eager => "eager",
        SealReason::Memory => "memory",
        SealReason::Drain => "drain",
    };
    let by_reason: BTreeMap<_, _> = report.batches.by_reason.iter().collect();
    let parts: Vec<_> =
        by_reason.into_iter().map(|(reason, n)| format!("{n} by {}", word(*reason))).collect();
    parts.join(", ")
}

/// Describes a deviation of the engine from the plan; empty if there is none.
fn disagreement(config: &JobConfig, run: &Report) -> String {
    let plan = config.plan();
    let most = plan.max_poll_records.max;
    if run.ledger.ok != u64::from(RECORDS) {
        return format!("; the engine processed {} of {RECORDS} records", run.ledger.ok);
    }
    if run.batches.size_max > most || run.dequeue.records_per_call > most as f64 {
        return format!("; the engine made a batch of {} records", run.batches.size_max);
    }
    if plan.tier != Tier::Auto && run.tier.actual != plan.tier {
        return format!("; the engine read in the {} tier", run.tier.actual);
    }
    String::new()
}

/// Offsets of the records that fail: once in processing, always in processing, in decoding, and in writing.
const FAILS_ONCE: i64 = 5;
const FAILS: i64 = 42;
const IS_NO_RECORD: i64 = 60;
const IS_REFUSED: i64 = 90;

/// Describes the outcome of 100 records in batches of 10, of which four fail, each in a different way.
pub(crate) fn failures(config: &JobConfig) -> String {
    let mut config = config.clone();
    for side in [&mut config.source, &mut config.job, &mut config.sink] {
        side.max_batch_records = 10;
    }
    let arrivals = (0..100).map(|offset| Arrival { bytes: 1, offset, ..Arrival::default() });
    let run = simulate(&config, arrivals, |rows, attempt| {
        let row_of = |wanted| (0_u32..).zip(rows).find(|(_, row)| row.offset == wanted).map(|(row, _)| row);
        let error =
            |stage, retriable| move |row| RowError { row, stage, message: "it is bad".to_owned(), retriable };
        let once = row_of(FAILS_ONCE).filter(|_| attempt == 0).map(error(Stage::Process, true));
        let always = row_of(FAILS).map(error(Stage::Process, true));
        let undecodable = row_of(IS_NO_RECORD).map(error(Stage::Decode, false));
        let bad = [once, always, undecodable].into_iter().flatten().collect();
        Served { bad, refused: row_of(IS_REFUSED).into_iter().collect(), ..Served::default() }
    });
    let ledger = run.report.ledger;
    let mut line = format!("ok {}", ledger.ok);
    for (count, what) in [(ledger.skipped, "skipped"), (ledger.dlq, "dlq")] {
        if count > 0 {
            line += &format!(", {what} {count}");
        }
    }
    match run.error {
        Some(JobError::Batch(error)) => line += &format!(", failed in {}", error.stage),
        Some(JobError::Exhausted(error, retries)) => {
            line += &format!(", failed in {} after {retries} retries", error.stage);
        }
        Some(other) => line += &format!(", {other}"),
        None => {}
    }
    line
}
