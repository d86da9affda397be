//! The end of the input: lanes that have ended and the committed offsets of the group in; whether the whole input was
//! read, and requests for the offsets that are missing, out.

use std::collections::BTreeSet;
use std::time::Duration;

use super::notices::{others, report};
use super::state::{ASK_AGAIN, Member};
use crate::failpoint::{Mutant, is_on};
use crate::ids::{LaneId, Tick};
use crate::kafka::group::order::Order;
use crate::source::SourceEvent;

/// The time after which a member reports that it waits for other members.
const REPORT_WAITING: Duration = Duration::from_secs(5);

impl Member {
    pub(super) fn ended(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| !lane.has_ended) {
            lane.has_ended = true;
            self.unended -= 1;
        }
    }

    pub(super) fn group_committed(&mut self, committed: &[(i32, i64)]) {
        if let Some(until) = &mut self.until {
            for (partition, offset) in committed {
                until.end.committed(*partition, *offset);
            }
        }
    }

    /// Reports to the job whether the whole input was read, and requests the committed offsets of the partitions that
    /// this member has not read.
    pub(super) fn report_end(&mut self, now: Tick, orders: &mut Vec<Order>) {
        let Some(until) = &mut self.until else { return };
        let is_read_here = self.has_joined && self.unended == 0 && self.replaced == 0;
        if is_on(Mutant::DoneWithoutLanes) && is_read_here {
            until.is_reached = true;
            return report(orders, SourceEvent::EndOfInput(true));
        }
        // The job may have given up records of a lane that it has released and that waits for its last commit.
        let is_released = |id| self.releases.iter().any(|release| release.lanes.contains(id));
        let read: BTreeSet<_> = if is_read_here {
            let read = self.lanes.iter().filter(|(id, lane)| lane.has_ended && !is_released(id));
            read.map(|(_, lane)| lane.name.partition).collect()
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
}
