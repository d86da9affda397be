//! Clients that no longer follow their group: rebalances and rejected offsets in; the order to join the group with a new
//! client out.
//!
//! A cooperative client that finds new partitions in the topic joins its group again at once, even if a revocation has
//! not been answered (librdkafka 2.12). Other members may have the revoked partitions already. The client itself still
//! waits for the end of the interrupted rebalance, which never comes: it takes part in no later rebalance and does not
//! notice that the group removes it.

use super::notices::report;
use super::state::{Member, REJECTED_TIMEOUT, Rebalance};
use crate::core::Revoke;
use crate::ids::Tick;
use crate::kafka::group::commits::Purpose;
use crate::kafka::group::order::Order;
use crate::source::SourceEvent;

/// The client was interrupted in a rebalance.
pub(super) const MISSED: &str = "the topic has got partitions during a rebalance";

impl Member {
    /// Returns true if the client has reported a rebalance although an earlier one has not ended.
    pub(super) fn has_missed_rebalance(&self) -> bool {
        // A client that has revoked partitions reports those that are assigned in the same generation.
        let is_interrupted = self.unfinished.is_some_and(|generation| self.generation != Some(generation));
        let is_revocation = |rebalance: &Rebalance| matches!(rebalance, Rebalance::Revoked(..));
        let is_unanswered = !self.leaving.is_empty() || self.rebalances.iter().any(is_revocation);
        // Only clients of the cooperative classic protocol report generations, and only they can be interrupted. A job
        // that has ended answers at once, and needs no partitions.
        self.finish.is_none() && self.generation.is_some() && (is_interrupted || is_unanswered)
    }

    /// Notes that the client follows its group.
    pub(super) fn heard_of_rebalance(&mut self) {
        self.rejected_since = None;
        self.has_rebalanced = true;
    }

    /// Notes that the group has rejected offsets as those of a stranger. A client that follows its group reports a
    /// rebalance soon.
    pub(super) fn rejected(&mut self, now: Tick) {
        self.rejected_since.get_or_insert(now);
    }

    /// Starts over if the group has removed the member and the client has not noticed.
    pub(super) fn start_over_if_forgotten(&mut self, now: Tick, orders: &mut Vec<Order>) {
        let is_forgotten = |since: Tick| now.since(since) >= REJECTED_TIMEOUT;
        if self.finish.is_none() && self.rejected_since.is_some_and(is_forgotten) {
            self.start_over("the group has removed this member", orders);
        }
    }

    /// Ends all lanes and joins the group with a new client. Records whose offsets are not committed are read again by
    /// the next owner of their partitions.
    pub(super) fn start_over(&mut self, why: &str, orders: &mut Vec<Order>) {
        report(orders, SourceEvent::Notice(format!("{why}: the job joins its group again")));
        let waiting = self.rebalances.drain(..).flat_map(|rebalance| match rebalance {
            Rebalance::Assigned(partitions) | Rebalance::Revoked(partitions, _) => partitions,
        });
        let mut others: Vec<_> = waiting.collect();
        others.extend(self.leaving.drain(..).flat_map(|leaving| leaving.partitions));
        self.releases.clear();
        self.verify = None;
        // The new client does not answer questions to the former one.
        self.asked = None;
        self.void_answers = 0;
        self.generation = None;
        self.unfinished = None;
        self.rejected_since = None;
        let waits = self.waiting_commit.take().is_some() | self.commits.forget().contains(&Purpose::Job);
        for lane in self.lanes.keys().copied().collect::<Vec<_>>() {
            report(orders, SourceEvent::Revoked(lane, Revoke::Lost));
            self.end(lane, orders);
        }
        orders.push(Order::StartOver(others));
        if waits {
            report(orders, SourceEvent::CommitEnded(Err(format!("{why} before the commit has ended"))));
        }
    }
}
