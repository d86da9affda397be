//! The events that the driver reports to the core.

use std::ops::Range;

use super::failure::{RowError, Stage};
use crate::ids::{BatchId, LaneId};

/// How a lane is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoke {
    /// The lane is owned until it is released: records in flight are settled before the release.
    Drain,
    /// The lane may already be assigned to another member: no offset is committed any more.
    Lost,
}

/// The final destination of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The outputs of the record are written.
    Ok,
    /// The record is in the dead letter queue.
    Dlq,
}

/// The result of an attempt to process a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The rows that failed, in ascending order. All other rows succeeded.
    pub rows: Vec<RowError>,
    /// The reason if the attempt failed and no record caused the failure. In that case no row counts as processed.
    pub system: Option<String>,
    /// The reason if no later attempt can succeed, so that the job fails.
    pub fatal: Option<String>,
    /// The output of each row that succeeded, in ascending order. Required only if writes are regrouped.
    pub weights: Vec<Weight>,
}

impl Verdict {
    /// True if every row succeeded.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.rows.is_empty() && self.system.is_none() && self.fatal.is_none()
    }
}

/// The size of the output of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// The row.
    pub row: u32,
    /// The number of output records.
    pub records: u32,
    /// The number of bytes of their keys and values.
    pub bytes: u64,
}

/// An event that the driver reports.
#[derive(Debug)]
pub enum Event<'a> {
    /// A lane was assigned and starts at this offset.
    Assigned(LaneId, i64),
    /// True if the whole input has been read, by this member or another one. The job is done once all records in
    /// flight are settled and committed. A source reports false when a lane is revoked after it reported true.
    EndOfInput(bool),
    /// Records of a lane were appended to the open batch: offsets as ascending ranges, and the payload bytes.
    Rows(LaneId, &'a [Range<i64>], u64),
    /// The next record of a lane does not fit into the open batch.
    Exceeds,
    /// No record is queued.
    Idle,
    /// True if no buffer is free until records are settled.
    OutOfBuffers(bool),
    /// All records of a lane before this offset were delivered.
    Position(LaneId, i64),
    /// The records of a lane before this offset that were not delivered are lost.
    Lost(LaneId, i64),
    /// A lane has been read to its end.
    Ended(LaneId),
    /// Time has passed.
    Tick,
    /// A processor has started this attempt at a batch. Attempts count from 0.
    Started(BatchId, u32),
    /// A batch was processed.
    Finished(BatchId, &'a Verdict),
    /// Rows were acknowledged by their destination.
    Acked(BatchId, Range<u32>, Fate),
    /// A row was rejected permanently by its destination, in this stage and for this reason.
    Refused(BatchId, u32, Stage, &'a str),
    /// The commit in flight has ended. True if the commit succeeded.
    CommitEnded(bool),
    /// The open transaction cannot be committed.
    TransactionFailed,
    /// The transaction has ended. True if it was committed, false if it was aborted.
    TransactionEnded(bool),
    /// A lane was revoked.
    Revoked(LaneId, Revoke),
    /// The job ends once all records in flight are settled.
    Stop,
}
