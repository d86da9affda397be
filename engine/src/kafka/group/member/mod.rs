//! A group member as a state machine: facts and a time in, orders out. It has no clock, no client and does no I/O.
//!
//! Rebalances are carried out in the order in which the group has sent them:
//!
//! - Assigned partitions are accepted once the brokers have answered from which positions to read them.
//! - Revoked partitions are given up once the job has drained their lanes and the last commit has ended.
//!
//! Only one question to the brokers is open at a time.

mod broken;
mod committing;
mod end;
mod invariant;
mod lanes;
mod notices;
mod rebalance;
mod start_over;
mod state;

pub(super) use state::{Member, Rules};

use notices::report;
use state::{ASK_AGAIN, COMMIT_TIMEOUT, Finish, Rebalance, State};

use super::order::{Answer, Fact, Order, Question};
use crate::ids::{LaneId, Tick};
use crate::kafka::KafkaError;
use crate::source::SourceEvent;

impl Member {
    /// Applies a fact and appends the resulting orders to `orders`.
    pub(super) fn step(&mut self, now: Tick, fact: Fact, orders: &mut Vec<Order>) {
        match fact {
            Fact::Tick => {}
            Fact::Generation(generation) => self.generation = Some(generation),
            Fact::Assigned(partitions) => self.assigned(partitions, orders),
            Fact::AssignedAnew(partitions) => {
                self.heard_of_rebalance();
                self.start_anew(orders);
                self.rebalances.push_back(Rebalance::Assigned(partitions));
            }
            Fact::Revoked(partitions, lost) => self.revoked(partitions, lost, orders),
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
            Fact::Rejected => self.rejected(now),
            Fact::WasAway => self.was_away(now),
            Fact::Finish(offsets) => {
                self.waiting_commit = None;
                let (after, until) = (self.commits.next(), now + COMMIT_TIMEOUT);
                self.finish = Some(Finish { offsets, after, until, result: None });
            }
        }
        self.start_over_if_forgotten(now, orders);
        self.rebalance(now, orders);
        self.ask_about_broken(now, orders);
        self.commit_for_job(orders);
        self.commit_releases(now, orders);
        self.verify_membership(now, orders);
        self.commit_finally(now, orders);
        self.resume_lanes(orders);
        self.report_end(now, orders);
        debug_assert_eq!(self.invariant(), None);
    }

    fn answered(&mut self, now: Tick, answer: Result<Answer, KafkaError>, orders: &mut Vec<Order>) {
        if self.void_answers > 0 {
            self.void_answers -= 1;
            return;
        }
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
}

#[cfg(test)]
mod tests;
