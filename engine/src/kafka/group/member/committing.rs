//! Commits: the offsets of the job, drained lanes and the results of commits in; the next commit, ended lanes and
//! reports to the job out.

use super::notices::{report, suspended, unanswered};
use super::state::{COMMIT_AGAIN, COMMIT_TIMEOUT, Member, Release, State, Verify};
use crate::ids::{LaneId, Tick};
use crate::kafka::KafkaError;
use crate::kafka::error::Class;
use crate::kafka::group::commits::Purpose;
use crate::kafka::group::order::Order;
use crate::kafka::offsets::Offsets;
use crate::source::SourceEvent;

impl Member {
    /// Converts lanes to partitions. Lanes that are replaced are left out, because their offsets are not committed.
    fn named(&self, offsets: &[(LaneId, i64)]) -> Offsets {
        let named = |(id, offset): &(LaneId, i64)| {
            let lane = self.lanes.get(id).filter(|lane| !matches!(lane.state, State::Replaced(_)))?;
            Some((lane.name.clone(), *offset))
        };
        offsets.iter().filter_map(named).collect()
    }

    pub(super) fn commit(&mut self, offsets: &[(LaneId, i64)], orders: &mut Vec<Order>) {
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
    pub(super) fn commit_for_job(&mut self, orders: &mut Vec<Order>) {
        if self.commits.has(Purpose::Verify) {
            return;
        }
        let Some(offsets) = self.waiting_commit.take() else { return };
        let offsets = self.named(&offsets);
        if offsets.is_empty() {
            report(orders, SourceEvent::CommitEnded(Ok(())));
        } else {
            self.has_rebalanced = false;
            self.begin_commit(offsets, Purpose::Job, orders);
        }
    }

    fn begin_commit(&mut self, offsets: Offsets, purpose: Purpose, orders: &mut Vec<Order>) {
        self.commits.begin(offsets.clone(), purpose);
        orders.push(Order::Commit(offsets));
    }

    pub(super) fn commit_ended(
        &mut self,
        now: Tick,
        offsets: Offsets,
        result: Result<(), KafkaError>,
        orders: &mut Vec<Order>,
    ) {
        self.was_unanswered &= result.is_err();
        match self.commits.ended(offsets) {
            None => {}
            Some(Purpose::Job) => self.job_commit_ended(now, result, orders),
            Some(Purpose::Release(number)) => {
                let until = self.releases.iter().find(|release| release.number == number).map(|r| r.until);
                let error = result.err();
                let again = |error: &KafkaError| error.is_passing() && until.is_some_and(|until| now < until);
                if error.as_ref().is_some_and(again) {
                    self.commit_again_at = now + COMMIT_AGAIN;
                } else {
                    self.take_release(number, error.as_ref(), orders);
                }
            }
            Some(Purpose::Verify) => self.verified(now, result, orders),
            Some(Purpose::Finish) => {
                let Some(finish) = &mut self.finish else { return };
                // A temporary error, or the group has a new generation that this member has not joined yet.
                let again = |error: &KafkaError| {
                    matches!(error.class(), Class::Passing | Class::Rebalancing | Class::Expelled)
                };
                if result.as_ref().is_err_and(|error| again(error) && now < finish.until) {
                    self.commit_again_at = now + COMMIT_AGAIN;
                } else {
                    finish.result = Some(result);
                }
            }
        }
    }

    fn job_commit_ended(&mut self, now: Tick, result: Result<(), KafkaError>, orders: &mut Vec<Order>) {
        match result.as_ref().map_err(KafkaError::class) {
            Ok(()) => self.rejected_since = None,
            // A commit may begin before a rebalance and end after it.
            Err(Class::Expelled) if !self.has_rebalanced => self.rejected(now),
            Err(_) => {}
        }
        match result {
            // A retry would be rejected, too.
            Err(error) if error.class() == Class::Unauthorized => orders.push(Order::Fail(error)),
            result => {
                let result = result.map_err(|error| error.to_string());
                report(orders, SourceEvent::CommitEnded(result));
            }
        }
    }

    /// Handles drained lanes. They end once their last commit has ended.
    pub(super) fn released(&mut self, now: Tick, lanes: &[(LaneId, Option<i64>)], orders: &mut Vec<Order>) {
        let offsets: Vec<_> = lanes.iter().filter_map(|(id, offset)| Some((*id, (*offset)?))).collect();
        // An older commit that was not started must not overlap the last one.
        if let Some(waiting) = &mut self.waiting_commit {
            waiting.retain(|(id, _)| !offsets.iter().any(|(released, _)| released == id));
        }
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
    pub(super) fn commit_releases(&mut self, now: Tick, orders: &mut Vec<Order>) {
        let ready = self.releases.iter().filter(|release| {
            let purpose = Purpose::Release(release.number);
            now >= self.commit_again_at
                && self.commits.have_ended_before(release.after)
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
                let id = self.begin(&name, position, orders);
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.state = State::Resuming(position);
                }
            }
        }
        self.leave(orders);
    }

    /// Starts to verify the membership after the process was suspended for longer than its session time-out. The group
    /// may have assigned the partitions to other members. It accepts commits only from members, so a commit shows
    /// whether the member is still in the group.
    pub(super) fn was_away(&mut self, now: Tick) {
        // The brokers reject transactions of a former member, and the committed offsets are not known here.
        if !self.lanes.is_empty() && !self.rules.exactly_once && self.verify.is_none() {
            self.verify = Some(Verify { until: now + COMMIT_TIMEOUT, again_at: now });
        }
    }

    pub(super) fn verify_membership(&mut self, now: Tick, orders: &mut Vec<Order>) {
        // The last commit of a job that ends shows the same.
        self.verify = self.verify.take().filter(|_| self.finish.is_none());
        let Some(Verify { until, again_at }) = self.verify else { return };
        let known: Vec<_> = self.lanes.iter().map(|(id, lane)| (*id, lane.committed)).collect();
        let offsets = self.named(&known);
        if offsets.is_empty() {
            self.verify = None;
        } else if now >= until {
            self.was_unanswered = true;
            self.start_over(&suspended("the group has not confirmed its membership since"), orders);
        } else if now >= again_at && self.commits.is_empty() {
            self.begin_commit(offsets, Purpose::Verify, orders);
        }
    }

    fn verified(&mut self, now: Tick, result: Result<(), KafkaError>, orders: &mut Vec<Order>) {
        let Some(verify) = &mut self.verify else { return };
        let Err(error) = result else {
            self.verify = None;
            return;
        };
        match error.class() {
            // A group rebalances with its members.
            Class::Rebalancing => self.verify = None,
            Class::Passing => verify.again_at = now + COMMIT_AGAIN,
            // The client may still have the partitions: only a new one makes the group assign them again.
            Class::Expelled | Class::Permanent => {
                self.start_over(&suspended("it has lost its partitions"), orders);
            }
            Class::Unauthorized => {
                self.verify = None;
                orders.push(Order::Fail(error));
            }
        }
    }

    pub(super) fn commit_finally(&mut self, now: Tick, orders: &mut Vec<Order>) {
        let Some(finish) = self.finish.as_ref().filter(|finish| finish.result.is_none()) else { return };
        let offsets = self.named(&finish.offsets);
        let result = if offsets.is_empty() && self.releases.is_empty() {
            Ok(())
        } else if now >= finish.until {
            self.was_unanswered = true;
            Err(unanswered())
        } else {
            let is_next = now >= self.commit_again_at
                && self.commits.have_ended_before(finish.after)
                && !self.commits.has(Purpose::Finish);
            if is_next && !offsets.is_empty() {
                self.begin_commit(offsets, Purpose::Finish, orders);
            }
            return;
        };
        if let Some(finish) = &mut self.finish {
            finish.result = Some(result);
        }
    }
}
