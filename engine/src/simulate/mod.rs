//! The engine in virtual time: arrivals and service times in, what would have happened out.
//!
//! The [`Core`] that decides is the one that runs jobs; only the clock, the records and the work are
//! made up. A day of arrivals takes as long as its batches take to decide on.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::ops::{ControlFlow, Range};
use std::time::Duration;

use velo_schema::Tier;

use crate::core::batcher::SealReason;
use crate::core::failure::{RowError, Stage};
use crate::core::{Action, Core, Event, Fate, JobError, Verdict, Weight};
use crate::ids::Tick;
use crate::ids::{BatchId, LaneId};
use crate::job::config::JobConfig;
use crate::report::{Ending, Meter, Report};

/// A record that comes to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Its time, from the start.
    pub at: Duration,
    /// How much later than that it can be read.
    pub delay: Duration,
    /// Bytes of its key and value.
    pub bytes: u64,
    /// Its offset.
    pub offset: i64,
}

impl Arrival {
    /// When it can be read, from the start.
    #[must_use]
    pub fn available(&self) -> Duration {
        self.at + self.delay
    }
}

/// What an attempt at a batch comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// How long it takes.
    pub took: Duration,
    /// The rows that fail.
    pub bad: Vec<RowError>,
    /// What fails without being any record's fault.
    pub system: Option<String>,
    /// The rows that the sink will refuse for good.
    pub refused: Vec<u32>,
}

impl From<Duration> for Served {
    fn from(took: Duration) -> Self {
        Self { took, ..Self::default() }
    }
}

/// A batch that was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// When.
    pub at: Duration,
    /// When its first record was taken.
    pub first: Duration,
    /// Its records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why.
    pub reason: SealReason,
}

/// What would have happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// The report of the run.
    pub report: Report,
    /// Why the job failed, if it did.
    pub error: Option<JobError>,
    /// Every batch, in order.
    pub sealed: Vec<Sealed>,
    /// Why the run ended before all records were settled; `None` if they all were, or if the job failed.
    pub cut: Option<Cut>,
    /// Records that could be read and were not taken when the run ended.
    pub waiting: u64,
}

/// Why a simulation ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// More records waited to be taken than [`Bounds::waiting`].
    Waiting,
    /// Virtual time passed [`Bounds::until`].
    Time,
    /// The caller asked for it.
    Asked,
    /// Nothing would ever happen again, although records were left.
    Stuck,
}

/// How far a simulation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most records that may wait to be taken.
    pub waiting: u64,
    /// The latest virtual time.
    pub until: Duration,
}

impl Bounds {
    /// To the end, however long that takes.
    pub const NONE: Self = Self { waiting: u64::MAX, until: Duration::MAX };
}

/// Runs a job over arrivals, in the order in which they can be read, until all are settled or the job has failed.
/// `serve` says what becomes of a batch's records at an attempt, counted from 0; what succeeds is
/// written at once, and so are dead letters.
///
/// ```
/// use std::time::Duration;
/// use velo_engine::simulate::{Arrival, simulate};
///
/// // A thousand records a second for a minute, in batches of 100 that take 20 ms.
/// let arrivals = (0..60_000).map(|n: u32| Arrival {
///     at: Duration::from_millis(n.into()),
///     bytes: 100,
///     offset: n.into(),
///     ..Arrival::default()
/// });
/// let run = simulate(&velo_schema::Config::default().into(), arrivals, |_, _| Duration::from_millis(20).into());
/// assert_eq!(run.report.batches.count, 600);
/// assert!((run.report.latency_ms.max - 119.0).abs() < 2.0);
/// ```
pub fn simulate(
    config: &JobConfig,
    arrivals: impl IntoIterator<Item = Arrival>,
    serve: impl FnMut(&[Arrival], u32) -> Served,
) -> Simulation {
    simulate_within(config, arrivals, Bounds::NONE, &mut || ControlFlow::Continue(()), serve)
}

/// The same within bounds. `goes_on` is asked before each instant of the run and each batch that it takes, and may
/// end it.
pub fn simulate_within(
    config: &JobConfig,
    arrivals: impl IntoIterator<Item = Arrival>,
    bounds: Bounds,
    goes_on: &mut dyn FnMut() -> ControlFlow<()>,
    serve: impl FnMut(&[Arrival], u32) -> Served,
) -> Simulation {
    let mut world = World {
        core: Core::new(config.core(1, 0)),
        now: Tick::default(),
        arrivals: arrivals.into_iter().peekable(),
        waiting: VecDeque::new(),
        serve,
        open: Vec::new(),
        first: Tick::default(),
        batches: HashMap::new(),
        finishing: BinaryHeap::new(),
        actions: VecDeque::new(),
        sealed: Vec::new(),
        meter: Meter::new(Duration::ZERO),
        error: None,
    };
    let cut = world.run(bounds, goes_on);
    let World { core, meter, sealed, error, waiting, .. } = world;
    let told = error.as_ref().map(ToString::to_string);
    let report = Ending::new(meter, &core, config.plan(), told).report();
    Simulation { report, error, sealed, cut, waiting: waiting.len() as u64 }
}

const LANE: LaneId = LaneId(0);

struct World<A: Iterator, S> {
    core: Core,
    now: Tick,
    arrivals: std::iter::Peekable<A>,
    /// Records that can be read and are not taken yet.
    waiting: VecDeque<Arrival>,
    serve: S,
    /// The open batch, and when its first record was taken.
    open: Vec<Arrival>,
    first: Tick,
    batches: HashMap<BatchId, InFlight>,
    /// Batches that are being processed, by the time at which they will have been.
    finishing: BinaryHeap<Reverse<(Tick, BatchId, Outcome)>>,
    actions: VecDeque<Action>,
    sealed: Vec<Sealed>,
    meter: Meter,
    error: Option<JobError>,
}

struct InFlight {
    rows: Vec<Arrival>,
    /// Rows that the sink refuses.
    refused: Vec<u32>,
}

/// A verdict, which has no order of its own.
struct Outcome(Verdict);

impl PartialEq for Outcome {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Outcome {}

impl PartialOrd for Outcome {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Outcome {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

fn since_start(tick: Tick) -> Duration {
    tick.since(Tick::default())
}

impl<A: Iterator<Item = Arrival>, S: FnMut(&[Arrival], u32) -> Served> World<A, S> {
    fn run(&mut self, bounds: Bounds, goes_on: &mut dyn FnMut() -> ControlFlow<()>) -> Option<Cut> {
        self.step(Event::Assigned(LANE, 0));
        while !self.core.is_done() {
            self.arrive();
            if goes_on().is_break() {
                return Some(Cut::Asked);
            }
            if self.waiting.len() as u64 > bounds.waiting {
                return Some(Cut::Waiting);
            }
            if since_start(self.now) > bounds.until {
                return Some(Cut::Time);
            }
            // Whatever happens in this instant comes before the news that nothing does.
            if self.finish() || self.take() > 0 {
                continue;
            }
            if self.waiting.is_empty() {
                self.step(Event::Idle);
                if self.arrivals.peek().is_none() {
                    self.step(Event::Ended(LANE));
                    self.step(Event::EndOfInput(true));
                }
            }
            self.step(Event::Tick);
            let Some(next) = self.next() else {
                return (!self.core.is_done()).then_some(Cut::Stuck);
            };
            self.now = next.max(self.now);
        }
        None
    }

    /// Lets the records wait that can be read by now.
    fn arrive(&mut self) {
        let now = self.now;
        let is_there = |arrival: &Arrival| Tick::default() + arrival.available() <= now;
        while let Some(arrival) = self.arrivals.next_if(is_there) {
            self.waiting.push_back(arrival);
        }
    }

    /// Ends the processing of a batch that is due; whether there was one.
    fn finish(&mut self) -> bool {
        if self.finishing.peek().is_none_or(|Reverse((at, ..))| *at > self.now) {
            return false;
        }
        if let Some(Reverse((_, id, Outcome(verdict)))) = self.finishing.pop() {
            self.step(Event::Finished(id, &verdict));
        }
        true
    }

    /// When something happens next. A record that is there and does not fit waits for something else to happen:
    /// if its own time counted, the clock would stand still.
    fn next(&mut self) -> Option<Tick> {
        let finish = self.finishing.peek().map(|Reverse((at, ..))| *at);
        let room = self.core.room();
        let takes = room.records > 0 && self.core.takes_from(LANE);
        let arrival = match self.waiting.front() {
            Some(arrival) => Some(self.now).filter(|_| takes && room.fits(0, 0, arrival.bytes)),
            None => self.arrivals.peek().filter(|_| takes).map(|next| Tick::default() + next.available()),
        };
        [finish, arrival, self.core.deadline()].into_iter().flatten().min()
    }

    /// Takes what has arrived, up to the room there is; returns how much that was.
    fn take(&mut self) -> u64 {
        let room = self.core.room();
        if room.records == 0 || !self.core.takes_from(LANE) {
            return 0;
        }
        let before = self.open.len();
        let (mut taken, mut bytes) = (0, 0);
        let mut exceeds = false;
        while let Some(arrival) = self.waiting.front().filter(|_| taken < room.records) {
            exceeds = !room.fits(taken, bytes, arrival.bytes);
            if exceeds {
                break;
            }
            (taken, bytes) = (taken + 1, bytes + arrival.bytes);
            self.open.extend(self.waiting.pop_front());
        }
        if taken > 0 {
            if before == 0 {
                self.first = self.now;
            }
            let calls = if self.core.tier() == Tier::Standard { taken } else { 1 };
            self.meter.took(self.now, calls, taken, bytes);
            let offsets: Vec<_> = self.open[before..].iter().map(|arrival| arrival.offset).collect();
            self.step(Event::Rows(LANE, &offsets, bytes));
        }
        if exceeds {
            self.step(Event::Exceeds);
        }
        taken
    }

    fn step(&mut self, event: Event<'_>) {
        let mut actions = Vec::new();
        self.core.step(self.now, event, &mut actions);
        self.actions.extend(actions.drain(..));
        while let Some(action) = self.actions.pop_front() {
            let mut event_of = |event| self.core.step(self.now, event, &mut actions);
            match action {
                Action::Seal(id, reason) => {
                    let rows = std::mem::take(&mut self.open);
                    let records = rows.len() as u64;
                    self.meter.batches.sealed(reason, records);
                    let bytes = rows.iter().map(|arrival| arrival.bytes).sum();
                    let (at, first) = (since_start(self.now), since_start(self.first));
                    self.sealed.push(Sealed { at, first, records, bytes, reason });
                    self.batches.insert(id, InFlight { rows, refused: Vec::new() });
                }
                Action::Run(id, attempt) => {
                    let Some(InFlight { rows, refused }) = self.batches.get_mut(&id) else { continue };
                    let Served { took, bad, system, refused: at_sink } = (self.serve)(rows, attempt);
                    *refused = at_sink;
                    let weights = if self.core.regroups() { weights(rows, &bad) } else { Vec::new() };
                    let verdict = Verdict { rows: bad, system, weights, ..Verdict::default() };
                    self.finishing.push(Reverse((self.now + took, id, Outcome(verdict))));
                }
                Action::Group(reason, records) => self.meter.groups.sealed(reason, records),
                Action::Write(id, rows) => {
                    let Some(batch) = self.batches.get(&id) else { continue };
                    self.meter.last = self.now;
                    let mut start = rows.start;
                    let refused = batch.refused.iter().copied().filter(|row| rows.contains(row));
                    for end in refused.map(Some).chain([None]) {
                        let written = start..end.unwrap_or(rows.end);
                        let arrivals = batch.rows[span(&written)].iter().map(|arrival| arrival.at.as_nanos());
                        let arrivals = arrivals.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
                        self.meter.settled(self.now, arrivals);
                        event_of(Event::Acked(id, written, Fate::Ok));
                        if let Some(row) = end {
                            event_of(Event::Refused(id, row, Stage::Write, "the sink refuses it"));
                            start = row + 1;
                        }
                    }
                }
                Action::DeadLetter(id, errors, _) => {
                    self.meter.last = self.now;
                    for RowError { row, .. } in errors {
                        event_of(Event::Acked(id, row..row + 1, Fate::Dlq));
                    }
                }
                Action::Skip(..) => self.meter.last = self.now,
                Action::Commit(_) => event_of(Event::CommitEnded(true)),
                Action::Drop(id) => {
                    self.batches.remove(&id);
                }
                Action::Fail(_, error) => self.error = Some(error),
                Action::CommitTransaction(_) => event_of(Event::TransactionEnded(true)),
                Action::AbortTransaction => event_of(Event::TransactionEnded(false)),
                Action::Hold(..) | Action::Release(..) | Action::Rewrite(_) => {}
            }
            self.actions.extend(actions.drain(..));
        }
    }
}

fn span(rows: &Range<u32>) -> Range<usize> {
    rows.start as usize..rows.end as usize
}

/// What rows weigh that are written as they came.
fn weights(rows: &[Arrival], bad: &[RowError]) -> Vec<Weight> {
    let weight = |(row, arrival): (u32, &Arrival)| Weight { row, records: 1, bytes: arrival.bytes };
    let good = |weight: &Weight| bad.iter().all(|error| error.row != weight.row);
    (0..).zip(rows).map(weight).filter(good).collect()
}

#[cfg(test)]
mod tests;
