//! Sources of records: Kafka, memory, or the replay of a recording.

pub mod memory;
pub mod replay;

use std::time::Duration;

use velo_schema::Tier;

use crate::batch::BatchBuilder;
use crate::core::Revoke;
use crate::core::batcher::Capacity;
use crate::ids::Tick;
use crate::ids::{LaneId, LaneName};

/// An event that a source reports to the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// The assignment of lanes is known. It may be empty.
    Joined,
    /// A lane was assigned and starts at this offset.
    Assigned(LaneId, LaneName, i64),
    /// True if the whole input has been read, by this source or by other group members. False if a lane that was read
    /// to its end is revoked, so that its end is unknown again.
    EndOfInput(bool),
    /// All records of a lane before this offset were delivered.
    Position(LaneId, i64),
    /// The records of a lane before this offset that were not delivered are lost.
    Lost(LaneId, i64),
    /// A lane has been read to its end.
    Ended(LaneId),
    /// A lane was revoked.
    Revoked(LaneId, Revoke),
    /// The commit in flight has ended. The error is the reason if the commit failed.
    CommitEnded(Result<(), String>),
    /// The brokers throttle requests, each by up to this duration.
    Throttled(Duration),
    /// A message for the user that does not change the state of the job.
    Notice(String),
}

/// The result of a call of [`Source::fill`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filled {
    /// The number of calls to the client that returned records.
    pub calls: u64,
    /// The number of calls that returned no record.
    pub empty_calls: u64,
    /// True if no record of the lane is queued.
    pub drained: bool,
    /// True if the next record of the lane does not fit.
    pub exceeds: bool,
}

/// An error after which the source cannot continue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A source of records. All calls come from one thread.
pub trait Source {
    /// Serves the client and reports events. Returns immediately.
    ///
    /// # Errors
    /// If the source cannot continue.
    fn poll(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError>;

    /// Appends the queued records of `lane` to `batch`, up to `room`. Returns immediately.
    ///
    /// The offsets of a lane are strictly ascending. Records that are appended before an error stay in the batch.
    ///
    /// # Errors
    /// If the lane cannot be read any further.
    fn fill(
        &mut self,
        now: Tick,
        lane: LaneId,
        tier: Tier,
        room: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError>;

    /// Adds the lanes that may have records since they were drained last; a lane may be added twice. Returns false if
    /// the source does not track that, so that every lane has to be tried each time.
    fn ready(&mut self, _lanes: &mut Vec<LaneId>) -> bool {
        false
    }

    /// Returns the time at which the next record is due, if it is known.
    fn next_due(&self) -> Option<Tick> {
        None
    }

    /// Returns the offset after the newest record of a lane, if it is known.
    fn end_offset(&self, _: LaneId) -> Option<i64> {
        None
    }

    /// Returns the offset of the next record of a lane, if it is known.
    fn position(&self, _: LaneId) -> Option<i64> {
        None
    }

    /// Returns the last stable offset of a lane, if records after it belong to open transactions.
    fn stable_end(&self, _: LaneId) -> Option<i64> {
        None
    }

    /// Returns the interface for commits; `None` if the source cannot commit.
    fn committer(&mut self) -> Option<&mut dyn Commit> {
        None
    }
}

/// A source that can commit offsets.
pub trait Commit {
    /// Begins a commit. [`SourceEvent::CommitEnded`] reports its result.
    fn commit(&mut self, offsets: &[(LaneId, i64)]);

    /// Gives revoked lanes up, after their offsets are committed if they have one. Returns at once: the source waits for
    /// the end of the commit, and reports a failure as a [`SourceEvent::Notice`].
    fn release(&mut self, lanes: &[(LaneId, Option<i64>)]);

    /// Commits the last offsets of a job and waits for the end; nothing is read or committed after it.
    ///
    /// # Errors
    /// If the broker refused, or did not answer.
    fn finish(&mut self, offsets: &[(LaneId, i64)]) -> Result<(), SourceError>;
}
