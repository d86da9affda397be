//! Which batches are written and committed together: processed batches and acknowledgements in, whom to
//! write and when to commit out.
//!
//! Batches join the open transaction in the order in which they were processed. It is committed, with
//! their offsets, once everything in it has arrived and it is full or due. Where it fails, its batches
//! join the next one, and what they put out is written again.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::failure::RowError;
use super::ledger::Settled;
use crate::ids::Tick;
use crate::ids::{BatchId, LaneId};

/// How much a transaction covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionRule {
    /// Batches at most.
    pub max_batches: u64,
    /// How long it stays open for more batches.
    pub wait: Duration,
}

/// A processed batch.
#[derive(Debug)]
pub(super) struct Member {
    pub id: BatchId,
    /// How often it was processed.
    pub attempts: u32,
    /// Its rows for the dead letter queue.
    pub dead: Vec<RowError>,
    /// Its rows that are left out.
    pub skipped: Vec<u32>,
    /// Whether a transaction with it has failed.
    pub again: bool,
    /// What has arrived, and how many of those rows count.
    fates: Vec<(Range<u32>, Settled)>,
    arrived: u32,
}

impl Member {
    pub fn new(id: BatchId, dead: Vec<RowError>, skipped: Vec<u32>, attempts: u32) -> Self {
        Self { id, attempts, dead, skipped, again: false, fates: Vec::new(), arrived: 0 }
    }

    /// The rows that are not written to the sink, in order.
    pub fn left_out(&self) -> Vec<u32> {
        let mut rows: Vec<_> =
            self.dead.iter().map(|error| error.row).chain(self.skipped.iter().copied()).collect();
        rows.sort_unstable();
        rows
    }

    /// Leaves a refused row out from now on; true if that is news.
    pub fn skip(&mut self, row: u32) -> bool {
        self.dead.retain(|error| error.row != row);
        let is_news = !self.skipped.contains(&row);
        if is_news {
            self.skipped.push(row);
        }
        is_news
    }

    /// Sends a refused row to the dead letter queue from now on; true if that is news.
    pub fn bury(&mut self, error: RowError) -> bool {
        let is_news =
            self.dead.iter().all(|other| other.row != error.row) && !self.skipped.contains(&error.row);
        if is_news {
            self.dead.push(error);
        }
        is_news
    }

    /// What became of its rows.
    pub fn fates(&self) -> &[(Range<u32>, Settled)] {
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
    /// What it is committed with.
    offsets: Vec<(LaneId, i64)>,
    waiting: VecDeque<Member>,
    /// When its first batch joined.
    since: Tick,
    /// After a failure nothing is written before this.
    retry_at: Tick,
    failures: u32,
}

impl Transaction {
    pub fn new(rule: TransactionRule) -> Self {
        Self {
            rule,
            phase: Phase::Open,
            members: Vec::new(),
            offsets: Vec::new(),
            waiting: VecDeque::new(),
            since: Tick::default(),
            retry_at: Tick::default(),
            failures: 0,
        }
    }

    /// A batch was processed.
    pub fn add(&mut self, member: Member) {
        self.waiting.push_back(member);
    }

    /// The batches in it.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// True if batches may still be written in it: what is refused while it is undone belongs to the next one.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// A batch in it.
    pub fn member_mut(&mut self, id: BatchId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    /// The next batch to write, unless the transaction is full, due, or to be `closed` as it is.
    /// Of its rows only those count that are `live`: still ours.
    pub fn join(&mut self, now: Tick, closed: bool, live: impl Fn(BatchId, u32) -> bool) -> Option<&Member> {
        let goes_on = self.members.is_empty() || !self.is_due(now, closed);
        if self.phase != Phase::Open || now < self.retry_at || !goes_on {
            return None;
        }
        let mut member = self.waiting.pop_front()?;
        if self.members.is_empty() {
            self.since = now;
        }
        let skipped = member.skipped.iter().filter(|row| live(member.id, **row));
        member.fates = skipped.map(|row| (*row..row + 1, Settled::Skipped)).collect();
        member.arrived = u32::try_from(member.fates.len()).expect("a batch has fewer than 2^31 rows");
        self.members.push(member);
        self.members.last()
    }

    fn is_due(&self, now: Tick, closed: bool) -> bool {
        self.members.len() as u64 >= self.rule.max_batches || now >= self.since + self.rule.wait || closed
    }

    /// Rows of a batch in it have arrived; `count` of them are of lanes that are still ours.
    pub fn arrived(&mut self, id: BatchId, rows: Range<u32>, state: Settled, count: u32) {
        // What arrives while it is undone is undone, too.
        if self.phase == Phase::Open
            && let Some(member) = self.member_mut(id)
        {
            member.fates.push((rows, state));
            member.arrived += count;
        }
    }

    /// Whether to commit it now: everything in it has arrived, of `open_rows` rows each, and it is full,
    /// due, or to be `closed`.
    pub fn is_complete(&self, now: Tick, closed: bool, open_rows: impl Fn(BatchId) -> u32) -> bool {
        self.has_arrived(open_rows) && self.is_due(now, closed)
    }

    fn has_arrived(&self, open_rows: impl Fn(BatchId) -> u32) -> bool {
        let mut members = self.members.iter();
        let is_open = self.phase == Phase::Open && !self.members.is_empty();
        is_open && members.all(|member| member.arrived >= open_rows(member.id))
    }

    /// It is being committed, with these offsets.
    pub fn commit(&mut self, offsets: Vec<(LaneId, i64)>) {
        self.phase = Phase::Committing;
        self.offsets = offsets;
    }

    /// It is to be undone; whether that is news.
    pub fn abort(&mut self) -> bool {
        let is_news = self.phase == Phase::Open && !self.members.is_empty();
        if is_news {
            self.phase = Phase::Aborting;
        }
        is_news
    }

    /// It was committed: its batches and offsets.
    pub fn committed(&mut self) -> (Vec<Member>, Vec<(LaneId, i64)>) {
        self.phase = Phase::Open;
        self.failures = 0;
        (std::mem::take(&mut self.members), std::mem::take(&mut self.offsets))
    }

    /// It was undone: its batches join the next one, a while later.
    pub fn aborted(&mut self, now: Tick) {
        const FIRST_DELAY: Duration = Duration::from_millis(50);
        const MOST_DOUBLINGS: u32 = 8;
        self.phase = Phase::Open;
        self.retry_at = now + FIRST_DELAY * 2_u32.pow(self.failures.min(MOST_DOUBLINGS));
        self.failures += 1;
        for mut member in self.members.drain(..).rev() {
            member.again = true;
            self.waiting.push_front(member);
        }
    }

    /// When time alone changes something.
    pub fn deadline(&self, open_rows: impl Fn(BatchId) -> u32) -> Option<Tick> {
        let waits = self.phase == Phase::Open && !self.waiting.is_empty() && self.members.is_empty();
        let due = self.has_arrived(open_rows).then(|| self.since + self.rule.wait);
        due.or_else(|| waits.then_some(self.retry_at))
    }
}

#[cfg(test)]
mod tests;
