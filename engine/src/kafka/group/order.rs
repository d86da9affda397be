//! The input and output of a group member: facts about the group, the brokers and the job in, orders to the client and
//! events for the job out.

use crate::ids::{LaneId, LaneName};
use crate::kafka::KafkaError;
use crate::kafka::fetch::Broken;
use crate::kafka::offsets::{Bounds, Offsets};
use crate::source::SourceEvent;

/// A fact that is reported to a member.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    /// Time has passed.
    Tick,
    /// The rebalance that is reported next belongs to this generation of the group. It is not reported for protocols
    /// in which a generation may end without a rebalance.
    Generation(i32),
    /// The group has assigned these partitions to the member, in addition to those that it has (cooperative protocol).
    Assigned(Vec<LaneName>),
    /// The group has assigned these partitions to the member, which has no others (eager protocol).
    AssignedAnew(Vec<LaneName>),
    /// The group has revoked these partitions. True if they may already be assigned to another member.
    Revoked(Vec<LaneName>, bool),
    /// The brokers have answered the last question.
    Answered(Result<Answer, KafkaError>),
    /// The committed offsets of the group by partition, including those of other members.
    GroupCommitted(Result<Vec<(i32, i64)>, KafkaError>),
    /// A lane cannot be read at this offset for this reason.
    Broken(LaneId, i64, Broken),
    /// A lane has been read to its end.
    Ended(LaneId),
    /// The job commits these offsets.
    Commit(Vec<(LaneId, i64)>),
    /// A commit of these offsets has ended.
    CommitEnded(Offsets, Result<(), KafkaError>),
    /// The job has drained these lanes. The offset is the one to commit, if there is one.
    Released(Vec<(LaneId, Option<i64>)>),
    /// The group has rejected offsets in a transaction of the job as those of a stranger, or the client has no member id
    /// any more.
    Rejected,
    /// The process was suspended for longer than its session time-out.
    WasAway,
    /// The job has ended. No more records are read, and these offsets are committed.
    Finish(Vec<(LaneId, i64)>),
}

impl Fact {
    /// Returns true if the job reports the fact, and false if the client of the member does.
    pub(super) fn is_of_job(&self) -> bool {
        matches!(self, Self::Tick | Self::Commit(_) | Self::Released(_) | Self::WasAway | Self::Finish(_))
    }
}

/// A question to the brokers about one or more partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// The positions from which to read partitions.
    Positions(Vec<LaneName>),
    /// The oldest and the end offsets of partitions.
    Bounds(Vec<LaneName>),
}

/// The answer to a question, in the order of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Positions(Vec<Position>),
    Bounds(Vec<Bounds>),
}

/// The offsets from which a partition can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The committed offset, if there is one.
    pub committed: Option<i64>,
    /// The oldest offset and the end offset.
    pub bounds: Bounds,
    /// The start position if there is no committed offset.
    pub start: i64,
}

/// An order of a member. The adapter carries orders out in the order in which they are returned.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    /// Ask the brokers, then report [`Fact::Answered`].
    Ask(Question),
    /// Request the committed offsets of the group for these partitions, then report [`Fact::GroupCommitted`].
    AskGroup(Vec<i32>),
    /// Start fetching a lane from an offset up to, but not including, the end, if there is one.
    Start(LaneId, LaneName, i64, Option<i64>),
    /// Continue a lane whose partition is not assigned yet at another offset.
    Move(LaneId, i64),
    /// Continue a lane whose partition is assigned at another offset.
    Seek(LaneId, LaneName, i64),
    /// Stop fetching a lane.
    Stop(LaneId),
    /// Accept partitions and read them from these offsets.
    Assign(Vec<(LaneName, Option<i64>)>),
    /// Give up partitions.
    Unassign(Vec<LaneName>),
    /// Commit these offsets asynchronously, then report [`Fact::CommitEnded`].
    Commit(Offsets),
    /// Leave the group, and join it with a new client. All lanes are stopped, these other partitions are lost, too, and
    /// nothing of the former client is reported any more.
    StartOver(Vec<LaneName>),
    /// Report an event to the job.
    Report(SourceEvent),
    /// Fail the job.
    Fail(KafkaError),
}
