//! The worker threads: batches in, verdicts and acknowledgements out.
//!
//! Each processor has a thread. All outputs are written by one thread in the order of the write tasks, so that the
//! records of a key keep their order. With a single processor and without groups or transactions, its own thread
//! writes. Otherwise a separate thread writes.

use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::gate::Gate;
use crate::batch::Batch;
use crate::core::Verdict;
use crate::core::failure::RowError;
use crate::failpoint::{Edge, reach};
use crate::ids::{BatchId, LaneId, LaneName};
use crate::process::bisect::bisect;
use crate::process::{Attempt, Expected, Interrupt, Output, Processor, ValueFormat};
use crate::sink::{Ack, Acks, OutgoingRows, Rejected, Sent, Sink, Ticket, TransactionError, add_ack};
use crate::waker::Waker;

/// A batch to process.
pub(crate) struct Job {
    pub id: BatchId,
    pub batch: Arc<Batch>,
    pub attempt: u32,
}

/// A batch that was processed.
pub(crate) struct Done {
    pub id: BatchId,
    pub verdict: Verdict,
    pub output: Arc<Output>,
    pub expected: Expected,
    /// True if the worker writes the outputs itself, before any other write.
    pub is_written: bool,
}

/// Records of a batch to write.
pub(crate) struct WriteTask {
    pub id: BatchId,
    pub batch: Arc<Batch>,
    pub kind: WriteKind,
}

pub(crate) enum WriteKind {
    Outputs(Arc<Output>, Range<u32>),
    /// The rows to send to the dead letter queue, and the number of attempts.
    DeadLetters(Vec<RowError>, u32),
}

enum Task {
    Process(Job),
    Write(WriteTask),
    /// Commit the transaction with these offsets.
    Commit(Vec<(LaneName, i64)>),
    /// Abort the transaction, for this reason.
    Abort(String),
}

/// The settings of the workers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processing {
    pub format: ValueFormat,
    /// True if the size of the output of each row is needed, because writes are grouped.
    pub weighs: bool,
    /// True if writes are committed in transactions.
    pub transactional: bool,
}

impl Processing {
    /// Returns true if each batch is written on its own as soon as it is processed.
    fn writes_batches(self) -> bool {
        !self.weighs && !self.transactional
    }
}

/// The worker threads and their channels. Dropping the pool ends the threads and discards their remaining tasks.
pub(crate) struct Pool {
    sink: Arc<dyn Sink>,
    gate: Gate,
    interrupts: Vec<Interrupt>,
    /// The channel for batches to process, and the channel for writes.
    tasks: Option<(Sender<Task>, Sender<Task>)>,
    started: Receiver<(BatchId, u32)>,
    done: Receiver<Done>,
    ended: Receiver<Result<(), TransactionError>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts a thread for each processor, and a thread for writes if no processor thread writes.
    pub(super) fn start(
        processors: Vec<Box<dyn Processor>>,
        processing: Processing,
        sink: &Arc<dyn Sink>,
        acks: &Acks,
        waker: &Waker,
    ) -> Self {
        let (jobs, to_process) = crossbeam_channel::unbounded();
        let (started_queue, started) = crossbeam_channel::unbounded();
        let (done_queue, done) = crossbeam_channel::unbounded();
        let (ended_queue, ended) = crossbeam_channel::unbounded();
        let gate = Gate::default();
        let writes_clean_batches = processors.len() == 1 && processing.writes_batches();
        let start = |processor: Option<Box<dyn Processor>>, tasks: Receiver<Task>| {
            let worker = Worker {
                writes_clean_batches,
                processor,
                processing,
                started: started_queue.clone(),
                done: done_queue.clone(),
                ended: ended_queue.clone(),
                sink: Arc::clone(sink),
                acks: acks.clone(),
                waker: waker.clone(),
                gate: gate.clone(),
            };
            thread::spawn(move || worker.run(&tasks))
        };
        let mut threads = Vec::new();
        let interrupts = processors.iter().filter_map(|processor| processor.interrupt()).collect();
        // Groups and transactions have a separate thread for writes: a group must not wait until the next batch is
        // processed, and the next batch must not wait for a commit.
        for processor in processors {
            threads.push(start(Some(processor), to_process.clone()));
        }
        let writes = if writes_clean_batches {
            jobs.clone()
        } else {
            let (writes, to_write) = crossbeam_channel::unbounded();
            threads.push(start(None, to_write));
            writes
        };
        Self {
            sink: Arc::clone(sink),
            gate,
            interrupts,
            tasks: Some((jobs, writes)),
            started,
            done,
            ended,
            threads,
        }
    }

    /// Queues a batch for the next free processor. The core limits the number of queued batches.
    pub(super) fn process(&self, job: Job) {
        if let Some((jobs, _)) = &self.tasks {
            // Sending fails only if all workers have panicked, which `is_alive` reports.
            let _ = jobs.send(Task::Process(job));
        }
    }

    /// Queues a write after all earlier writes.
    pub(super) fn write(&self, task: WriteTask) {
        self.post(Task::Write(task));
    }

    /// Queues a commit of the transaction with these offsets.
    pub(super) fn commit(&self, offsets: Vec<(LaneName, i64)>) {
        self.post(Task::Commit(offsets));
    }

    /// Queues an abort of the transaction for this reason.
    pub(super) fn abort(&self, reason: String) {
        self.post(Task::Abort(reason));
    }

    fn post(&self, task: Task) {
        if let Some((_, writes)) = &self.tasks {
            // Sending fails only if the writer has panicked, which `is_alive` reports.
            let _ = writes.send(task);
        }
    }

    /// Returns the result of the last commit or abort, once it has ended. All acknowledgements of the transaction have
    /// been pushed before that.
    pub(super) fn ended(&self) -> Option<Result<(), TransactionError>> {
        self.ended.try_recv().ok()
    }

    /// Returns the batches that a processor has started since the last call, each with the number of the attempt.
    pub(super) fn started(&self) -> impl Iterator<Item = (BatchId, u32)> + '_ {
        self.started.try_iter()
    }

    /// Returns the batches that were processed since the last call.
    pub(super) fn finished(&self) -> impl Iterator<Item = Done> + '_ {
        self.done.try_iter()
    }

    /// Returns true if no thread has ended. While tasks are accepted, a thread ends only by a panic.
    pub(super) fn is_alive(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }
}

impl Pool {
    /// Stops all writes. The next owner of the partitions writes the remaining records. If they were written here, too,
    /// they could arrive after those of the next owner.
    pub(super) fn close(&self) {
        self.gate.close();
        self.sink.close();
    }

    /// Returns the number of records that the sink has taken and the brokers have not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.sink.unacknowledged()
    }

    /// Returns true if a write waits for the brokers although it has passed no record to them.
    pub(super) fn is_waiting(&self) -> bool {
        self.sink.is_waiting()
    }

    /// Notes that the source was polled and has reported all lost lanes.
    pub(super) fn confirm(&self) {
        self.gate.confirm();
    }

    /// Stops the writes of a lane that is no longer owned.
    pub(super) fn forget(&self, lane: LaneId) {
        self.gate.close_lane(lane);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(10);
        self.close();
        self.tasks = None;
        for interrupt in &self.interrupts {
            interrupt();
        }
        // Each thread drops its sender when it ends. A thread that does not end in time is detached.
        while self.done.recv_timeout(PATIENCE).is_ok() {}
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            // The driver has already reported a panic.
            let _ = thread.join();
        }
    }
}

/// Wakes the poll thread when the thread ends, even by a panic.
struct WakeOnDrop(Waker);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake();
    }
}

struct Worker {
    /// The processor; `None` for the thread that only writes.
    processor: Option<Box<dyn Processor>>,
    processing: Processing,
    /// True if a batch without failed rows is written directly after it was processed. This keeps the order of writes
    /// because the thread performs all writes.
    writes_clean_batches: bool,
    started: Sender<(BatchId, u32)>,
    done: Sender<Done>,
    ended: Sender<Result<(), TransactionError>>,
    sink: Arc<dyn Sink>,
    acks: Acks,
    waker: Waker,
    gate: Gate,
}

impl Worker {
    fn run(mut self, tasks: &Receiver<Task>) {
        let _wake = WakeOnDrop(self.waker.clone());
        for task in tasks {
            if self.gate.is_closing() {
                return;
            }
            match task {
                Task::Process(job) => self.process(job),
                Task::Write(task) => {
                    let arrived = self.write(task);
                    self.acks.extend(arrived);
                }
                Task::Commit(offsets) => self.end(self.sink.commit(&offsets)),
                Task::Abort(reason) => {
                    self.end(self.sink.abort().and(Err(TransactionError::Undone(reason))));
                }
            }
        }
    }

    fn end(&self, result: Result<(), TransactionError>) {
        // Sending fails only if the pool was dropped.
        let _ = self.ended.send(result);
        self.waker.wake();
    }

    fn process(&mut self, Job { id, batch, attempt }: Job) {
        let Some(processor) = &mut self.processor else { return };
        // Sending fails only if the pool was dropped.
        let _ = self.started.send((id, attempt));
        let bad = self.processing.format.check(&batch);
        let (verdict, output) = match bisect(&mut **processor, &batch, bad, Attempt { number: attempt }) {
            Ok((rows, output)) => {
                let is_ours = |row: u32| row < batch.len();
                let named = rows.iter().map(|error| error.row).all(is_ours);
                assert!(named && output.rows().all(is_ours), "a processor returned a row outside its batch");
                let weights = if self.processing.weighs { output.weights(&batch, &rows) } else { Vec::new() };
                (Verdict { rows, weights, ..Verdict::default() }, output)
            }
            Err(unprocessed) => (unprocessed.into(), Output::default()),
        };
        let expected = output.expected(batch.len());
        let output = Arc::new(output);
        let is_written = self.writes_clean_batches && verdict.is_clean() && self.gate.is_confirmed();
        let mut arrived = Vec::new();
        let done = Done { id, verdict, output: Arc::clone(&output), expected, is_written };
        reach(Edge::BatchProcessed);
        // Sending fails only if the pool was dropped. The batch is reported before its outputs are acknowledged.
        let _ = self.done.send(done);
        if is_written {
            self.write_outputs(id, &batch, &output, 0..batch.len(), &mut arrived);
        }
        // The batch is dropped before the poll thread is woken, so that its memory can be filled again.
        drop((batch, output));
        self.acks.extend(arrived);
    }

    /// Performs a write task. Returns the acknowledgements of the records that the sink has already written.
    fn write(&self, WriteTask { id, batch, kind }: WriteTask) -> Vec<Ack> {
        let mut arrived = Vec::new();
        match kind {
            WriteKind::Outputs(output, rows) => self.write_outputs(id, &batch, &output, rows, &mut arrived),
            WriteKind::DeadLetters(errors, attempts) => {
                // The next owner of a lane writes its remaining rows.
                let is_ours = |error: &&RowError| self.gate.is_open(batch.lane(error.row));
                for error in errors.iter().filter(is_ours) {
                    let ticket = Ticket { batch: id, row: error.row, dead_letter: true };
                    let origin = origin(&batch, error.row);
                    let rejected = Rejected { ticket, batch: &batch, origin, error, attempts };
                    reach(Edge::DeadLetterDue);
                    if self.sink.dead_letter(rejected) == Sent::Arrived {
                        add_ack(&mut arrived, Ack::of(ticket, Ok(())));
                    }
                }
            }
        }
        arrived
    }

    /// Writes the outputs of rows. Consecutive rows of a lane are written with one call.
    fn write_outputs(
        &self,
        id: BatchId,
        batch: &Batch,
        output: &Output,
        rows: Range<u32>,
        arrived: &mut Vec<Ack>,
    ) {
        let runs = batch.runs();
        let first = batch.run_of(rows.start);
        for run in runs[first..].iter().take_while(|run| run.rows.start < rows.end) {
            // The next owner of a lane writes its remaining rows.
            let is_open = || self.gate.is_open(run.lane);
            if !is_open() {
                continue;
            }
            let rows = run.rows.start.max(rows.start)..run.rows.end.min(rows.end);
            let origin = origin(batch, rows.start);
            self.sink
                .write_rows(OutgoingRows { id, batch, output, rows, origin, is_open: &is_open }, arrived);
        }
        reach(Edge::BatchWritten);
    }
}

fn origin(batch: &Batch, row: u32) -> &LaneName {
    batch.origin(row).expect("a lane is named before its first record")
}
