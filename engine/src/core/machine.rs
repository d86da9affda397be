//! The machine that puts the parts together: lanes, the open batch, batches in flight, commits.

use std::collections::VecDeque;

use velo_schema::Tier;

use super::action::{Action, JobError};
use super::batcher::Batcher;
use super::batches::{BatchState, InFlight};
use super::config::CoreConfig;
use super::event::{Event, Revoke};
use super::lanes::{LaneState, Lanes};
use super::ledger::Ledger;
use super::regroup::Regroup;
use super::runs::Runs;
use super::transaction::Transaction;
use super::window::Window;
use crate::ids::{BatchId, LaneId, Tick};

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Nothing more is taken.
    Stopping,
    Failed,
}

/// The machine.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "what the source says is not one state")]
pub struct Core {
    pub(super) config: CoreConfig,
    pub(super) batcher: Batcher,
    pub(super) open_runs: Runs,
    pub(super) open_bytes: u64,
    pub(super) lanes: Lanes,
    pub(super) batches: Window<InFlight>,
    /// The batches that are not processed, in the order of sealing: never more than a few.
    pub(super) unprocessed: VecDeque<BatchId>,
    /// Groups what is written, where that is not as it was processed.
    pub(super) regroup: Option<Regroup>,
    /// What is committed together with what was written, where that is so.
    pub(super) transaction: Option<Transaction>,
    /// Lists of runs to use again.
    pub(super) spare_runs: Vec<Runs>,
    pub(super) unsettled_bytes: u64,
    pub(super) unsettled_records: u64,
    /// The next record does not fit into what may be in flight.
    pub(super) crowded: bool,
    /// Nothing is queued at the source.
    pub(super) idle: bool,
    /// There is no memory to fill before something is settled.
    pub(super) starved: bool,
    pub(super) tier: Tier,
    /// Everything that was to be read has been read, as the source has it.
    pub(super) end_of_input: bool,
    pub(super) phase: Phase,
    /// The last commit failed: the next one waits for its interval.
    pub(super) commit_failed: bool,
    pub(super) commit_in_flight: Option<Vec<(LaneId, i64)>>,
    pub(super) next_commit: Tick,
    pub(super) ledger: Ledger,
}

impl Core {
    /// A machine without lanes.
    #[must_use]
    pub fn new(config: CoreConfig) -> Self {
        let batcher = Batcher::new(config.seal.clone());
        let config_tier = batcher.tier(config.tier);
        Self {
            batcher,
            next_commit: Tick::default() + config.commit_interval,
            regroup: config.regroup.clone().map(Regroup::new),
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
            starved: false,
            tier: config_tier,
            end_of_input: false,
            phase: Phase::Running,
            commit_failed: false,
            commit_in_flight: None,
            ledger: Ledger::default(),
        }
    }

    /// Takes an event in, puts what is to be done into `actions`.
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
            Event::Starved(starved) => self.starved = starved,
            Event::Ended(lane) => {
                // A lane that is being drained has to be released, ended or not.
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
            Event::TransactionEnded(false) => {
                self.transaction.iter_mut().for_each(|transaction| transaction.aborted(now));
            }
            Event::Revoked(lane, Revoke::Drain) => {
                let until = now + self.config.drain_timeout;
                self.lanes.set_state(lane, LaneState::Draining { until });
            }
            Event::Revoked(lane, Revoke::Lost) => self.fence(now, lane, actions),
            Event::Stop => self.phase = Phase::Stopping,
        }
        self.end_stuck(now, actions);
        self.seal_due(now, actions);
        self.run_ready(now, actions);
        self.write_groups(now, actions);
        self.transact(now, actions);
        self.release_drained(now, actions);
        self.commit_due(now, actions);
        debug_assert_eq!(self.invariant().or_else(|| self.actions_invariant(&actions[before..])), None);
    }

    /// How far each lane is settled.
    pub fn watermarks(&self) -> impl Iterator<Item = (LaneId, i64)> {
        self.lanes.iter().map(|(id, lane)| (id, lane.tracker.watermark()))
    }

    /// Records that a batch may hold now.
    #[must_use]
    pub fn batch_size(&self) -> u64 {
        self.batcher.size()
    }

    /// Whether what is written is grouped by a rule of its own.
    #[must_use]
    pub fn regroups(&self) -> bool {
        self.regroup.is_some()
    }

    /// The tier in which records are taken now.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// When [`Event::Tick`] is due at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let holding = self.unprocessed().filter_map(|batch| match batch.state {
            BatchState::Running { attempt, .. } => {
                let (_, since) = batch.started.filter(|(started, _)| *started == attempt)?;
                Some(since + self.config.max_batch_time)
            }
            // Without a free worker its time alone changes nothing.
            BatchState::Holding { until, .. } if self.running() < self.config.workers => Some(until),
            _ => None,
        });
        let draining = self.lanes.draining().map(|(.., until)| until);
        let may_commit = self.commit_in_flight.is_none()
            && self.lanes.uncommitted().any(|(_, lane)| self.may_commit(lane));
        let commit = may_commit.then_some(self.next_commit);
        let group = self.regroup.as_ref().and_then(Regroup::deadline);
        // It is not committed beside an older offset, however late it is.
        let transaction = self.transaction.as_ref().filter(|_| self.commit_in_flight.is_none());
        let transaction = transaction.and_then(|open| open.deadline(|id| self.open_rows(id)));
        let group = group.into_iter().chain(transaction);
        holding.chain(draining).chain(self.batcher.deadline()).chain(group).chain(commit).min()
    }

    /// True if everything that was to be read is settled and committed, if a stopped job has settled what was
    /// in flight, or if the job has failed. To have no lane is no end: the group may give some back.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self.phase {
            Phase::Failed => true,
            Phase::Stopping => self.is_settled(),
            Phase::Running => self.is_at_end(),
        }
    }

    /// True if everything that was to be read is settled and committed.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.end_of_input && self.is_settled() && self.is_committed()
    }

    /// True if nothing is in flight.
    pub(super) fn is_settled(&self) -> bool {
        self.batches.is_empty() && self.batcher.is_empty()
    }

    /// Where every delivered record is now; whatever is not settled counts as uncommitted.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut ledger = self.ledger;
        ledger.gaps += self.lanes.iter().map(|(_, lane)| lane.tracker.gaps()).sum::<u64>();
        ledger.uncommitted += self.unsettled_records;
        // The rows of the batch that failed are unsettled too, and are counted as failed.
        ledger.uncommitted -= ledger.failed;
        ledger
    }

    pub(super) fn open_rows(&self, batch: BatchId) -> u32 {
        self.batches.get(batch).map_or(0, |batch| batch.open_rows)
    }

    /// Ends the job; the rows of `batch` that are not settled count as failed.
    pub(super) fn fail(&mut self, batch: Option<BatchId>, error: JobError, actions: &mut Vec<Action>) {
        self.phase = Phase::Failed;
        let id = batch;
        let batch = id.and_then(|id| self.batches.get(id));
        let live: u64 = batch.map_or(0, |batch| u64::from(batch.open_rows));
        self.ledger.failed = live;
        actions.push(Action::Fail(id, error));
    }

    /// Ends the job for a reason outside of any batch.
    pub fn abort(&mut self, error: JobError, actions: &mut Vec<Action>) {
        if self.phase != Phase::Failed {
            self.fail(None, error, actions);
        }
    }
}
