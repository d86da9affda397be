//! Runs all phases for one topic: sampling, calibration, predictions, trials and confirmation. Saves results and prints
//! progress on the way.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use indicatif::{ProgressBar, ProgressStyle};
use velo_advisor::advice::Reading;
use velo_advisor::confirm::{Connect, Live, Unconfirmed, confirm, length};
use velo_advisor::evidence::{Header, VERSION, write_complete, write_trial, write_validity_range};
use velo_advisor::predict::Arrivals;
use velo_advisor::runner::Workload;
use velo_advisor::sample::{Limits, Sample, SampleError, sample};
use velo_advisor::session::{Ended, ROUNDS, Step, calibrate, predict_all, shares, try_best};
use velo_advisor::trial::Setup;
use velo_advisor::{
    Advice, Candidate, Confirmation, Cost, Evidence, Limit, Objective, Profile, Refusal, Work,
};
use velo_engine::kafka::{ClientSettings, KafkaError, Received, TopicReader};
use velo_engine::process::exec::{Exec, ExecProcessor};
use velo_engine::process::{Forward, Processor};
use velo_engine::waker::Waker;

use super::steal::Steal;
use super::trials::Trials;
use super::{Outcome, with_validity_range};
use crate::args::AdviseArgs;
use crate::render::advice;

/// Smallest number of records that describe a workload.
const ENOUGH_RECORDS: u64 = 100;
/// Shortest time between the first and the last record from which a rate can be determined.
const AT_ONCE: Duration = Duration::from_millis(10);

/// A run for one topic.
pub(super) struct Session<'a> {
    pub args: &'a AdviseArgs,
    pub settings: ClientSettings,
    /// Client properties of the user that the read rate limit overrides.
    pub overruled: Vec<String>,
    /// Bootstrap servers; `None` if the topic is inside this process.
    pub bootstrap_servers: Option<String>,
    pub topic: String,
    pub objective: Objective,
    /// Sink round trip per batch; `None` if it is to be measured.
    pub sink_cost: Option<Duration>,
    pub trials: Option<Trials>,
    pub current: Option<Candidate>,
    /// The statement's limit on the records per batch.
    pub max_batch_records: Option<u64>,
    pub stop: Arc<AtomicBool>,
    /// True once trials could not be saved.
    pub unsaved: Cell<bool>,
}

impl Session<'_> {
    pub(super) fn advise(&self) -> Result<Outcome> {
        self.announce();
        let started = Instant::now();
        let Sampled { sample, sink_cost, partitions } = match self.sample() {
            Ok(sampled) => sampled?,
            Err(_) => return Ok(self.ended(self.refused(Refusal::Interrupted), None)),
        };
        for notice in self.notes().iter().chain(&sample.notices) {
            anstream::eprintln!("note: {notice}");
        }
        let mut reading = Reading {
            record_bytes: sample.received.record_bytes,
            wire_bytes: sample.received.wire_bytes,
            seconds: started.elapsed().as_secs_f64(),
            max_bytes_per_s: self.args.max_rate,
        };
        let end = |advice: Advice, reading: Reading, is_complete: bool| {
            let notes = [self.notes(), sample.notices.clone(), advice.notes].concat();
            let advice = Advice { reading: Some(reading), notes, ..advice };
            let unfinished =
                self.trials.as_ref().filter(|_| advice.measured && !is_complete).map(Trials::name);
            self.ended(advice, unfinished)
        };
        let profile = match self.profile(&sample) {
            Ok(profile) => profile,
            Err(refusal) => {
                let advice = Advice { profile: sample.profile(), ..self.refused(refusal) };
                return Ok(end(advice, reading, true));
            }
        };
        let arrivals = Arrivals::of(&sample.recording, sample.period);
        let mut workload = Workload {
            recording: Arc::clone(&sample.recording),
            period: sample.period,
            processor: processor(self.args),
            cost: self.args.cost.unwrap_or_default(),
            format: self.args.value_format.into(),
            sink_cost,
            has_program: self.args.exec.is_some(),
            limit: self.limit(),
        };
        let work = Work::new(self.args.cost.unwrap_or_default(), sink_cost);
        anstream::eprintln!("{}", advice::workload(&profile, &work));
        let before = Steal::now();
        let (mut advice, is_complete) = match self.measure(&mut workload, &arrivals, profile.clone(), work) {
            Ok(measured) => measured,
            Err(refusal) => {
                let advice = Advice { profile: Some(profile), work: Some(work), ..self.refused(refusal) };
                return Ok(end(advice, reading, true));
            }
        };
        if let Some(note) = before.and_then(taken_by_others) {
            anstream::eprintln!("note: {note}");
            advice.notes.push(note);
        }
        workload.limit = self.limit();
        self.confirm_all(&mut advice, &workload, partitions, &mut reading);
        anstream::eprintln!("{}", advice::reading(&reading));
        Ok(end(advice, reading, is_complete))
    }

    fn ended(&self, advice: Advice, unfinished: Option<String>) -> Outcome {
        let unsaved = self.unsaved.get();
        Outcome { advice: advice.concluded(), interrupted: self.is_stopped(), unfinished, unsaved }
    }

    /// Notes that trials cannot be saved. The run continues.
    fn unkept(&self, error: &anyhow::Error) {
        self.unsaved.set(true);
        anstream::eprintln!("note: trials are not saved: {error:#}");
    }

    /// Returns the limit that is reached when the program is interrupted.
    fn limit(&self) -> Limit {
        Limit::new(Arc::clone(&self.stop))
    }

    /// Prints what the run will do.
    fn announce(&self) {
        let exec = self.args.exec.as_ref();
        let runs =
            exec.map_or(String::new(), |command| format!("; runs '{command}' repeatedly on real records"));
        let kept = self
            .trials
            .as_ref()
            .map_or(String::new(), |trials| format!("; saves trials to {}", trials.name()));
        anstream::eprintln!(
            "read-only: joins no group, commits and writes nothing; reads at most {}/s; time budget {}{runs}{kept}",
            velo_schema::format_bytes(self.args.max_rate),
            velo_schema::format_duration(self.args.budget),
        );
    }

    /// Returns notes about client properties that are overridden.
    fn notes(&self) -> Vec<String> {
        let set = self.overruled.iter();
        set.map(|name| format!("the property {name} is ignored, because the read rate limit depends on it"))
            .collect()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Returns advice with a refusal.
    fn refused(&self, refusal: Refusal) -> Advice {
        let advice = Advice::refused(self.topic.clone(), self.objective, refusal);
        Advice { current: self.current.clone(), ..advice }
    }

    /// Returns a function that makes clients. They prefetch at most a quarter of a second at the read rate limit, so
    /// that discarded records stay within the limit.
    fn connect(
        &self,
    ) -> impl Fn(Waker, u64) -> Result<TopicReader, KafkaError> + Clone + Send + Sync + 'static {
        let (settings, max_rate) = (self.settings.clone(), self.args.max_rate);
        move |waker, partitions| TopicReader::connect(&settings, max_rate / 4 / partitions.max(1), waker)
    }

    /// Samples the topic on a separate thread, so that the run can be interrupted while brokers do not respond.
    fn sample(&self) -> Result<Result<Sampled>, Ended> {
        let limits = Limits { period: self.args.sample, max_bytes_per_s: self.args.max_rate };
        let (connect, topic, sink_cost) = (self.connect(), self.topic.clone(), self.sink_cost);
        let (limit, progress) = (self.limit(), Arc::<Mutex<(u64, Duration)>>::default());
        let reported = Arc::clone(&progress);
        let bar = spinner();
        let sampled = self.limit().ask(
            move || -> Result<Sampled> {
                let waker = Waker::default();
                let reader = connect(waker.clone(), 1)?;
                let partitions = reader.partitions(&topic)?.len() as u64;
                let sink_cost = sink_cost.map_or_else(|| reader.round_trip(&topic), Ok)?;
                drop(reader);
                let connect = || connect(waker.clone(), partitions);
                let sample = sample(&connect, &topic, limits, &waker, &mut |records, elapsed| {
                    *reported.lock().unwrap_or_else(PoisonError::into_inner) = (records, elapsed);
                    if limit.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
                Ok(Sampled { sample, sink_cost, partitions })
            },
            &mut || {
                let (records, elapsed) = *progress.lock().unwrap_or_else(PoisonError::into_inner);
                let seconds = elapsed.as_secs_f64();
                let rate = records as f64 / seconds.max(1e-3);
                bar.set_message(format!(
                    "sampling {}: {records} records in {seconds:.1} s, {rate:.0} records/s",
                    self.topic
                ));
                bar.tick();
            },
        );
        bar.finish_and_clear();
        sampled
    }

    fn profile(&self, sample: &Sample) -> Result<Profile, Refusal> {
        if let Some(throttle) = sample.throttle {
            let throttle_ms = u64::try_from(throttle.as_millis()).unwrap_or(u64::MAX);
            return Err(Refusal::Throttled { throttle_ms });
        }
        let first_to_last = sample
            .recording
            .first()
            .zip(sample.recording.last())
            .map(|(first, last)| last.at.saturating_sub(first.at));
        match sample.profile() {
            _ if self.is_stopped() => Err(Refusal::Interrupted),
            Some(profile) if profile.records >= ENOUGH_RECORDS && first_to_last < Some(AT_ONCE) => {
                Err(Refusal::TooShort { seconds: first_to_last.unwrap_or_default().as_secs_f64() })
            }
            Some(profile) if profile.records >= ENOUGH_RECORDS => Ok(profile),
            profile if sample.capped => Err(Refusal::Capped {
                records: profile.map_or(0, |profile| profile.records),
                needed: ENOUGH_RECORDS,
                max_bytes_per_s: self.args.max_rate,
            }),
            Some(profile) => Err(Refusal::TooFewRecords { records: profile.records, needed: ENOUGH_RECORDS }),
            None if !sample.cleaning.open_transactions.is_empty() => {
                Err(Refusal::OpenTransactions { partitions: sample.cleaning.open_transactions.len() as u64 })
            }
            None => Err(Refusal::Idle { seconds: self.args.sample.as_secs_f64() }),
        }
    }

    fn header(&self, profile: Profile, work: Work) -> Header {
        let name = |value: PossibleValue| value.get_name().to_owned();
        Header {
            version: VERSION,
            topic: self.topic.clone(),
            setup: Setup {
                bootstrap_servers: self.bootstrap_servers.clone(),
                exec: self.args.exec.clone(),
                value_format: self.args.value_format.to_possible_value().map_or_else(String::new, name),
                sink_was_measured: self.sink_cost.is_none(),
            },
            wishes: self.objective,
            max_batch_records: self.max_batch_records,
            profile,
            work,
            cost: Cost::line(Duration::ZERO, Duration::ZERO),
            current: self.current.clone(),
        }
    }

    /// Resumes the evidence of an interrupted run, or calibrates the cost of batches.
    fn begin(&self, workload: &mut Workload, header: Header, bar: &ProgressBar) -> Result<Evidence, Ended> {
        if let Some(trials) = &self.trials {
            match trials.unfinished(&header) {
                Ok(mut evidence) => {
                    evidence.drop_last_round();
                    let count = evidence.trials.len();
                    anstream::eprintln!("resuming with {count} trials from {}", trials.name());
                    return Ok(evidence);
                }
                Err(Some(why)) => anstream::eprintln!("note: {why}"),
                Err(None) => {}
            }
        }
        let (for_calibration, _) = shares(self.args.budget);
        let whole = workload.limit.clone();
        // Limit the calibration to twice its share, so that time remains for the trials.
        workload.limit = whole.within(for_calibration * 2);
        let limit = workload.limit.clone();
        let cost = calibrate(workload, for_calibration, header.profile.records, &mut |step| {
            if let Step::Calibrating(records) = step {
                bar.set_message(format!("calibrating: batches of {records} records"));
                bar.tick();
            }
            until(&limit)
        });
        workload.limit = whole;
        let cost = cost?;
        let header = Header { cost, ..header };
        Ok(Evidence::predicted(header, Vec::new()))
    }

    /// Calibrates, predicts and tries candidates. Every result is saved before the next one is measured.
    fn measure(
        &self,
        workload: &mut Workload,
        arrivals: &Arrivals,
        profile: Profile,
        work: Work,
    ) -> Result<(Advice, bool), Refusal> {
        let bar = spinner();
        workload.limit = self.limit().within(self.args.budget);
        let mut evidence = match self.begin(workload, self.header(profile, work), &bar) {
            Ok(evidence) => evidence,
            Err(ended) => return Err(refusal(ended)),
        };
        let Header { cost, setup, work, .. } = &evidence.header;
        anstream::eprintln!("{}", advice::cost(cost, setup, work));
        bar.set_message("predicting all candidates");
        bar.tick();
        // Predictions of an interrupted run used other arrivals, so predict again.
        let left = workload.limit.left().unwrap_or_default();
        let half = workload.limit.within(left / 2);
        evidence.predicted = predict_all(&evidence.header, arrivals, &mut |_| until(&half));
        if self.is_stopped() {
            return Err(Refusal::Interrupted);
        }
        if evidence.predicted.is_empty() {
            return Err(Refusal::OutOfTime);
        }
        let mut file = self
            .trials
            .as_ref()
            .and_then(|trials| trials.begin(&evidence).map_err(|error| self.unkept(&error)).ok());
        let tried = self.try_best(workload, &mut evidence, &mut file, &bar);
        bar.finish_and_clear();
        match tried {
            Ok(()) | Err(Ended::Interrupted) => {}
            // The trials use up their time as planned.
            Err(Ended::OutOfTime) => evidence.is_complete = true,
            Err(ended) => return Err(refusal(ended)),
        }
        let advice = with_validity_range(&mut evidence, arrivals, self.objective, &workload.limit);
        if let Some(file) = &mut file {
            let mut finish = || -> std::io::Result<()> {
                evidence.holds.iter().try_for_each(|range| write_validity_range(file, range))?;
                if evidence.is_complete { write_complete(file) } else { file.flush() }
            };
            finish().unwrap_or_else(|error| self.unkept(&error.into()));
        }
        Ok((advice, evidence.is_complete))
    }

    fn try_best(
        &self,
        workload: &mut Workload,
        evidence: &mut Evidence,
        file: &mut Option<BufWriter<File>>,
        bar: &ProgressBar,
    ) -> Result<(), Ended> {
        /// Share of the remaining time for trials. The rest is for the validity range.
        const SHARE: f64 = 0.9;
        let limit = workload.limit.clone();
        let for_trials = limit.left().unwrap_or_default().mul_f64(SHARE);
        let seed = evidence.header.profile.records;
        let mut observe = |step: Step<'_>| {
            match step {
                Step::Trying(candidate, number, best) => {
                    let best =
                        best.map(|best| advice::best_so_far(best, self.objective.goal)).unwrap_or_default();
                    let left = limit.left().unwrap_or_default().as_secs();
                    let round = number + 1;
                    bar.set_message(format!("round {round} of {ROUNDS}: {candidate}{best}; {left} s left"));
                    bar.tick();
                }
                Step::Tried(trial) => {
                    if let Some(Err(error)) = file.as_mut().map(|file| write_trial(file, trial)) {
                        self.unkept(&error.into());
                        *file = None;
                    }
                }
                Step::Calibrating(_) | Step::Predicting | Step::Predicted(_) => {}
            }
            until(&limit)
        };
        until(&limit).map_break(Err).break_value().unwrap_or(Ok(()))?;
        try_best(workload, evidence, self.objective, for_trials, seed, &mut observe)
    }

    /// Confirms the recommendation and the current configuration on the live topic. If a confirmation fails, the advice
    /// contains the reason.
    fn confirm_all(&self, advice: &mut Advice, workload: &Workload, partitions: u64, reading: &mut Reading) {
        let (Some(best), Some(profile)) = (&advice.recommendation, &advice.profile) else { return };
        let current = advice.current.clone().filter(|_| !best.is_current);
        let wanted = [Some(best.candidate.clone()), current];
        let mut confirmed: [Option<Confirmation>; 2] = [None, None];
        let mut unconfirmed: [Option<Unconfirmed>; 2] = [None, None];
        let connect = self.connect();
        let connect: Connect = Arc::new(move |waker| connect(waker, partitions));
        let clocks = profile.cleaning.clocks.clone();
        let mut is_throttled = false;
        for (index, candidate) in wanted.iter().enumerate() {
            let may_go_on = !self.is_stopped() && !is_throttled;
            let Some(candidate) = candidate.as_ref().filter(|_| may_go_on) else { continue };
            anstream::eprintln!("confirming {candidate} on the live topic");
            let started = Instant::now();
            let mut received = Received::default();
            let outcome = length(candidate, profile).and_then(|length| {
                let max_bytes_per_s = self.args.max_rate;
                let live = Live { topic: &self.topic, length, max_bytes_per_s, clocks: &clocks };
                confirm(&connect, live, candidate, workload, &mut received)
            });
            reading.record_bytes += received.record_bytes;
            reading.wire_bytes += received.wire_bytes;
            match outcome {
                Ok(confirmation) => confirmed[index] = Some(confirmation),
                Err(why) => {
                    is_throttled = matches!(why, Unconfirmed::Sample(SampleError::Throttled(_)));
                    anstream::eprintln!("note: {candidate} was not confirmed on the live topic: {why}");
                    unconfirmed[index] = Some(why);
                }
            }
            reading.seconds += started.elapsed().as_secs_f64();
        }
        let [of_best, of_current] = unconfirmed;
        advice.unconfirmed = of_best.map(|why| why.to_string());
        let note = |why| format!("the current configuration was not confirmed on the live topic: {why}");
        advice.notes.extend(of_current.map(note));
        [advice.confirmation, advice.current_confirmation] = confirmed;
    }
}

/// A sample, the sink round trip per batch, and the number of partitions.
struct Sampled {
    sample: Sample,
    sink_cost: Duration,
    partitions: u64,
}

/// Ends a phase when the limit is reached.
fn until(limit: &Limit) -> ControlFlow<Ended> {
    limit.reached().map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// Returns the refusal of a run that ended before there was a result.
fn refusal(ended: Ended) -> Refusal {
    match ended {
        Ended::Interrupted => Refusal::Interrupted,
        Ended::OutOfTime => Refusal::OutOfTime,
        Ended::EveryRecordFailed(error) => Refusal::EveryRecordFails { error },
    }
}

/// Returns a note if other virtual machines used much of this machine's processor time during the measurements.
fn taken_by_others(before: Steal) -> Option<String> {
    const MUCH: f64 = 0.05;
    let share = Some(Steal::now()?.share_since(before)).filter(|share| *share > MUCH)?;
    Some(format!(
        "the hypervisor withheld {:.0} % of the processor time during the measurements (steal); latencies are too high, \
         and comparisons between candidates are less reliable",
        share * 100.0
    ))
}

fn processor(args: &AdviseArgs) -> Box<dyn Fn() -> Box<dyn Processor>> {
    let (command, timeout) = (args.exec.clone(), args.exec_timeout);
    Box::new(move || match &command {
        Some(command) => Box::new(ExecProcessor::new(Exec {
            command: command.clone(),
            timeout,
            environment: vec![("VELO_ADVISE".to_owned(), "1".to_owned())],
        })),
        // The workload adds a cost that is given as a time.
        None => Box::new(Forward),
    })
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}
