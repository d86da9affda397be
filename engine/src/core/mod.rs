//! The engine as a pure machine: events and a time go in, actions come out. No clock, no threads, no I/O.
//!
//! The driver performs the actions and reports back; whatever replays the same events at the same
//! ticks gets the same actions. Batches are sealed by the [`batcher`], a lane's order and commits are
//! kept by the [`lane`] tracker, and what follows a failure is decided in [`failure`].

pub mod batcher;
pub mod controller;
pub mod failure;
pub mod lane;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use velo_schema::Tier;

use crate::columns::{BatchId, LaneId, Run};
use batcher::{Batcher, Room, SealReason, SealRule};
use failure::{ByStage, Decision, RowError, Stage};
use lane::Tracker;

/// A time on the engine's clock: nanoseconds since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The time that passes from `earlier` to this one; zero where it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Tick {
    type Output = Self;

    /// Saturating: a deadline beyond five hundred years never comes.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// How the machine is set up.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// When a batch is full.
    pub seal: SealRule,
    /// The tier to begin with.
    pub tier: Tier,
    /// What follows a failure, by stage.
    pub failure: ByStage<failure::Policy>,
    /// How many batches are processed at a time.
    pub workers: usize,
    /// What jobs differ in that would otherwise retry at the same moment.
    pub seed: u64,
    /// How often settled offsets are committed.
    pub commit_interval: Duration,
    /// How long a revoked lane may take to settle what is in flight.
    pub drain_timeout: Duration,
    /// Most records that are delivered and not settled, before more are taken.
    pub max_unsettled_records: u64,
    /// Most bytes of the same.
    pub max_unsettled_bytes: u64,
}

/// How a lane ends before its job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoke {
    /// It is still ours until we give it up: settle what is in flight first.
    Drain,
    /// Somebody else has it already: commit nothing more.
    Lost,
}

/// Where a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its outputs are written.
    Ok,
    /// It is in the dead letter queue.
    Dlq,
}

/// What became of an attempt to process a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The rows that failed, in order; all others succeeded.
    pub rows: Vec<RowError>,
    /// What failed without being any record's fault; then no row counts as processed.
    pub system: Option<String>,
}

/// What the driver reports.
#[derive(Debug)]
pub enum Event<'a> {
    /// A lane begins, at an offset.
    Assigned(LaneId, i64),
    /// Every lane that is to be read has been assigned: once all have ended, the job is done.
    AssignmentComplete,
    /// Records of a lane were appended to the open batch: their offsets and payload bytes.
    Rows(LaneId, &'a [i64], u64),
    /// The next record of a lane does not fit into the open batch.
    Exceeds,
    /// Nothing more is queued.
    Idle,
    /// No more records will come from a lane.
    Ended(LaneId),
    /// Time has passed.
    Tick,
    /// A batch was processed.
    Finished(BatchId, &'a Verdict),
    /// Rows reached where they were sent.
    Acked(BatchId, Range<u32>, Fate),
    /// A row was refused for good where it was sent.
    Refused(BatchId, u32, Stage, &'a str),
    /// The commit in flight has ended, well or not.
    CommitEnded(bool),
    /// A lane is taken away.
    Revoked(LaneId, Revoke),
    /// The job is to end once what is in flight is settled.
    Stop,
}

/// What the driver is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The open batch becomes this one.
    Seal(BatchId, SealReason),
    /// Process a batch: its first attempt or a later one.
    Run(BatchId, u32),
    /// Write the outputs of these rows.
    Write(BatchId, Vec<Range<u32>>),
    /// Write these rows, as they came, to the dead letter queue.
    DeadLetter(BatchId, Vec<RowError>),
    /// Log these rows; they are left out.
    Skip(BatchId, Vec<RowError>),
    /// The batch could not be processed; it will be again, after this long.
    Hold(BatchId, Duration, String),
    /// Commit these offsets, asynchronously, and report [`Event::CommitEnded`].
    Commit(Vec<(LaneId, i64)>),
    /// Commit this offset, synchronously, and give the lane up.
    Release(LaneId, i64),
    /// Nothing refers to the batch any more.
    Drop(BatchId),
    /// The job has failed.
    Fail(JobError),
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// `FailBatch`: a record failed and its strategy says that nothing may be left out.
    #[error("a record failed in {} and nothing may be left out: {}", .0.stage, .0.message)]
    Batch(RowError),
    /// `RetryWithBackoff`: a record still failed after the last retry.
    #[error("a record still failed in {} after {} of retrying: {}", .0.stage, times(*.1), .0.message)]
    Exhausted(RowError, u32),
    /// The dead letter queue refused a record for good.
    #[error("the dead letter queue refused a record: {0}")]
    DeadLetterRefused(String),
    /// The source cannot go on.
    #[error("{0}")]
    Source(String),
    /// The sink or the dead letter queue takes nothing any more, whatever the record.
    #[error("{0}")]
    Sink(String),
}

fn times(n: u32) -> String {
    if n == 1 { "one time".to_owned() } else { format!("{n} times") }
}

/// Where every delivered record ended. The states add up to `delivered`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// Records that the source handed over.
    pub delivered: u64,
    /// Processed and written.
    pub ok: u64,
    /// Failed, logged and left out.
    pub skipped: u64,
    /// Failed and written to the dead letter queue.
    pub dlq: u64,
    /// In the batch that made the job fail.
    pub failed: u64,
    /// Not settled when the job or their lane ended; they will be read again.
    pub uncommitted: u64,
    /// Offsets that held no record.
    pub gaps: u64,
}

impl Ledger {
    /// Whether every delivered record ended in exactly one state.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.delivered == self.ok + self.skipped + self.dlq + self.failed + self.uncommitted
    }
}

#[derive(Debug)]
struct Lane {
    tracker: Tracker,
    committed: i64,
    state: LaneState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LaneState {
    Active,
    Ended,
    Draining { until: Tick },
}

#[derive(Debug)]
struct InFlight {
    runs: Vec<(Run, u64)>,
    rows: u32,
    bytes: u64,
    state: BatchState,
    /// Whether it held as many records as it might.
    full: bool,
    /// How often it was tried again on account of its records.
    retries: u32,
    /// Rows that are not settled.
    open_rows: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchState {
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
pub struct Core {
    config: CoreConfig,
    batcher: Batcher,
    open_runs: Vec<(Run, u64)>,
    open_bytes: u64,
    next_batch: u32,
    lanes: HashMap<LaneId, Lane>,
    batches: BTreeMap<BatchId, InFlight>,
    /// The batches that are not processed, in the order of sealing: never more than a few.
    unprocessed: VecDeque<BatchId>,
    unsettled_bytes: u64,
    unsettled_records: u64,
    /// Nothing is queued at the source.
    idle: bool,
    tier: Tier,
    assignment_complete: bool,
    phase: Phase,
    commit_in_flight: Option<Vec<(LaneId, i64)>>,
    next_commit: Tick,
    ledger: Ledger,
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
            config,
            open_runs: Vec::new(),
            open_bytes: 0,
            next_batch: 0,
            lanes: HashMap::new(),
            batches: BTreeMap::new(),
            unprocessed: VecDeque::new(),
            unsettled_bytes: 0,
            unsettled_records: 0,
            idle: false,
            tier: config_tier,
            assignment_complete: false,
            phase: Phase::Running,
            commit_in_flight: None,
            ledger: Ledger::default(),
        }
    }

    /// Takes an event in, puts what is to be done into `actions`.
    pub fn step(&mut self, now: Tick, event: Event<'_>, actions: &mut Vec<Action>) {
        if self.phase == Phase::Failed {
            return;
        }
        match event {
            Event::Assigned(lane, position) => {
                let tracker = Tracker::new(position);
                // The start itself is committed, too: whoever comes next begins there, and not at
                // what is then the newest record.
                self.lanes.insert(lane, Lane { tracker, committed: -1, state: LaneState::Active });
            }
            Event::AssignmentComplete => self.assignment_complete = true,
            Event::Rows(lane, offsets, bytes) => self.rows(now, lane, offsets, bytes),
            Event::Exceeds => self.batcher.exceed(),
            Event::Idle => self.idle = true,
            Event::Ended(lane) => {
                // A lane that is being drained has to be released, ended or not.
                if let Some(lane) = self.lanes.get_mut(&lane)
                    && lane.state == LaneState::Active
                {
                    lane.state = LaneState::Ended;
                }
            }
            Event::Tick => {}
            Event::Finished(batch, verdict) => self.finished(now, batch, verdict, actions),
            Event::Acked(batch, rows, fate) => self.settle(batch, rows, fate.into(), actions),
            Event::Refused(batch, row, stage, message) => self.refused(batch, row, stage, message, actions),
            Event::CommitEnded(ok) => self.commit_ended(ok),
            Event::Revoked(lane, Revoke::Drain) => {
                let until = now + self.config.drain_timeout;
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.state = LaneState::Draining { until };
                }
            }
            Event::Revoked(lane, Revoke::Lost) => self.fence(lane, actions),
            Event::Stop => self.phase = Phase::Stopping,
        }
        self.seal_due(now, actions);
        self.run_ready(now, actions);
        self.release_drained(now, actions);
        self.commit_due(now, actions);
    }

    /// What the open batch takes now; no records are back-pressure.
    #[must_use]
    pub fn room(&self) -> Room {
        let full = self.unprocessed.len() > self.config.workers
            || self.unsettled_bytes + self.open_bytes >= self.config.max_unsettled_bytes
            || self.unsettled_records >= self.config.max_unsettled_records;
        if full || self.phase != Phase::Running { Room::default() } else { self.batcher.room() }
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
        let held = |batch: &InFlight| {
            matches!(batch.state, BatchState::Holding { .. })
                && batch.runs.iter().any(|(run, _)| run.lane == lane)
        };
        active && !self.unprocessed().any(held)
    }

    /// When [`Event::Tick`] is due at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let holding = self.unprocessed().filter_map(|batch| match batch.state {
            // Without a free worker its time alone changes nothing.
            BatchState::Holding { until, .. } if self.running() < self.config.workers => Some(until),
            _ => None,
        });
        let draining = self.lanes.values().filter_map(|lane| match lane.state {
            LaneState::Draining { until } => Some(until),
            _ => None,
        });
        let commit =
            (self.commit_in_flight.is_none() && !self.committable().is_empty()).then_some(self.next_commit);
        holding.chain(draining).chain(self.batcher.deadline()).chain(commit).min()
    }

    /// Whether everything that was to come has come and is settled, or the job has failed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let exhausted =
            self.assignment_complete && self.lanes.values().all(|lane| lane.state == LaneState::Ended);
        let ending = self.phase == Phase::Stopping || exhausted;
        self.phase == Phase::Failed || (ending && self.batches.is_empty() && self.batcher.is_empty())
    }

    /// The offsets that may be committed and are not known to be.
    #[must_use]
    pub fn committable(&self) -> Vec<(LaneId, i64)> {
        let mut offsets: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.tracker.watermark() > lane.committed)
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

    fn rows(&mut self, now: Tick, lane: LaneId, offsets: &[i64], bytes: u64) {
        let tracker = &mut self.lanes.get_mut(&lane).expect("records come from assigned lanes").tracker;
        let sequence = tracker.deliver(offsets);
        let count = offsets.len() as u64;
        let start = self.open_runs.last().map_or(0, |(run, _)| run.rows.end);
        let end = start + u32::try_from(count).expect("a batch has fewer than 2^31 rows");
        self.open_runs.push((Run { lane, rows: start..end }, sequence));
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
                (self.open_bytes >= self.config.max_unsettled_bytes).then_some(SealReason::Memory)
            });
        let Some(reason) = due else { return };
        let id = BatchId(self.next_batch);
        self.next_batch = self.next_batch.wrapping_add(1);
        self.batcher.reset();
        let runs = std::mem::take(&mut self.open_runs);
        let rows = runs.last().map_or(0, |(run, _)| run.rows.end);
        let bytes = std::mem::take(&mut self.open_bytes);
        self.unsettled_bytes += bytes;
        let live = runs.iter().map(|(run, _)| run).filter(|run| self.lanes.contains_key(&run.lane));
        let open_rows = live.map(|run| run.rows.end - run.rows.start).sum();
        // A batch with nothing but fenced rows is processed for nobody.
        let state = if open_rows == 0 { BatchState::Processed } else { BatchState::Waiting };
        self.batches.insert(
            id,
            InFlight { runs, rows, bytes, state, full: reason == SealReason::Count, retries: 0, open_rows },
        );
        actions.push(Action::Seal(id, reason));
        if open_rows == 0 {
            self.drop_settled(id, actions);
        } else {
            self.unprocessed.push_back(id);
        }
    }

    /// The open batch waits for nothing any more.
    fn drain_due(&self) -> Option<SealReason> {
        let nothing_comes = self.phase == Phase::Stopping
            || self.lanes.values().all(|lane| lane.state == LaneState::Ended)
            || self.open_runs.iter().any(|(run, _)| {
                let state = self.lanes.get(&run.lane).map(|lane| lane.state);
                matches!(state, Some(LaneState::Draining { .. }))
            });
        (!self.batcher.is_empty() && nothing_comes).then_some(SealReason::Drain)
    }

    fn unprocessed(&self) -> impl Iterator<Item = &InFlight> {
        self.unprocessed.iter().map(|id| &self.batches[id])
    }

    fn running(&self) -> usize {
        self.unprocessed().filter(|batch| matches!(batch.state, BatchState::Running { .. })).count()
    }

    /// Runs every batch whose lanes have no earlier batch that is not processed.
    fn run_ready(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let mut free = self.config.workers.saturating_sub(self.running());
        let mut busy = BTreeSet::new();
        for id in &self.unprocessed {
            let batch = self.batches.get_mut(id).expect("unprocessed batches are in flight");
            let attempt = match batch.state {
                BatchState::Waiting => Some(0),
                BatchState::Holding { attempt, until } if now >= until => Some(attempt),
                _ => None,
            };
            let blocked = batch.runs.iter().any(|(run, _)| busy.contains(&run.lane));
            if let Some(attempt) = attempt.filter(|_| free > 0 && !blocked) {
                free -= 1;
                batch.state = BatchState::Running { attempt, since: now };
                actions.push(Action::Run(*id, attempt));
            }
            busy.extend(batch.runs.iter().map(|(run, _)| run.lane));
        }
    }

    fn finished(&mut self, now: Tick, id: BatchId, verdict: &Verdict, actions: &mut Vec<Action>) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        let BatchState::Running { attempt, since } = batch.state else { return };
        if let Some(message) = &verdict.system {
            let delay = self.config.failure.process.backoff(attempt, self.config.seed ^ u64::from(id.0));
            batch.state = BatchState::Holding { attempt: attempt + 1, until: now + delay };
            actions.push(Action::Hold(id, delay, message.clone()));
            return;
        }
        // What it took steers the size of the next one; a failed attempt says nothing about that.
        self.batcher.observe(u64::from(batch.rows), now.since(since), batch.full);
        self.tier = self.batcher.tier(self.tier);
        let live = |row: u32, lanes: &HashMap<LaneId, Lane>, batch: &InFlight| {
            batch.runs.iter().any(|(run, _)| run.rows.contains(&row) && lanes.contains_key(&run.lane))
        };
        let errors: Vec<_> =
            verdict.rows.iter().filter(|error| live(error.row, &self.lanes, batch)).cloned().collect();
        let retries = batch.retries;
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
        let succeeded = live_rows_without(batch, &self.lanes, &errors);
        let (dead, skipped): (Vec<_>, Vec<_>) =
            errors.into_iter().partition(|error| decide(error) == Decision::DeadLetter);
        if !succeeded.is_empty() {
            actions.push(Action::Write(id, succeeded));
        }
        if !dead.is_empty() {
            actions.push(Action::DeadLetter(id, dead));
        }
        self.skip(id, skipped, actions);
        self.drop_settled(id, actions);
    }

    fn skip(&mut self, id: BatchId, errors: Vec<RowError>, actions: &mut Vec<Action>) {
        if errors.is_empty() {
            return;
        }
        let rows: Vec<_> = errors.iter().map(|error| error.row).collect();
        actions.push(Action::Skip(id, errors));
        for row in rows {
            self.settle(id, row..row + 1, State::Skipped, actions);
        }
    }

    fn refused(&mut self, id: BatchId, row: u32, stage: Stage, message: &str, actions: &mut Vec<Action>) {
        // Whose lane is gone is somebody else's record now.
        let is_live = self.batches.get(&id).is_some_and(|batch| {
            let mut runs = batch.runs.iter();
            runs.any(|(run, _)| run.rows.contains(&row) && self.lanes.contains_key(&run.lane))
        });
        if !is_live {
            return;
        }
        let error = RowError { row, stage, message: message.to_owned(), retriable: false };
        match self.config.failure.of(stage).decide_refused(&error) {
            Decision::Skip => self.skip(id, vec![error], actions),
            Decision::DeadLetter => actions.push(Action::DeadLetter(id, vec![error])),
            Decision::Fail if stage == Stage::DeadLetter => {
                self.fail(Some(id), JobError::DeadLetterRefused(message.to_owned()), actions);
            }
            // What is refused for good is not tried again.
            Decision::Fail | Decision::Retry => self.fail(Some(id), JobError::Batch(error), actions),
        }
    }

    /// Ends the job; the rows of `batch` that are not settled count as failed.
    fn fail(&mut self, batch: Option<BatchId>, error: JobError, actions: &mut Vec<Action>) {
        self.phase = Phase::Failed;
        let batch = batch.and_then(|id| self.batches.get(&id));
        let live: u64 = batch.map_or(0, |batch| u64::from(batch.open_rows));
        self.ledger.failed = live;
        actions.push(Action::Fail(error));
    }

    /// Ends the job for a reason outside of any batch.
    pub fn abort(&mut self, error: JobError, actions: &mut Vec<Action>) {
        if self.phase != Phase::Failed {
            self.fail(None, error, actions);
        }
    }

    fn settle(&mut self, id: BatchId, rows: Range<u32>, state: State, actions: &mut Vec<Action>) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        for (run, sequence) in &batch.runs {
            let start = rows.start.max(run.rows.start);
            let end = rows.end.min(run.rows.end);
            let Some(lane) = self.lanes.get_mut(&run.lane).filter(|_| start < end) else { continue };
            let first = sequence + u64::from(start - run.rows.start);
            lane.tracker.settle(first..first + u64::from(end - start));
            batch.open_rows -= end - start;
            let count = u64::from(end - start);
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
        let settled = self
            .batches
            .get(&id)
            .is_some_and(|batch| batch.open_rows == 0 && batch.state == BatchState::Processed);
        if settled && let Some(batch) = self.batches.remove(&id) {
            self.unsettled_bytes -= batch.bytes;
            actions.push(Action::Drop(id));
        }
    }

    /// Forgets a lane that somebody else has now: what was in flight will be read again by them.
    fn fence(&mut self, id: LaneId, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.remove(&id) else { return };
        self.ledger.gaps += lane.tracker.gaps();
        self.ledger.uncommitted += lane.tracker.unsettled();
        self.unsettled_records -= lane.tracker.unsettled();
        self.recount_open_rows(id);
        let emptied: Vec<_> =
            self.batches.iter().filter(|(_, batch)| batch.open_rows == 0).map(|(id, _)| *id).collect();
        for batch in emptied {
            self.drop_settled(batch, actions);
        }
    }

    /// Takes a fenced lane's unsettled rows out of the batches that hold them.
    fn recount_open_rows(&mut self, fenced: LaneId) {
        let lanes = &self.lanes;
        for batch in self.batches.values_mut() {
            if batch.runs.iter().any(|(run, _)| run.lane == fenced) {
                let live = batch.runs.iter().filter_map(|(run, sequence)| {
                    let length = u64::from(run.rows.end - run.rows.start);
                    let tracker = &lanes.get(&run.lane)?.tracker;
                    Some(tracker.unsettled_in(*sequence..*sequence + length))
                });
                batch.open_rows = live.sum();
            }
        }
    }

    fn release_drained(&mut self, now: Tick, actions: &mut Vec<Action>) {
        let done: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| match lane.state {
                LaneState::Draining { until } => lane.tracker.unsettled() == 0 || now >= until,
                LaneState::Active | LaneState::Ended => false,
            })
            .map(|(id, lane)| (*id, lane.tracker.watermark()))
            .collect();
        for (id, watermark) in done {
            self.fence(id, actions);
            actions.push(Action::Release(id, watermark));
        }
    }

    fn commit_due(&mut self, now: Tick, actions: &mut Vec<Action>) {
        if self.commit_in_flight.is_some() || now < self.next_commit {
            return;
        }
        let offsets = self.committable();
        if !offsets.is_empty() {
            self.next_commit = now + self.config.commit_interval;
            self.commit_in_flight = Some(offsets.clone());
            actions.push(Action::Commit(offsets));
        }
    }

    fn commit_ended(&mut self, ok: bool) {
        let offsets = self.commit_in_flight.take().unwrap_or_default();
        for (id, offset) in offsets.into_iter().filter(|_| ok) {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.committed = lane.committed.max(offset);
            }
        }
    }
}

/// Where a settled record goes in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
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

/// The rows of lanes that are still ours, without those that failed, as ranges.
fn live_rows_without(
    batch: &InFlight,
    lanes: &HashMap<LaneId, Lane>,
    errors: &[RowError],
) -> Vec<Range<u32>> {
    let mut ranges = Vec::new();
    let mut push = |range: Range<u32>| match ranges.last_mut() {
        _ if range.is_empty() => {}
        Some(Range { end, .. }) if *end == range.start => *end = range.end,
        _ => ranges.push(range),
    };
    let mut failed = errors.iter().map(|error| error.row).peekable();
    for (run, _) in batch.runs.iter().filter(|(run, _)| lanes.contains_key(&run.lane)) {
        let mut start = run.rows.start;
        while let Some(row) = failed.next_if(|row| *row < run.rows.end) {
            push(start..row.max(start));
            start = row + 1;
        }
        push(start..run.rows.end);
    }
    debug_assert!(ranges.iter().all(|range: &Range<u32>| range.end <= batch.rows));
    ranges
}

#[cfg(test)]
mod tests;
