//! Tries candidates on the real engine: the recorded arrivals, replayed open loop through the job's
//! processor.
#![allow(clippy::disallowed_methods, reason = "a synthetic round trip lasts for a time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use velo_engine::columns::Batch;
use velo_engine::processor::{Attempt, Failure, Interrupt, Output, Processor, ValueFormat};
use velo_engine::report::Report;
use velo_engine::source::replay::{Pace, Recording, ReplaySource};
use velo_engine::{Engine, JobConfig};
use velo_schema::keys::Key;

use crate::candidate::{Candidate, Setting};
use crate::predict::ENOUGH_BATCHES;
use crate::session::{Bench, Lengths};
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

    /// None where it was ended before its time.
    fn replay(&self, candidate: &Candidate, length: Duration, pace: Pace) -> Option<Report> {
        let source = ReplaySource::new(Arc::clone(&self.recording), self.period, length, pace);
        let mut config = JobConfig::uniform(candidate.config());
        config.warm_up = length / 5;
        config.format = self.format;
        let builder = Engine::builder(config).boxed_processor(self.work());
        let control = builder.control();
        let report = builder.run(source, &mut |_| {
            if self.stop.load(Ordering::Acquire) {
                control.abandon();
            }
        });
        (!self.stop.load(Ordering::Acquire)).then_some(report)
    }
}

impl Bench for Workload {
    /// What a batch takes is what it takes the whole engine, with everything there at once.
    fn serve(&mut self, records: u64, length: Duration) -> Option<Duration> {
        let size = Setting { key: Key::BatchSize.name().to_owned(), value: records.to_string() };
        let candidate = Candidate { strategy: velo_schema::StrategyKind::FixedSize, settings: vec![size] };
        let capacity = self.replay(&candidate, length, Pace::Saturated)?.records_per_s;
        Some(Duration::from_secs_f64((records as f64 / capacity.max(1e-3)).min(1e6)))
    }

    fn try_candidate(&mut self, candidate: &Candidate, lengths: Lengths) -> Option<Trial> {
        let saturated = self.replay(candidate, lengths.saturated, Pace::Saturated)?;
        let has_enough = saturated.batches.count >= ENOUGH_BATCHES;
        let capacity = has_enough.then_some(saturated.records_per_s);
        let replay = if capacity.is_none_or(|capacity| capacity >= self.records_per_s()) {
            Some(Replay::of(&self.replay(candidate, lengths.replay, Pace::Recorded)?))
        } else {
            None
        };
        Some(Trial { candidate: candidate.clone(), capacity_records_per_s: capacity, replay })
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
