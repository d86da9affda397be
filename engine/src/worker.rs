//! The threads that process and write: jobs in, verdicts out.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};

use crate::columns::{Batch, BatchId};
use crate::core::Verdict;
use crate::core::failure::{RowError, Stage};
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
        let bad = self.format.check(batch);
        match bisect(&mut *self.processor, batch, bad, Attempt { number: attempt }) {
            Ok((rows, output)) => (Verdict { rows, system: None }, output),
            Err(message) => (Verdict { rows: Vec::new(), system: Some(message) }, Output::default()),
        }
    }
}

/// Processes the rows of a batch that are not bad already, in ever smaller parts where a processor
/// cannot say which record failed it: k bad ones among n cost O(k·log(n/k) + k) calls.
///
/// Returns every bad row, in order, and the output of the others; or what failed the system.
fn bisect(
    processor: &mut dyn Processor,
    batch: &Batch,
    mut bad: Vec<RowError>,
    attempt: Attempt,
) -> Result<(Vec<RowError>, Output), String> {
    let mut output = Output::default();
    let whole: Vec<u32> = (0..batch.len()).collect();
    let mut good = whole.clone();
    good.retain(|row| bad.binary_search_by_key(row, |error| error.row).is_err());
    // A stack of parts, the first on top, so that outputs come in the order of the rows.
    let mut parts = vec![good];
    while let Some(rows) = parts.pop() {
        if rows.is_empty() {
            continue;
        }
        let is_whole = rows.len() == whole.len();
        let picked = (!is_whole).then(|| batch.pick(&rows));
        let mut part_output = Output::default();
        match processor.process(picked.as_ref().unwrap_or(batch), &mut part_output, attempt) {
            Ok(()) if is_whole => output = part_output,
            Ok(()) => output.append(part_output, &rows),
            Err(Failure::System(message)) => return Err(message),
            Err(Failure::Rows(errors)) => {
                let of_batch = |error: RowError| RowError { row: rows[error.row as usize], ..error };
                bad.extend(errors.into_iter().map(of_batch));
                if is_whole { output = part_output } else { output.append(part_output, &rows) }
            }
            Err(Failure::Unnamed(message)) if rows.len() == 1 => {
                bad.push(RowError { row: rows[0], stage: Stage::Process, message, retriable: true });
            }
            Err(Failure::Unnamed(_)) => {
                let (first, second) = rows.split_at(rows.len() / 2);
                parts.extend([second.to_vec(), first.to_vec()]);
            }
        }
    }
    bad.sort_by_key(|error| (error.row, error.stage));
    bad.dedup_by_key(|error| error.row);
    Ok((bad, output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{BatchBuilder, LaneId, Record};
    use proptest::prelude::*;

    /// Fails without a name where a batch holds a record of a negative timestamp; counts its calls.
    struct Picky {
        calls: u32,
    }

    impl Processor for Picky {
        fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
            self.calls += 1;
            if (0..batch.len()).any(|row| batch.value(row) == Some(b"bad")) {
                return Err(Failure::Unnamed("one of them".to_owned()));
            }
            out.forward_all();
            Ok(())
        }
    }

    fn batch(bad: &[bool]) -> Batch {
        let mut builder = BatchBuilder::default();
        for (offset, bad) in (0..).zip(bad) {
            let value: &[u8] = if *bad { b"bad" } else { b"fine" };
            builder.push(LaneId(0), Record { offset, value: Some(value), ..Record::default() });
        }
        builder.seal()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn halving_finds_exactly_the_bad_records_in_few_calls(bad in prop::collection::vec(prop::bool::weighted(0.05), 1..300)) {
            let batch = batch(&bad);
            let mut picky = Picky { calls: 0 };
            let (errors, output) = bisect(&mut picky, &batch, Vec::new(), Attempt { number: 0 }).unwrap();
            let rows = |is_bad: bool| (0_u32..).zip(&bad).filter(move |(_, bad)| **bad == is_bad).map(|(row, _)| row).collect::<Vec<_>>();
            prop_assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), rows(true));
            let put_out: Vec<_> = output.of_rows(std::slice::from_ref(&(0..batch.len()))).map(|(row, _)| row).collect();
            prop_assert_eq!(put_out, rows(false));
            let (n, k) = (f64::from(batch.len()), errors.len() as f64);
            let bound = if k == 0.0 { 1.0 } else { 2.0 * k * ((n / k).log2().ceil() + 1.0) + 1.0 };
            prop_assert!(f64::from(picky.calls) <= bound, "{} calls for {} of {}", picky.calls, k, n);
        }
    }

    #[test]
    fn rows_that_are_bad_already_are_not_processed() {
        let batch = batch(&[true, false, true]);
        let known = [0, 2].map(|row| RowError {
            row,
            stage: Stage::Decode,
            message: String::new(),
            retriable: false,
        });
        let mut picky = Picky { calls: 0 };
        let (errors, output) = bisect(&mut picky, &batch, known.to_vec(), Attempt { number: 0 }).unwrap();
        assert_eq!((errors.len(), output.counts(3), picky.calls), (2, vec![0, 1, 0], 1));
    }
}
