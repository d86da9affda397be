//! The state of a member: its settings, its lanes and everything that it waits for. The other files change it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::ids::{LaneId, LaneName, Tick};
use crate::kafka::KafkaError;
use crate::kafka::fetch::Broken;
use crate::kafka::group::commits::Commits;
use crate::kafka::group::end_of_input::EndOfInput;
use crate::kafka::group::order::Question;
use crate::kafka::group::reset::OnDataLoss;

/// The time-out of the last commit of a job or of revoked partitions.
pub(super) const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The delay before a failed question is asked again, and the interval of requests for the committed offsets of
/// partitions that other members read.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The delay before a commit that has failed with a temporary error is tried again.
pub(super) const COMMIT_AGAIN: Duration = Duration::from_millis(200);

/// The time in which a client reports a rebalance after the group has rejected its offsets as those of a stranger.
pub(super) const REJECTED_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a member.
#[derive(Debug, Clone)]
pub(in crate::kafka::group) struct Rules {
    pub topic: String,
    /// The number of partitions of the topic when the job started.
    pub partitions: usize,
    pub on_data_loss: OnDataLoss,
    /// True if offsets are committed in transactions.
    pub exactly_once: bool,
    /// The end of the input, if the job stops there.
    pub end: Option<EndOfInput>,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub name: LaneName,
    /// The last offset that the job has requested to commit, or the start position of the lane.
    pub committed: i64,
    /// True if the lane was read to the end of the input.
    pub has_ended: bool,
    pub state: State,
}

#[derive(Debug, PartialEq)]
pub(super) enum State {
    Reading,
    /// The lane cannot be read at this offset for this reason.
    Broken(i64, Broken),
    /// The lane continues at this offset once no rebalance waits for an answer.
    Resuming(i64),
    /// The partition now has other records. Once the lane is drained, a new lane starts at this offset. No offset of
    /// this lane is committed.
    Replaced(i64),
}

/// A rebalance that was not carried out yet.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assigned(Vec<LaneName>),
    Revoked(Vec<LaneName>, bool),
}

/// Revoked partitions that are given up once all of their lanes are released.
#[derive(Debug)]
pub(super) struct Leaving {
    pub partitions: Vec<LaneName>,
    pub lanes: BTreeSet<LaneId>,
}

/// Drained lanes that wait for their last commit.
#[derive(Debug)]
pub(super) struct Release {
    pub number: u64,
    pub lanes: Vec<LaneId>,
    pub offsets: Vec<(LaneId, i64)>,
    /// The commits with a smaller number must end first.
    pub after: u64,
    pub until: Tick,
}

/// The check whether the group still has the member, by a commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verify {
    /// If the brokers have not answered by then, the lanes are lost.
    pub until: Tick,
    /// The earliest time of the next commit.
    pub again_at: Tick,
}

/// The last commit of the job.
#[derive(Debug)]
pub(super) struct Finish {
    pub offsets: Vec<(LaneId, i64)>,
    pub after: u64,
    pub until: Tick,
    pub result: Option<Result<(), KafkaError>>,
}

/// The state of the end of the input.
#[derive(Debug)]
pub(super) struct Until {
    pub end: EndOfInput,
    /// The earliest time of the next request for the committed offsets of the group.
    pub ask_at: Tick,
    /// True if the last report to the job was that the end is reached.
    pub is_reached: bool,
    /// The time since which the member waits for other members, and true if this was reported.
    pub waiting: Option<(Tick, bool)>,
}

/// A member of a group.
#[allow(clippy::struct_excessive_bools, reason = "what has happened to a member is not one state")]
#[derive(Debug)]
pub(in crate::kafka::group) struct Member {
    pub(super) rules: Rules,
    pub(super) lanes: BTreeMap<LaneId, Lane>,
    pub(super) by_name: HashMap<LaneName, LaneId>,
    pub(super) next_lane: u32,
    /// The number of lanes that have not ended.
    pub(super) unended: usize,
    /// The number of lanes that are to be replaced.
    pub(super) replaced: usize,
    /// The rebalances that were not carried out yet, in order.
    pub(super) rebalances: VecDeque<Rebalance>,
    /// The generation of the last rebalance, if it is known.
    pub(super) generation: Option<i32>,
    /// The generation in which partitions were revoked. The client has yet to report which ones are assigned in it.
    pub(super) unfinished: Option<i32>,
    /// The time since which the group rejects the offsets of the member as those of a stranger.
    pub(super) rejected_since: Option<Tick>,
    /// True if a rebalance was reported after the last commit of the job has begun.
    pub(super) has_rebalanced: bool,
    /// The open question.
    pub(super) asked: Option<Question>,
    /// The number of answers to come to questions of a former assignment.
    pub(super) void_answers: u32,
    /// The earliest time of the next question.
    pub(super) ask_again_at: Tick,
    /// True if it was reported that questions fail.
    pub(super) reported_silence: bool,
    pub(super) leaving: Vec<Leaving>,
    pub(super) releases: Vec<Release>,
    pub(super) next_release: u64,
    pub(super) commits: Commits,
    /// A commit of the job that was not started yet.
    pub(super) waiting_commit: Option<Vec<(LaneId, i64)>>,
    /// The check of the membership, while it is not known.
    pub(super) verify: Option<Verify>,
    /// The earliest time of the next attempt of a last commit.
    pub(super) commit_again_at: Tick,
    pub(super) finish: Option<Finish>,
    /// The partitions that were started without a committed offset.
    pub(super) started: BTreeSet<i32>,
    pub(super) has_joined: bool,
    /// True once a commit was not answered in time.
    pub(super) was_unanswered: bool,
    pub(super) has_failed: bool,
    pub(super) until: Option<Until>,
}

impl Member {
    /// Creates a member without partitions.
    pub(in crate::kafka::group) fn new(mut rules: Rules) -> Self {
        let until = rules.end.take();
        let until = until.map(|end| Until { end, ask_at: Tick::default(), is_reached: false, waiting: None });
        Self {
            rules,
            lanes: BTreeMap::new(),
            by_name: HashMap::new(),
            next_lane: 0,
            unended: 0,
            replaced: 0,
            rebalances: VecDeque::new(),
            generation: None,
            unfinished: None,
            rejected_since: None,
            has_rebalanced: false,
            asked: None,
            void_answers: 0,
            ask_again_at: Tick::default(),
            reported_silence: false,
            leaving: Vec::new(),
            releases: Vec::new(),
            next_release: 0,
            commits: Commits::default(),
            waiting_commit: None,
            verify: None,
            commit_again_at: Tick::default(),
            finish: None,
            started: BTreeSet::new(),
            has_joined: false,
            was_unanswered: false,
            has_failed: false,
            until,
        }
    }
}
