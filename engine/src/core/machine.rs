//! The state machine of a job: the lanes, the open batch, the batches in flight and the commits.

use std::collections::VecDeque;

use velo_schema::Tier;

use super::action::{Action, JobError};
use super::batcher::Batcher;
use super::batches::{BatchState, InFlight};
use super::config::CoreConfig;
use super::event::{Event, Revoke};
use super::lanes::{LaneState, Lanes};
use super::ledger::Ledger;
use super::runs::Runs;
use super::sink_batcher::SinkBatcher;
use super::transaction::Transaction;
use super::window::Window;
use crate::ids::{BatchId, LaneId, Tick};

/// The phase of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// No more records are taken.
    Stopping,
    Failed,
}

/// The state machine of a job.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "the flags are independent facts")]
pub struct Core {
    pub(super) config: CoreConfig,
    pub(super) batcher: Batcher,
    pub(super) open_runs: Runs,
    pub(super) open_bytes: u64,
    pub(super) lanes: Lanes,
    pub(super) batches: Window<InFlight>,
    /// The batches that are not processed, in the order in which they were sealed. There are only a few.
    pub(super) unprocessed: VecDeque<BatchId>,
    /// Groups the writes; `None` if each batch is written as it was processed.
    pub(super) regroup: Option<SinkBatcher>,
    /// The state of transactions; `None` if offsets are committed without transactions.
    pub(super) transaction: Option<Transaction>,
    /// Empty lists of runs whose memory is reused.
    pub(super) spare_runs: Vec<Runs>,
    pub(super) unsettled_bytes: u64,
    pub(super) unsettled_records: u64,
    /// True if a record was rejected because of `max_unsettled_bytes`. Cleared when a batch is dropped.
    pub(super) crowded: bool,
    /// True if the source has no records queued.
    pub(super) idle: bool,
    /// True if no buffer is free until records are settled.
    pub(super) out_of_buffers: bool,
    pub(super) tier: Tier,
    /// True if the source has reported that the whole input was read.
    pub(super) end_of_input: bool,
    pub(super) phase: Phase,
    /// True if the last commit failed. The next commit then waits for the commit interval.
    pub(super) commit_failed: bool,
    pub(super) commit_in_flight: Option<Vec<(LaneId, i64)>>,
    pub(super) next_commit: Tick,
    pub(super) ledger: Ledger,
}

impl Core {
    /// Creates the state of a job without lanes.
    #[must_use]
    pub fn new(config: CoreConfig) -> Self {
        let batcher = Batcher::new(config.seal.clone());
        let config_tier = batcher.tier(config.tier);
        Self {
            batcher,
            next_commit: Tick::default() + config.commit_interval,
            regroup: config.regroup.clone().map(SinkBatcher::new),
            transaction: config.transaction.map(Transaction::new),
            config,
            open_runs: Runs::default(),
            open_bytes: 0,
            lanes: Lanes::default(),
            batches: Window::default(),
            unprocessed: VecDeque::new(),
            spare_runs: Vec::new(),
            unsettled_bytes: 0,
            unsettled_records: 0,
            crowded: false,
            idle: false,
            out_of_buffers: false,
            tier: config_tier,
            end_of_input: false,
            phase: Phase::Running,
            commit_failed: false,
            commit_in_flight: None,
            ledger: Ledger::default(),
        }
    }

    /// Applies an event and appends the resulting actions to `actions`.
    pub fn step(&mut self, now: Tick, event: Event<'_>, actions: &mut Vec<Action>) {
        if self.phase == Phase::Failed {
            return;
        }
        let before = actions.len();
        match event {
            Event::Assigned(lane, position) => self.lanes.assign(lane, position),
            Event::EndOfInput(is_reached) => self.end_of_input = is_reached,
            Event::Rows(lane, offsets, bytes) => self.rows(now, lane, offsets, bytes, actions),
            Event::Exceeds => self.exceed(),
            Event::Idle => self.idle = true,
            Event::Position(lane, position) => {
                self.lanes.change(lane, |lane| lane.tracker.pass(position));
            }
            Event::Lost(lane, position) => {
                let lost = self.lanes.change(lane, |lane| lane.tracker.lose(position));
                self.ledger.lost += lost.unwrap_or(0);
            }
            Event::OutOfBuffers(out_of_buffers) => self.out_of_buffers = out_of_buffers,
            Event::Ended(lane) => {
                // A draining lane stays draining: it must be released.
                if self.lanes.get(lane).is_some_and(|lane| lane.state == LaneState::Active) {
                    self.lanes.set_state(lane, LaneState::Ended);
                }
            }
            Event::Tick => {}
            Event::Started(id, attempt) => {
                if let Some(batch) = self.batches.get_mut(id) {
                    batch.started = Some((attempt, now));
                }
            }
            Event::Finished(batch, verdict) => self.finished(now, batch, verdict, actions),
            Event::Acked(batch, rows, fate) => self.acked(now, batch, rows, fate.into(), actions),
            Event::Refused(batch, row, stage, message) => {
                self.refused(now, batch, row, stage, message, actions);
            }
            Event::CommitEnded(ok) => self.commit_ended(now, ok),
            Event::TransactionFailed => self.abort_transaction(actions),
            Event::TransactionEnded(true) => self.transaction_committed(now, actions),
            Event::TransactionEnded(false) => self.transaction_aborted(now),
            Event::Revoked(lane, Revoke::Drain) => {
                let until = now + self.config.drain_timeout;
                self.lanes.set_state(lane, LaneState::Draining { until });
            }
            Event::Revoked(lane, Revoke::Lost) => self.fence(now, lane, actions),
            Event::Stop => self.phase = Phase::Stopping,
        }
        let parts: [fn(&mut Self, Tick, &mut Vec<Action>); 7] = [
            Self::end_stuck,
            Self::seal_due,
            Self::run_ready,
            Self::write_groups,
            Self::transact,
            Self::release_drained,
            Self::commit_due,
        ];
        for part in parts {
            // A job that has failed begins nothing more.
            if self.phase == Phase::Failed {
                break;
            }
            part(self, now, actions);
        }
        debug_assert_eq!(self.invariant().or_else(|| self.actions_invariant(&actions[before..])), None);
    }

    /// Returns the watermark of each lane.
    pub fn watermarks(&self) -> impl Iterator<Item = (LaneId, i64)> {
        self.lanes.iter().map(|(id, lane)| (id, lane.tracker.watermark()))
    }

    /// Returns the current maximum number of records of a batch.
    #[must_use]
    pub fn batch_size(&self) -> u64 {
        self.batcher.size()
    }

    /// Returns true if writes are grouped by their own seal rule.
    #[must_use]
    pub fn regroups(&self) -> bool {
        self.regroup.is_some()
    }

    /// Returns the tier in which records are taken.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Returns the latest time of the next [`Event::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let holding = self.unprocessed().filter_map(|batch| match batch.state {
            BatchState::Running { attempt, .. } => {
                let (_, since) = batch.started.filter(|(started, _)| *started == attempt)?;
                Some(since + self.config.max_batch_time)
            }
            // Without a free worker, the end of the delay changes nothing.
            BatchState::Holding { until, .. } if self.running() < self.config.workers => Some(until),
            _ => None,
        });
        let draining = self.lanes.draining().map(|(.., until)| until);
        let may_commit = self.can_commit() && self.lanes.uncommitted().any(|(_, lane)| self.may_commit(lane));
        let commit = may_commit.then_some(self.next_commit);
        let group = self.regroup.as_ref().and_then(SinkBatcher::deadline);
        let transaction = self.transaction.as_ref().and_then(|open| open.deadline(|id| self.open_rows(id)));
        let group = group.into_iter().chain(transaction);
        holding.chain(draining).chain(self.batcher.deadline()).chain(group).chain(commit).min()
    }

    /// Returns true if the job is over:
    ///
    /// - The whole input is settled and committed, or
    /// - the job was stopped and all records in flight are settled, or
    /// - the job has failed.
    ///
    /// A job without lanes is not over, because the group may assign lanes again.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self.phase {
            Phase::Failed => true,
            Phase::Stopping => {
                self.is_settled() && self.transaction.as_ref().is_none_or(Transaction::is_idle)
            }
            Phase::Running => self.is_at_end(),
        }
    }

    /// Returns true if the whole input is settled and committed.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.end_of_input && self.is_settled() && self.is_committed()
    }

    /// Returns true if no record is in flight.
    pub(super) fn is_settled(&self) -> bool {
        self.batches.is_empty() && self.batcher.is_empty()
    }

    /// Returns the number of delivered records by state. Unsettled records count as uncommitted.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut ledger = self.ledger;
        ledger.gaps += self.lanes.iter().map(|(_, lane)| lane.tracker.gaps()).sum::<u64>();
        ledger.uncommitted += self.unsettled_records;
        // The unsettled rows of the failed batch are counted as failed.
        ledger.uncommitted -= ledger.failed;
        ledger
    }

    pub(super) fn open_rows(&self, batch: BatchId) -> u32 {
        self.batches.get(batch).map_or(0, |batch| batch.open_rows)
    }

    /// Fails the job. The unsettled rows of `batch` count as failed.
    pub(super) fn fail(&mut self, batch: Option<BatchId>, error: JobError, actions: &mut Vec<Action>) {
        self.phase = Phase::Failed;
        let id = batch;
        let batch = id.and_then(|id| self.batches.get(id));
        let live: u64 = batch.map_or(0, |batch| u64::from(batch.open_rows));
        self.ledger.failed = live;
        actions.push(Action::Fail(id, error));
    }

    /// Fails the job because of an error that no batch has caused.
    pub fn abort(&mut self, error: JobError, actions: &mut Vec<Action>) {
        if self.phase != Phase::Failed {
            self.fail(None, error, actions);
        }
    }
}
