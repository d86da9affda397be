//! The threads that process and write: jobs in, verdicts out.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};

use crate::columns::{Batch, BatchId};
use crate::core::Verdict;
use crate::core::failure::RowError;
use crate::processor::{Attempt, Failure, Output, Processor, ValueFormat};
use crate::sink::{Ack, Acks, LaneName, Outgoing, Sent, Sink, Ticket, add_ack};
use crate::waker::Waker;

/// Something for a worker to do with a batch.
pub(crate) struct Job {
    pub id: BatchId,
    pub batch: Arc<Batch>,
    pub work: Work,
}

pub(crate) enum Work {
    Process { attempt: u32 },
    Write { rows: Vec<Range<u32>>, output: Arc<Output>, origins: Arc<[LaneName]> },
    DeadLetter { errors: Vec<RowError>, origins: Arc<[LaneName]> },
}

/// A batch that was processed.
pub(crate) struct Done {
    pub id: BatchId,
    pub verdict: Verdict,
    pub output: Output,
}

/// The workers and the channels to and from them. Dropping it ends them, whatever is still to do.
pub(crate) struct Pool {
    sink: Arc<dyn Sink>,
    closing: Arc<AtomicBool>,
    jobs: Option<Sender<Job>>,
    done: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// One worker for each processor.
    pub fn start(
        processors: Vec<Box<dyn Processor>>,
        format: ValueFormat,
        sink: &Arc<dyn Sink>,
        acks: &Acks,
        waker: &Waker,
    ) -> Self {
        let (jobs, job_queue) = crossbeam_channel::unbounded();
        let (done_queue, done) = crossbeam_channel::unbounded();
        let closing = Arc::<AtomicBool>::default();
        let worker = |processor| {
            let (jobs, done) = (Receiver::clone(&job_queue), Sender::clone(&done_queue));
            let (sink, closing) = (Arc::clone(sink), Arc::clone(&closing));
            let (acks, waker) = (acks.clone(), waker.clone());
            let worker = Worker { processor, format, sink, acks, waker, closing };
            thread::spawn(move || worker.run(&jobs, &done))
        };
        let threads = processors.into_iter().map(worker).collect();
        Self { sink: Arc::clone(sink), closing, jobs: Some(jobs), done, threads }
    }

    /// Gives a job to the next free worker. The core bounds how many there are.
    pub fn submit(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // It fails only once all workers have panicked; `is_alive` tells the driver.
            let _ = jobs.send(job);
        }
    }

    /// Whatever has been processed since the last call.
    pub fn finished(&self) -> impl Iterator<Item = Done> + '_ {
        self.done.try_iter()
    }

    /// Whether no worker has panicked.
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
        for thread in self.threads.drain(..) {
            // A worker's panic has been reported by the driver already.
            let _ = thread.join();
        }
    }
}

struct Worker {
    processor: Box<dyn Processor>,
    format: ValueFormat,
    sink: Arc<dyn Sink>,
    acks: Acks,
    waker: Waker,
    closing: Arc<AtomicBool>,
}

/// Wakes the poll thread even when the worker panics.
struct WakeOnDrop(Waker);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>, done: &Sender<Done>) {
        let _wake = WakeOnDrop(self.waker.clone());
        for Job { id, batch, work } in jobs {
            if self.closing.load(Ordering::Acquire) {
                return;
            }
            match work {
                Work::Process { attempt } => {
                    let (verdict, output) = self.process(&batch, attempt);
                    if done.send(Done { id, verdict, output }).is_err() {
                        return;
                    }
                    self.waker.wake();
                }
                Work::Write { rows, output, origins } => {
                    let mut arrived = Vec::new();
                    for (row, record) in output.of_rows(&rows) {
                        let ticket = Ticket { batch: id, row, dead_letter: false };
                        let origin = &origins[batch.run_of(row)];
                        let sent = self.sink.write(Outgoing { ticket, batch: &batch, record, origin });
                        if sent == Sent::Arrived {
                            add_ack(&mut arrived, Ack::of(ticket, Ok(())));
                        }
                    }
                    self.acks.extend(arrived);
                }
                Work::DeadLetter { errors, origins } => {
                    let mut arrived = Vec::new();
                    for error in &errors {
                        let ticket = Ticket { batch: id, row: error.row, dead_letter: true };
                        let origin = &origins[batch.run_of(error.row)];
                        if self.sink.dead_letter(ticket, &batch, origin, error) == Sent::Arrived {
                            add_ack(&mut arrived, Ack::of(ticket, Ok(())));
                        }
                    }
                    self.acks.extend(arrived);
                }
            }
        }
    }

    fn process(&mut self, batch: &Batch, attempt: u32) -> (Verdict, Output) {
        let mut output = Output::default();
        let mut rows = self.format.check(batch);
        let result = self.processor.process(batch, &mut output, Attempt { number: attempt });
        match result {
            Ok(()) => {}
            Err(Failure::System(message)) => {
                return (Verdict { rows: Vec::new(), system: Some(message) }, Output::default());
            }
            Err(Failure::Rows(errors)) => {
                rows.extend(errors);
                // A row that could not even be decoded is to blame for that, whatever else it did.
                rows.sort_by_key(|error| (error.row, error.stage));
                rows.dedup_by_key(|error| error.row);
            }
        }
        (Verdict { rows, system: None }, output)
    }
}
