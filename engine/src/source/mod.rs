//! Where records come from: Kafka, memory, or a recording that is replayed at its own pace.

pub mod memory;
pub mod replay;

use std::time::Duration;

use velo_schema::Tier;

use crate::batch::BatchBuilder;
use crate::core::Revoke;
use crate::core::batcher::Room;
use crate::ids::Tick;
use crate::ids::{LaneId, LaneName};

/// What a source tells the driver between records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// Which lanes are ours is decided; there may be none.
    Joined,
    /// A lane begins, at an offset.
    Assigned(LaneId, LaneName, i64),
    /// True if everything that was to be read has been read, by this source or by others on its behalf; false if
    /// a lane that had been read to its end was taken away before that was certain.
    EndOfInput(bool),
    /// There is no record of a lane before this offset that was not delivered.
    Position(LaneId, i64),
    /// What was not delivered of a lane before this offset is gone.
    Lost(LaneId, i64),
    /// No more records will come from a lane.
    Ended(LaneId),
    /// A lane is taken away.
    Revoked(LaneId, Revoke),
    /// The commit in flight has ended; the error where it failed.
    CommitEnded(Result<(), String>),
    /// The brokers hold requests back, by up to so long each.
    Throttled(Duration),
    /// Something worth telling that changes nothing.
    Notice(String),
}

/// What one call of [`Source::fill`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filled {
    /// Calls to the client that returned records.
    pub calls: u64,
    /// Calls that returned none.
    pub empty_calls: u64,
    /// Whether nothing more is queued for the lane.
    pub drained: bool,
    /// Whether the lane's next record does not fit.
    pub exceeds: bool,
}

/// A source that cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A source of records. All calls come from one thread.
pub trait Source {
    /// Serves the client and reports what happened. Returns at once.
    ///
    /// # Errors
    /// Where the source cannot go on.
    fn poll(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError>;

    /// Appends the records of `lane` that are here already, up to `room`. Returns at once.
    ///
    /// Offsets of a lane only grow. What was appended counts even if an error follows.
    ///
    /// # Errors
    /// If the lane cannot go on.
    fn fill(
        &mut self,
        now: Tick,
        lane: LaneId,
        tier: Tier,
        room: Room,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError>;

    /// When the next record is due, where that is known.
    fn next_due(&self) -> Option<Tick> {
        None
    }

    /// The offset behind the newest record of a lane, as far as that is known.
    fn end_offset(&self, _: LaneId) -> Option<i64> {
        None
    }

    /// The offset up to which a lane can be read now, if records after it belong to transactions that are still
    /// open.
    fn stable_end(&self, _: LaneId) -> Option<i64> {
        None
    }

    /// The source's way to commit; sources that only read have none.
    fn committer(&mut self) -> Option<&mut dyn Commit> {
        None
    }
}

/// What a source that commits can do besides.
pub trait Commit {
    /// Begins to commit; [`SourceEvent::CommitEnded`] says how it ended.
    fn commit(&mut self, offsets: &[(LaneId, i64)]);

    /// Commits and waits for the end.
    ///
    /// # Errors
    /// Where the broker refused.
    fn commit_sync(&mut self, offsets: &[(LaneId, i64)]) -> Result<(), SourceError>;

    /// Commits and waits for the end; nothing more is read or committed after it.
    ///
    /// # Errors
    /// Where the broker refused.
    fn commit_last(&mut self, offsets: &[(LaneId, i64)]) -> Result<(), SourceError> {
        self.commit_sync(offsets)
    }

    /// Gives a revoked lane up.
    fn release(&mut self, lane: LaneId);
}
