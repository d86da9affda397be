//! Runs the engine in virtual time: arrivals and service times in, the report of the simulated run out.
//!
//! The [`Core`] is that of real jobs; only the clock, the records and the processing are simulated. The time of a
//! simulation depends on the number of decisions, not on the simulated time.

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

/// The arrival of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The time of the record since the start.
    pub at: Duration,
    /// The delay from that time until the record is readable.
    pub delay: Duration,
    /// The number of bytes of key and value.
    pub bytes: u64,
    /// The offset of the record.
    pub offset: i64,
}

impl Arrival {
    /// Returns when the record is readable, since the start.
    #[must_use]
    pub fn available(&self) -> Duration {
        self.at + self.delay
    }
}

/// The result of an attempt at a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// The service time of the attempt.
    pub took: Duration,
    /// The rows that fail.
    pub bad: Vec<RowError>,
    /// The reason if the attempt fails and no record caused the failure.
    pub system: Option<String>,
    /// The rows that the sink rejects permanently.
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
    /// The time at which the batch was sealed.
    pub at: Duration,
    /// The time at which the first record of the batch was taken.
    pub first: Duration,
    /// The number of records.
    pub records: u64,
    /// The payload bytes of the records.
    pub bytes: u64,
    /// The reason to seal the batch.
    pub reason: SealReason,
}

/// The result of a simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// The report of the run.
    pub report: Report,
    /// Why the job failed, if it did.
    pub error: Option<JobError>,
    /// All batches, in order.
    pub sealed: Vec<Sealed>,
    /// Why the run ended before all records were settled; `None` if all records were settled or the job failed.
    pub cut: Option<Cut>,
    /// The number of records that were readable and not taken when the run ended.
    pub waiting: u64,
}

/// Why a simulation ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The number of waiting records exceeded [`Bounds::waiting`].
    Waiting,
    /// Virtual time passed [`Bounds::until`].
    Time,
    /// The caller ended the run.
    Asked,
    /// No further event was due, although records were not settled.
    Stuck,
}

/// The limits of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The maximum number of readable records that are not taken.
    pub waiting: u64,
    /// The maximum virtual time.
    pub until: Duration,
}

impl Bounds {
    /// No limits.
    pub const NONE: Self = Self { waiting: u64::MAX, until: Duration::MAX };
}

/// Simulates a job over arrivals until all records are settled or the job has failed. The arrivals must be in the order
/// in which they become readable. `serve` returns the result of an attempt at the records of a batch; attempts count
/// from 0. Outputs and dead letters are written without a delay.
///
/// ```
/// use std::time::Duration;
/// use velo_engine::simulate::{Arrival, simulate};
///
/// // 1000 records per second for a minute, in batches of 100 that take 20 ms each.
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

/// Like [`simulate`], within limits. `goes_on` is called before each instant of the run and before each batch, and can
/// end the run.
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
    /// Readable records that are not taken yet.
    waiting: VecDeque<Arrival>,
    serve: S,
    /// The open batch.
    open: Vec<Arrival>,
    first: Tick,
    batches: HashMap<BatchId, InFlight>,
    /// Batches that are being processed, by the time at which they finish.
    finishing: BinaryHeap<Reverse<(Tick, BatchId, Outcome)>>,
    actions: VecDeque<Action>,
    sealed: Vec<Sealed>,
    meter: Meter,
    error: Option<JobError>,
}

struct InFlight {
    rows: Vec<Arrival>,
    /// Rows that the sink rejects.
    refused: Vec<u32>,
}

/// A verdict without an order, so that the heap is ordered by time and batch.
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
            // `Idle` is reported only after all events of this instant.
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

    /// Adds the records that are readable now to the waiting records.
    fn arrive(&mut self) {
        let now = self.now;
        let is_there = |arrival: &Arrival| Tick::default() + arrival.available() <= now;
        while let Some(arrival) = self.arrivals.next_if(is_there) {
            self.waiting.push_back(arrival);
        }
    }

    /// Finishes a batch that is due. Returns true if there was one.
    fn finish(&mut self) -> bool {
        if self.finishing.peek().is_none_or(|Reverse((at, ..))| *at > self.now) {
            return false;
        }
        if let Some(Reverse((_, id, Outcome(verdict)))) = self.finishing.pop() {
            self.step(Event::Finished(id, &verdict));
        }
        true
    }

    /// Returns the time of the next event. A waiting record that does not fit is ignored: it waits for another event,
    /// and the clock would not advance if its own time counted.
    fn next(&mut self) -> Option<Tick> {
        let finish = self.finishing.peek().map(|Reverse((at, ..))| *at);
        let room = self.core.capacity();
        let takes = room.records > 0 && self.core.takes_from(LANE);
        let arrival = match self.waiting.front() {
            Some(arrival) => Some(self.now).filter(|_| takes && room.fits(0, 0, arrival.bytes)),
            None => self.arrivals.peek().filter(|_| takes).map(|next| Tick::default() + next.available()),
        };
        [finish, arrival, self.core.deadline()].into_iter().flatten().min()
    }

    /// Takes waiting records, up to the free capacity. Returns their number.
    fn take(&mut self) -> u64 {
        let room = self.core.capacity();
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
            let follows = |one: &Arrival, next: &Arrival| one.offset + 1 == next.offset;
            let runs = self.open[before..].chunk_by(follows);
            let offsets: Vec<_> = runs.map(|run| run[0].offset..run[run.len() - 1].offset + 1).collect();
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
                        let arrivals = arrivals.map(|at| (i64::try_from(at).unwrap_or(i64::MAX), 1));
                        self.meter.settled(self.now, arrivals);
                        event_of(Event::Acked(id, written, Fate::Ok));
                        if let Some(row) = end {
                            event_of(Event::Refused(id, row, Stage::Write, "the sink rejected the record"));
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

/// Returns the output sizes of the rows that succeed, which are written unchanged.
fn weights(rows: &[Arrival], bad: &[RowError]) -> Vec<Weight> {
    let weight = |(row, arrival): (u32, &Arrival)| Weight { row, records: 1, bytes: arrival.bytes };
    let good = |weight: &Weight| bad.iter().all(|error| error.row != weight.row);
    (0..).zip(rows).map(weight).filter(good).collect()
}

#[cfg(test)]
mod tests;
