//! The way in: a builder that puts a job together, and the handle of one that runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use velo_schema::Tier;

use crate::columns::LaneName;
use crate::config::JobConfig;
use crate::control::Control;
use crate::core::Ledger;
use crate::driver::Driver;
use crate::parallel::Parallel;
use crate::processor::{Forward, Processor};
use crate::report::{Counters, Ending, Report};
use crate::sink::{Acks, Discard, Sink};
use crate::source::Source;
use crate::waker::Waker;

/// Puts a job together. Without a sink it writes nothing, without a processor it forwards.
///
/// ```
/// use velo_engine::processor::{Attempt, Failure, Output, Processor};
/// use velo_engine::columns::Batch;
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
///             out.push(row, None, Some(length.to_string().into_bytes()));
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

impl Builder {
    /// A job of this configuration; of one [`Config`](velo_schema::Config) for all parts, say.
    #[must_use]
    pub fn new(config: impl Into<JobConfig>) -> Self {
        Self::controlled(config, Control::default())
    }

    /// A job that this control ends.
    #[must_use]
    pub fn controlled(config: impl Into<JobConfig>, control: Control) -> Self {
        let acks = Acks::new(control.waker());
        let (sink, processor) = (Arc::new(Discard), Box::new(Forward));
        Self { config: config.into(), control, acks, sink, processor, workers: 1 }
    }

    /// What ends the job.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// What wakes the job: for its source.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.control.waker()
    }

    /// Where acknowledgements are left: for its sink.
    #[must_use]
    pub fn acks(&self) -> Acks {
        self.acks.clone()
    }

    /// Writes to this sink.
    #[must_use]
    pub fn sink(self, sink: impl Sink + 'static) -> Self {
        Self { sink: Arc::new(sink), ..self }
    }

    /// Processes with this.
    #[must_use]
    pub fn processor(self, processor: impl Processor + 'static) -> Self {
        self.boxed_processor(Box::new(processor))
    }

    /// Processes with this.
    #[must_use]
    pub fn boxed_processor(self, processor: Box<dyn Processor>) -> Self {
        Self { processor, ..self }
    }

    /// Processes up to this many batches at a time, of different partitions each, where the processor
    /// can be forked. Each batch goes to the next one that is free.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers: workers.max(1), ..self }
    }

    /// Runs the job on this thread until it is done, and tells `observe` about ten times a second how
    /// it goes.
    pub fn run(self, source: impl Source, observe: &mut dyn FnMut(Progress)) -> Report {
        self.work(source, observe).report()
    }

    /// Runs several members of a job until all are done, each on a thread of its own; where one fails,
    /// the others are drained. Their controls must be [members](Control::member) of one.
    ///
    /// # Panics
    /// Where there are none, or a source panics.
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
                    let ending = member.work(source, &mut |progress| {
                        let (all, observe) = &mut *shown.lock().unwrap_or_else(PoisonError::into_inner);
                        let notices = progress.notices.clone();
                        all[index] = Progress { notices: Vec::new(), ..progress };
                        let sum = all.iter().cloned().reduce(Progress::and).unwrap_or_default();
                        observe(Progress { notices, ..sum });
                    });
                    // What it has left is somebody else's now.
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
                "the processor cannot be forked so often: fewer batches are processed at a time".to_owned(),
            );
        }
        let threads = config.threads_of_a_batch();
        let mut shared = |processor: Box<dyn Processor>| -> Box<dyn Processor> {
            if threads == 1 {
                return processor;
            }
            match Parallel::of(processor, threads) {
                Ok(parallel) => Box::new(parallel),
                Err(alone) => {
                    notices.push("batch.parallel: the processor works on one thread only".to_owned());
                    alone
                }
            }
        };
        let processors: Vec<_> = std::iter::once(processor).chain(forks).map(&mut shared).collect();
        Driver::new(source, processors, &sink, acks, &config, control, notices).run(observe)
    }

    /// Runs the job on a thread of its own.
    #[must_use]
    pub fn start(self, source: impl Source + Send + 'static) -> Engine {
        let (control, progress) = (self.control(), Arc::<Mutex<Progress>>::default());
        let shown = Arc::clone(&progress);
        let thread = thread::spawn(move || {
            self.run(source, &mut |now| {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                let mut notices = std::mem::take(&mut shown.notices);
                notices.extend(now.notices);
                // Nobody has to look: the newest are enough.
                let old = notices.len().saturating_sub(MOST_NOTICES);
                notices.drain(..old);
                *shown = Progress { notices, ..now };
            })
        });
        Engine { control, progress, thread: Some(thread) }
    }
}

/// Notices that a handle keeps until somebody asks for them.
const MOST_NOTICES: usize = 1000;

/// How far a partition is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub partition: LaneName,
    /// Records that can be read and are not settled, delivered or not.
    pub records: u64,
    /// Records after those, from the first one on that belongs to a transaction which is still open: a reader of
    /// committed records gets them once it has ended.
    pub unstable_records: u64,
}

/// What an observer sees about ten times a second, and at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Where the records are.
    pub ledger: Ledger,
    /// Since the first record.
    pub elapsed: Duration,
    /// Records that a batch may hold now.
    pub batch_size: u64,
    /// The tier in which records are taken now.
    pub tier: Tier,
    /// What has been counted.
    pub counters: Counters,
    /// Payload bytes that are taken and not settled.
    pub bytes_in_flight: u64,
    /// How far each partition is behind.
    pub lag: Vec<Lag>,
    /// Whether the source has had an answer about which partitions are its own.
    pub is_ready: bool,
    /// What has happened since it looked last: each record that was left out, errors of the client.
    pub notices: Vec<String>,
}

impl Progress {
    /// Of both members together.
    fn and(self, other: Self) -> Self {
        Self {
            ledger: self.ledger + other.ledger,
            elapsed: self.elapsed.max(other.elapsed),
            batch_size: self.batch_size.max(other.batch_size),
            counters: {
                let mut counters = self.counters;
                counters.add(&other.counters);
                counters
            },
            bytes_in_flight: self.bytes_in_flight + other.bytes_in_flight,
            lag: [self.lag, other.lag].concat(),
            is_ready: self.is_ready && other.is_ready,
            tier: self.tier,
            notices: self.notices,
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            ledger: Ledger::default(),
            elapsed: Duration::ZERO,
            batch_size: 0,
            tier: Tier::Auto,
            counters: Counters::default(),
            bytes_in_flight: 0,
            lag: Vec::new(),
            is_ready: false,
            notices: Vec::new(),
        }
    }
}

/// A job that runs on a thread of its own. Dropping it ends the job as [`stop`](Self::stop) does.
#[derive(Debug)]
pub struct Engine {
    control: Control,
    progress: Arc<Mutex<Progress>>,
    thread: Option<JoinHandle<Report>>,
}

impl Engine {
    /// Begins to put a job together.
    #[must_use]
    pub fn builder(config: impl Into<JobConfig>) -> Builder {
        Builder::new(config)
    }

    /// How far the job is, a tenth of a second ago or less, and the notices since it was asked last.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut shown = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let notices = std::mem::take(&mut shown.notices);
        Progress { notices, ..shown.clone() }
    }

    /// Whether the job has ended by itself.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Takes nothing more, settles and commits what is in flight, and returns the report.
    #[must_use]
    pub fn drain(self) -> Report {
        self.control.drain();
        self.report()
    }

    /// Ends the job now, and returns the report; what is in flight will be read again.
    #[must_use]
    pub fn stop(self) -> Report {
        self.control.abandon();
        self.report()
    }

    /// Waits until the job ends, and returns the report.
    ///
    /// # Panics
    /// Where the source has panicked.
    #[must_use]
    pub fn report(mut self) -> Report {
        let thread = self.thread.take().expect("the thread is there until the handle is gone");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.control.abandon();
            // A panic of a job that nobody waits for is nobody's.
            let _ = thread.join();
        }
    }
}
