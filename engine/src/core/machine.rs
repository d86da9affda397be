//! The machine that puts the parts together: lanes, the open batch, batches in flight, commits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

use velo_schema::Tier;

use super::batcher::{Batcher, Room, SealReason};
use super::failure::{Decision, RowError, Stage};
use super::lane::Tracker;
use super::regroup::{Part, Regroup};
use super::runs::{Runs, Stretch};
use super::transaction::{Member, Transaction};
use super::window::Window;
use super::{Action, CoreConfig, Event, Fate, JobError, Ledger, Revoke, Tick, Verdict};
use crate::columns::{BatchId, LaneId};

#[derive(Debug)]
pub(super) struct Lane {
    pub tracker: Tracker,
    pub committed: i64,
    state: LaneState,
}

impl Lane {
    fn is_draining(&self) -> bool {
        matches!(self.state, LaneState::Draining { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LaneState {
    Active,
    Ended,
    Draining { until: Tick },
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub runs: Runs,
    rows: u32,
    pub bytes: u64,
    pub state: BatchState,
    /// Whether it held as many records as it might.
    full: bool,
    /// How often it was tried again on account of its records.
    retries: u32,
    /// How often it was processed, on whatever account.
    attempts: u32,
    /// Rows that are not settled.
    pub open_rows: u32,
    /// Which attempt a processor has taken up last, and when.
    started: Option<(u32, Tick)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchState {
    /// Sealed, and not yet given to a worker.
    Waiting,
    Running {
        attempt: u32,
        since: Tick,
    },
    Holding {
        attempt: u32,
        until: Tick,
    },
    /// Processed; its rows are on their way.
    Processed,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Nothing more is taken.
    Stopping,
    Failed,
}

/// The machine.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "what the source says is not one state")]
pub struct Core {
    config: CoreConfig,
    pub(super) batcher: Batcher,
    pub(super) open_runs: Runs,
    open_bytes: u64,
    pub(super) lanes: HashMap<LaneId, Lane>,
    pub(super) batches: Window<InFlight>,
    /// The batches that are not processed, in the order of sealing: never more than a few.
    pub(super) unprocessed: VecDeque<BatchId>,
    /// Groups what is written, where that is not as it was processed.
    regroup: Option<Regroup>,
    /// What is committed together with what was written, where that is so.
    pub(super) transaction: Option<Transaction>,
    /// Lists of runs to use again.
    spare_runs: Vec<Runs>,
    pub(super) unsettled_bytes: u64,
    pub(super) unsettled_records: u64,
    /// The next record does not fit into what may be in flight.
    crowded: bool,
    /// Nothing is queued at the source.
    idle: bool,
    /// There is no memory to fill before something is settled.
    starved: bool,
    tier: Tier,
    /// Everything that was to be read has been read, as the source has it.
    end_of_input: bool,
    phase: Phase,
    /// The last commit failed: the next one waits for its interval.
    commit_failed: bool,
    pub(super) commit_in_flight: Option<Vec<(LaneId, i64)>>,
    next_commit: Tick,
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
            lanes: HashMap::new(),
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
            Event::Assigned(lane, position) => {
                let tracker = Tracker::new(position);
                // The start itself is committed, too: whoever comes next begins there, and not at
                // what is then the newest record.
                self.lanes.insert(lane, Lane { tracker, committed: -1, state: LaneState::Active });
            }
            Event::EndOfInput(is_reached) => self.end_of_input = is_reached,
            Event::Rows(lane, offsets, bytes) => self.rows(now, lane, offsets, bytes, actions),
            Event::Exceeds => self.exceed(),
            Event::Idle => self.idle = true,
            Event::Position(lane, position) => {
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.tracker.pass(position);
                }
            }
            Event::Lost(lane, position) => {
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    self.ledger.lost += lane.tracker.lose(position);
                }
            }
            Event::Starved(starved) => self.starved = starved,
            Event::Ended(lane) => {
                // A lane that is being drained has to be released, ended or not.
                if let Some(lane) = self.lanes.get_mut(&lane)
                    && lane.state == LaneState::Active
                {
                    lane.state = LaneState::Ended;
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
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.state = LaneState::Draining { until };
                }
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

    /// What the open batch takes now; no records are back-pressure.
    #[must_use]
    pub fn room(&self) -> Room {
        let full = self.unprocessed.len() > self.config.workers || self.is_saturated();
        if full || self.phase != Phase::Running {
            return Room::default();
        }
        let room = self.batcher.room();
        let left = self.bytes_left();
        let bytes = room.bytes.unwrap_or(u64::MAX).min(left);
        // The bound of a batch is none for its first record: that of the memory in flight is the only one.
        let first_bytes = room.is_empty.then_some(left);
        // Whatever its size, a record that is alone in memory fits.
        let is_empty = self.fits_any(room);
        Room { bytes: (bytes < u64::MAX).then_some(bytes), is_empty, first_bytes, ..room }
    }

    /// Payload that may be taken besides what is in flight.
    fn bytes_left(&self) -> u64 {
        match self.config.max_unsettled_bytes {
            u64::MAX => u64::MAX,
            most => most.saturating_sub(self.bytes_in_flight()),
        }
    }

    /// Whether a record fits into the empty batch however large it is.
    fn fits_any(&self, room: Room) -> bool {
        let is_alone = self.bytes_in_flight() == 0;
        room.is_empty && (is_alone || self.config.max_unsettled_bytes == u64::MAX)
    }

    /// The next record does not fit: into the open batch, or into what may be in flight.
    fn exceed(&mut self) {
        let room = self.batcher.room();
        let by_batch = room.bytes.unwrap_or(u64::MAX);
        if room.is_empty || self.bytes_left() < by_batch {
            self.crowded = true;
        } else {
            self.batcher.exceed();
        }
    }

    /// Whether as much is in flight as may be.
    fn is_saturated(&self) -> bool {
        self.unsettled_bytes + self.open_bytes >= self.config.max_unsettled_bytes
            || self.unsettled_records >= self.config.max_unsettled_records
            || self.starved
            || self.crowded
    }

    /// Payload bytes that are taken and not settled.
    #[must_use]
    pub fn bytes_in_flight(&self) -> u64 {
        self.unsettled_bytes + self.open_bytes
    }

    /// How far each lane is settled.
    pub fn watermarks(&self) -> impl Iterator<Item = (LaneId, i64)> {
        self.lanes.iter().map(|(id, lane)| (*id, lane.tracker.watermark()))
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

    /// Whether records may be taken from a lane: it is active and no batch of it is held back.
    #[must_use]
    pub fn takes_from(&self, lane: LaneId) -> bool {
        let active = self.lanes.get(&lane).is_some_and(|lane| lane.state == LaneState::Active);
        let held =
            |batch: &InFlight| matches!(batch.state, BatchState::Holding { .. }) && batch.runs.has(lane);
        active && !self.unprocessed().any(held)
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
        let draining = self.lanes.values().filter_map(|lane| match lane.state {
            LaneState::Draining { until } => Some(until),
            _ => None,
        });
        let may_commit =
            self.commit_in_flight.is_none() && self.lanes.values().any(|lane| self.may_commit(lane));
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
    fn is_settled(&self) -> bool {
        self.batches.is_empty() && self.batcher.is_empty()
    }

    /// True if every offset that may be committed is known to be.
    fn is_committed(&self) -> bool {
        self.commit_in_flight.is_none() && !self.lanes.values().any(|lane| self.may_commit(lane))
    }

    /// The rows of the open batch.
    #[must_use]
    pub fn open_batch_rows(&self) -> u32 {
        self.open_runs.len()
    }

    /// The offsets that may be committed and are not known to be.
    #[must_use]
    pub fn committable(&self) -> Vec<(LaneId, i64)> {
        let mut offsets: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| self.may_commit(lane))
            .map(|(id, lane)| (*id, lane.tracker.watermark()))
            .collect();
        offsets.sort_unstable();
        offsets
    }

    /// Where every delivered record is now; whatever is not settled counts as uncommitted.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut ledger = self.ledger;
        ledger.gaps += self.lanes.values().map(|lane| lane.tracker.gaps()).sum::<u64>();
        ledger.uncommitted += self.lanes.values().map(|lane| lane.tracker.unsettled()).sum::<u64>();
        // The rows of the batch that failed are unsettled too, and are counted as failed.
        ledger.uncommitted -= ledger.failed;
        ledger
    }

    /// Whether a lane has something to commit that is not committed with a transaction.
    fn may_commit(&self, lane: &Lane) -> bool {
        let alone = self.transaction.is_none() || lane.tracker.unsettled() == 0;
        alone && lane.tracker.watermark() > lane.committed
    }

    fn open_rows(&self, batch: BatchId) -> u32 {
        self.batches.get(batch).map_or(0, |batch| batch.open_rows)
    }

    fn rows(&mut self, now: Tick, lane: LaneId, offsets: &[i64], bytes: u64, actions: &mut Vec<Action>) {
        let tracker = &mut self.lanes.get_mut(&lane).expect("records come from assigned lanes").tracker;
        let sequence = match tracker.deliver(offsets) {
            Ok(sequence) => sequence,
            Err(offset) => {
                let next = tracker.next();
                let reason =
                    format!("the source delivered offset {offset} of a partition after offset {}", next - 1);
                return self.fail(None, JobError::Source(reason), actions);
            }
        };
        let count = offsets.len() as u64;
        self.open_runs.push(lane, count, sequence);
        self.open_bytes += bytes;
        self.unsettled_records += count;
        self.ledger.delivered += count;
        self.batcher.add(now, count, bytes);
        self.idle = false;
    }

    fn seal_due(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let waiting = self.unprocessed().any(|batch| batch.state == BatchState::Waiting);
        let worker_free = !waiting && self.running() < self.config.workers;
        let due =
            self.batcher.due(now, self.idle && worker_free).or_else(|| self.drain_due()).or_else(|| {
                // Nothing that is in flight makes room any more.
                let alone = self.batches.is_empty() && self.is_saturated() && !self.batcher.is_empty();
                let full = self.open_bytes >= self.config.max_unsettled_bytes;
                let crowded = self.crowded && !self.batcher.is_empty();
                (alone || full || crowded).then_some(SealReason::Memory)
            });
        let Some(reason) = due else { return };
        self.batcher.reset();
        let next_runs = self.spare_runs.pop().unwrap_or_default();
        let runs = std::mem::replace(&mut self.open_runs, next_runs);
        let rows = runs.len();
        let bytes = std::mem::take(&mut self.open_bytes);
        self.unsettled_bytes += bytes;
        let live = runs.stretches(&(0..rows)).filter(|stretch| self.lanes.contains_key(&stretch.lane));
        let open_rows = live.map(|stretch| stretch.rows.end - stretch.rows.start).sum();
        // A batch with nothing but fenced rows is processed for nobody.
        let state = if open_rows == 0 { BatchState::Processed } else { BatchState::Waiting };
        let full = reason == SealReason::Count;
        let id = self.batches.push(InFlight {
            runs,
            rows,
            bytes,
            state,
            full,
            retries: 0,
            attempts: 0,
            open_rows,
            started: None,
        });
        actions.push(Action::Seal(id, reason));
        if open_rows == 0 {
            self.drop_settled(id, actions);
        } else {
            self.unprocessed.push_back(id);
        }
    }

    /// The open batch waits for nothing any more.
    fn drain_due(&self) -> Option<SealReason> {
        let mut draining = self.lanes.iter().filter(|(_, lane)| lane.is_draining());
        let nothing_comes = self.nothing_comes() || draining.any(|(id, _)| self.open_runs.has(*id));
        (!self.batcher.is_empty() && nothing_comes).then_some(SealReason::Drain)
    }

    /// Whether no more records are to be taken from any lane.
    fn nothing_comes(&self) -> bool {
        self.phase == Phase::Stopping || self.lanes.values().all(|lane| lane.state == LaneState::Ended)
    }

    fn unprocessed(&self) -> impl Iterator<Item = &InFlight> {
        self.unprocessed.iter().filter_map(|id| self.batches.get(*id))
    }

    fn running(&self) -> usize {
        self.unprocessed().filter(|batch| matches!(batch.state, BatchState::Running { .. })).count()
    }

    /// Runs every batch whose lanes have no earlier batch that is not processed.
    fn run_ready(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let mut free = self.config.workers.saturating_sub(self.running());
        for (index, id) in self.unprocessed.iter().enumerate() {
            let attempt = match self.batches.get(*id).map(|batch| batch.state) {
                Some(BatchState::Waiting) => 0,
                Some(BatchState::Holding { attempt, until }) if now >= until => attempt,
                _ => continue,
            };
            let mut earlier = self.unprocessed.range(..index);
            if free == 0 || earlier.any(|earlier| self.share_a_lane(*earlier, *id)) {
                continue;
            }
            free -= 1;
            if let Some(batch) = self.batches.get_mut(*id) {
                batch.state = BatchState::Running { attempt, since: now };
                actions.push(Action::Run(*id, attempt));
            }
        }
    }

    /// Whoever processes a batch for ever holds its partitions: nobody else can take them over.
    fn end_stuck(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let most = self.config.max_batch_time;
        let is_stuck = |id: &BatchId| match self.batches.get(*id).map(|batch| (batch.state, batch.started)) {
            // What waits for its turn, behind a sink that takes nothing, is not stuck.
            Some((BatchState::Running { attempt, .. }, Some((started, since)))) => {
                attempt == started && now.since(since) >= most
            }
            _ => false,
        };
        if let Some(id) = self.unprocessed.iter().copied().find(|id| is_stuck(id)) {
            self.fail(Some(id), JobError::Stuck(most), actions);
        }
    }

    fn share_a_lane(&self, one: BatchId, other: BatchId) -> bool {
        let (Some(one), Some(other)) = (self.batches.get(one), self.batches.get(other)) else { return false };
        one.runs.shares_a_lane_with(&other.runs)
    }

    /// Begins to write the groups that are full, or that wait for nothing any more.
    fn write_groups(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let Some(regroup) = &self.regroup else { return };
        if !regroup.is_empty() {
            let nothing_is_processed = self.unprocessed.is_empty();
            let idle = self.idle && nothing_is_processed && self.batcher.is_empty();
            let due = regroup.due(now, idle).or_else(|| {
                let drained = nothing_is_processed && self.batcher.is_empty() && self.nothing_comes();
                if drained || self.lanes.values().any(Lane::is_draining) {
                    Some(SealReason::Drain)
                } else {
                    (nothing_is_processed && self.is_saturated()).then_some(SealReason::Memory)
                }
            });
            if let (Some(reason), Some(regroup)) = (due, &mut self.regroup) {
                regroup.seal(reason);
            }
        }
        let Some(regroup) = &mut self.regroup else { return };
        let (batches, lanes) = (&self.batches, &self.lanes);
        while let Some(group) = regroup.next(now, |part| open_rows_of(batches, lanes, part)) {
            actions.push(Action::Group(group.reason, group.records));
            for (id, rows) in group.parts {
                if let Some(batch) = batches.get(id) {
                    for_each_live(batch, lanes, &rows, |rows| actions.push(Action::Write(id, rows)));
                }
            }
            // One without live rows is written with that.
            regroup.recount(now, |part| open_rows_of(batches, lanes, part));
        }
    }

    fn finished(&mut self, now: Tick, id: BatchId, verdict: &Verdict, actions: &mut Vec<Action>) {
        let Some(batch) = self.batches.get_mut(id) else { return };
        let BatchState::Running { attempt, since } = batch.state else { return };
        batch.attempts = attempt + 1;
        if let Some(reason) = &verdict.fatal {
            return self.fail(None, JobError::Processor(reason.clone()), actions);
        }
        if let Some(message) = &verdict.system {
            let delay = self.config.failure.process.backoff(attempt, self.config.seed ^ u64::from(id.0));
            batch.state = BatchState::Holding { attempt: attempt + 1, until: now + delay };
            actions.push(Action::Hold(id, delay, message.clone()));
            return;
        }
        // What it took steers the size of the next one; a failed attempt says nothing about that.
        self.batcher.observe(u64::from(batch.rows), now.since(since), batch.full);
        self.tier = self.batcher.tier(self.tier);
        let errors: Vec<_> =
            verdict.rows.iter().filter(|error| is_live(batch, &self.lanes, error.row)).cloned().collect();
        let (retries, attempts) = (batch.retries, batch.attempts);
        let decide = |error: &RowError| self.config.failure.of(error.stage).decide(error, retries);
        if let Some(error) = errors.iter().find(|error| decide(error) == Decision::Fail) {
            let error = match retries {
                0 => JobError::Batch(error.clone()),
                retries => JobError::Exhausted(error.clone(), retries),
            };
            return self.fail(Some(id), error, actions);
        }
        // The whole batch is tried again: what succeeded is not written before what failed, or a
        // key's records would change places.
        if let Some(error) = errors.iter().find(|error| decide(error) == Decision::Retry) {
            let policy = self.config.failure.of(error.stage);
            let delay = policy.backoff(retries, self.config.seed ^ u64::from(id.0));
            batch.retries += 1;
            batch.state = BatchState::Holding { attempt: attempt + 1, until: now + delay };
            actions.push(Action::Hold(id, delay, error.message.clone()));
            return;
        }
        batch.state = BatchState::Processed;
        self.unprocessed.retain(|other| *other != id);
        let (dead, skipped): (Vec<_>, Vec<_>) =
            errors.into_iter().partition(|error| decide(error) == Decision::DeadLetter);
        if let Some(transaction) = &mut self.transaction {
            let rows = skipped.iter().map(|error| error.row).collect();
            transaction.add(Member::new(id, dead, rows, attempts));
            if !skipped.is_empty() {
                actions.push(Action::Skip(id, skipped));
            }
            // All of its lanes may be gone.
            return self.drop_settled(id, actions);
        }
        self.write(now, id, verdict, actions);
        if !dead.is_empty() {
            actions.push(Action::DeadLetter(id, dead, attempts));
        }
        self.skip(now, id, skipped, actions);
        self.drop_settled(id, actions);
    }

    /// Writes the outputs of the rows that did not fail, or adds them to the open group.
    fn write(&mut self, now: Tick, id: BatchId, verdict: &Verdict, actions: &mut Vec<Action>) {
        let Some(batch) = self.batches.get(id) else { return };
        let lanes = &self.lanes;
        let Some(regroup) = &mut self.regroup else {
            let failed = verdict.rows.iter().map(|error| error.row);
            return write_all_but(id, batch, lanes, failed, actions);
        };
        for weight in verdict.weights.iter().filter(|weight| is_live(batch, lanes, weight.row)) {
            if weight.records == 0 {
                actions.push(Action::Write(id, weight.row..weight.row + 1));
            } else {
                regroup.add(now, id, *weight);
            }
        }
    }

    fn skip(&mut self, now: Tick, id: BatchId, errors: Vec<RowError>, actions: &mut Vec<Action>) {
        if errors.is_empty() {
            return;
        }
        let rows: Vec<_> = errors.iter().map(|error| error.row).collect();
        actions.push(Action::Skip(id, errors));
        for row in rows {
            self.settle(now, id, row..row + 1, State::Skipped, actions);
        }
    }

    fn refused(
        &mut self,
        now: Tick,
        id: BatchId,
        row: u32,
        stage: Stage,
        message: &str,
        actions: &mut Vec<Action>,
    ) {
        // Whose lane is gone is somebody else's record now.
        if !self.batches.get(id).is_some_and(|batch| is_live(batch, &self.lanes, row)) {
            return;
        }
        let error = RowError { row, stage, message: message.to_owned(), retriable: false };
        let decision = self.config.failure.of(stage).decide_refused(&error);
        if let Some(transaction) = &mut self.transaction {
            // A transaction that is being undone takes nothing more: its batches join the next one without the row.
            let is_open = transaction.is_open();
            let Some(member) = transaction.member_mut(id) else { return };
            match decision {
                Decision::Skip => {
                    if member.skip(row) {
                        actions.push(Action::Skip(id, vec![error]));
                        self.acked(now, id, row..row + 1, State::Skipped, actions);
                    }
                    return;
                }
                Decision::DeadLetter if !member.bury(error.clone()) || !is_open => return,
                Decision::DeadLetter | Decision::Fail | Decision::Retry => {}
            }
        }
        match decision {
            Decision::Skip => self.skip(now, id, vec![error], actions),
            Decision::DeadLetter => {
                let attempts = self.batches.get(id).map_or(1, |batch| batch.attempts);
                actions.push(Action::DeadLetter(id, vec![error], attempts));
            }
            Decision::Fail if stage == Stage::DeadLetter => {
                self.fail(Some(id), JobError::DeadLetterRefused(error), actions);
            }
            // What is refused for good is not tried again.
            Decision::Fail | Decision::Retry => self.fail(Some(id), JobError::Batch(error), actions),
        }
    }

    /// Rows have arrived where they were sent: they are settled, or will be with their transaction.
    fn acked(&mut self, now: Tick, id: BatchId, rows: Range<u32>, state: State, actions: &mut Vec<Action>) {
        let Some(transaction) = &mut self.transaction else {
            return self.settle(now, id, rows, state, actions);
        };
        let Some(batch) = self.batches.get(id) else { return };
        let live = batch.runs.stretches(&rows).filter(|stretch| self.lanes.contains_key(&stretch.lane));
        let count = live.map(|stretch| stretch.rows.end - stretch.rows.start).sum();
        transaction.arrived(id, rows, state, count);
    }

    /// Lets processed batches into the transaction, and commits it where it is time to.
    fn transact(&mut self, now: Tick, actions: &mut Vec<Action>) {
        if self.transaction.is_none() {
            return;
        }
        let closed =
            self.nothing_comes() || self.is_saturated() || self.lanes.values().any(Lane::is_draining);
        let Some(transaction) = &mut self.transaction else { return };
        let (batches, lanes) = (&self.batches, &self.lanes);
        let live = |id, row| batches.get(id).is_some_and(|batch| is_live(batch, lanes, row));
        while let Some(member) = transaction.join(now, closed, live) {
            // All of its lanes may be gone.
            let Some(batch) = batches.get(member.id) else { continue };
            if member.again {
                actions.push(Action::Rewrite(member.id));
            }
            write_all_but(member.id, batch, lanes, member.left_out().into_iter(), actions);
            let live = member.dead.iter().filter(|error| is_live(batch, lanes, error.row));
            let dead: Vec<_> = live.cloned().collect();
            if !dead.is_empty() {
                actions.push(Action::DeadLetter(member.id, dead, member.attempts));
            }
        }
        let open_rows = |id| batches.get(id).map_or(0, |batch| batch.open_rows);
        // An older offset must not arrive behind those of the transaction.
        if self.commit_in_flight.is_none() && transaction.is_complete(now, closed, open_rows) {
            let mut offsets = BTreeMap::new();
            for batch in transaction.members().iter().filter_map(|member| batches.get(member.id)) {
                for Stretch { lane, sequence, .. } in batch.runs.stretches(&(0..batch.rows)) {
                    if let Some(Lane { tracker, .. }) = lanes.get(&lane) {
                        offsets.insert(lane, tracker.watermark_at(sequence.end));
                    }
                }
            }
            let offsets: Vec<_> = offsets.into_iter().collect();
            transaction.commit(offsets.clone());
            actions.push(Action::CommitTransaction(offsets));
        }
    }

    fn abort_transaction(&mut self, actions: &mut Vec<Action>) {
        if self.transaction.as_mut().is_some_and(Transaction::abort) {
            actions.push(Action::AbortTransaction);
        }
    }

    fn transaction_committed(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let (members, offsets) = self.transaction.as_mut().map(Transaction::committed).unwrap_or_default();
        for member in members {
            for (rows, state) in member.fates() {
                self.settle(now, member.id, rows.clone(), *state, actions);
            }
        }
        self.committed(offsets);
    }

    /// Ends the job; the rows of `batch` that are not settled count as failed.
    fn fail(&mut self, batch: Option<BatchId>, error: JobError, actions: &mut Vec<Action>) {
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

    fn settle(&mut self, now: Tick, id: BatchId, rows: Range<u32>, state: State, actions: &mut Vec<Action>) {
        let Some(batch) = self.batches.get_mut(id) else { return };
        for Stretch { lane, rows, sequence } in batch.runs.stretches(&rows) {
            let Some(lane) = self.lanes.get_mut(&lane) else { continue };
            if let Some(regroup) = &mut self.regroup {
                regroup.settled(now, id, &rows);
            }
            let count = sequence.end - sequence.start;
            lane.tracker.settle(sequence);
            batch.open_rows -= u32::try_from(count).expect("a batch has fewer than 2^31 rows");
            self.unsettled_records -= count;
            match state {
                State::Ok => self.ledger.ok += count,
                State::Dlq => self.ledger.dlq += count,
                State::Skipped => self.ledger.skipped += count,
            }
        }
        self.drop_settled(id, actions);
    }

    fn drop_settled(&mut self, id: BatchId, actions: &mut Vec<Action>) {
        let is_settled = |batch: &InFlight| batch.open_rows == 0 && batch.state == BatchState::Processed;
        if self.batches.get(id).is_some_and(is_settled)
            && let Some(mut batch) = self.batches.remove(id)
        {
            self.unsettled_bytes -= batch.bytes;
            self.crowded = false;
            batch.runs.clear();
            self.spare_runs.push(batch.runs);
            actions.push(Action::Drop(id));
        }
    }

    /// Forgets a lane that somebody else has now: what was in flight will be read again by them.
    fn fence(&mut self, now: Tick, id: LaneId, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.remove(&id) else { return };
        // What was taken of it may not be committed: the source says again whether all is read.
        self.end_of_input = false;
        let batches = &self.batches;
        let has_its_rows = |member: &Member| batches.get(member.id).is_some_and(|batch| batch.runs.has(id));
        // What was written of it must not become visible without its offsets.
        if self.transaction.as_ref().is_some_and(|open| open.members().iter().any(has_its_rows)) {
            self.abort_transaction(actions);
        }
        self.ledger.gaps += lane.tracker.gaps();
        self.ledger.uncommitted += lane.tracker.unsettled();
        self.unsettled_records -= lane.tracker.unsettled();
        self.recount_open_rows(id);
        if let Some(regroup) = &mut self.regroup {
            let (batches, lanes) = (&self.batches, &self.lanes);
            regroup.recount(now, |part| open_rows_of(batches, lanes, part));
        }
        // What nobody waits for any more is not processed, now or again.
        for batch in self.batches.iter_mut().filter(|batch| batch.open_rows == 0) {
            if !matches!(batch.state, BatchState::Running { .. }) {
                batch.state = BatchState::Processed;
            }
        }
        let is_processed = |batch: &InFlight| batch.state == BatchState::Processed;
        let batches = &self.batches;
        self.unprocessed.retain(|id| !batches.get(*id).is_some_and(is_processed));
        let emptied: Vec<_> =
            self.batches.iter().filter(|(_, batch)| batch.open_rows == 0).map(|(id, _)| id).collect();
        for batch in emptied {
            self.drop_settled(batch, actions);
        }
    }

    /// Takes a fenced lane's unsettled rows out of the batches that hold them.
    fn recount_open_rows(&mut self, fenced: LaneId) {
        let lanes = &self.lanes;
        for batch in self.batches.iter_mut() {
            if batch.runs.has(fenced) {
                let live = batch.runs.stretches(&(0..batch.rows)).filter_map(|stretch| {
                    Some(lanes.get(&stretch.lane)?.tracker.unsettled_in(stretch.sequence))
                });
                batch.open_rows = live.sum();
            }
        }
    }

    fn release_drained(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let done = self
            .lanes
            .iter()
            .filter(|(_, lane)| match lane.state {
                LaneState::Draining { until } => lane.tracker.unsettled() == 0 || now >= until,
                LaneState::Active | LaneState::Ended => false,
            })
            .map(|(id, lane)| {
                // A transaction that is being committed may bring a newer one.
                let is_certain = self.transaction.is_none() || lane.tracker.unsettled() == 0;
                (*id, is_certain.then(|| lane.tracker.watermark()))
            })
            .collect::<BTreeMap<_, _>>();
        if done.is_empty() {
            return;
        }
        for id in done.keys() {
            self.fence(now, *id, actions);
        }
        actions.push(Action::Release(done.into_iter().collect()));
    }

    fn commit_due(&mut self, now: Tick, actions: &mut Vec<Action>) {
        // The end waits for its last commit, which need not wait for its interval unless one has just failed.
        let is_last = self.end_of_input && self.is_settled() && !self.commit_failed;
        if self.commit_in_flight.is_some() || (now < self.next_commit && !is_last) {
            return;
        }
        let offsets = self.committable();
        if !offsets.is_empty() {
            self.next_commit = now + self.config.commit_interval;
            self.commit_in_flight = Some(offsets.clone());
            actions.push(Action::Commit(offsets));
        }
    }

    fn commit_ended(&mut self, now: Tick, ok: bool) {
        let offsets = self.commit_in_flight.take().unwrap_or_default();
        self.commit_failed = !ok;
        if ok {
            self.committed(offsets);
        } else {
            self.next_commit = now + self.config.commit_interval;
        }
    }

    fn committed(&mut self, offsets: Vec<(LaneId, i64)>) {
        for (id, offset) in offsets {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.committed = lane.committed.max(offset);
            }
        }
    }
}

/// Where a settled record goes in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ok,
    Dlq,
    Skipped,
}

impl From<Fate> for State {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Ok => Self::Ok,
            Fate::Dlq => Self::Dlq,
        }
    }
}

/// Writes the rows of a batch whose lanes are still ours, without those that are `left_out`.
fn write_all_but(
    id: BatchId,
    batch: &InFlight,
    lanes: &HashMap<LaneId, Lane>,
    left_out: impl Iterator<Item = u32>,
    actions: &mut Vec<Action>,
) {
    let mut start = 0;
    for row in left_out.chain([batch.rows]) {
        for_each_live(batch, lanes, &(start..row), |rows| actions.push(Action::Write(id, rows)));
        start = row + 1;
    }
}

/// Whether a row's lane is still ours.
fn is_live(batch: &InFlight, lanes: &HashMap<LaneId, Lane>, row: u32) -> bool {
    batch.runs.lane_of(row).is_some_and(|lane| lanes.contains_key(&lane))
}

/// Calls `each` with those of `rows` whose lanes are still ours, in as few ranges as possible.
fn for_each_live(
    batch: &InFlight,
    lanes: &HashMap<LaneId, Lane>,
    rows: &Range<u32>,
    mut each: impl FnMut(Range<u32>),
) {
    let mut open: Option<Range<u32>> = None;
    let live = batch.runs.stretches(rows).filter(|stretch| lanes.contains_key(&stretch.lane));
    for Stretch { rows, .. } in live {
        match &mut open {
            Some(range) if range.end == rows.start => range.end = rows.end,
            _ => open.replace(rows).into_iter().for_each(&mut each),
        }
    }
    open.into_iter().filter(|range| !range.is_empty()).for_each(each);
}

/// How many rows of a part are ours and not settled.
fn open_rows_of(batches: &Window<InFlight>, lanes: &HashMap<LaneId, Lane>, (id, rows): &Part) -> u64 {
    let Some(batch) = batches.get(*id) else { return 0 };
    let open = batch.runs.stretches(rows).filter_map(|Stretch { lane, sequence, .. }| {
        Some(u64::from(lanes.get(&lane)?.tracker.unsettled_in(sequence)))
    });
    open.sum()
}
