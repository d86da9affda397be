//! Starts and ends lanes, and gives partitions up: a partition and a position, or a lane, in; orders to the client and
//! reports to the job out.

use std::collections::BTreeSet;

use super::notices::report;
use super::state::{Lane, Member, State};
use crate::core::Revoke;
use crate::ids::{LaneId, LaneName};
use crate::kafka::group::order::Order;
use crate::kafka::offsets::Bounds;
use crate::source::SourceEvent;

impl Member {
    pub(super) fn begin(&mut self, name: &LaneName, position: i64, orders: &mut Vec<Order>) -> LaneId {
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

    /// Ends the lanes of partitions that another member may have already.
    pub(super) fn fence(&mut self, partitions: &[LaneName], orders: &mut Vec<Order>) {
        for lane in self.lanes_of(partitions) {
            report(orders, SourceEvent::Revoked(lane, Revoke::Lost));
            self.end(lane, orders);
        }
        self.leave(orders);
    }

    pub(super) fn lanes_of(&self, partitions: &[LaneName]) -> BTreeSet<LaneId> {
        partitions.iter().filter_map(|name| self.by_name.get(name).copied()).collect()
    }

    pub(super) fn end(&mut self, id: LaneId, orders: &mut Vec<Order>) {
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
    pub(super) fn leave(&mut self, orders: &mut Vec<Order>) {
        let (done, waiting): (Vec<_>, _) =
            std::mem::take(&mut self.leaving).into_iter().partition(|leaving| leaving.lanes.is_empty());
        self.leaving = waiting;
        orders.extend(done.into_iter().map(|leaving| Order::Unassign(leaving.partitions)));
    }

    /// Notes that a partition now has other records.
    pub(super) fn restart(&mut self, name: &LaneName, bounds: Bounds) {
        if let Some(until) = &mut self.until {
            until.end.restart(name.partition, bounds);
        }
    }
}
