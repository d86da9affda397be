//! Tries candidates on the real engine: replays the recorded arrivals in an open loop through the job's processor.
#![allow(clippy::disallowed_methods, reason = "replays and synthetic round trips use the wall clock")]

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use velo_engine::batch::{Batch, BatchBuilder, Record};
use velo_engine::core::Ledger;
use velo_engine::ids::{LaneId, Names};
use velo_engine::process::{Attempt, Failure, Interrupt, Output, Processor, Synthetic, ValueFormat};
use velo_engine::report::Report;
use velo_engine::source::replay::{Pace, Recorded, Recording, ReplaySource};
use velo_engine::{Engine, JobConfig};
use velo_schema::{Config, Strategy};

use crate::bench::{Bench, Ended, Load, Part, warm_up};
use crate::candidate::Candidate;
use crate::limit::Limit;
use crate::predict::ENOUGH_BATCHES;
use crate::trial::{Replay, Trial};

/// A recorded workload on which candidates are tried.
pub struct Workload {
    /// Recorded arrivals.
    pub recording: Recording,
    /// Length of the recording.
    pub period: Duration,
    /// Creates the job's processor. Each trial uses a new processor.
    pub processor: Box<dyn Fn() -> Box<dyn Processor>>,
    /// Additional synthetic processing time.
    pub cost: Synthetic,
    /// Format of the values.
    pub format: ValueFormat,
    /// Sink round trip per batch.
    pub sink_cost: Duration,
    /// True if the processor is a program, whose startup time does not count.
    pub has_program: bool,
    /// Limit that ends calibration and trials.
    pub limit: Limit,
}

impl Workload {
    fn records_per_s(&self) -> f64 {
        self.recording.len() as f64 / self.period.as_secs_f64()
    }

    /// Returns the job's processor with the sink round trip. A program is started and has processed a first batch.
    ///
    /// # Errors
    /// If the limit was reached first.
    pub fn work(&self) -> Result<Box<dyn Processor>, Ended> {
        let cost = Synthetic { per_batch: self.cost.per_batch + self.sink_cost, ..self.cost };
        let mut processor = (self.processor)();
        if !cost.service_time(1).is_zero() {
            processor = Box::new(Timed { inner: processor, cost, over: Arc::default() });
        }
        if self.has_program {
            self.warm(&mut *processor)?;
        }
        Ok(processor)
    }

    fn warm(&self, processor: &mut dyn Processor) -> Result<(), Ended> {
        const LOOK: Duration = Duration::from_millis(5);
        let (first, interrupt) = (self.first(), processor.interrupt());
        thread::scope(|scope| {
            let start = scope.spawn(|| {
                // An error occurs again during the trial and is reported there.
                drop(processor.process(&first, &mut Output::default(), Attempt { number: 0 }));
            });
            while !start.is_finished() {
                if let Some(ended) = self.limit.reached() {
                    if let Some(interrupt) = interrupt {
                        interrupt();
                    }
                    return Err(ended);
                }
                thread::sleep(LOOK);
            }
            Ok(())
        })
    }

    /// Returns a batch with the first record.
    fn first(&self) -> Arc<Batch> {
        let mut builder = BatchBuilder::default();
        if let Some(Recorded { key, value, headers, timestamp_ms, .. }) = self.recording.first() {
            let (key, value, headers) = (key.as_deref(), value.as_deref(), headers.clone());
            let timestamp_ms = *timestamp_ms;
            builder.push(LaneId(0), Record { key, value, headers, timestamp_ms, ..Record::default() });
        }
        builder.seal(Names::default())
    }

    /// Replays for `length`. Unfinished batches are abandoned `patience` later.
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
        let builder = Engine::builder(config).boxed_processor(self.work()?);
        let control = builder.control();
        let (mut error, mut is_late, mut ended) = (None, false, None);
        let started = Instant::now();
        let report = builder.run(source, &mut |progress| {
            is_late = is_late || started.elapsed() > length + patience;
            if error.is_none() {
                error = progress.notices.into_iter().next();
            }
            ended = ended.take().or_else(|| self.limit.reached());
            if is_late || ended.is_some() {
                control.abandon();
            }
        });
        let error = report.error.clone().or(error);
        match (ended, error) {
            // If every record failed, report the error instead of the timeout.
            (Some(Ended::OutOfTime), Some(error)) if report.ledger.ok == 0 => {
                Err(Ended::EveryRecordFailed(error))
            }
            (Some(ended), _) => Err(ended),
            (None, error) => Ok(Replayed { report, error, is_late }),
        }
    }
}

/// Result of a replay.
struct Replayed {
    report: Report,
    /// The first error.
    error: Option<String>,
    /// True if the replay was abandoned.
    is_late: bool,
}

impl Replayed {
    /// Returns true if records were settled and none of them successfully.
    fn every_record_failed(&self) -> bool {
        let Ledger { ok, skipped, failed, .. } = self.report.ledger;
        ok == 0 && skipped + failed > 0
    }

    fn failure(self, otherwise: String) -> Ended {
        Ended::EveryRecordFailed(self.error.unwrap_or(otherwise))
    }
}

/// Additional time for a measured batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the records settled per second, including failed records.
fn settled_per_s(report: &Report) -> f64 {
    let Ledger { ok, skipped, .. } = report.ledger;
    report.records_per_s * (ok + skipped) as f64 / (ok as f64).max(1.0)
}

impl Bench for Workload {
    /// Measures the time of a batch in the whole engine, with all records available at once.
    fn serve(&mut self, load: Load, length: Duration) -> Result<Option<Duration>, Ended> {
        let Load { records, is_parallel } = load;
        if is_parallel && self.has_program {
            // The programs of the other threads would start during the measurement.
            return Ok(None);
        }
        let timeout = length;
        let strategy = if is_parallel {
            Strategy::MegaBatch { records, timeout, parallel: true, reuse_buffer: true }
        } else {
            Strategy::FixedSize { records, timeout }
        };
        let config = Config { strategy, ..Config::default() };
        let replayed = self.replay(config, (Duration::ZERO, length, Pace::Saturated), PATIENCE)?;
        let per_s = settled_per_s(&replayed.report);
        // A batch that was not full at the end of the time has another size.
        let was_full = replayed.report.batches.size_max >= records / 10 * 9;
        if per_s > 0.0 {
            let took = Duration::from_secs_f64((records as f64 / per_s).min(1e6));
            return Ok(Some(took).filter(|_| was_full));
        }
        // A large batch may take too long; a single record must not.
        if records > 1 && !replayed.every_record_failed() {
            return Ok(None);
        }
        let waited = length + PATIENCE;
        Err(replayed.failure(format!("processing a single record took longer than {} s", waited.as_secs())))
    }

    /// Returns half of the records that fit into the engine's memory for records in flight.
    fn most_records(&self) -> u64 {
        let bytes: u64 = self.recording.iter().map(Recorded::payload_bytes).sum();
        let mean = (bytes / self.recording.len().max(1) as u64).max(1);
        let in_flight = JobConfig::uniform(Config::default()).max_unsettled_bytes;
        (in_flight / 2 / mean).max(1)
    }

    fn try_candidate(&mut self, candidate: &Candidate, part: Part) -> Result<Trial, Ended> {
        /// Additional time for a candidate that completes no batch in time.
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
            // A candidate that lags slightly may take twice the time.
            let patience = part.replay.max(PATIENCE);
            let replayed = self.replay(config, (part.from, part.replay, Pace::Recorded), patience)?;
            // A late candidate has fallen behind, unless it completed only a few long batches.
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

/// A processor that adds a delay to each batch: synthetic work and the round trip to a sink that does not exist.
struct Timed {
    inner: Box<dyn Processor>,
    cost: Synthetic,
    /// Set to true to cut all delays short.
    over: Arc<(Mutex<bool>, Condvar)>,
}

impl Processor for Timed {
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
        let processed = self.inner.process(batch, out, attempt);
        let (over, changed) = &*self.over;
        let over = over.lock().unwrap_or_else(PoisonError::into_inner);
        // Wait without using the processor core, like a real round trip.
        drop(changed.wait_timeout_while(over, self.cost.service_time(batch.len()), |over| !*over));
        processed
    }

    fn fork(&self) -> Option<Box<dyn Processor>> {
        let over = Arc::clone(&self.over);
        Some(Box::new(Self { inner: self.inner.fork()?, cost: self.cost, over }))
    }

    fn interrupt(&self) -> Option<Interrupt> {
        let (inner, waiting) = (self.inner.interrupt(), Arc::clone(&self.over));
        Some(Box::new(move || {
            if let Some(inner) = &inner {
                inner();
            }
            *waiting.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            waiting.1.notify_all();
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use velo_engine::process::Forward;

    use super::*;

    fn workload(cost: Synthetic, limit: Limit) -> Workload {
        let record = |ms: u64| Recorded {
            at: Duration::from_millis(ms),
            value: Some(vec![0; 100]),
            ..Recorded::default()
        };
        Workload {
            recording: (0..1000).map(record).collect(),
            period: Duration::from_secs(1),
            processor: Box::new(|| Box::new(Forward)),
            cost,
            format: ValueFormat::Bytes,
            sink_cost: Duration::ZERO,
            has_program: false,
            limit,
        }
    }

    /// Cost of a batch that takes a day.
    const FOR_EVER: Synthetic = Synthetic { per_batch: Duration::from_hours(24), per_record: Duration::ZERO };
    const LOAD: Load = Load { records: 10, is_parallel: false };

    #[test]
    fn whatever_is_under_way_ends_with_the_limit() {
        let out = Limit::default().within(Duration::from_millis(50));
        let mut slow = workload(FOR_EVER, out.clone());
        assert_eq!(slow.serve(LOAD, Duration::from_hours(1)), Err(Ended::OutOfTime));
        let part = Part {
            round: 0,
            saturated: Duration::from_hours(1),
            replay: Duration::from_hours(1),
            from: Duration::ZERO,
        };
        assert_eq!(slow.try_candidate(&Candidate::defaults(), part), Err(Ended::OutOfTime));
        let stop = Arc::new(AtomicBool::new(true));
        let mut stopped = workload(FOR_EVER, Limit::new(Arc::clone(&stop)));
        assert_eq!(stopped.serve(LOAD, Duration::from_hours(1)), Err(Ended::Interrupted));
        // A program that never completes its first batch.
        let program = |limit| Workload { has_program: true, ..workload(FOR_EVER, limit) };
        assert_eq!(program(Limit::new(stop)).work().err(), Some(Ended::Interrupted));
        assert_eq!(program(out).work().err(), Some(Ended::OutOfTime));
    }

    #[test]
    fn what_fails_until_the_time_is_over_is_named() {
        struct Broken;
        impl Processor for Broken {
            fn process(&mut self, _: &Batch, _: &mut Output, _: Attempt) -> Result<(), Failure> {
                Err(Failure::System("no model file".to_owned()))
            }
        }
        let mut broken = workload(Synthetic::default(), Limit::default().within(Duration::from_millis(300)));
        broken.processor = Box::new(|| Box::new(Broken));
        let ended = broken.serve(LOAD, Duration::from_hours(1)).unwrap_err();
        assert!(
            matches!(&ended, Ended::EveryRecordFailed(error) if error.contains("no model file")),
            "{ended:?}"
        );
    }

    #[test]
    fn a_time_that_is_given_is_waited_for_by_all_threads_and_can_be_cut_short() {
        let stop = Arc::<AtomicBool>::default();
        let processor = workload(FOR_EVER, Limit::new(Arc::clone(&stop))).work().unwrap();
        let (mut fork, interrupt) = (processor.fork().unwrap(), processor.interrupt().unwrap());
        let batch = workload(FOR_EVER, Limit::default()).first();
        thread::scope(|scope| {
            let waiting = scope
                .spawn(move || fork.process(&batch, &mut Output::default(), Attempt { number: 0 }).is_ok());
            interrupt();
            assert!(waiting.join().unwrap());
        });
        stop.store(true, Ordering::Release);
    }

    #[test]
    fn a_batch_that_is_not_full_in_its_time_was_not_measured() {
        let quick = Synthetic { per_batch: Duration::from_millis(1), per_record: Duration::ZERO };
        let mut workload = workload(quick, Limit::default());
        assert_eq!(workload.most_records(), (64 << 20) / 2 / 100);
        assert!(workload.serve(LOAD, Duration::from_millis(20)).unwrap().is_some());
        let huge = Load { records: 50_000_000, is_parallel: false };
        assert_eq!(workload.serve(huge, Duration::from_millis(1)), Ok(None));
    }
}
