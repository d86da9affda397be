//! The actions that the core returns for its driver to perform.

use std::ops::Range;
use std::time::Duration;

use velo_schema::format_duration;

use super::batcher::SealReason;
use super::failure::RowError;
use crate::ids::{BatchId, LaneId};

/// An action for the driver. Actions are performed in the order in which they are returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Seal the open batch under this id.
    Seal(BatchId, SealReason),
    /// Process a batch. The number is that of the attempt, from 0.
    Run(BatchId, u32),
    /// Begin a group of this many records. The writes up to the next `Group` belong to the group.
    Group(SealReason, u64),
    /// Write the outputs of these rows.
    Write(BatchId, Range<u32>),
    /// Write these rows unchanged to the dead letter queue. The number is that of the attempts made.
    DeadLetter(BatchId, Vec<RowError>, u32),
    /// Log these rows and skip them.
    Skip(BatchId, Vec<RowError>),
    /// Hold a batch that could not be processed for this reason. It is retried after this delay.
    Hold(BatchId, Duration, String),
    /// Commit these offsets asynchronously, then report [`Event::CommitEnded`](super::Event::CommitEnded).
    Commit(Vec<(LaneId, i64)>),
    /// Commit the transaction with these offsets, then report [`Event::TransactionEnded`](super::Event::TransactionEnded).
    CommitTransaction(Vec<(LaneId, i64)>),
    /// Abort the transaction, then report [`Event::TransactionEnded`](super::Event::TransactionEnded).
    AbortTransaction,
    /// Discard the acknowledgements of this batch: the writes were aborted and are repeated.
    Rewrite(BatchId),
    /// Release these lanes. The offsets given are committed before that, synchronously and in one request.
    Release(Vec<(LaneId, Option<i64>)>),
    /// Drop the batch: nothing refers to the batch any more.
    Drop(BatchId),
    /// Fail the job. The batch is the one that caused the error, if a batch did.
    Fail(Option<BatchId>, JobError),
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// A record failed and its failure strategy does not skip records (`FailBatch`).
    #[error("a record failed in stage {} and its failure strategy stops the job: {}", .0.stage, .0.message)]
    Batch(RowError),
    /// `RetryWithBackoff`: a record still failed after the last retry.
    #[error("a record still failed in stage {} after {}: {}", .0.stage, retries(*.1), .0.message)]
    Exhausted(RowError, u32),
    /// The dead letter queue rejected a record permanently.
    #[error("the dead letter queue rejected a record: {}", .0.message)]
    DeadLetterRefused(RowError),
    /// A batch has been processed for longer than the maximum time.
    #[error("a batch has been processed for {} without an end (the limit is --max-batch-time)", format_duration(*.0))]
    Stuck(Duration),
    /// The source cannot continue.
    #[error("{0}")]
    Source(String),
    /// The processor cannot process any batch.
    #[error("{0}")]
    Processor(String),
    /// A processor or the sink panicked.
    #[error("a processor or the sink panicked")]
    Panicked,
    /// The sink or the dead letter queue cannot accept any record.
    #[error("{0}")]
    Sink(String),
}

impl JobError {
    /// Returns the row of the failed batch that caused the error, if a row did.
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

fn retries(n: u32) -> String {
    if n == 1 { "1 retry".to_owned() } else { format!("{n} retries") }
}
