//! What comes out of the machine.

use std::ops::Range;
use std::time::Duration;

use velo_schema::format_duration;

use super::batcher::SealReason;
use super::failure::RowError;
use crate::ids::{BatchId, LaneId};

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
