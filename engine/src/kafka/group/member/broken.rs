//! Offsets that do not exist any more: lanes that cannot be read and the bounds of their partitions in; the offset at
//! which a lane is resumed, or its replacement, out.

use super::notices::{anew, lost, report};
use super::state::{Lane, Member, State};
use crate::core::Revoke;
use crate::ids::{LaneId, LaneName, Tick};
use crate::kafka::KafkaError;
use crate::kafka::fetch::Broken;
use crate::kafka::group::order::{Order, Question};
use crate::kafka::group::reset::{Resume, resume};
use crate::kafka::offsets::Bounds;
use crate::source::SourceEvent;

impl Member {
    pub(super) fn broken(&mut self, id: LaneId, position: i64, broken: Broken) {
        if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.state == State::Reading) {
            lane.state = State::Broken(position, broken);
        }
    }

    /// Asks for the bounds of all partitions that cannot be read at their position.
    pub(super) fn ask_about_broken(&mut self, now: Tick, orders: &mut Vec<Order>) {
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
    pub(super) fn reset(
        &mut self,
        partitions: &[LaneName],
        bounds: &[Bounds],
        orders: &mut Vec<Order>,
    ) -> Result<(), KafkaError> {
        for (name, bounds) in partitions.iter().zip(bounds) {
            // The partition may have been revoked since the question was asked.
            let Some(id) = self.by_name.get(name).copied() else { continue };
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let State::Broken(position, broken) = &lane.state else { continue };
            let (position, Broken { reason, differs_from }) = (*position, broken.clone());
            match resume(name, position, (*bounds, differs_from), self.rules.on_data_loss)? {
                // The offset exists: a broker was not up to date.
                Resume::Here => {
                    lane.state = State::Resuming(position);
                    let notice = format!("{name} can be read again from offset {position}: {reason}");
                    report(orders, SourceEvent::Notice(notice));
                }
                Resume::Behind(low) => {
                    lane.state = State::Resuming(low);
                    report(orders, lost(name, position, low));
                    report(orders, SourceEvent::Lost(id, low));
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

    /// Continues the lanes that can be read again. The client takes every change of its assignment for the answer to a
    /// rebalance, so nothing is changed while one waits for its answer.
    pub(super) fn resume_lanes(&mut self, orders: &mut Vec<Order>) {
        if !(self.leaving.is_empty() && self.rebalances.is_empty()) {
            return;
        }
        for (id, lane) in &mut self.lanes {
            if let State::Resuming(position) = lane.state {
                lane.state = State::Reading;
                orders.push(Order::Seek(*id, lane.name.clone(), position));
            }
        }
    }
}
