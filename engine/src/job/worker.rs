//! The threads that process and write: jobs in, verdicts and acknowledgements out.
//!
//! Processors have a thread each. What they put out is written by one thread, in the order in which it
//! is told to, or a key's records would change places: by the processor's own where there is only one, by
//! a thread for that where there are several.

use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::gate::Gate;
use crate::batch::Batch;
use crate::core::Verdict;
use crate::core::failure::RowError;
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
    /// True if the outputs are written by now, or will be before anything else is.
    pub is_written: bool,
}

/// Records to write on account of a batch.
pub(crate) struct Parcel {
    pub id: BatchId,
    pub batch: Arc<Batch>,
    pub what: What,
}

pub(crate) enum What {
    Outputs(Arc<Output>, Range<u32>),
    /// These rows, after so many attempts.
    DeadLetters(Vec<RowError>, u32),
}

enum Task {
    Process(Job),
    Write(Parcel),
    /// Commits what was written, with these offsets.
    Commit(Vec<(LaneName, i64)>),
    /// Undoes what was written since the last commit.
    Abort,
}

/// What processors need besides their batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processing {
    pub format: ValueFormat,
    /// Whether it matters how much each row puts out.
    pub weighs: bool,
    /// Whether what is written is committed in transactions.
    pub transactional: bool,
}

impl Processing {
    /// True if each batch is written as it was processed, and at once.
    fn writes_batches(self) -> bool {
        !self.weighs && !self.transactional
    }
}

/// The threads and the channels to and from them. Dropping it ends them, whatever is still to do.
pub(crate) struct Pool {
    sink: Arc<dyn Sink>,
    gate: Gate,
    interrupts: Vec<Interrupt>,
    /// Where jobs go, and where parcels go.
    tasks: Option<(Sender<Task>, Sender<Task>)>,
    started: Receiver<(BatchId, u32)>,
    done: Receiver<Done>,
    ended: Receiver<Result<(), TransactionError>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// A thread for each processor, and one for the sink where those are several.
    pub fn start(
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
        // Groups do not wait for the next batch: they have waited for their own time already. The next
        // batch does not wait for a commit.
        for processor in processors {
            threads.push(start(Some(processor), to_process.clone()));
        }
        let parcels = if writes_clean_batches {
            jobs.clone()
        } else {
            let (parcels, to_write) = crossbeam_channel::unbounded();
            threads.push(start(None, to_write));
            parcels
        };
        Self {
            sink: Arc::clone(sink),
            gate,
            interrupts,
            tasks: Some((jobs, parcels)),
            started,
            done,
            ended,
            threads,
        }
    }

    /// Gives a batch to the next free processor. The core bounds how many there are.
    pub fn process(&self, job: Job) {
        if let Some((jobs, _)) = &self.tasks {
            // It fails only once all workers have panicked; `is_alive` tells the driver.
            let _ = jobs.send(Task::Process(job));
        }
    }

    /// Has records written, after all that were to be written before.
    pub fn write(&self, parcel: Parcel) {
        self.post(Task::Write(parcel));
    }

    /// Has everything that was written committed, with these offsets.
    pub fn commit(&self, offsets: Vec<(LaneName, i64)>) {
        self.post(Task::Commit(offsets));
    }

    /// Has everything undone that was written since the last commit.
    pub fn abort(&self) {
        self.post(Task::Abort);
    }

    fn post(&self, task: Task) {
        if let Some((_, parcels)) = &self.tasks {
            // It fails only once the writer has panicked; `is_alive` tells the driver.
            let _ = parcels.send(task);
        }
    }

    /// How the transaction ended that was to be committed, or undone. Whatever was acknowledged of it
    /// has been by then.
    pub fn ended(&self) -> Option<Result<(), TransactionError>> {
        self.ended.try_recv().ok()
    }

    /// The batches that a processor has taken up since the last call, and which attempt at each.
    pub fn started(&self) -> impl Iterator<Item = (BatchId, u32)> + '_ {
        self.started.try_iter()
    }

    /// Whatever has been processed since the last call.
    pub fn finished(&self) -> impl Iterator<Item = Done> + '_ {
        self.done.try_iter()
    }

    /// Whether no thread has panicked.
    pub fn is_alive(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }
}

impl Pool {
    /// Writes nothing from now on. Whoever owns the partitions next writes what is not written by now; doing it
    /// here, too, would come behind their records.
    pub fn close(&self) {
        self.gate.close();
        self.sink.close();
    }

    /// Notes that the source was polled, and reported every lane that is somebody else's.
    pub fn confirm(&self) {
        self.gate.confirm();
    }

    /// Writes no further row of a lane that somebody else has now.
    pub fn forget(&self, lane: LaneId) {
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
        // Each thread lets go of the channel when it ends. One that does not is left behind.
        while self.done.recv_timeout(PATIENCE).is_ok() {}
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            // A panic has been reported by the driver already.
            let _ = thread.join();
        }
    }
}

/// Wakes the poll thread even when the thread panics.
struct WakeOnDrop(Waker);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake();
    }
}

struct Worker {
    /// None where all that is to be done is to write.
    processor: Option<Box<dyn Processor>>,
    processing: Processing,
    /// True if a batch in which nothing failed is written without asking: whatever was to be written before has been,
    /// since this thread writes everything.
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
                Task::Write(parcel) => {
                    let arrived = self.write(parcel);
                    self.acks.extend(arrived);
                }
                Task::Commit(offsets) => self.end(self.sink.commit(&offsets)),
                Task::Abort => {
                    let undone = || TransactionError::Undone("a partition was taken away".to_owned());
                    self.end(self.sink.abort().and_then(|()| Err(undone())));
                }
            }
        }
    }

    fn end(&self, result: Result<(), TransactionError>) {
        // It fails only where nobody waits for it any more.
        let _ = self.ended.send(result);
        self.waker.wake();
    }

    fn process(&mut self, Job { id, batch, attempt }: Job) {
        let Some(processor) = &mut self.processor else { return };
        // It fails only where nobody waits for it any more.
        let _ = self.started.send((id, attempt));
        let bad = self.processing.format.check(&batch);
        let (verdict, output) = match bisect(&mut **processor, &batch, bad, Attempt { number: attempt }) {
            Ok((rows, output)) => {
                let is_ours = |row: u32| row < batch.len();
                let named = rows.iter().map(|error| error.row).all(is_ours);
                assert!(named && output.rows().all(is_ours), "a processor named a row that is not there");
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
        // It fails only if nobody waits for it any more. It comes before the acknowledgements of what is written.
        let _ = self.done.send(done);
        if is_written {
            self.write_outputs(id, &batch, &output, 0..batch.len(), &mut arrived);
        }
        // The batch's memory is filled again only when nobody refers to it.
        drop((batch, output));
        self.acks.extend(arrived);
    }

    /// Returns the acknowledgements of what has arrived already.
    fn write(&self, Parcel { id, batch, what }: Parcel) -> Vec<Ack> {
        let mut arrived = Vec::new();
        match what {
            What::Outputs(output, rows) => self.write_outputs(id, &batch, &output, rows, &mut arrived),
            What::DeadLetters(errors, attempts) => {
                // The next owner of a lane reads and writes the rest of it.
                let is_ours = |error: &&RowError| self.gate.is_open(batch.lane(error.row));
                for error in errors.iter().filter(is_ours) {
                    let ticket = Ticket { batch: id, row: error.row, dead_letter: true };
                    let origin = origin(&batch, error.row);
                    let rejected = Rejected { ticket, batch: &batch, origin, error, attempts };
                    if self.sink.dead_letter(rejected) == Sent::Arrived {
                        add_ack(&mut arrived, Ack::of(ticket, Ok(())));
                    }
                }
            }
        }
        arrived
    }

    /// Writes the outputs of rows, those of a lane together.
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
            // The next owner of a lane reads and writes the rest of it.
            let is_open = || self.gate.is_open(run.lane);
            if !is_open() {
                continue;
            }
            let rows = run.rows.start.max(rows.start)..run.rows.end.min(rows.end);
            let origin = origin(batch, rows.start);
            self.sink
                .write_rows(OutgoingRows { id, batch, output, rows, origin, is_open: &is_open }, arrived);
        }
    }
}

fn origin(batch: &Batch, row: u32) -> &LaneName {
    batch.origin(row).expect("a lane has its name before its first record")
}
