//! Rebalances: the waiting rebalances and the positions of assigned partitions in; questions, new lanes, lanes to drain
//! and the answer to the group out.

use std::collections::BTreeSet;

use super::notices::{anew, lost, report};
use super::start_over::MISSED;
use super::state::{Lane, Leaving, Member, Rebalance};
use crate::core::Revoke;
use crate::ids::{LaneName, Tick};
use crate::kafka::KafkaError;
use crate::kafka::group::order::{Order, Position, Question};
use crate::kafka::group::reset::{Resume, resume};
use crate::kafka::offsets::Bounds;
use crate::source::SourceEvent;

impl Member {
    /// Handles an assignment in addition to the present one (cooperative protocol).
    pub(super) fn assigned(&mut self, partitions: Vec<LaneName>, orders: &mut Vec<Order>) {
        if self.has_missed_rebalance() {
            return self.start_over(MISSED, orders);
        }
        self.heard_of_rebalance();
        self.unfinished = None;
        self.rebalances.push_back(Rebalance::Assigned(partitions));
    }

    /// Handles a revocation.
    pub(super) fn revoked(&mut self, partitions: Vec<LaneName>, lost: bool, orders: &mut Vec<Order>) {
        // A client in the middle of a rebalance does not lose partitions in another way.
        let is_interrupted = lost && self.unfinished.is_some() && self.finish.is_none();
        if is_interrupted || self.has_missed_rebalance() {
            return self.start_over(MISSED, orders);
        }
        self.heard_of_rebalance();
        if lost {
            // The lanes have another owner already, whatever rebalance is to be answered first.
            self.fence(&partitions, orders);
        }
        self.unfinished = self.generation.filter(|_| !lost);
        self.rebalances.push_back(Rebalance::Revoked(partitions, lost));
    }

    /// Carries out the waiting rebalances in order, up to the first one that waits for an answer of the brokers.
    pub(super) fn rebalance(&mut self, now: Tick, orders: &mut Vec<Order>) {
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

    pub(super) fn ask(&mut self, question: Question, orders: &mut Vec<Order>) {
        self.asked = Some(question.clone());
        orders.push(Order::Ask(question));
    }

    /// Starts lanes for the partitions that the group has assigned to this member.
    pub(super) fn assign(
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
        match resume(name, committed, (bounds, None), self.rules.on_data_loss)? {
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

    /// Ends everything that the member had, without an answer to the group.
    ///
    /// An eager client that finds new partitions in the topic joins its group again at once, even if a revocation has
    /// not been answered (librdkafka 2.12). Other members may read the partitions already, and a late answer would give
    /// up the new ones.
    pub(super) fn start_anew(&mut self, orders: &mut Vec<Order>) {
        self.rebalances.clear();
        self.leaving.clear();
        self.void_answers += u32::from(self.asked.take().is_some());
        for lane in self.lanes.keys().copied().collect::<Vec<_>>() {
            report(orders, SourceEvent::Revoked(lane, Revoke::Lost));
            self.end(lane, orders);
        }
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
}
