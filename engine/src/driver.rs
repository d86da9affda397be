//! The poll thread: asks the source, steps the core, performs its actions, sleeps until there is more.
#![allow(clippy::disallowed_methods, reason = "the poll thread has the clock")]

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use velo_schema::{Config, Plan, Strategy};

use crate::columns::{Batch, BatchBuilder, BatchId, LaneId};
use crate::core::batcher::{Room, SealRule};
use crate::core::failure::{ByStage, Policy, RowError, Stage};
use crate::core::{Action, Core, CoreConfig, Event, Fate, JobError, Ledger, Tick};
use crate::processor::{Output, Processor, ValueFormat};
use crate::report::{Dequeue, Meter, Report, TierReport, outcome};
use crate::sink::{Ack, Acks, LaneName, SendError, Sink};
use crate::source::{Source, SourceEvent};
use crate::waker::Waker;
use crate::worker::{Job, Pool, Work};

/// A job's settings for each of its parts, and the engine's own.
#[derive(Debug, Clone)]
pub struct JobConfig {
    /// The source's scope: the shape of the poll, and what follows a failure to decode.
    pub source: Config,
    /// The job's scope: what follows a failure to process.
    pub job: Config,
    /// The sink's scope: what follows a failure to write.
    pub sink: Config,
    /// How values are encoded.
    pub format: ValueFormat,
    /// How long a revoked partition, or a job that is stopped, may take to settle what is in flight.
    pub drain_timeout: Duration,
    /// Most payload bytes in flight.
    pub max_unsettled_bytes: u64,
    /// Records that arrive earlier than this are left out of the latencies.
    pub warm_up: Duration,
}

impl JobConfig {
    /// One configuration for all parts.
    #[must_use]
    pub fn uniform(config: Config) -> Self {
        Self {
            source: config.clone(),
            job: config.clone(),
            sink: config,
            format: ValueFormat::Bytes,
            drain_timeout: Duration::from_secs(30),
            max_unsettled_bytes: 64 << 20,
            warm_up: Duration::ZERO,
        }
    }
}

/// A configuration that this version of the engine does not execute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The sink groups in another way than the source.
    #[error("the engine does not regroup what is written yet: sink.batch.* must be the job's")]
    SinkBatches,
}

/// What an observer sees about ten times a second, and at the end.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Where the records are.
    pub ledger: Ledger,
    /// Since the first record.
    pub elapsed: Duration,
    /// What has happened since it looked last: each record that was left out, errors of the client.
    pub notices: Vec<String>,
}

/// Tells a running engine to end. Clones speak to the same one.
#[derive(Debug, Clone, Default)]
pub struct Control {
    wish: Arc<AtomicU8>,
    waker: Waker,
}

const DRAIN: u8 = 1;
const ABANDON: u8 = 2;

impl Control {
    /// Take nothing more, settle and commit what is in flight, then end.
    pub fn drain(&self) {
        self.wish.fetch_max(DRAIN, Ordering::AcqRel);
        self.waker.wake();
    }

    /// End now; what is in flight will be read again.
    pub fn abandon(&self) {
        self.wish.fetch_max(ABANDON, Ordering::AcqRel);
        self.waker.wake();
    }

    /// What wakes the engine; sources and sinks are built with it.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// A job that is ready to run.
pub struct Engine<S> {
    source: S,
    sink: Arc<dyn Sink>,
    acks: Acks,
    processors: Vec<Box<dyn Processor>>,
    config: JobConfig,
    core: CoreConfig,
    plan: Plan,
    control: Control,
}

/// Everything that is known of a batch in flight.
struct InFlight {
    batch: Arc<Batch>,
    origins: Arc<[LaneName]>,
    output: Arc<Output>,
    /// Records of each row that are not acknowledged.
    pending: Vec<u32>,
}

impl<S: Source> Engine<S> {
    /// A job over a source and a sink, which leaves its acknowledgements in `acks`. Each processor
    /// has a worker of its own.
    ///
    /// # Errors
    /// Where the configuration is one that this version does not execute.
    pub fn new(
        source: S,
        sink: Arc<dyn Sink>,
        acks: Acks,
        processors: Vec<Box<dyn Processor>>,
        config: JobConfig,
        control: Control,
    ) -> Result<Self, Unsupported> {
        let (source_rule, sink_rule) = (SealRule::of(&config.source), SealRule::of(&config.sink));
        if SealRule::of(&config.job) != sink_rule {
            return Err(Unsupported::SinkBatches);
        }
        // Twice the batch is taken ahead; small batches may have many on their way to the sink.
        let max_unsettled_records = (4 * source_rule.max_records).max(10_000);
        let plan = Plan::of(&config.source, None);
        let core = CoreConfig {
            tier: plan.tier,
            failure: ByStage {
                decode: Policy::of(&config.source.failure),
                process: Policy::of(&config.job.failure),
                write: Policy::of(&config.sink.failure),
            },
            workers: processors.len(),
            seed: u64::from(std::process::id()),
            commit_interval: Duration::from_secs(1),
            drain_timeout: config.drain_timeout,
            max_unsettled_records,
            max_unsettled_bytes: config.max_unsettled_bytes,
            seal: source_rule,
        };
        Ok(Self { source, sink, acks, processors, config, core, plan, control })
    }

    /// Runs the job on this thread until it is done, and tells `observe` how it goes.
    pub fn run(self, observe: &mut dyn FnMut(Progress)) -> Report {
        let pool =
            Pool::start(self.processors, self.config.format, &self.sink, &self.acks, &self.control.waker);
        let mut driver = Driver {
            source: self.source,
            core: Core::new(self.core),
            control: self.control,
            acks: self.acks,
            pool,
            start: Instant::now(),
            builder: BatchBuilder::default(),
            lanes: Vec::new(),
            names: Arc::default(),
            batches: HashMap::new(),
            actions: Vec::new(),
            news: Vec::new(),
            silent: Vec::new(),
            meter: Meter::new(),
            error: None,
            stopping_since: None,
            drain_timeout: self.config.drain_timeout,
            warm_up_ns: i64::try_from(self.config.warm_up.as_nanos()).unwrap_or(i64::MAX),
            next_lane: 0,
        };
        for notice in not_done(&self.config.source) {
            driver.notice(notice.to_owned());
        }
        driver.run(observe);
        driver.report(&self.plan)
    }
}

/// What a configuration asks for and is not done; the result is the same, the speed is not.
fn not_done(config: &Config) -> Vec<&'static str> {
    let Strategy::MegaBatch { parallel, reuse_buffer, .. } = config.strategy else { return Vec::new() };
    let parallel = parallel.then_some("batch.parallel: a batch is processed by one worker");
    let reuse = reuse_buffer.then_some("batch.reuse_buffer: buffers are allocated for each batch");
    parallel.into_iter().chain(reuse).collect()
}

struct Driver<S> {
    source: S,
    core: Core,
    control: Control,
    acks: Acks,
    pool: Pool,
    start: Instant,
    builder: BatchBuilder,
    lanes: Vec<LaneId>,
    names: Arc<HashMap<LaneId, LaneName>>,
    batches: HashMap<BatchId, InFlight>,
    actions: Vec<Action>,
    /// Notices that the observer has not seen.
    news: Vec<String>,
    /// Rows that were processed and put nothing out.
    silent: Vec<(BatchId, u32)>,
    meter: Meter,
    error: Option<JobError>,
    stopping_since: Option<Tick>,
    drain_timeout: Duration,
    warm_up_ns: i64,
    next_lane: usize,
}

/// Instead of a number of pending records: one of them was refused.
const REFUSED: u32 = u32::MAX;

const OBSERVE_INTERVAL: Duration = Duration::from_millis(100);

impl<S: Source> Driver<S> {
    fn now(&self) -> Tick {
        Tick(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn run(&mut self, observe: &mut dyn FnMut(Progress)) {
        let mut events = Vec::new();
        let mut acks = Vec::new();
        let mut next_observation = Tick::default();
        while !self.core.is_done() {
            let now = self.now();
            self.obey(now);
            if self.is_abandoned(now) {
                break;
            }
            if let Err(error) = self.source.poll(now, &mut events) {
                self.abort(JobError::Source(error.0));
            }
            for event in events.drain(..) {
                self.source_event(event);
            }
            self.take_finished();
            self.take_acks(&mut acks);
            let took = self.fill();
            self.step(Event::Tick);
            if now >= next_observation {
                observe(self.progress());
                next_observation = now + OBSERVE_INTERVAL;
            }
            if !took && self.silent.is_empty() && !self.core.is_done() {
                self.sleep(next_observation);
            }
        }
        if self.control.wish.load(Ordering::Acquire) < ABANDON {
            self.commit_finally();
        }
        observe(self.progress());
    }

    fn progress(&mut self) -> Progress {
        let elapsed = self.meter.first.map_or(Duration::ZERO, |first| self.now().since(first));
        Progress { ledger: self.core.ledger(), elapsed, notices: std::mem::take(&mut self.news) }
    }

    /// What the control wishes.
    fn obey(&mut self, now: Tick) {
        if self.control.wish.load(Ordering::Acquire) >= DRAIN && self.stopping_since.is_none() {
            self.stopping_since = Some(now);
            self.step(Event::Stop);
        }
        if !self.pool.is_alive() {
            self.abort(JobError::Source("a processor panicked".to_owned()));
        }
    }

    fn is_abandoned(&self, now: Tick) -> bool {
        let over = self.stopping_since.is_some_and(|since| now.since(since) >= self.drain_timeout);
        over || self.control.wish.load(Ordering::Acquire) >= ABANDON
    }

    fn sleep(&self, next_observation: Tick) {
        let now = self.now();
        // What is due at the source is of no use while nothing more may be taken.
        let next_due = self.source.next_due().filter(|_| self.core.room().records > 0);
        let deadline = self.core.deadline().into_iter().chain(next_due).min();
        let until = deadline.unwrap_or(next_observation).min(next_observation);
        self.control.waker.wait(until.since(now));
    }

    fn abort(&mut self, error: JobError) {
        self.core.abort(error, &mut self.actions);
        self.perform();
    }

    fn step(&mut self, event: Event<'_>) {
        let now = self.now();
        self.core.step(now, event, &mut self.actions);
        self.perform();
    }

    fn source_event(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Assigned(lane, name, position) => {
                self.lanes.push(lane);
                Arc::make_mut(&mut self.names).insert(lane, name);
                self.step(Event::Assigned(lane, position));
            }
            SourceEvent::AssignmentComplete => self.step(Event::AssignmentComplete),
            SourceEvent::Ended(lane) => self.step(Event::Ended(lane)),
            SourceEvent::Revoked(lane, how) => {
                self.lanes.retain(|other| *other != lane);
                self.step(Event::Revoked(lane, how));
            }
            SourceEvent::CommitEnded(result) => {
                self.step(Event::CommitEnded(result.is_ok()));
                self.notice_error("an offset commit failed and will be tried again", result);
            }
            SourceEvent::Notice(notice) => self.notice(notice),
        }
    }

    fn notice_error(&mut self, what: &str, result: Result<(), String>) {
        if let Err(error) = result {
            self.notice(format!("{what}: {error}"));
        }
    }

    /// Tells the observer, and keeps the first ones for the report.
    fn notice(&mut self, notice: String) {
        const MOST: usize = 100;
        if self.meter.notices.len() < MOST && !self.meter.notices.contains(&notice) {
            self.meter.notices.push(notice.clone());
        }
        self.news.push(notice);
    }

    /// Fills batches from all lanes in turn until nothing more is there or may be taken.
    fn fill(&mut self) -> bool {
        let mut took_any = false;
        loop {
            let mut took = false;
            let mut drained = true;
            for _ in 0..self.lanes.len() {
                let room = self.core.room();
                if room.records == 0 {
                    return took_any;
                }
                self.next_lane = (self.next_lane + 1) % self.lanes.len();
                let lane = self.lanes[self.next_lane];
                if self.core.takes_from(lane) {
                    let (taken, lane_drained) = self.fill_from(lane, room);
                    took |= taken > 0;
                    drained &= lane_drained;
                }
            }
            took_any |= took;
            if drained && !self.lanes.is_empty() {
                self.step(Event::Idle);
            }
            if !took || self.core.is_done() {
                return took_any;
            }
        }
    }

    fn fill_from(&mut self, lane: LaneId, room: Room) -> (u64, bool) {
        let now = self.now();
        let (rows, bytes) = (self.builder.len(), self.builder.bytes());
        let filled = match self.source.fill(now, lane, self.core.tier(), room, &mut self.builder) {
            Ok(filled) => filled,
            Err(error) => {
                self.abort(JobError::Source(error.0));
                return (0, true);
            }
        };
        self.meter.calls += filled.calls;
        self.meter.empty_calls += filled.empty_calls;
        let taken = u64::from(self.builder.len() - rows);
        if taken > 0 {
            self.meter.largest_call = self.meter.largest_call.max(taken.div_ceil(filled.calls.max(1)));
            self.meter.first.get_or_insert(now);
            let bytes = self.builder.bytes() - bytes;
            self.meter.bytes += bytes;
            let event = Event::Rows(lane, self.builder.offsets_from(rows), bytes);
            self.core.step(now, event, &mut self.actions);
            self.perform();
        }
        if filled.exceeds {
            self.step(Event::Exceeds);
        }
        (taken, filled.drained)
    }

    fn take_finished(&mut self) {
        let finished: Vec<_> = self.pool.finished().collect();
        for done in finished {
            if let Some(in_flight) = self.batches.get_mut(&done.id) {
                in_flight.pending = done.output.counts(in_flight.batch.len());
                in_flight.output = Arc::new(done.output);
            }
            self.step(Event::Finished(done.id, &done.verdict));
        }
    }

    /// Counts acknowledgements down; neighbouring rows that are complete are settled together.
    fn take_acks(&mut self, acks: &mut Vec<Ack>) {
        for (id, row) in std::mem::take(&mut self.silent) {
            self.settle(id, row..row + 1, Fate::Ok);
        }
        self.acks.take(acks);
        for Ack { batch, rows, dead_letter, result } in acks.drain(..) {
            match result {
                Err(error) => self.refused(batch, rows.start, dead_letter, error),
                Ok(()) if dead_letter => self.settle(batch, rows, Fate::Dlq),
                Ok(()) => self.arrived(batch, rows),
            }
        }
    }

    /// One output of each of these rows has arrived.
    fn arrived(&mut self, batch: BatchId, rows: Range<u32>) {
        let Some(in_flight) = self.batches.get_mut(&batch) else { return };
        let mut complete: Vec<Range<u32>> = Vec::new();
        for row in rows {
            let pending = &mut in_flight.pending[row as usize];
            if *pending == REFUSED {
                continue;
            }
            *pending -= 1;
            match complete.last_mut() {
                _ if *pending > 0 => {}
                Some(last) if last.end == row => last.end += 1,
                _ => complete.push(row..row + 1),
            }
        }
        for rows in complete {
            self.settle(batch, rows, Fate::Ok);
        }
    }

    fn refused(&mut self, batch: BatchId, row: u32, dead_letter: bool, error: SendError) {
        match error {
            SendError::Sink(reason) => {
                let to = if dead_letter { "the dead letter queue" } else { "the sink" };
                self.abort(JobError::Sink(format!("{to}: {reason}")));
            }
            SendError::Record(reason) => {
                // A row fails once, however many of its outputs are refused.
                let pending = self.batches.get_mut(&batch).and_then(|b| b.pending.get_mut(row as usize));
                let first = pending.is_none_or(|pending| std::mem::replace(pending, REFUSED) != REFUSED);
                if first || dead_letter {
                    let stage = if dead_letter { Stage::DeadLetter } else { Stage::Write };
                    self.step(Event::Refused(batch, row, stage, &reason));
                }
            }
        }
    }

    fn settle(&mut self, id: BatchId, rows: Range<u32>, fate: Fate) {
        let now = self.now();
        self.meter.last = now;
        if fate == Fate::Ok
            && let Some(in_flight) = self.batches.get(&id)
        {
            let now = i64::try_from(now.0).unwrap_or(i64::MAX);
            let arrivals = rows.clone().map(|row| in_flight.batch.arrival_ns(row));
            // With a warm-up, what came before its end is left out; without one, nothing is.
            for arrival in arrivals.filter(|arrival| self.warm_up_ns == 0 || *arrival >= self.warm_up_ns) {
                let nanos = u64::try_from(now.saturating_sub(arrival)).unwrap_or(0);
                self.meter.latency(Duration::from_nanos(nanos));
            }
        }
        self.step(Event::Acked(id, rows, fate));
    }

    fn perform(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.act(action);
        }
        // Performing may have stepped the core again; those actions are done by then.
        debug_assert!(self.actions.is_empty());
        self.actions = actions;
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Seal(id, reason) => {
                let batch = Arc::new(self.builder.seal().with_names(Arc::clone(&self.names)));
                self.meter.sealed(reason, batch.len());
                let origins = batch.runs().iter().map(|run| self.names[&run.lane].clone()).collect();
                let in_flight = InFlight { batch, origins, output: Arc::default(), pending: Vec::new() };
                self.batches.insert(id, in_flight);
            }
            Action::Run(id, attempt) => self.submit(id, |_| Work::Process { attempt }),
            Action::Write(id, rows) => self.write(id, rows),
            Action::DeadLetter(id, errors) => self
                .submit(id, |in_flight| Work::DeadLetter { errors, origins: Arc::clone(&in_flight.origins) }),
            Action::Skip(id, errors) => self.skip(id, &errors),
            Action::Hold(_, delay, message) => {
                self.notice(format!("a batch was held and is tried again after {delay:?}: {message}"));
            }
            Action::Commit(offsets) => {
                if let Some(committer) = self.source.committer() {
                    committer.commit(&offsets);
                }
            }
            Action::Release(lane, watermark) => {
                let result = self.source.committer().map_or(Ok(()), |committer| {
                    let result = committer.commit_sync(&[(lane, watermark)]);
                    committer.release(lane);
                    result
                });
                let result = result.map_err(|error| error.0);
                self.notice_error("the last commit of a revoked partition failed", result);
            }
            Action::Drop(id) => {
                self.batches.remove(&id);
            }
            Action::Fail(error) => self.error = Some(error),
        }
    }

    fn submit(&self, id: BatchId, work: impl FnOnce(&InFlight) -> Work) {
        if let Some(in_flight) = self.batches.get(&id) {
            let work = work(in_flight);
            self.pool.submit(Job { id, batch: Arc::clone(&in_flight.batch), work });
        }
    }

    fn write(&mut self, id: BatchId, rows: Vec<Range<u32>>) {
        self.submit(id, |in_flight| Work::Write {
            rows: rows.clone(),
            output: Arc::clone(&in_flight.output),
            origins: Arc::clone(&in_flight.origins),
        });
        // A row that puts nothing out is settled with that; no acknowledgement will come for it.
        if let Some(in_flight) = self.batches.get(&id) {
            let silent = rows.into_iter().flatten().filter(|row| in_flight.pending[*row as usize] == 0);
            self.silent.extend(silent.map(|row| (id, row)));
        }
    }

    fn skip(&mut self, id: BatchId, errors: &[RowError]) {
        self.meter.last = self.now();
        let Some(in_flight) = self.batches.get(&id) else { return };
        let notices: Vec<_> = errors
            .iter()
            .map(|error| {
                let LaneName { topic, partition } = &in_flight.origins[in_flight.batch.run_of(error.row)];
                let offset = in_flight.batch.offset(error.row);
                format!("skipped {topic}[{partition}]@{offset} ({}): {}", error.stage, error.message)
            })
            .collect();
        for notice in notices {
            self.notice(notice);
        }
    }

    /// The last commit, of everything that is settled, whatever else went wrong.
    fn commit_finally(&mut self) {
        let offsets = self.core.committable();
        let Some(committer) = self.source.committer().filter(|_| !offsets.is_empty()) else { return };
        if let Err(error) = committer.commit_sync(&offsets) {
            let error = format!("the last commit failed, so some records will be read again: {}", error.0);
            self.error.get_or_insert(JobError::Source(error));
        }
    }

    fn report(self, plan: &Plan) -> Report {
        let ledger = self.core.ledger();
        let seconds = self.meter.seconds();
        let calls = self.meter.calls;
        Report {
            version: 1,
            outcome: outcome(self.error.as_ref(), &ledger),
            error: self.error.as_ref().map(ToString::to_string),
            ledger,
            batches: self.meter.batches(),
            dequeue: Dequeue {
                calls,
                empty_calls: self.meter.empty_calls,
                records_per_call: if calls == 0 { 0.0 } else { ledger.delivered as f64 / calls as f64 },
            },
            latency_ms: self.meter.latencies(),
            seconds,
            records_per_s: if seconds > 0.0 { ledger.ok as f64 / seconds } else { 0.0 },
            bytes: self.meter.bytes,
            tier: TierReport { requested: plan.tier, actual: self.meter.actual_tier() },
            strategy: plan.strategy,
            max_poll_records: plan.max_poll_records,
            properties: std::collections::BTreeMap::new(),
            notices: self.meter.notices,
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
