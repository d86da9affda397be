//! The threads that process and write: jobs in, verdicts and acknowledgements out.
//!
//! Processors have a thread each. What they put out is written by one thread, in the order in which it
//! is told to, or a key's records would change places.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};

use crate::bisect::bisect;
use crate::columns::{Batch, BatchId, LaneName};
use crate::core::Verdict;
use crate::core::failure::RowError;
use crate::processor::{Attempt, Output, Processor, ValueFormat};
use crate::sink::{Ack, Acks, Outgoing, Rejected, Sent, Sink, Ticket, add_ack};
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
    pub output: Output,
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

/// What processors need besides their batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processing {
    pub format: ValueFormat,
    /// Whether it matters how much each row puts out.
    pub weighs: bool,
}

/// The threads and the channels to and from them. Dropping it ends them, whatever is still to do.
pub(crate) struct Pool {
    sink: Arc<dyn Sink>,
    closing: Arc<AtomicBool>,
    jobs: Option<Sender<Job>>,
    parcels: Option<Sender<Parcel>>,
    done: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// A thread for each processor, and one for the sink.
    pub fn start(
        processors: Vec<Box<dyn Processor>>,
        processing: Processing,
        sink: &Arc<dyn Sink>,
        acks: &Acks,
        waker: &Waker,
    ) -> Self {
        let (jobs, job_queue) = crossbeam_channel::unbounded();
        let (parcels, parcel_queue) = crossbeam_channel::unbounded();
        let (done_queue, done) = crossbeam_channel::unbounded();
        let closing = Arc::<AtomicBool>::default();
        let worker = |processor| {
            let (jobs, done) = (Receiver::clone(&job_queue), Sender::clone(&done_queue));
            let worker =
                Worker { processor, processing, closing: Arc::clone(&closing), waker: waker.clone() };
            thread::spawn(move || worker.run(&jobs, &done))
        };
        let mut threads: Vec<_> = processors.into_iter().map(worker).collect();
        let (sink, closing) = (Arc::clone(sink), Arc::clone(&closing));
        let writer = Writer {
            sink: Arc::clone(&sink),
            acks: acks.clone(),
            waker: waker.clone(),
            closing: Arc::clone(&closing),
        };
        threads.push(thread::spawn(move || writer.run(&parcel_queue)));
        Self { sink, closing, jobs: Some(jobs), parcels: Some(parcels), done, threads }
    }

    /// Gives a batch to the next free processor. The core bounds how many there are.
    pub fn process(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // It fails only once all workers have panicked; `is_alive` tells the driver.
            let _ = jobs.send(job);
        }
    }

    /// Has records written, after all that were to be written before.
    pub fn write(&self, parcel: Parcel) {
        if let Some(parcels) = &self.parcels {
            // It fails only once the writer has panicked; `is_alive` tells the driver.
            let _ = parcels.send(parcel);
        }
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

impl Drop for Pool {
    fn drop(&mut self) {
        // Whoever owns the partitions next writes what is not written by now; doing it here, too,
        // would come behind their records.
        self.closing.store(true, Ordering::Release);
        self.sink.close();
        self.jobs = None;
        self.parcels = None;
        for thread in self.threads.drain(..) {
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
    processor: Box<dyn Processor>,
    processing: Processing,
    waker: Waker,
    closing: Arc<AtomicBool>,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>, done: &Sender<Done>) {
        let _wake = WakeOnDrop(self.waker.clone());
        for Job { id, batch, attempt } in jobs {
            if self.closing.load(Ordering::Acquire) {
                return;
            }
            let (verdict, output) = self.process(&batch, attempt);
            // Whoever is woken may want to fill the batch's memory again.
            drop(batch);
            if done.send(Done { id, verdict, output }).is_err() {
                return;
            }
            self.waker.wake();
        }
    }

    fn process(&mut self, batch: &Batch, attempt: u32) -> (Verdict, Output) {
        let bad = self.processing.format.check(batch);
        match bisect(&mut *self.processor, batch, bad, Attempt { number: attempt }) {
            Ok((rows, output)) => {
                let weights = if self.processing.weighs { output.weights(batch, &rows) } else { Vec::new() };
                (Verdict { rows, system: None, weights }, output)
            }
            Err(message) => (Verdict { system: Some(message), ..Verdict::default() }, Output::default()),
        }
    }
}

struct Writer {
    sink: Arc<dyn Sink>,
    acks: Acks,
    waker: Waker,
    closing: Arc<AtomicBool>,
}

impl Writer {
    fn run(self, parcels: &Receiver<Parcel>) {
        let _wake = WakeOnDrop(self.waker.clone());
        for parcel in parcels {
            if self.closing.load(Ordering::Acquire) {
                return;
            }
            let arrived = self.write(parcel);
            self.acks.extend(arrived);
        }
    }

    /// Returns the acknowledgements of what has arrived already.
    fn write(&self, Parcel { id, batch, what }: Parcel) -> Vec<Ack> {
        let mut arrived = Vec::new();
        let mut sent = |ticket: Ticket, sent: Sent| {
            if sent == Sent::Arrived {
                add_ack(&mut arrived, Ack::of(ticket, Ok(())));
            }
        };
        match what {
            What::Outputs(output, rows) => {
                for (row, record) in output.of_rows(rows) {
                    let ticket = Ticket { batch: id, row, dead_letter: false };
                    let outgoing = Outgoing { ticket, batch: &batch, record, origin: origin(&batch, row) };
                    sent(ticket, self.sink.write(outgoing));
                }
            }
            What::DeadLetters(errors, attempts) => {
                for error in &errors {
                    let ticket = Ticket { batch: id, row: error.row, dead_letter: true };
                    let origin = origin(&batch, error.row);
                    let rejected = Rejected { ticket, batch: &batch, origin, error, attempts };
                    sent(ticket, self.sink.dead_letter(rejected));
                }
            }
        }
        arrived
    }
}

fn origin(batch: &Batch, row: u32) -> &LaneName {
    batch.origin(row).expect("a lane has its name before its first record")
}
