//! Configures a job and runs it, either on the current thread or on a thread with a handle.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::config::JobConfig;
use super::control::Control;
use super::driver::Driver;
use super::handle::Engine;
use crate::process::parallel::Parallel;
use crate::process::{Forward, Processor};
use crate::progress::Progress;
use crate::report::{Ending, Report};
use crate::sink::{Acks, Discard, Sink};
use crate::source::Source;
use crate::waker::Waker;

/// Configures a job. By default the job forwards records without processing them, and writes nothing.
///
/// ```
/// use velo_engine::process::{Attempt, Failure, Output, Processor};
/// use velo_engine::batch::Batch;
/// use velo_engine::sink::MemorySink;
/// use velo_engine::source::memory::MemorySource;
/// use velo_engine::Engine;
///
/// struct Lengths;
///
/// impl Processor for Lengths {
///     fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
///         for row in 0..batch.len() {
///             let length = batch.value(row).map_or(0, <[u8]>::len);
///             out.push(row, None, Some(length.to_string().as_bytes()));
///         }
///         Ok(())
///     }
/// }
///
/// let sink = MemorySink::default();
/// let written = sink.written();
/// let source = MemorySource::new(vec![b"a".to_vec(), b"four".to_vec()]);
/// let engine = Engine::builder(velo_schema::Config::default()).processor(Lengths).sink(sink).start(source);
/// let report = engine.report();
/// assert_eq!(report.ledger.ok, 2);
/// assert_eq!(written.lock().unwrap().records[1].2.as_deref(), Some(b"4".as_slice()));
/// ```
pub struct Builder {
    config: JobConfig,
    control: Control,
    acks: Acks,
    sink: Arc<dyn Sink>,
    processor: Box<dyn Processor>,
    workers: usize,
}

/// Drains the other members of a job if one panics.
struct DrainOnPanic(Control);

impl Drop for DrainOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.drain();
        }
    }
}

impl Builder {
    /// Creates a builder with this configuration. A [`Config`](velo_schema::Config) applies to all parts of the job.
    #[must_use]
    pub fn new(config: impl Into<JobConfig>) -> Self {
        Self::controlled(config, Control::default())
    }

    /// Creates a builder for a job that `control` ends.
    #[must_use]
    pub fn controlled(config: impl Into<JobConfig>, control: Control) -> Self {
        let acks = Acks::new(control.waker());
        let (sink, processor) = (Arc::new(Discard), Box::new(Forward));
        Self { config: config.into(), control, acks, sink, processor, workers: 1 }
    }

    /// Returns the control that ends the job.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Returns the waker of the poll thread, which the source needs.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.control.waker()
    }

    /// Returns the queue of acknowledgements, which the sink needs.
    #[must_use]
    pub fn acks(&self) -> Acks {
        self.acks.clone()
    }

    /// Sets the sink.
    #[must_use]
    pub fn sink(self, sink: impl Sink + 'static) -> Self {
        Self { sink: Arc::new(sink), ..self }
    }

    /// Sets the processor.
    #[must_use]
    pub fn processor(self, processor: impl Processor + 'static) -> Self {
        self.boxed_processor(Box::new(processor))
    }

    /// Sets the processor.
    #[must_use]
    pub fn boxed_processor(self, processor: Box<dyn Processor>) -> Self {
        Self { processor, ..self }
    }

    /// Sets the number of batches that are processed at a time, by forks of the processor. At least one batch is
    /// processed; batches with rows of the same partition are processed in order. If the processor cannot be forked
    /// often enough, fewer batches are processed at a time.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers: workers.max(1), ..self }
    }

    /// Runs the job on the current thread until it ends. Calls `observe` with the progress about ten times a second.
    pub fn run(self, source: impl Source, observe: &mut dyn FnMut(Progress)) -> Report {
        self.work(source, observe).report()
    }

    /// Runs several members of a job until all have ended, each on a separate thread. If a member fails, the others are
    /// drained. The controls of the builders must be [members](Control::member) of the same control.
    ///
    /// # Panics
    /// If `members` is empty or a source panics.
    pub fn run_all<S: Source + Send>(
        members: Vec<(Self, S)>,
        observe: &mut (dyn FnMut(Progress) + Send),
    ) -> Report {
        let shown = Mutex::new((vec![Progress::default(); members.len()], observe));
        let endings = thread::scope(|scope| {
            let start = |(index, (member, source)): (usize, (Self, S))| {
                let shown = &shown;
                scope.spawn(move || {
                    let control = member.control();
                    let _drain = DrainOnPanic(control.clone());
                    let ending = member.work(source, &mut |progress| {
                        let (all, observe) = &mut *shown.lock().unwrap_or_else(PoisonError::into_inner);
                        let notices = progress.notices.clone();
                        all[index] = Progress { notices: Vec::new(), ..progress };
                        let sum = all.iter().cloned().reduce(Progress::and).unwrap_or_default();
                        observe(Progress { notices, ..sum });
                    });
                    // The remaining lag is that of the next owners of the partitions.
                    shown.lock().unwrap_or_else(PoisonError::into_inner).0[index].lag.clear();
                    if ending.error.is_some() {
                        control.drain();
                    }
                    ending
                })
            };
            let threads: Vec<_> = members.into_iter().enumerate().map(start).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, Ending>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect::<Vec<_>>()
        });
        endings.into_iter().reduce(Ending::and).expect("a job has a member").report()
    }

    fn work(self, source: impl Source, observe: &mut dyn FnMut(Progress)) -> Ending {
        let Self { config, control, acks, sink, processor, workers } = self;
        let mut notices = Vec::new();
        let forks: Vec<_> = (1..workers).map_while(|_| processor.fork()).collect();
        if forks.len() + 1 < workers {
            notices.push(
                "the processor cannot be forked for each worker; fewer batches run at a time".to_owned(),
            );
        }
        let threads = config.threads_of_a_batch();
        let mut shared = |processor: Box<dyn Processor>| -> Box<dyn Processor> {
            // A trivial processor is faster on a single thread.
            if threads == 1 || processor.is_trivial() {
                return processor;
            }
            match Parallel::of(processor, threads) {
                Ok(parallel) => Box::new(parallel),
                Err(alone) => {
                    notices.push("batch.parallel: the processor runs on a single thread".to_owned());
                    alone
                }
            }
        };
        let processors: Vec<_> = std::iter::once(processor).chain(forks).map(&mut shared).collect();
        Driver::new(source, processors, &sink, acks, &config, control, notices).run(observe)
    }

    /// Starts the job on a separate thread.
    #[must_use]
    pub fn start(self, source: impl Source + Send + 'static) -> Engine {
        let (control, progress) = (self.control(), Arc::<Mutex<Progress>>::default());
        let shown = Arc::clone(&progress);
        let thread = thread::spawn(move || {
            self.run(source, &mut |now| {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                let mut notices = std::mem::take(&mut shown.notices);
                notices.extend(now.notices);
                // If the progress is never read, only the newest notices are kept.
                let old = notices.len().saturating_sub(MOST_NOTICES);
                notices.drain(..old);
                *shown = Progress { notices, ..now };
            })
        });
        Engine::new(control, progress, thread)
    }
}

/// The maximum number of notices that a handle keeps until they are read.
const MOST_NOTICES: usize = 1000;

impl Engine {
    /// Creates a builder with this configuration.
    #[must_use]
    pub fn builder(config: impl Into<JobConfig>) -> Builder {
        Builder::new(config)
    }
}
