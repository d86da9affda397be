//! What goes into a member and what comes out: facts about the group, the brokers and the job in, orders to the client
//! and news for the job out.

use crate::ids::{LaneId, LaneName};
use crate::kafka::KafkaError;
use crate::kafka::offsets::{Bounds, Offsets};
use crate::source::SourceEvent;

/// Something that a member learns.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    /// Time has passed.
    Tick,
    /// The group gives these partitions to the member.
    Assigned(Vec<LaneName>),
    /// The group takes these partitions away. True if another member may have them already.
    Revoked(Vec<LaneName>, bool),
    /// The brokers have answered the question that was asked last.
    Answered(Result<Answer, KafkaError>),
    /// The offsets that the group has committed, by partition, whoever its members are.
    GroupCommitted(Result<Vec<(i32, i64)>, KafkaError>),
    /// A lane cannot be read on at this offset, and why.
    Broken(LaneId, i64, String),
    /// A lane has been read to its end.
    Ended(LaneId),
    /// The job commits these offsets.
    Commit(Vec<(LaneId, i64)>),
    /// A commit of these offsets has ended.
    CommitEnded(Offsets, Result<(), KafkaError>),
    /// The job has drained these lanes; these are the offsets to commit, if a lane has one.
    Released(Vec<(LaneId, Option<i64>)>),
    /// The process was stopped for longer than its session.
    WasAway,
    /// The job is over: these offsets are committed, and nothing is read any more.
    Finish(Vec<(LaneId, i64)>),
}

/// A question to the brokers, about all partitions that it concerns at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// Where partitions are to be read from.
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

/// Where a partition may be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The committed offset, if there is one.
    pub committed: Option<i64>,
    /// The oldest offset and the end.
    pub bounds: Bounds,
    /// Where the job starts without a committed offset.
    pub start: i64,
}

/// Something that the adapter does for a member, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    /// Ask the brokers; [`Fact::Answered`] follows.
    Ask(Question),
    /// Ask for the group's committed offsets of these partitions; [`Fact::GroupCommitted`] follows.
    AskGroup(Vec<i32>),
    /// Start fetching a lane from an offset, to before an end if there is one.
    Start(LaneId, LaneName, i64, Option<i64>),
    /// Continue a lane at another offset, before it is assigned.
    Move(LaneId, i64),
    /// Continue an assigned lane at another offset.
    Seek(LaneId, LaneName, i64),
    /// Stop fetching a lane.
    Stop(LaneId),
    /// Accept partitions, which are read from these offsets.
    Assign(Vec<(LaneName, Option<i64>)>),
    /// Give partitions up.
    Unassign(Vec<LaneName>),
    /// Commit these offsets; [`Fact::CommitEnded`] follows.
    Commit(Offsets),
    /// Report to the job.
    Report(SourceEvent),
    /// End the job.
    Fail(KafkaError),
}
