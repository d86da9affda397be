//! A group member as a state machine: facts and a time in, orders out. It has no clock, no client and does no I/O.
//!
//! Rebalances are carried out in the order in which the group has sent them:
//!
//! - Assigned partitions are accepted once the brokers have answered from which positions to read them.
//! - Revoked partitions are given up once the job has drained their lanes and the last commit has ended.
//!
//! Only one question to the brokers is open at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::commits::{Commits, Purpose};
use super::end_of_input::{EndOfInput, Missing};
use super::order::{Answer, Fact, Order, Position, Question};
use super::reset::{OnDataLoss, Resume, resume};
use crate::core::Revoke;
use crate::failpoint::{Mutant, is_on};
use crate::ids::{LaneId, LaneName, Tick};
use crate::kafka::KafkaError;
use crate::kafka::error::Class;
use crate::kafka::offsets::{Bounds, Offsets};
use crate::source::SourceEvent;

/// The time-out of the last commit of a job or of revoked partitions.
pub(super) const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The delay before a failed question is asked again, and the interval of requests for the committed offsets of
/// partitions that other members read.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The time after which a member reports that it waits for other members.
const REPORT_WAITING: Duration = Duration::from_secs(5);

/// The settings of a member.
#[derive(Debug, Clone)]
pub(super) struct Rules {
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
struct Lane {
    name: LaneName,
    /// The last offset that the job has requested to commit, or the start position of the lane.
    committed: i64,
    /// True if the lane was read to the end of the input.
    has_ended: bool,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Reading,
    /// The lane cannot be read at this offset for this reason.
    Broken(i64, String),
    /// The partition now has other records. Once the lane is drained, a new lane starts at this offset. No offset of
    /// this lane is committed.
    Replaced(i64),
}

/// A rebalance that was not carried out yet.
#[derive(Debug)]
enum Rebalance {
    Assigned(Vec<LaneName>),
    Revoked(Vec<LaneName>, bool),
}

/// Revoked partitions that are given up once all of their lanes are released.
#[derive(Debug)]
struct Leaving {
    partitions: Vec<LaneName>,
    lanes: BTreeSet<LaneId>,
}

/// Drained lanes that wait for their last commit.
#[derive(Debug)]
struct Release {
    number: u64,
    lanes: Vec<LaneId>,
    offsets: Vec<(LaneId, i64)>,
    /// The commits with a smaller number must end first.
    after: u64,
    until: Tick,
}

/// The last commit of the job.
#[derive(Debug)]
struct Finish {
    offsets: Vec<(LaneId, i64)>,
    after: u64,
    until: Tick,
    result: Option<Result<(), KafkaError>>,
}

/// The state of the end of the input.
#[derive(Debug)]
struct Until {
    end: EndOfInput,
    /// The earliest time of the next request for the committed offsets of the group.
    ask_at: Tick,
    /// True if the last report to the job was that the end is reached.
    is_reached: bool,
    /// The time since which the member waits for other members, and true if this was reported.
    waiting: Option<(Tick, bool)>,
}

/// A member of a group.
#[allow(clippy::struct_excessive_bools, reason = "what has happened to a member is not one state")]
#[derive(Debug)]
pub(super) struct Member {
    rules: Rules,
    lanes: BTreeMap<LaneId, Lane>,
    by_name: HashMap<LaneName, LaneId>,
    next_lane: u32,
    /// The number of lanes that have not ended.
    unended: usize,
    /// The number of lanes that are to be replaced.
    replaced: usize,
    /// The rebalances that were not carried out yet, in order.
    rebalances: VecDeque<Rebalance>,
    /// The open question.
    asked: Option<Question>,
    /// The earliest time of the next question.
    ask_again_at: Tick,
    /// True if it was reported that questions fail.
    reported_silence: bool,
    leaving: Vec<Leaving>,
    releases: Vec<Release>,
    next_release: u64,
    commits: Commits,
    /// A commit of the job that was not started yet.
    waiting_commit: Option<Vec<(LaneId, i64)>>,
    /// The deadline of the commit that verifies the membership, while it is verified.
    verify: Option<Tick>,
    finish: Option<Finish>,
    /// The partitions that were started without a committed offset.
    started: BTreeSet<i32>,
    has_joined: bool,
    /// True once a commit was not answered in time.
    was_unanswered: bool,
    has_failed: bool,
    until: Option<Until>,
}

impl Member {
    /// Creates a member without partitions.
    pub(super) fn new(mut rules: Rules) -> Self {
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
            asked: None,
            ask_again_at: Tick::default(),
            reported_silence: false,
            leaving: Vec::new(),
            releases: Vec::new(),
            next_release: 0,
            commits: Commits::default(),
            waiting_commit: None,
            verify: None,
            finish: None,
            started: BTreeSet::new(),
            has_joined: false,
            was_unanswered: false,
            has_failed: false,
            until,
        }
    }

    /// Applies a fact and appends the resulting orders to `orders`.
    pub(super) fn step(&mut self, now: Tick, fact: Fact, orders: &mut Vec<Order>) {
        match fact {
            Fact::Tick => {}
            Fact::Assigned(partitions) => self.rebalances.push_back(Rebalance::Assigned(partitions)),
            Fact::Revoked(partitions, lost) => {
                if lost {
                    // The lanes have another owner already, whatever rebalance is to be answered first.
                    self.fence(&partitions, orders);
                }
                self.rebalances.push_back(Rebalance::Revoked(partitions, lost));
            }
            Fact::Answered(answer) => self.answered(now, answer, orders),
            Fact::GroupCommitted(Ok(committed)) => self.group_committed(&committed),
            Fact::GroupCommitted(Err(error)) => {
                if !error.is_passing() {
                    report(orders, SourceEvent::Notice(error.to_string()));
                }
            }
            Fact::Broken(lane, position, reason) => self.broken(lane, position, reason),
            Fact::Ended(lane) => self.ended(lane),
            Fact::Commit(offsets) => self.commit(&offsets, orders),
            Fact::CommitEnded(offsets, result) => self.commit_ended(now, offsets, result, orders),
            Fact::Released(lanes) => self.released(now, &lanes, orders),
            Fact::WasAway => self.was_away(now),
            Fact::Finish(offsets) => {
                let (after, until) = (self.commits.next(), now + COMMIT_TIMEOUT);
                self.finish = Some(Finish { offsets, after, until, result: None });
            }
        }
        self.rebalance(now, orders);
        self.ask_about_broken(now, orders);
        self.commit_for_job(orders);
        self.commit_releases(now, orders);
        self.verify_membership(now, orders);
        self.commit_finally(now, orders);
        self.report_end(now, orders);
        debug_assert_eq!(self.invariant(), None);
    }

    /// Returns true if no lane is assigned.
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Returns true while it is not known whether the group still has the member.
    pub(super) fn is_verifying(&self) -> bool {
        self.verify.is_some()
    }

    /// Returns the result of the last commit of the job, once it has ended.
    pub(super) fn finished(&mut self) -> Option<Result<(), KafkaError>> {
        self.finish.as_mut()?.result.take()
    }

    /// Returns true if a commit was not answered in time. In that case a request to leave the group would not be
    /// answered either.
    pub(super) fn was_unanswered(&self) -> bool {
        self.was_unanswered
    }

    /// Returns the answers that the group still waits for, in its order: a client does not close before it has them.
    pub(super) fn owed(&self) -> Vec<Order> {
        let leaving = self.leaving.iter().map(|leaving| Order::Unassign(leaving.partitions.clone()));
        let waiting = self.rebalances.iter().map(|rebalance| match rebalance {
            Rebalance::Assigned(partitions) => {
                Order::Assign(partitions.iter().map(|name| (name.clone(), None)).collect())
            }
            Rebalance::Revoked(partitions, _) => Order::Unassign(partitions.clone()),
        });
        leaving.chain(waiting).collect()
    }

    /// Returns true if a lane is being read, so that [`Fact::Broken`] applies to it.
    pub(super) fn is_reading(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.state == State::Reading)
    }

    // --- Rebalances.

    /// Carries out the waiting rebalances in order, up to the first one that waits for an answer of the brokers.
    fn rebalance(&mut self, now: Tick, orders: &mut Vec<Order>) {
        // After the end of the job, rebalances are answered at once, so that the group does not wait.
        let at_once = self.finish.is_some();
        while let Some(next) = self.rebalances.front() {
            match next {
                Rebalance::Assigned(partitions) if at_once => {
                    orders.push(Order::Assign(partitions.iter().map(|name| (name.clone(), None)).collect()));
                }
                Rebalance::Assigned(partitions) => {
                    if self.asked.is_none() && now >= self.ask_again_at && !self.has_failed {
                        self.ask(Question::Positions(partitions.clone()), orders);
                    }
                    return;
                }
                Rebalance::Revoked(partitions, _) if at_once => {
                    if let Some(finish) = &mut self.finish {
                        let is_revoked = |lane: &Lane| partitions.contains(&lane.name);
                        finish.offsets.retain(|(id, _)| !self.lanes.get(id).is_some_and(is_revoked));
                    }
                    orders.push(Order::Unassign(partitions.clone()));
                }
                // The open question belongs to an earlier assignment.
                Rebalance::Revoked(..) if matches!(self.asked, Some(Question::Positions(_))) => return,
                Rebalance::Revoked(partitions, lost) => {
                    let (partitions, lost) = (partitions.clone(), *lost);
                    self.revoke(partitions, lost, orders);
                }
            }
            self.rebalances.pop_front();
        }
    }

    fn ask(&mut self, question: Question, orders: &mut Vec<Order>) {
        self.asked = Some(question.clone());
        orders.push(Order::Ask(question));
    }

    fn answered(&mut self, now: Tick, answer: Result<Answer, KafkaError>, orders: &mut Vec<Order>) {
        let Some(question) = self.asked.take() else { return };
        let done = match (question, answer) {
            (Question::Positions(partitions), Ok(Answer::Positions(positions))) => {
                // A job that has ended has already answered the rebalance.
                let is_wanted = matches!(self.rebalances.front(), Some(Rebalance::Assigned(_)));
                if is_wanted && self.finish.is_none() {
                    self.rebalances.pop_front();
                    self.assign(partitions, &positions, orders)
                } else {
                    Ok(())
                }
            }
            (Question::Bounds(partitions), Ok(Answer::Bounds(bounds))) => {
                self.reset(&partitions, &bounds, orders)
            }
            (_, Err(error)) => Err(error),
            _ => Ok(()),
        };
        match done {
            Ok(()) => self.reported_silence = false,
            Err(error) if error.is_passing() => {
                self.ask_again_at = now + ASK_AGAIN;
                if !std::mem::replace(&mut self.reported_silence, true) {
                    let notice = format!("assigned partitions cannot be read yet: {error}");
                    report(orders, SourceEvent::Notice(notice));
                }
            }
            Err(error) => {
                self.has_failed = true;
                orders.push(Order::Fail(error));
            }
        }
    }

    /// Starts lanes for the partitions that the group has assigned to this member.
    fn assign(
        &mut self,
        partitions: Vec<LaneName>,
        positions: &[Position],
        orders: &mut Vec<Order>,
    ) -> Result<(), KafkaError> {
        let mut assigned = Vec::new();
        for (name, position) in partitions.into_iter().zip(positions) {
            let position = if let Some(committed) = position.committed {
                self.go_on(&name, committed, position.bounds, orders)?
            } else {
                // A partition that was added while the job runs, or whose topic was made again, is read from its first
                // record on, wherever the job started.
                let start = if self.is_new(name.partition) { position.bounds.0 } else { position.start };
                self.started.insert(name.partition);
                self.begin(&name, start, orders);
                start
            };
            assigned.push((name, Some(position)));
        }
        orders.push(Order::Assign(assigned));
        self.has_joined = true;
        report(orders, SourceEvent::Joined);
        Ok(())
    }

    fn is_new(&self, partition: i32) -> bool {
        let was_there = usize::try_from(partition).is_ok_and(|partition| partition < self.rules.partitions);
        !was_there || self.started.contains(&partition)
    }

    /// Starts a lane at a committed offset, or at the offset at which it can be resumed. Returns the start position.
    fn go_on(
        &mut self,
        name: &LaneName,
        committed: i64,
        bounds: Bounds,
        orders: &mut Vec<Order>,
    ) -> Result<i64, KafkaError> {
        match resume(name, committed, bounds, self.rules.on_data_loss)? {
            Resume::Here => {
                self.begin(name, committed, orders);
                Ok(committed)
            }
            Resume::Behind(position) => {
                let lane = self.begin(name, committed, orders);
                orders.push(Order::Move(lane, position));
                report(orders, lost(name, committed, position));
                report(orders, SourceEvent::Lost(lane, position));
                Ok(position)
            }
            Resume::Anew(position) => {
                report(orders, anew(name, committed, position));
                self.restart(name, bounds);
                self.begin(name, position, orders);
                Ok(position)
            }
        }
    }

    fn begin(&mut self, name: &LaneName, position: i64, orders: &mut Vec<Order>) -> LaneId {
        let id = LaneId(self.next_lane);
        self.next_lane += 1;
        let end = self.until.as_ref().map(|until| until.end.of(name.partition));
        let has_ended = end.is_some_and(|end| position >= end);
        self.unended += usize::from(!has_ended);
        let lane = Lane { name: name.clone(), committed: position, has_ended, state: State::Reading };
        self.lanes.insert(id, lane);
        self.by_name.insert(name.clone(), id);
        orders.push(Order::Start(id, name.clone(), position, end));
        report(orders, SourceEvent::Assigned(id, name.clone(), position));
        id
    }

    fn revoke(&mut self, partitions: Vec<LaneName>, lost: bool, orders: &mut Vec<Order>) {
        let lanes = if lost {
            self.fence(&partitions, orders);
            BTreeSet::new()
        } else {
            self.lanes_of(&partitions)
        };
        for lane in &lanes {
            report(orders, SourceEvent::Revoked(*lane, Revoke::Drain));
        }
        self.leaving.push(Leaving { partitions, lanes });
        self.leave(orders);
    }

    /// Ends the lanes of partitions that another member may have already.
    fn fence(&mut self, partitions: &[LaneName], orders: &mut Vec<Order>) {
        for lane in self.lanes_of(partitions) {
            report(orders, SourceEvent::Revoked(lane, Revoke::Lost));
            self.end(lane, orders);
        }
        self.leave(orders);
    }

    fn lanes_of(&self, partitions: &[LaneName]) -> BTreeSet<LaneId> {
        partitions.iter().filter_map(|name| self.by_name.get(name).copied()).collect()
    }

    fn end(&mut self, id: LaneId, orders: &mut Vec<Order>) {
        let Some(lane) = self.lanes.remove(&id) else { return };
        self.unended -= usize::from(!lane.has_ended);
        self.replaced -= usize::from(matches!(lane.state, State::Replaced(_)));
        if self.by_name.get(&lane.name) == Some(&id) {
            self.by_name.remove(&lane.name);
        }
        // The core clears its end of input when a lane is removed, so the end is reported again.
        if let Some(until) = &mut self.until {
            until.is_reached = false;
        }
        for leaving in &mut self.leaving {
            leaving.lanes.remove(&id);
        }
        orders.push(Order::Stop(id));
    }

    /// Gives up the partitions that have no lane left to drain.
    fn leave(&mut self, orders: &mut Vec<Order>) {
        let (done, waiting): (Vec<_>, _) =
            std::mem::take(&mut self.leaving).into_iter().partition(|leaving| leaving.lanes.is_empty());
        self.leaving = waiting;
        orders.extend(done.into_iter().map(|leaving| Order::Unassign(leaving.partitions)));
    }

    // --- Offsets that do not exist any more.

    fn broken(&mut self, id: LaneId, position: i64, reason: String) {
        if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.state == State::Reading) {
            lane.state = State::Broken(position, reason);
        }
    }

    /// Asks for the bounds of all partitions that cannot be read at their position.
    fn ask_about_broken(&mut self, now: Tick, orders: &mut Vec<Order>) {
        if self.asked.is_some() || now < self.ask_again_at || self.has_failed || self.finish.is_some() {
            return;
        }
        let is_leaving = |id: &LaneId| self.leaving.iter().any(|leaving| leaving.lanes.contains(id));
        let is_broken =
            |(id, lane): &(&LaneId, &Lane)| matches!(lane.state, State::Broken(..)) && !is_leaving(id);
        let broken = self.lanes.iter().filter(is_broken);
        let names: Vec<_> = broken.map(|(_, lane)| lane.name.clone()).collect();
        if !names.is_empty() {
            self.ask(Question::Bounds(names), orders);
        }
    }

    /// Resumes lanes whose next offset does not exist any more.
    ///
    /// # Errors
    /// If records were lost and the job fails on data loss.
    fn reset(
        &mut self,
        partitions: &[LaneName],
        bounds: &[Bounds],
        orders: &mut Vec<Order>,
    ) -> Result<(), KafkaError> {
        for (name, bounds) in partitions.iter().zip(bounds) {
            // The partition may have been revoked since the question was asked.
            let Some(id) = self.by_name.get(name).copied() else { continue };
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let State::Broken(position, reason) = &lane.state else { continue };
            let (position, reason) = (*position, reason.clone());
            match resume(name, position, *bounds, self.rules.on_data_loss)? {
                // The offset exists: a broker was not up to date.
                Resume::Here => {
                    lane.state = State::Reading;
                    let notice = format!("{name} can be read again from offset {position}: {reason}");
                    report(orders, SourceEvent::Notice(notice));
                    orders.push(Order::Seek(id, name.clone(), position));
                }
                Resume::Behind(low) => {
                    lane.state = State::Reading;
                    report(orders, lost(name, position, low));
                    report(orders, SourceEvent::Lost(id, low));
                    orders.push(Order::Seek(id, name.clone(), low));
                }
                Resume::Anew(low) => {
                    lane.state = State::Replaced(low);
                    self.replaced += 1;
                    report(orders, anew(name, position, low));
                    report(orders, SourceEvent::Revoked(id, Revoke::Drain));
                    self.restart(name, *bounds);
                }
            }
        }
        Ok(())
    }

    /// Notes that a partition now has other records.
    fn restart(&mut self, name: &LaneName, bounds: Bounds) {
        if let Some(until) = &mut self.until {
            until.end.restart(name.partition, bounds);
        }
    }

    // --- Commits.

    /// Converts lanes to partitions. Lanes that are replaced are left out, because their offsets are not committed.
    fn named(&self, offsets: &[(LaneId, i64)]) -> Offsets {
        let named = |(id, offset): &(LaneId, i64)| {
            let lane = self.lanes.get(id).filter(|lane| !matches!(lane.state, State::Replaced(_)))?;
            Some((lane.name.clone(), *offset))
        };
        offsets.iter().filter_map(named).collect()
    }

    fn commit(&mut self, offsets: &[(LaneId, i64)], orders: &mut Vec<Order>) {
        for (id, offset) in offsets {
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.committed = *offset;
            }
        }
        self.waiting_commit = Some(offsets.to_vec());
        self.commit_for_job(orders);
    }

    /// Starts the commit of the job, unless a commit that verifies the membership is in flight. That older commit could
    /// be applied after the newer one.
    fn commit_for_job(&mut self, orders: &mut Vec<Order>) {
        if self.commits.has(Purpose::Verify) {
            return;
        }
        let Some(offsets) = self.waiting_commit.take() else { return };
        let offsets = self.named(&offsets);
        if offsets.is_empty() {
            report(orders, SourceEvent::CommitEnded(Ok(())));
        } else {
            self.begin_commit(offsets, Purpose::Job, orders);
        }
    }

    fn begin_commit(&mut self, offsets: Offsets, purpose: Purpose, orders: &mut Vec<Order>) {
        self.commits.begin(offsets.clone(), purpose);
        orders.push(Order::Commit(offsets));
    }

    fn commit_ended(
        &mut self,
        now: Tick,
        offsets: Offsets,
        result: Result<(), KafkaError>,
        orders: &mut Vec<Order>,
    ) {
        match self.commits.ended(offsets) {
            None => {}
            Some(Purpose::Job) => match result {
                // A retry would be rejected, too.
                Err(error) if error.class() == Class::Unauthorized => orders.push(Order::Fail(error)),
                result => {
                    let result = result.map_err(|error| error.to_string());
                    report(orders, SourceEvent::CommitEnded(result));
                }
            },
            Some(Purpose::Release(number)) => {
                self.take_release(number, result.err().as_ref(), orders);
            }
            Some(Purpose::Verify) => self.verified(result, orders),
            Some(Purpose::Finish) => {
                let Some(finish) = &mut self.finish else { return };
                // The group has a new generation that this member has not joined yet.
                let again =
                    |error: &KafkaError| matches!(error.class(), Class::Rebalancing | Class::Expelled);
                if !result.as_ref().is_err_and(|error| again(error) && now < finish.until) {
                    finish.result = Some(result);
                }
            }
        }
    }

    /// Handles drained lanes. They end once their last commit has ended.
    fn released(&mut self, now: Tick, lanes: &[(LaneId, Option<i64>)], orders: &mut Vec<Order>) {
        let offsets: Vec<_> = lanes.iter().filter_map(|(id, offset)| Some((*id, (*offset)?))).collect();
        let lanes: Vec<_> = lanes.iter().map(|(id, _)| *id).collect();
        // An older commit of a replaced lane must not be applied after those of the lane that replaces it.
        let is_replaced =
            |id| self.lanes.get(id).is_some_and(|lane| matches!(lane.state, State::Replaced(_)));
        if self.named(&offsets).is_empty() && !lanes.iter().any(is_replaced) {
            return self.finish_release(&lanes, None, orders);
        }
        let (number, after) = (self.next_release, self.commits.next());
        self.next_release += 1;
        self.releases.push(Release { number, lanes, offsets, after, until: now + COMMIT_TIMEOUT });
    }

    /// Starts the last commits of released lanes once all earlier commits have ended. Gives up commits that are not
    /// answered in time.
    fn commit_releases(&mut self, now: Tick, orders: &mut Vec<Order>) {
        let ready = self.releases.iter().filter(|release| {
            let purpose = Purpose::Release(release.number);
            self.commits.have_ended_before(release.after)
                && !self.commits.has(purpose)
                && !self.commits.has(Purpose::Verify)
        });
        let ready: Vec<_> = ready.map(|release| (self.named(&release.offsets), release.number)).collect();
        for (offsets, number) in ready {
            if offsets.is_empty() {
                self.take_release(number, None, orders);
            } else {
                self.begin_commit(offsets, Purpose::Release(number), orders);
            }
        }
        let (late, waiting): (Vec<_>, _) =
            std::mem::take(&mut self.releases).into_iter().partition(|release| now >= release.until);
        self.releases = waiting;
        for release in late {
            self.was_unanswered = true;
            self.finish_release(&release.lanes, Some(&unanswered()), orders);
        }
    }

    fn take_release(&mut self, number: u64, error: Option<&KafkaError>, orders: &mut Vec<Order>) {
        if let Some(index) = self.releases.iter().position(|release| release.number == number) {
            let release = self.releases.remove(index);
            self.finish_release(&release.lanes, error, orders);
        }
    }

    fn finish_release(&mut self, lanes: &[LaneId], error: Option<&KafkaError>, orders: &mut Vec<Order>) {
        if let Some(error) = error {
            let notice = format!("the last offset commit of revoked partitions failed: {error}");
            report(orders, SourceEvent::Notice(notice));
        }
        for id in lanes {
            let is_leaving = self.leaving.iter().any(|leaving| leaving.lanes.contains(id));
            let lane = self.lanes.get(id).filter(|_| !is_leaving);
            let replaced = lane.and_then(|lane| match lane.state {
                State::Replaced(position) => Some((lane.name.clone(), position)),
                _ => None,
            });
            self.end(*id, orders);
            if let Some((name, position)) = replaced {
                let lane = self.begin(&name, position, orders);
                orders.push(Order::Seek(lane, name, position));
            }
        }
        self.leave(orders);
    }

    /// Starts to verify the membership after the process was suspended for longer than its session time-out. The group
    /// may have assigned the partitions to other members. It accepts commits only from members, so a commit shows
    /// whether the member is still in the group.
    fn was_away(&mut self, now: Tick) {
        // The brokers reject transactions of a former member, and the committed offsets are not known here.
        if !self.lanes.is_empty() && !self.rules.exactly_once && self.verify.is_none() {
            self.verify = Some(now + COMMIT_TIMEOUT);
        }
    }

    fn verify_membership(&mut self, now: Tick, orders: &mut Vec<Order>) {
        let Some(until) = self.verify else { return };
        let known: Vec<_> = self.lanes.iter().map(|(id, lane)| (*id, lane.committed)).collect();
        let offsets = self.named(&known);
        if now >= until || offsets.is_empty() {
            self.was_unanswered |= now >= until;
            self.verify = None;
        } else if self.commits.is_empty() {
            self.begin_commit(offsets, Purpose::Verify, orders);
        }
    }

    fn verified(&mut self, result: Result<(), KafkaError>, orders: &mut Vec<Order>) {
        self.verify = None;
        if result.is_err_and(|error| error.class() == Class::Expelled) {
            report(
                orders,
                SourceEvent::Notice(
                    "the process was suspended for longer than session.timeout.ms and lost its partitions"
                        .to_owned(),
                ),
            );
            for id in self.lanes.keys().copied().collect::<Vec<_>>() {
                report(orders, SourceEvent::Revoked(id, Revoke::Lost));
                self.end(id, orders);
            }
            self.leave(orders);
        }
    }

    fn commit_finally(&mut self, now: Tick, orders: &mut Vec<Order>) {
        let Some(finish) = self.finish.as_ref().filter(|finish| finish.result.is_none()) else { return };
        let offsets = self.named(&finish.offsets);
        let result = if offsets.is_empty() && self.releases.is_empty() {
            Ok(())
        } else if now >= finish.until {
            self.was_unanswered = true;
            Err(unanswered())
        } else {
            let is_next = self.commits.have_ended_before(finish.after) && !self.commits.has(Purpose::Finish);
            if is_next && !offsets.is_empty() {
                self.begin_commit(offsets, Purpose::Finish, orders);
            }
            return;
        };
        if let Some(finish) = &mut self.finish {
            finish.result = Some(result);
        }
    }

    // --- The end of the input.

    fn ended(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| !lane.has_ended) {
            lane.has_ended = true;
            self.unended -= 1;
        }
    }

    fn group_committed(&mut self, committed: &[(i32, i64)]) {
        if let Some(until) = &mut self.until {
            for (partition, offset) in committed {
                until.end.committed(*partition, *offset);
            }
        }
    }

    /// Reports to the job whether the whole input was read, and requests the committed offsets of the partitions that
    /// this member has not read.
    fn report_end(&mut self, now: Tick, orders: &mut Vec<Order>) {
        let Some(until) = &mut self.until else { return };
        let is_read_here = self.has_joined && self.unended == 0 && self.replaced == 0;
        if is_on(Mutant::DoneWithoutLanes) && is_read_here {
            until.is_reached = true;
            return report(orders, SourceEvent::EndOfInput(true));
        }
        let read: BTreeSet<_> = if is_read_here {
            self.lanes.values().filter(|lane| lane.has_ended).map(|lane| lane.name.partition).collect()
        } else {
            BTreeSet::new()
        };
        let missing =
            if is_read_here { until.end.missing(|partition| read.contains(&partition)) } else { Vec::new() };
        let is_reached = is_read_here && missing.is_empty();
        if is_reached != until.is_reached {
            until.is_reached = is_reached;
            report(orders, SourceEvent::EndOfInput(is_reached));
        }
        if !is_read_here || is_reached {
            until.waiting = None;
            return;
        }
        if now >= until.ask_at {
            until.ask_at = now + ASK_AGAIN;
            orders.push(Order::AskGroup(missing.iter().map(|missing| missing.partition).collect()));
        }
        let (since, was_reported) = until.waiting.get_or_insert((now, false));
        if !*was_reported && now.since(*since) >= REPORT_WAITING {
            *was_reported = true;
            report(orders, SourceEvent::Notice(others(&self.rules.topic, &missing)));
        }
    }

    /// Returns the first invariant that is broken, if one is.
    fn invariant(&self) -> Option<String> {
        let broken = |holds: bool, what: &str| (!holds).then(|| format!("{what}: {self:#?}"));
        let unended = self.lanes.values().filter(|lane| !lane.has_ended).count();
        let replaced = self.lanes.values().filter(|lane| matches!(lane.state, State::Replaced(_))).count();
        let is_current =
            |(name, id): (&LaneName, &LaneId)| self.lanes.get(id).is_some_and(|lane| lane.name == *name);
        broken(unended == self.unended, "the number of unended lanes is wrong")
            .or_else(|| broken(replaced == self.replaced, "the number of replaced lanes is wrong"))
            .or_else(|| {
                broken(self.by_name.iter().all(is_current), "a partition has the lane of another one")
            })
            .or_else(|| {
                let mut lanes = self.leaving.iter().flat_map(|leaving| &leaving.lanes);
                broken(lanes.all(|id| self.lanes.contains_key(id)), "a leaving lane does not exist")
            })
            .or_else(|| {
                broken(
                    self.leaving.iter().all(|leaving| !leaving.lanes.is_empty()),
                    "partitions without lanes were kept",
                )
            })
    }
}

fn report(orders: &mut Vec<Order>, event: SourceEvent) {
    orders.push(Order::Report(event));
}

fn unanswered() -> KafkaError {
    KafkaError::new(format!("no broker answered the offset commit within {COMMIT_TIMEOUT:?}"))
}

/// Returns a notice with the partitions that other members must still read.
fn others(topic: &str, missing: &[Missing]) -> String {
    const NAMED: usize = 5;
    let one = |Missing { partition, committed, end }: &Missing| {
        let committed =
            committed.map_or("not committed".to_owned(), |offset| format!("committed up to {offset}"));
        format!("{topic}[{partition}] ({committed} of {end})")
    };
    let named: Vec<_> = missing.iter().take(NAMED).map(one).collect();
    let more = missing.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("waiting for other members of the group to read to the end: {}{more}", named.join(", "))
}

fn lost(name: &LaneName, from: i64, to: i64) -> SourceEvent {
    SourceEvent::Notice(format!(
        "data loss: offsets {from} to {} of {name} were deleted before they were read",
        to - 1
    ))
}

fn anew(name: &LaneName, from: i64, to: i64) -> SourceEvent {
    SourceEvent::Notice(format!(
        "data loss: {name} was recreated or truncated before offset {from}; reading resumes at offset {to}"
    ))
}

#[cfg(test)]
mod tests;
