//! The poll thread: polls the source, steps the core, performs the actions of the core and sleeps until it is woken.
#![allow(clippy::disallowed_methods, reason = "the poll thread reads the clock")]

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use velo_schema::{Plan, format_elapsed};

use super::config::JobConfig;
use super::control::{Control, Shutdown};
use super::pending::Pending;
use super::ready::ReadyQueue;
use super::worker::{Job, Pool, Processing, WriteKind, WriteTask};
use crate::batch::{Batch, BatchBuilder};
use crate::core::batcher::Capacity;
use crate::core::failure::{RowError, Stage};
use crate::core::{Action, Core, Event, Fate, JobError, Revoke};
use crate::failpoint::{Edge, Mutant, is_on, reach};
use crate::ids::Tick;
use crate::ids::{BatchId, LaneId, LaneName, Names};
use crate::process::{Expected, Output, Processor};
use crate::progress::{Lag, Progress};
use crate::report::{Counters, Ending, Meter};
use crate::sink::{Ack, Acks, SendError, Sink, TransactionError};
use crate::source::{Filled, Source, SourceError, SourceEvent};

/// A batch in flight.
struct InFlight {
    batch: Arc<Batch>,
    output: Arc<Output>,
    expected: Expected,
    pending: Pending,
    /// True if the worker that processed the batch also writes its outputs.
    is_written: bool,
    /// The rows with acknowledged outputs that are settled together with their transaction.
    arrived: Vec<Range<u32>>,
}

/// The poll thread's state.
pub(crate) struct Driver<S> {
    /// The pool is dropped before the source, so that no record is written after the partitions are given up.
    pool: Pool,
    source: S,
    core: Core,
    control: Control,
    transactional: bool,
    acks: Acks,
    start: Instant,
    plan: Plan,
    builder: BatchBuilder,
    lanes: BTreeSet<LaneId>,
    ready: ReadyQueue,
    names: Names,
    batches: HashMap<BatchId, InFlight>,
    actions: Vec<Action>,
    /// The notices that were not passed to the observer yet.
    news: Vec<String>,
    /// Processed rows without output that are not settled yet.
    silent: Vec<(BatchId, Range<u32>)>,
    /// The offsets of the rows that were taken last. Kept to reuse its memory.
    offsets: Vec<Range<i64>>,
    /// The lanes that have become ready. Kept to reuse its memory.
    called: Vec<LaneId>,
    meter: Meter,
    /// The time of the next count, and the last count.
    counted: (Tick, Counters),
    /// The first error of the job.
    error: Option<String>,
    /// The reason why the core aborts the transaction, if a record has caused it.
    undone: Option<String>,
    stopping_since: Option<Tick>,
    drain_timeout: Duration,
    /// True if no batch can be filled.
    out_of_buffers: bool,
    /// True if the source knows which partitions it owns.
    is_ready: bool,
}

const OBSERVE_INTERVAL: Duration = Duration::from_millis(100);

impl<S: Source> Driver<S> {
    /// Creates a job that has not started, with notices to report.
    pub(super) fn new(
        source: S,
        processors: Vec<Box<dyn Processor>>,
        sink: &Arc<dyn Sink>,
        acks: Acks,
        config: &JobConfig,
        control: Control,
        notices: Vec<String>,
    ) -> Self {
        let core = config.core(processors.len(), u64::from(std::process::id()));
        let processing = Processing {
            format: config.format,
            weighs: core.regroup.is_some(),
            transactional: config.exactly_once,
        };
        let mut driver = Self {
            source,
            pool: Pool::start(processors, processing, sink, &acks, &control.waker()),
            core: Core::new(core),
            transactional: config.exactly_once,
            control,
            acks,
            start: Instant::now(),
            plan: config.plan(),
            builder: config.builder(),
            lanes: BTreeSet::new(),
            ready: ReadyQueue::default(),
            names: Names::default(),
            batches: HashMap::new(),
            actions: Vec::new(),
            news: Vec::new(),
            silent: Vec::new(),
            offsets: Vec::new(),
            called: Vec::new(),
            meter: Meter::new(config.warm_up),
            counted: (Tick::default(), Counters::default()),
            error: None,
            undone: None,
            stopping_since: None,
            drain_timeout: config.drain_timeout,
            out_of_buffers: false,
            is_ready: false,
        };
        for notice in notices {
            driver.notice(notice);
        }
        driver
    }

    /// Runs the job on the current thread until it ends.
    pub(super) fn run(mut self, observe: &mut dyn FnMut(Progress)) -> Ending {
        self.work(observe);
        Ending::new(self.meter, &self.core, self.plan, self.error)
    }

    fn now(&self) -> Tick {
        Tick(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn work(&mut self, observe: &mut dyn FnMut(Progress)) {
        let mut events = Vec::new();
        let mut acks = Vec::new();
        let mut next_observation = Tick::default();
        while !self.core.is_done() {
            let now = self.now();
            self.begin_shutdown(now);
            if self.is_abandoned(now) {
                break;
            }
            let polled = self.source.poll(now, &mut events);
            for event in events.drain(..) {
                self.source_event(event);
            }
            match polled {
                Ok(()) => self.pool.confirm(),
                Err(error) => self.source_failed(error),
            }
            // A worker reports a batch before it writes the outputs, so every batch with acknowledgements taken here
            // has been reported.
            let ended = self.pool.ended();
            self.acks.take(&mut acks);
            self.take_finished();
            self.take_acks(&mut acks);
            if let Some(result) = ended {
                self.transaction_ended(result);
            }
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
        if self.control.requested() < Shutdown::Abort {
            self.commit_finally();
        }
        let ends: Vec<_> = self.core.watermarks().collect();
        for (lane, watermark) in ends {
            self.note_end(lane, Some(watermark));
        }
        // No record may be written after the source gives up its partitions.
        self.pool.close();
        observe(self.progress());
    }

    /// Records the watermark and the end of a partition for the report.
    fn note_end(&mut self, lane: LaneId, watermark: Option<i64>) {
        if let (Some(name), Some(watermark)) = (self.names.get(lane), watermark) {
            self.meter.ended(name, watermark, self.source.end_offset(lane));
        }
    }

    fn progress(&mut self) -> Progress {
        let elapsed = self.meter.first.map_or(Duration::ZERO, |first| self.now().since(first));
        Progress {
            ledger: self.core.ledger(),
            elapsed,
            batch_size: self.core.batch_size(),
            tier: self.core.tier(),
            counters: self.counters(),
            bytes_in_flight: self.core.bytes_in_flight(),
            lag: self.lag(),
            is_ready: self.is_ready,
            notices: std::mem::take(&mut self.news),
        }
    }

    /// Returns the counters. They are up to a second old, because adding up histograms takes time.
    fn counters(&mut self) -> Counters {
        const INTERVAL: Duration = Duration::from_secs(1);
        let now = self.now();
        if self.core.is_done() || self.counted.0 <= now {
            self.counted = (now + INTERVAL, self.meter.counters());
        }
        self.counted.1.clone()
    }

    /// Returns the lag of each lane: unsettled records that can be read, and records after them that cannot be read
    /// until an open transaction ends.
    fn lag(&self) -> Vec<Lag> {
        let lag = |(lane, settled): (LaneId, i64)| {
            let end = self.source.end_offset(lane)?;
            let stable = self.source.stable_end(lane).unwrap_or(end).clamp(settled.min(end), end);
            let count = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
            let partition = self.names.get(lane)?.clone();
            Some(Lag { partition, records: count(settled, stable), unstable_records: count(stable, end) })
        };
        self.core.watermarks().filter_map(lag).collect()
    }

    /// Starts to drain if the control requests it, and fails the job if a worker has panicked.
    fn begin_shutdown(&mut self, now: Tick) {
        if self.control.requested() >= Shutdown::Drain && self.stopping_since.is_none() {
            self.stopping_since = Some(now);
            self.step(Event::Stop);
        }
        if !self.pool.is_alive() {
            self.abort(JobError::Panicked);
        }
    }

    fn is_abandoned(&self, now: Tick) -> bool {
        let over = self.stopping_since.is_some_and(|since| now.since(since) >= self.drain_timeout);
        over || self.control.requested() == Shutdown::Abort
    }

    fn sleep(&self, next_observation: Tick) {
        let now = self.now();
        // While no more records can be taken, records that become due at the source do not matter.
        let takes =
            self.core.capacity().records > 0 && self.lanes.iter().any(|lane| self.core.takes_from(*lane));
        let next_due = self.source.next_due().filter(|_| takes || self.lanes.is_empty());
        let deadline = self.core.deadline().into_iter().chain(next_due).min();
        let until = deadline.unwrap_or(next_observation).min(next_observation);
        self.control.waker().wait(until.since(now));
    }

    /// Keeps an error of the source and drains the job: records that were read are settled and committed.
    fn source_failed(&mut self, error: SourceError) {
        self.error.get_or_insert(error.0);
        self.control.drain();
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
                self.lanes.insert(lane);
                self.ready.push(lane);
                self.names.insert(lane, name);
                self.step(Event::Assigned(lane, position));
            }
            SourceEvent::Joined => self.is_ready = true,
            SourceEvent::EndOfInput(is_reached) => self.step(Event::EndOfInput(is_reached)),
            SourceEvent::Position(lane, position) => self.step(Event::Position(lane, position)),
            SourceEvent::Lost(lane, position) => self.step(Event::Lost(lane, position)),
            SourceEvent::Ended(lane) => self.step(Event::Ended(lane)),
            SourceEvent::Revoked(lane, how) => {
                self.lanes.remove(&lane);
                if how == Revoke::Lost {
                    self.pool.forget(lane);
                }
                self.step(Event::Revoked(lane, how));
            }
            SourceEvent::CommitEnded(result) => {
                self.step(Event::CommitEnded(result.is_ok()));
                self.notice_error("an offset commit failed and will be retried", result);
            }
            SourceEvent::Throttled(delay) => self.notice(format!(
                "the brokers throttle this client by up to {} ms per request, because of a quota on its user \
                 or client id",
                delay.as_millis()
            )),
            SourceEvent::Notice(notice) => self.notice(notice),
        }
    }

    fn notice_error(&mut self, what: &str, result: Result<(), String>) {
        if let Err(error) = result {
            self.notice(format!("{what}: {error}"));
        }
    }

    /// Passes a notice to the observer. The first distinct notices are also kept for the report.
    fn notice(&mut self, notice: String) {
        const MOST: usize = 100;
        if self.meter.notices.len() < MOST && !self.meter.notices.contains(&notice) {
            self.meter.notices.push(notice.clone());
        }
        self.news.push(notice);
    }

    /// Fills batches from all lanes in turn until no record is queued or no record can be taken. Returns true if a
    /// record was taken.
    fn fill(&mut self) -> bool {
        let mut took_any = false;
        loop {
            // Without a free buffer, the core takes no records.
            let out_of_buffers = !self.builder.is_ready();
            if out_of_buffers != self.out_of_buffers {
                self.out_of_buffers = out_of_buffers;
                self.step(Event::OutOfBuffers(out_of_buffers));
            }
            self.find_ready();
            let mut took = false;
            let mut drained = true;
            for _ in 0..self.ready.len() {
                let room = self.core.capacity();
                if room.records == 0 {
                    return took_any;
                }
                let Some(lane) = self.ready.pop() else { break };
                if !self.core.is_active(lane) {
                    continue;
                }
                if !self.core.takes_from(lane) {
                    self.ready.push(lane);
                    continue;
                }
                let (taken, lane_drained) = self.fill_from(lane, room);
                took |= taken > 0;
                drained &= lane_drained;
                if !lane_drained {
                    self.ready.push(lane);
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

    /// Queues the lanes that may have records.
    fn find_ready(&mut self) {
        if !self.source.ready(&mut self.called) {
            self.called.extend(&self.lanes);
        }
        self.called.drain(..).for_each(|lane| self.ready.push(lane));
    }

    fn fill_from(&mut self, lane: LaneId, room: Capacity) -> (u64, bool) {
        let now = self.now();
        let (rows, bytes) = (self.builder.len(), self.builder.bytes());
        let result = self.source.fill(now, lane, self.core.tier(), room, &mut self.builder);
        let (filled, error) = match result {
            Ok(filled) => (filled, None),
            Err(error) => (Filled { calls: 1, drained: true, ..Filled::default() }, Some(error)),
        };
        self.meter.empty_calls += filled.empty_calls;
        let taken = u64::from(self.builder.len() - rows);
        // Rows that were appended before an error are part of the open batch.
        if taken > 0 {
            let bytes = self.builder.bytes() - bytes;
            self.builder.mark_taken(now);
            self.meter.took(now, filled.calls, taken, bytes);
            self.offsets.clear();
            self.builder.offsets_from(rows, &mut self.offsets);
            self.core.step(now, Event::Rows(lane, &self.offsets, bytes), &mut self.actions);
            self.perform();
            reach(Edge::LaneFilled);
        }
        debug_assert!(
            self.core.is_done() || self.builder.len() == self.core.open_batch_rows(),
            "the open batch of the builder and of the core differ"
        );
        if filled.exceeds {
            self.step(Event::Exceeds);
        }
        if let Some(error) = error {
            self.source_failed(error);
        }
        (taken, filled.drained)
    }

    fn take_finished(&mut self) {
        let started: Vec<_> = self.pool.started().collect();
        for (id, attempt) in started {
            self.step(Event::Started(id, attempt));
        }
        let finished: Vec<_> = self.pool.finished().collect();
        for done in finished {
            if let Some(in_flight) = self.batches.get_mut(&done.id) {
                in_flight.pending = Pending::of(&done.expected);
                in_flight.expected = done.expected;
                in_flight.output = done.output;
                in_flight.is_written = done.is_written;
            }
            self.step(Event::Finished(done.id, &done.verdict));
        }
    }

    /// Settles the rows of which all records are acknowledged. Consecutive rows are settled together.
    fn take_acks(&mut self, acks: &mut Vec<Ack>) {
        for (id, rows) in std::mem::take(&mut self.silent) {
            self.settle(id, rows, Fate::Ok);
        }
        for Ack { batch, rows, dead_letter, result } in acks.drain(..) {
            match result {
                Err(error) => self.refused(batch, rows.start, dead_letter, error),
                Ok(()) if dead_letter => self.settle(batch, rows, Fate::Dlq),
                Ok(()) => self.arrived(batch, rows),
            }
        }
    }

    fn transaction_ended(&mut self, result: Result<(), TransactionError>) {
        if let Err(TransactionError::Fatal(reason)) = result {
            return self.abort(JobError::Sink(format!("transaction: {reason}")));
        }
        self.step(Event::TransactionEnded(result.is_ok()));
        let result = result.map_err(|error| error.to_string());
        self.notice_error("a transaction was aborted and is written again", result);
    }

    /// Handles the acknowledgement of one output of each of these rows.
    fn arrived(&mut self, batch: BatchId, rows: Range<u32>) {
        let Some(in_flight) = self.batches.get_mut(&batch) else { return };
        let mut complete = Vec::new();
        in_flight.pending.arrived(rows, |rows| complete.push(rows));
        for rows in complete {
            self.settle(batch, rows, Fate::Ok);
        }
    }

    fn refused(&mut self, batch: BatchId, row: u32, dead_letter: bool, error: SendError) {
        match error {
            SendError::Sink(reason) => {
                let to = if dead_letter { "dead letter queue" } else { "sink" };
                self.abort(JobError::Sink(format!("{to}: {reason}")));
            }
            SendError::Transaction(reason) => {
                self.undone = Some(reason);
                self.step(Event::TransactionFailed);
                self.undone = None;
            }
            SendError::Record(reason) => {
                // Only the first rejected output of a row is reported.
                let first = self.batches.get_mut(&batch).is_none_or(|batch| batch.pending.refused(row));
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
            && let Some(in_flight) = self.batches.get_mut(&id)
        {
            if self.transactional {
                in_flight.arrived.push(rows.clone());
            } else {
                self.meter.settled(now, in_flight.batch.arrivals_ns(rows.clone()));
                self.meter.settled_since(now, in_flight.batch.taken(rows.clone()));
            }
        }
        self.step(Event::Acked(id, rows, fate));
    }

    fn perform(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.act(action);
        }
        // An action can step the core again. Those actions have already been performed.
        debug_assert!(self.actions.is_empty());
        self.actions = actions;
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Seal(id, reason) => {
                let batch = self.builder.seal(self.names.clone());
                tracing::debug!(batch = id.0, records = batch.len(), ?reason, "sealed");
                self.meter.batches.sealed(reason, u64::from(batch.len()));
                let in_flight = InFlight {
                    batch,
                    output: Arc::default(),
                    expected: Expected::OneEach,
                    pending: Pending::default(),
                    is_written: false,
                    arrived: Vec::new(),
                };
                self.batches.insert(id, in_flight);
            }
            Action::Run(id, attempt) => {
                reach(Edge::BatchSealed);
                if let Some(in_flight) = self.batches.get(&id) {
                    self.pool.process(Job { id, batch: Arc::clone(&in_flight.batch), attempt });
                }
            }
            Action::Group(reason, records) => self.meter.groups.sealed(reason, records),
            Action::Write(id, rows) => self.write(id, rows),
            Action::DeadLetter(id, errors, attempts) => {
                self.post(id, |_| WriteKind::DeadLetters(errors, attempts));
            }
            Action::Skip(id, errors) => self.skip(id, &errors),
            Action::Hold(id, delay, message) => {
                self.meter.retries += 1;
                let place = self.place(Some(id), 0).unwrap_or_default();
                self.notice(format!(
                    "the batch starting at {place} failed and is retried after {}: {message}",
                    format_elapsed(delay)
                ));
            }
            Action::Commit(offsets) => {
                tracing::debug!(lanes = offsets.len(), "commit");
                match self.source.committer() {
                    Some(committer) => committer.commit(&offsets),
                    // A source without a committer does not store offsets.
                    None => self.step(Event::CommitEnded(true)),
                }
            }
            Action::CommitTransaction(offsets) => {
                let named = |(lane, offset): (LaneId, i64)| Some((self.names.get(lane)?.clone(), offset));
                self.pool.commit(offsets.into_iter().filter_map(named).collect());
            }
            Action::AbortTransaction => {
                let reason = self.undone.take().unwrap_or_else(|| "a partition was revoked".to_owned());
                self.pool.abort(reason);
            }
            Action::Rewrite(id) => {
                if is_on(Mutant::BatchReused) {
                    self.reuse_too_early(id);
                }
                if let Some(in_flight) = self.batches.get_mut(&id) {
                    in_flight.pending = Pending::of(&in_flight.expected);
                    in_flight.arrived.clear();
                }
            }
            Action::Release(lanes) => {
                for (lane, watermark) in &lanes {
                    // Rows that were not settled in time are left to the next owner.
                    self.pool.forget(*lane);
                    self.note_end(*lane, *watermark);
                }
                if let Some(committer) = self.source.committer() {
                    committer.release(&lanes);
                }
            }
            Action::Drop(id) => {
                reach(Edge::BatchSettled);
                if let Some(InFlight { batch, arrived, .. }) = self.batches.remove(&id) {
                    let now = self.now();
                    for rows in arrived {
                        self.meter.settled_since(now, batch.taken(rows.clone()));
                        self.meter.settled(now, batch.arrivals_ns(rows));
                    }
                    self.builder.recycle(batch);
                }
            }
            Action::Fail(id, error) => {
                let place = self.place(id, error.row().unwrap_or(0));
                let error = place.map_or_else(|| error.to_string(), |place| format!("{place}: {error}"));
                self.error.get_or_insert(error);
            }
        }
    }

    /// A mutant: the batch has the records of a later one.
    fn reuse_too_early(&mut self, id: BatchId) {
        let later = self.batches.iter().filter(|(other, _)| other.0 > id.0).max_by_key(|(other, _)| other.0);
        let later = later.map(|(_, later)| Arc::clone(&later.batch));
        if let Some((in_flight, later)) = self.batches.get_mut(&id).zip(later) {
            in_flight.batch = later;
        }
    }

    fn post(&self, id: BatchId, kind: impl FnOnce(&InFlight) -> WriteKind) {
        if let Some(in_flight) = self.batches.get(&id) {
            let kind = kind(in_flight);
            self.pool.write(WriteTask { id, batch: Arc::clone(&in_flight.batch), kind });
        }
    }

    fn write(&mut self, id: BatchId, rows: Range<u32>) {
        let Some(in_flight) = self.batches.get(&id) else { return };
        // A row without output gets no acknowledgement, so it is settled here.
        self.silent.extend(in_flight.pending.silent(&rows).into_iter().map(|rows| (id, rows)));
        if !in_flight.is_written {
            self.post(id, |in_flight| WriteKind::Outputs(Arc::clone(&in_flight.output), rows));
        }
    }

    /// Returns the record of a row as `topic[partition]@offset`.
    fn place(&self, id: Option<BatchId>, row: u32) -> Option<String> {
        let batch = &self.batches.get(&id?)?.batch;
        let LaneName { topic, partition } = batch.origin(row)?;
        Some(format!("{topic}[{partition}]@{}", batch.offset(row)))
    }

    fn skip(&mut self, id: BatchId, errors: &[RowError]) {
        self.meter.last = self.now();
        for error in errors {
            if let Some(place) = self.place(Some(id), error.row) {
                self.notice(format!("skipped {place} ({}): {}", error.stage, error.message));
            }
        }
    }

    /// Commits all settled offsets, even if the job has failed.
    fn commit_finally(&mut self) {
        let offsets = self.core.committable();
        let Some(committer) = self.source.committer() else { return };
        if let Err(error) = committer.finish(&offsets) {
            let error = format!("the last offset commit failed; some records are read again: {}", error.0);
            self.error.get_or_insert(error);
        }
    }
}
