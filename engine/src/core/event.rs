//! What goes into the machine.

use std::ops::Range;

use super::failure::{RowError, Stage};
use crate::ids::{BatchId, LaneId};

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
