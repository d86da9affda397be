//! The engine as a pure machine: events and a time go in, actions come out. No clock, no threads, no I/O.
//!
//! The driver performs the actions and reports back; whatever replays the same events at the same
//! ticks gets the same actions. Batches are sealed by the [`batcher`], a lane's order and commits are
//! kept by the [`lane`] tracker, and what follows a failure is decided in [`failure`]. [`Core`] puts
//! them together.

pub mod batcher;
pub mod controller;
pub mod failure;
mod invariant;
pub mod lane;
mod machine;
mod regroup;
mod runs;
mod transaction;
mod window;

use std::ops::Range;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::{Tier, format_duration};

use crate::columns::{BatchId, LaneId};
use batcher::{SealReason, SealRule};
use failure::{ByStage, RowError, Stage};

pub use machine::Core;
pub use transaction::TransactionRule;

/// A time on the engine's clock: nanoseconds since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The time that passes from `earlier` to this one; zero where it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Tick {
    type Output = Self;

    /// Saturating: a deadline beyond five hundred years never comes.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// How the machine is set up.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// When a batch is full.
    pub seal: SealRule,
    /// When what is written together is full, where that is not as it was processed.
    pub regroup: Option<SealRule>,
    /// What is written and committed in one transaction, where there are any.
    pub transaction: Option<TransactionRule>,
    /// The tier to begin with.
    pub tier: Tier,
    /// What follows a failure, by stage.
    pub failure: ByStage<failure::Policy>,
    /// How many batches are processed at a time.
    pub workers: usize,
    /// What jobs differ in that would otherwise retry at the same moment.
    pub seed: u64,
    /// How often settled offsets are committed.
    pub commit_interval: Duration,
    /// How long a revoked lane may take to settle what is in flight.
    pub drain_timeout: Duration,
    /// How long a batch may be processed.
    pub max_batch_time: Duration,
    /// Most records that are delivered and not settled, before more are taken.
    pub max_unsettled_records: u64,
    /// Most bytes of the same.
    pub max_unsettled_bytes: u64,
}

/// How a lane ends before its job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoke {
    /// It is still ours until we give it up: settle what is in flight first.
    Drain,
    /// Somebody else has it already: commit nothing more.
    Lost,
}

/// Where a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its outputs are written.
    Ok,
    /// It is in the dead letter queue.
    Dlq,
}

/// What became of an attempt to process a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The rows that failed, in order; all others succeeded.
    pub rows: Vec<RowError>,
    /// What failed without being any record's fault; then no row counts as processed.
    pub system: Option<String>,
    /// Why the job has to end: a later attempt at the batch cannot succeed either.
    pub fatal: Option<String>,
    /// What the rows that succeeded put out, in order: needed only where it is regrouped.
    pub weights: Vec<Weight>,
}

/// How much a row put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// The row.
    pub row: u32,
    /// Its records.
    pub records: u32,
    /// Their keys' and values' bytes.
    pub bytes: u64,
}

/// What the driver reports.
#[derive(Debug)]
pub enum Event<'a> {
    /// A lane begins, at an offset.
    Assigned(LaneId, i64),
    /// True if everything that was to be read has been read, here or by another member; the job is done
    /// once what is in flight is settled and committed. A source takes it back when it loses a lane.
    EndOfInput(bool),
    /// Records of a lane were appended to the open batch: their offsets and payload bytes.
    Rows(LaneId, &'a [i64], u64),
    /// The next record of a lane does not fit into the open batch.
    Exceeds,
    /// Nothing more is queued.
    Idle,
    /// Whether there is no memory to fill before something is settled.
    Starved(bool),
    /// There is no record of a lane before this offset that was not delivered.
    Position(LaneId, i64),
    /// What was not delivered of a lane before this offset is gone.
    Lost(LaneId, i64),
    /// No more records will come from a lane.
    Ended(LaneId),
    /// Time has passed.
    Tick,
    /// A processor has taken a batch up, for the attempt of this number.
    Started(BatchId, u32),
    /// A batch was processed.
    Finished(BatchId, &'a Verdict),
    /// Rows reached where they were sent.
    Acked(BatchId, Range<u32>, Fate),
    /// A row was refused for good where it was sent.
    Refused(BatchId, u32, Stage, &'a str),
    /// The commit in flight has ended, well or not.
    CommitEnded(bool),
    /// What was written in the open transaction cannot be committed.
    TransactionFailed,
    /// The transaction that was to be committed, or undone, is: whether it was committed.
    TransactionEnded(bool),
    /// A lane is taken away.
    Revoked(LaneId, Revoke),
    /// The job is to end once what is in flight is settled.
    Stop,
}

/// What the driver is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The open batch becomes this one.
    Seal(BatchId, SealReason),
    /// Process a batch: its first attempt or a later one.
    Run(BatchId, u32),
    /// What is written next, up to the next one of these, is a group of so many records.
    Group(SealReason, u64),
    /// Write the outputs of these rows.
    Write(BatchId, Range<u32>),
    /// Write these rows, as they came, to the dead letter queue, after so many attempts.
    DeadLetter(BatchId, Vec<RowError>, u32),
    /// Log these rows; they are left out.
    Skip(BatchId, Vec<RowError>),
    /// The batch could not be processed; it will be again, after this long.
    Hold(BatchId, Duration, String),
    /// Commit these offsets, asynchronously, and report [`Event::CommitEnded`].
    Commit(Vec<(LaneId, i64)>),
    /// Commit the transaction, with these offsets, and report [`Event::TransactionEnded`].
    CommitTransaction(Vec<(LaneId, i64)>),
    /// Undo the transaction, and report [`Event::TransactionEnded`].
    AbortTransaction,
    /// What was written of this batch is undone; it will be written again.
    Rewrite(BatchId),
    /// Give these lanes up, after committing their offsets, if they have one, together and synchronously.
    Release(Vec<(LaneId, Option<i64>)>),
    /// Nothing refers to the batch any more.
    Drop(BatchId),
    /// The job has failed, on account of this batch where it is one.
    Fail(Option<BatchId>, JobError),
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// `FailBatch`: a record failed and its strategy says that nothing may be left out.
    #[error("a record failed in {} and nothing may be left out: {}", .0.stage, .0.message)]
    Batch(RowError),
    /// `RetryWithBackoff`: a record still failed after the last retry.
    #[error("a record still failed in {} after {} of retrying: {}", .0.stage, times(*.1), .0.message)]
    Exhausted(RowError, u32),
    /// The dead letter queue refused a record for good.
    #[error("the dead letter queue refused the record: {}", .0.message)]
    DeadLetterRefused(RowError),
    /// A batch has been processed for as long as it may be.
    #[error("a batch has been processed for {} and holds its partitions; --max-batch-time bounds that", format_duration(*.0))]
    Stuck(Duration),
    /// The source cannot go on.
    #[error("{0}")]
    Source(String),
    /// The processor cannot work at all, whatever the batch.
    #[error("{0}")]
    Processor(String),
    /// A processor panicked, or the sink did.
    #[error("a processor or the sink panicked")]
    Panicked,
    /// The sink or the dead letter queue takes nothing any more, whatever the record.
    #[error("{0}")]
    Sink(String),
}

impl JobError {
    /// The row of the failed batch that is to blame, if one is.
    #[must_use]
    pub fn row(&self) -> Option<u32> {
        match self {
            Self::Batch(error) | Self::Exhausted(error, _) | Self::DeadLetterRefused(error) => {
                Some(error.row)
            }
            _ => None,
        }
    }
}

fn times(n: u32) -> String {
    if n == 1 { "one time".to_owned() } else { format!("{n} times") }
}

/// Where every delivered record ended. The states add up to `delivered`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// Records that the source handed over.
    pub delivered: u64,
    /// Processed and written.
    pub ok: u64,
    /// Failed, logged and left out.
    pub skipped: u64,
    /// Failed and written to the dead letter queue.
    pub dlq: u64,
    /// In the batch that made the job fail.
    pub failed: u64,
    /// Not settled when the job or their lane ended; they will be read again.
    pub uncommitted: u64,
    /// Offsets that held no record.
    pub gaps: u64,
    /// Offsets whose records were deleted before they were read, with `--on-data-loss continue`.
    #[serde(default)]
    pub lost: u64,
}

impl std::ops::Add for Ledger {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            delivered: self.delivered + other.delivered,
            ok: self.ok + other.ok,
            skipped: self.skipped + other.skipped,
            dlq: self.dlq + other.dlq,
            failed: self.failed + other.failed,
            uncommitted: self.uncommitted + other.uncommitted,
            gaps: self.gaps + other.gaps,
            lost: self.lost + other.lost,
        }
    }
}

impl Ledger {
    /// Whether every delivered record ended in exactly one state.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.delivered == self.ok + self.skipped + self.dlq + self.failed + self.uncommitted
    }
}

#[cfg(test)]
mod tests;
