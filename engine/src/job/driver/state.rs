//! The state of the poll thread, its clock and its notices: the parts and the settings of a job in, a job that has not
//! started out. The other files change it.
#![allow(clippy::disallowed_methods, reason = "the poll thread reads the clock")]

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use velo_schema::Plan;

use super::stall::Stall;
use crate::batch::{Batch, BatchBuilder};
use crate::core::{Action, Core};
use crate::ids::{BatchId, LaneId, Names, Tick};
use crate::job::config::JobConfig;
use crate::job::control::Control;
use crate::job::pending::Pending;
use crate::job::ready::ReadyQueue;
use crate::job::worker::{Pool, Processing};
use crate::process::{Expected, Output, Processor};
use crate::report::{Counters, Meter};
use crate::sink::{Acks, Sink};
use crate::source::Source;

/// A batch in flight.
pub(super) struct InFlight {
    pub batch: Arc<Batch>,
    pub output: Arc<Output>,
    pub expected: Expected,
    pub pending: Pending,
    /// True if the worker that processed the batch also writes its outputs.
    pub is_written: bool,
    /// The rows with acknowledged outputs that are settled together with their transaction.
    pub arrived: Vec<Range<u32>>,
}

/// The poll thread's state.
pub(crate) struct Driver<S> {
    /// The pool is dropped before the source, so that no record is written after the partitions are given up.
    pub(super) pool: Pool,
    pub(super) source: S,
    pub(super) core: Core,
    pub(super) control: Control,
    pub(super) transactional: bool,
    pub(super) acks: Acks,
    pub(super) start: Instant,
    pub(super) plan: Plan,
    pub(super) builder: BatchBuilder,
    pub(super) lanes: BTreeSet<LaneId>,
    pub(super) ready: ReadyQueue,
    pub(super) names: Names,
    pub(super) batches: HashMap<BatchId, InFlight>,
    pub(super) actions: Vec<Action>,
    /// The notices that were not passed to the observer yet.
    pub(super) news: Vec<String>,
    /// The last notices of errors, each with its time.
    pub(super) errors: VecDeque<(Tick, String)>,
    /// Processed rows without output that are not settled yet.
    pub(super) silent: Vec<(BatchId, Range<u32>)>,
    /// The offsets of the rows that were taken last. Kept to reuse its memory.
    pub(super) offsets: Vec<Range<i64>>,
    /// The lanes that have become ready. Kept to reuse its memory.
    pub(super) called: Vec<LaneId>,
    pub(super) meter: Meter,
    /// The time of the next count, and the last count.
    pub(super) counted: (Tick, Counters),
    /// The first error of the job.
    pub(super) error: Option<String>,
    /// The reason why the core aborts the transaction, if a record has caused it.
    pub(super) undone: Option<String>,
    pub(super) stopping_since: Option<Tick>,
    pub(super) drain_timeout: Duration,
    /// True if no batch can be filled.
    pub(super) out_of_buffers: bool,
    /// True if the source knows which partitions it owns.
    pub(super) is_ready: bool,
    /// The number of acknowledgements and of ended transactions.
    pub(super) written: u64,
    /// The number of transactions that are being committed or aborted.
    pub(super) ending_transactions: usize,
    pub(super) stall: Stall,
}

impl<S: Source> Driver<S> {
    /// Creates a job that has not started, with notices to report.
    pub(in crate::job) fn new(
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
            errors: VecDeque::new(),
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
            written: 0,
            ending_transactions: 0,
            stall: Stall::default(),
        };
        for notice in notices {
            driver.notice(notice);
        }
        driver
    }

    pub(super) fn now(&self) -> Tick {
        Tick(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Passes a notice of an error to the observer, unless it is one of the last and the same was passed within a minute.
    pub(super) fn notice_error(&mut self, what: &str, result: Result<(), String>) {
        const LAST: usize = 8;
        const AGAIN_AFTER: Duration = Duration::from_mins(1);
        let Err(error) = result else { return };
        let (now, notice) = (self.now(), format!("{what}: {error}"));
        self.errors.retain(|(at, _)| now.since(*at) < AGAIN_AFTER);
        if self.errors.iter().all(|(_, last)| *last != notice) {
            self.errors.truncate(LAST - 1);
            self.errors.push_front((now, notice.clone()));
            self.notice(notice);
        }
    }

    /// Passes a notice to the observer. The first distinct notices are also kept for the report.
    pub(super) fn notice(&mut self, notice: String) {
        const MOST: usize = 100;
        if self.meter.notices.len() < MOST && !self.meter.notices.contains(&notice) {
            self.meter.notices.push(notice.clone());
        }
        self.news.push(notice);
    }
}
