//! Tries candidates on the real engine: the recorded arrivals, replayed open loop through the job's
//! processor.
#![allow(clippy::disallowed_methods, reason = "a synthetic round trip lasts for a time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use velo_engine::columns::{Batch, BatchBuilder, LaneId, Names, Record};
use velo_engine::core::Ledger;
use velo_engine::processor::{Attempt, Failure, Interrupt, Output, Processor, ValueFormat};
use velo_engine::report::Report;
use velo_engine::source::replay::{Pace, Recorded, Recording, ReplaySource};
use velo_engine::{Engine, JobConfig};
use velo_schema::{Config, Strategy};

use crate::candidate::Candidate;
use crate::predict::ENOUGH_BATCHES;
use crate::session::{Bench, Ended, Load, Part, warm_up};
use crate::trial::{Replay, Trial};

/// A workload to try candidates on.
pub struct Workload {
    /// The recorded arrivals.
    pub recording: Recording,
    /// How long the recording is.
    pub period: Duration,
    /// The job's work. Each trial has one of its own.
    pub processor: Box<dyn Fn() -> Box<dyn Processor>>,
    /// How values are encoded.
    pub format: ValueFormat,
    /// What a batch's way to the sink takes.
    pub sink_cost: Duration,
    /// Whether the processor is a program, whose start is no part of its work.
    pub has_program: bool,
    /// Set to end what is under way.
    pub stop: Arc<AtomicBool>,
}

impl Workload {
    fn records_per_s(&self) -> f64 {
        self.recording.len() as f64 / self.period.as_secs_f64()
    }

    /// The job's work and its way to the sink.
    #[must_use]
    pub fn work(&self) -> Box<dyn Processor> {
        match self.sink_cost {
            Duration::ZERO => (self.processor)(),
            delay => Box::new(Delayed { inner: (self.processor)(), delay }),
        }
    }

    /// A batch of the first record.
    fn first(&self) -> Arc<Batch> {
        let mut builder = BatchBuilder::default();
        if let Some(Recorded { key, value, headers, timestamp_ms, .. }) = self.recording.first() {
            let (key, value, headers) = (key.as_deref(), value.as_deref(), headers.clone());
            let timestamp_ms = *timestamp_ms;
            builder.push(LaneId(0), Record { key, value, headers, timestamp_ms, ..Record::default() });
        }
        builder.seal(Names::default())
    }

    /// Replays for `length`, and gives up what is not done with it `patience` later.
    fn replay(
        &self,
        config: Config,
        part: (Duration, Duration, Pace),
        patience: Duration,
    ) -> Result<Replayed, Ended> {
        let (from, length, pace) = part;
        let source =
            ReplaySource::new(Arc::clone(&self.recording), self.period, length, pace).beginning_at(from);
        let mut config = JobConfig::uniform(config);
        config.warm_up = warm_up(length);
        config.format = self.format;
        let mut processor = self.work();
        if self.has_program {
            // What goes wrong here goes wrong again, and counts then.
            drop(processor.process(&self.first(), &mut Output::default(), Attempt { number: 0 }));
        }
        let builder = Engine::builder(config).boxed_processor(processor);
        let control = builder.control();
        let (mut error, mut is_late) = (None, false);
        let started = Instant::now();
        let report = builder.run(source, &mut |progress| {
            is_late = is_late || started.elapsed() > length + patience;
            if error.is_none() {
                error = progress.notices.into_iter().next();
            }
            if is_late || self.stop.load(Ordering::Acquire) {
                control.abandon();
            }
        });
        if self.stop.load(Ordering::Acquire) {
            return Err(Ended::Interrupted);
        }
        let error = report.error.clone().or(error);
        Ok(Replayed { report, error, is_late })
    }
}

/// A replay, the first thing that went wrong in it, and whether it had to be given up.
struct Replayed {
    report: Report,
    error: Option<String>,
    is_late: bool,
}

impl Replayed {
    /// Where records were dealt with, and not one well.
    fn every_record_failed(&self) -> bool {
        let Ledger { ok, skipped, failed, .. } = self.report.ledger;
        ok == 0 && skipped + failed > 0
    }

    fn failure(self, otherwise: String) -> Ended {
        Ended::EveryRecordFailed(self.error.unwrap_or(otherwise))
    }
}

/// How long a batch that is measured may take beside its time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Records that were dealt with per second, those that failed included.
fn settled_per_s(report: &Report) -> f64 {
    let Ledger { ok, skipped, .. } = report.ledger;
    report.records_per_s * (ok + skipped) as f64 / (ok as f64).max(1.0)
}

impl Bench for Workload {
    /// What a batch takes is what it takes the whole engine, with everything there at once.
    fn serve(&mut self, load: Load, length: Duration) -> Result<Duration, Ended> {
        let Load { records, is_parallel } = load;
        let timeout = length;
        let strategy = if is_parallel {
            Strategy::MegaBatch { records, timeout, parallel: true, reuse_buffer: true }
        } else {
            Strategy::FixedSize { records, timeout }
        };
        let config = Config { strategy, ..Config::default() };
        let replayed = self.replay(config, (Duration::ZERO, length, Pace::Saturated), PATIENCE)?;
        let per_s = settled_per_s(&replayed.report);
        if per_s > 0.0 {
            return Ok(Duration::from_secs_f64((records as f64 / per_s).min(1e6)));
        }
        // A large batch may take longer than anybody waits for; a record alone must not.
        let waited = length + PATIENCE;
        if records > 1 && !replayed.every_record_failed() {
            return Ok(waited);
        }
        Err(replayed.failure(format!("a record was not done within {} s", waited.as_secs())))
    }

    fn try_candidate(&mut self, candidate: &Candidate, part: Part) -> Result<Trial, Ended> {
        /// What does no batch at all in its time has said enough.
        const PATIENCE: Duration = Duration::from_secs(1);
        let config = candidate.config();
        let saturated =
            self.replay(config.clone(), (part.from, part.saturated, Pace::Saturated), PATIENCE)?;
        if saturated.every_record_failed() {
            return Err(saturated.failure("no record could be processed".to_owned()));
        }
        let saturated = saturated.report;
        let has_enough = saturated.batches.count >= ENOUGH_BATCHES;
        let capacity = has_enough.then(|| settled_per_s(&saturated));
        let replay = if capacity.is_none_or(|capacity| capacity >= self.records_per_s()) {
            // One that is right behind may take as long again as it was given.
            let patience = part.replay.max(PATIENCE);
            let replayed = self.replay(config, (part.from, part.replay, Pace::Recorded), patience)?;
            // One that is not done then has fallen behind, unless it is a few batches that take so long.
            let fell_behind = replayed.is_late && replayed.report.batches.count >= ENOUGH_BATCHES;
            (!fell_behind).then(|| Replay::of(&replayed.report))
        } else {
            None
        };
        let Ledger { ok, skipped, .. } = saturated.ledger;
        let failed_share = skipped as f64 / ((ok + skipped) as f64).max(1.0);
        let (candidate, round) = (candidate.clone(), part.round);
        Ok(Trial { candidate, round, capacity_records_per_s: capacity, replay, failed_share })
    }
}

/// A processor whose batches take a while longer, to get to a sink that is not there.
struct Delayed {
    inner: Box<dyn Processor>,
    delay: Duration,
}

impl Processor for Delayed {
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
        let processed = self.inner.process(batch, out, attempt);
        // A round trip waits, as a real one would: it leaves the core to others.
        std::thread::sleep(self.delay);
        processed
    }

    fn fork(&self) -> Option<Box<dyn Processor>> {
        Some(Box::new(Self { inner: self.inner.fork()?, delay: self.delay }))
    }

    fn interrupt(&self) -> Option<Interrupt> {
        self.inner.interrupt()
    }
}
