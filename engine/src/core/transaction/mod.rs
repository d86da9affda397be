//! Decides which batches are written and committed in one transaction: processed batches and acknowledgements in, the
//! batches to write and the time to commit out.
//!
//! 1. Batches join the open transaction in the order in which they were processed.
//! 2. The transaction is committed with the offsets of its batches once all writes are acknowledged and it is full or
//!    due.
//! 3. If the transaction fails, its batches join the next one and their outputs are written again.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::failure::RowError;
use super::ledger::Settled;
use crate::failpoint::{Mutant, is_on};
use crate::ids::Tick;
use crate::ids::{BatchId, LaneId};

/// The limits of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionRule {
    /// The maximum number of batches.
    pub max_batches: u64,
    /// The time for which the transaction accepts batches after the first one.
    pub wait: Duration,
}

/// A processed batch.
#[derive(Debug)]
pub(super) struct Member {
    pub id: BatchId,
    /// The number of attempts to process the batch.
    pub attempts: u32,
    /// The rows for the dead letter queue.
    pub dead: Vec<RowError>,
    /// The rows that are skipped.
    pub skipped: Vec<u32>,
    /// True if a transaction with this batch was aborted.
    pub again: bool,
    /// The rows that were acknowledged or skipped.
    fates: Vec<(Range<u32>, Settled)>,
    /// The number of live rows in `fates`.
    arrived: u32,
}

impl Member {
    pub(super) fn new(id: BatchId, dead: Vec<RowError>, skipped: Vec<u32>, attempts: u32) -> Self {
        Self { id, attempts, dead, skipped, again: false, fates: Vec::new(), arrived: 0 }
    }

    /// Returns the rows that are not written to the sink, in ascending order.
    pub(super) fn left_out(&self) -> Vec<u32> {
        let mut rows: Vec<_> =
            self.dead.iter().map(|error| error.row).chain(self.skipped.iter().copied()).collect();
        rows.sort_unstable();
        rows
    }

    /// Skips a rejected row. Returns true if the row was not skipped before.
    pub(super) fn skip(&mut self, row: u32) -> bool {
        self.dead.retain(|error| error.row != row);
        let is_news = !self.skipped.contains(&row);
        if is_news {
            self.skipped.push(row);
        }
        is_news
    }

    /// Sends a rejected row to the dead letter queue. Returns true if it was neither sent there nor skipped before.
    pub(super) fn bury(&mut self, error: RowError) -> bool {
        let is_news =
            self.dead.iter().all(|other| other.row != error.row) && !self.skipped.contains(&error.row);
        if is_news {
            self.dead.push(error);
        }
        is_news
    }

    /// Returns the rows that were acknowledged or skipped.
    pub(super) fn fates(&self) -> &[(Range<u32>, Settled)] {
        &self.fates
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Committing,
    Aborting,
}

/// The open transaction and the batches that wait for the next one.
#[derive(Debug)]
pub(super) struct Transaction {
    rule: TransactionRule,
    phase: Phase,
    members: Vec<Member>,
    /// The offsets that are committed with the transaction.
    offsets: Vec<(LaneId, i64)>,
    waiting: VecDeque<Member>,
    /// The time at which the first batch joined.
    since: Tick,
    /// The time before which no batch joins, after a failure.
    retry_at: Tick,
    /// The number of transactions that were aborted in a row, although each was to write the same rows as before.
    failures: u32,
    /// True if the next transaction leaves out rows that this one was to write.
    shrinks: bool,
}

impl Transaction {
    pub(super) fn new(rule: TransactionRule) -> Self {
        Self {
            rule,
            phase: Phase::Open,
            members: Vec::new(),
            offsets: Vec::new(),
            waiting: VecDeque::new(),
            since: Tick::default(),
            retry_at: Tick::default(),
            failures: 0,
            shrinks: false,
        }
    }

    /// Adds a processed batch.
    pub(super) fn add(&mut self, member: Member) {
        self.waiting.push_back(member);
    }

    /// Returns the batches in the transaction.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns true if the transaction still accepts writes. Rows that are rejected later are left out of the next
    /// transaction.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Returns true if no batch is in the transaction or waits for it, and none is being ended.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Open && self.members.is_empty() && self.waiting.is_empty()
    }

    /// Returns true if the transaction is being committed.
    pub(super) fn is_committing(&self) -> bool {
        self.phase == Phase::Committing
    }

    /// Returns true if a batch is in the transaction.
    pub(super) fn has(&self, id: BatchId) -> bool {
        self.members.iter().any(|member| member.id == id)
    }

    fn member_mut(&mut self, id: BatchId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    /// Skips a rejected row of a batch in the transaction. Returns true if the row was not skipped before.
    pub(super) fn skip(&mut self, id: BatchId, row: u32) -> bool {
        let is_news = self.member_mut(id).is_some_and(|member| member.skip(row));
        self.shrinks |= is_news;
        is_news
    }

    /// Sends a rejected row of a batch in the transaction to the dead letter queue. Returns true if the row was neither
    /// sent there nor skipped before.
    pub(super) fn bury(&mut self, id: BatchId, error: RowError) -> bool {
        let is_news = self.member_mut(id).is_some_and(|member| member.bury(error));
        self.shrinks |= is_news;
        is_news
    }

    /// Moves the next waiting batch into the transaction and returns it. Returns `None` if no batch waits, or if the
    /// transaction is full, due or `closed`. Rows that are not `live` (their lane was revoked) are not counted.
    pub(super) fn join(
        &mut self,
        now: Tick,
        closed: bool,
        live: impl Fn(BatchId, u32) -> bool,
    ) -> Option<&Member> {
        let goes_on = self.members.is_empty() || !self.is_due(now, closed);
        if self.phase != Phase::Open || now < self.retry_at || !goes_on {
            return None;
        }
        let mut member = self.waiting.pop_front()?;
        if self.members.is_empty() {
            self.since = now;
        }
        if !(member.again && is_on(Mutant::OlderTransactionCounts)) {
            let skipped = member.skipped.iter().filter(|row| live(member.id, **row));
            member.fates = skipped.map(|row| (*row..row + 1, Settled::Skipped)).collect();
            member.arrived = u32::try_from(member.fates.len()).expect("a batch has fewer than 2^31 rows");
        }
        self.members.push(member);
        self.members.last()
    }

    fn is_due(&self, now: Tick, closed: bool) -> bool {
        self.members.len() as u64 >= self.rule.max_batches || now >= self.since + self.rule.wait || closed
    }

    /// Notes that rows of a batch were acknowledged. `count` of them are live.
    pub(super) fn arrived(&mut self, id: BatchId, rows: Range<u32>, state: Settled, count: u32) {
        // Records that are acknowledged while the transaction is being aborted are aborted, too.
        if self.phase == Phase::Open
            && let Some(member) = self.member_mut(id)
        {
            member.fates.push((rows, state));
            member.arrived += count;
        }
    }

    /// Returns true if the transaction is to be committed: all unsettled rows of its batches, whose number `open_rows`
    /// returns, are acknowledged, and the transaction is full, due or `closed`.
    pub(super) fn is_complete(&self, now: Tick, closed: bool, open_rows: impl Fn(BatchId) -> u32) -> bool {
        self.has_arrived(open_rows) && self.is_due(now, closed)
    }

    fn has_arrived(&self, open_rows: impl Fn(BatchId) -> u32) -> bool {
        let mut members = self.members.iter();
        let is_open = self.phase == Phase::Open && !self.members.is_empty();
        is_open && members.all(|member| member.arrived >= open_rows(member.id))
    }

    /// Notes that the transaction is being committed with these offsets.
    pub(super) fn commit(&mut self, offsets: Vec<(LaneId, i64)>) {
        self.phase = Phase::Committing;
        self.offsets = offsets;
    }

    /// Starts to abort the transaction. Returns false if there is no open transaction to abort.
    pub(super) fn abort(&mut self) -> bool {
        let is_news = self.phase == Phase::Open && !self.members.is_empty();
        if is_news {
            self.phase = Phase::Aborting;
        }
        is_news
    }

    /// Notes that the transaction was committed. Returns its batches and offsets.
    pub(super) fn committed(&mut self) -> (Vec<Member>, Vec<(LaneId, i64)>) {
        self.phase = Phase::Open;
        self.failures = 0;
        self.shrinks = false;
        (std::mem::take(&mut self.members), std::mem::take(&mut self.offsets))
    }

    /// Notes that the transaction was aborted. Its batches join the next transaction after a delay.
    pub(super) fn aborted(&mut self, now: Tick) {
        const FIRST_DELAY: Duration = Duration::from_millis(50);
        const MOST_DOUBLINGS: u32 = 8;
        self.phase = Phase::Open;
        if std::mem::take(&mut self.shrinks) {
            // The reason of the failure is gone.
            self.failures = 0;
        }
        self.retry_at = now + FIRST_DELAY * 2_u32.pow(self.failures.min(MOST_DOUBLINGS));
        self.failures += 1;
        for mut member in self.members.drain(..).rev() {
            member.again = true;
            self.waiting.push_front(member);
        }
    }

    /// Returns the time at which the transaction changes without another event, if there is one.
    pub(super) fn deadline(&self, open_rows: impl Fn(BatchId) -> u32) -> Option<Tick> {
        let waits = self.phase == Phase::Open && !self.waiting.is_empty() && self.members.is_empty();
        let due = self.has_arrived(open_rows).then(|| self.since + self.rule.wait);
        due.or_else(|| waits.then_some(self.retry_at))
    }
}

#[cfg(test)]
mod tests;
