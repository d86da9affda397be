//! One topic to advise on: sampled, measured, tried, confirmed; what is known is kept and told on the way.

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
use velo_advisor::predict::Arrivals;
use velo_advisor::runner::Workload;
use velo_advisor::sample::{Limits, Sample, SampleError, sample};
use velo_advisor::session::{Ended, ROUNDS, Step, calibrate, predict_all, shares, try_best};
use velo_advisor::trial::{Header, Setup, VERSION, write_complete, write_holds, write_trial};
use velo_advisor::{Advice, Candidate, Confirmation, Cost, Evidence, Limit, Profile, Refusal, Wishes, Work};
use velo_engine::exec::{Exec, ExecProcessor};
use velo_engine::kafka::{ClientSettings, KafkaError, Received, TopicReader};
use velo_engine::processor::{Forward, Processor};
use velo_engine::waker::Waker;

use super::steal::Steal;
use super::trials::Trials;
use super::{Outcome, with_drift};
use crate::args::AdviseArgs;
use crate::render::advice;

/// Fewer records than this do not describe a workload.
const ENOUGH_RECORDS: u64 = 100;
/// Records that came within less have no rate.
const AT_ONCE: Duration = Duration::from_millis(10);

pub(super) struct Session<'a> {
    pub args: &'a AdviseArgs,
    pub settings: ClientSettings,
    /// Properties that the user has set and that the cap on what is read needs otherwise.
    pub overruled: Vec<String>,
    /// None where the topic is in this process.
    pub bootstrap_servers: Option<String>,
    pub topic: String,
    pub wishes: Wishes,
    /// What a batch's way to the sink takes; measured where it is not given.
    pub sink_cost: Option<Duration>,
    pub trials: Option<Trials>,
    pub current: Option<Candidate>,
    /// The statement's cap on the records of a batch.
    pub max_batch_records: Option<u64>,
    pub stop: Arc<AtomicBool>,
}

impl Session<'_> {
    pub fn advise(&self) -> Result<Outcome> {
        self.say_what_is_safe();
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
        Outcome { advice: advice.concluded(), interrupted: self.is_stopped(), unfinished }
    }

    /// Reached when somebody ends the program.
    fn limit(&self) -> Limit {
        Limit::new(Arc::clone(&self.stop))
    }

    /// What is done to the topic, and with what, before it is done.
    fn say_what_is_safe(&self) {
        let exec = self.args.exec.as_ref();
        let runs =
            exec.map_or(String::new(), |command| format!("; runs '{command}' on real records, many times"));
        let kept = self
            .trials
            .as_ref()
            .map_or(String::new(), |trials| format!("; keeps trials in {}", trials.name()));
        anstream::eprintln!(
            "reading only: no group is joined, nothing is committed or written; at most {}/s, trials for {}{runs}{kept}",
            velo_schema::format_bytes(self.args.max_rate),
            velo_schema::format_duration(self.args.budget),
        );
    }

    /// What of the client's properties does not hold here.
    fn notes(&self) -> Vec<String> {
        let set = self.overruled.iter();
        set.map(|name| {
            format!("the property {name} has no effect here, so that the cap on what is read holds")
        })
        .collect()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Where there is nothing to make advice from.
    fn refused(&self, refusal: Refusal) -> Advice {
        let advice = Advice::refused(self.topic.clone(), self.wishes, refusal);
        Advice { current: self.current.clone(), ..advice }
    }

    /// Makes clients that fetch at most a quarter of a second ahead, so that what is thrown away stays within the cap.
    fn connect(
        &self,
    ) -> impl Fn(Waker, u64) -> Result<TopicReader, KafkaError> + Clone + Send + Sync + 'static {
        let (settings, max_rate) = (self.settings.clone(), self.args.max_rate);
        move |waker, partitions| TopicReader::connect(&settings, max_rate / 4 / partitions.max(1), waker)
    }

    /// The sample. Brokers that do not answer keep nobody from ending it: they are asked on a thread of its own.
    fn sample(&self) -> Result<Result<Sampled>, Ended> {
        let limits = Limits { period: self.args.sample, max_bytes_per_s: self.args.max_rate };
        let (connect, topic, sink_cost) = (self.connect(), self.topic.clone(), self.sink_cost);
        let (limit, progress) = (self.limit(), Arc::<Mutex<(u64, Duration)>>::default());
        let told = Arc::clone(&progress);
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
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = (records, elapsed);
                    if limit.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
                Ok(Sampled { sample, sink_cost, partitions })
            },
            &mut || {
                let (records, elapsed) = *progress.lock().unwrap_or_else(PoisonError::into_inner);
                let seconds = elapsed.as_secs_f64();
                let rate = records as f64 / seconds.max(1e-3);
                bar.set_message(format!(
                    "sampling {}: {records} records, {rate:.0}/s read, {seconds:.1} s",
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
            wishes: self.wishes,
            max_batch_records: self.max_batch_records,
            profile,
            work,
            cost: Cost::line(Duration::ZERO, Duration::ZERO),
            current: self.current.clone(),
        }
    }

    /// What an interrupted run has left, or the costs of batches measured anew.
    fn begin(&self, workload: &mut Workload, header: Header, bar: &ProgressBar) -> Result<Evidence, Ended> {
        if let Some(trials) = &self.trials {
            match trials.unfinished(&header) {
                Ok(mut evidence) => {
                    evidence.drop_last_round();
                    let count = evidence.trials.len();
                    anstream::eprintln!("going on from {count} trials in {}", trials.name());
                    return Ok(evidence);
                }
                Err(Some(why)) => anstream::eprintln!("note: {why}"),
                Err(None) => {}
            }
        }
        let (for_calibration, _) = shares(self.args.budget);
        let whole = workload.limit.clone();
        // What takes longer than its share ends before it has used up that of the trials.
        workload.limit = whole.within(for_calibration * 2);
        let limit = workload.limit.clone();
        let cost = calibrate(workload, for_calibration, header.profile.records, &mut |step| {
            if let Step::Calibrating(records) = step {
                bar.set_message(format!("measuring batches of {records} records"));
                bar.tick();
            }
            until(&limit)
        });
        workload.limit = whole;
        let cost = cost?;
        let header = Header { cost, ..header };
        Ok(Evidence::predicted(header, Vec::new()))
    }

    /// Calibrates, predicts and tries; each finding is written before the next one is sought.
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
        // Those that an interrupted run has left are of other arrivals.
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
            .and_then(|trials| trials.begin(&evidence).map_err(|error| unkept(&error)).ok());
        let tried = self.try_best(workload, &mut evidence, &mut file, &bar);
        bar.finish_and_clear();
        match tried {
            Ok(()) | Err(Ended::Interrupted) => {}
            // It was to end then.
            Err(Ended::OutOfTime) => evidence.is_complete = true,
            Err(ended) => return Err(refusal(ended)),
        }
        let advice = with_drift(&mut evidence, arrivals, self.wishes, &workload.limit);
        if let Some(file) = &mut file {
            let mut finish = || -> std::io::Result<()> {
                evidence.holds.iter().try_for_each(|holds| write_holds(file, holds))?;
                if evidence.is_complete { write_complete(file) } else { file.flush() }
            };
            finish().unwrap_or_else(|error| unkept(&error.into()));
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
        /// The rest is for how far the advice holds.
        const SHARE: f64 = 0.9;
        let limit = workload.limit.clone();
        let for_trials = limit.left().unwrap_or_default().mul_f64(SHARE);
        let seed = evidence.header.profile.records;
        let mut observe = |step: Step<'_>| {
            match step {
                Step::Trying(candidate, number, best) => {
                    let best =
                        best.map(|best| advice::best_so_far(best, self.wishes.goal)).unwrap_or_default();
                    let left = limit.left().unwrap_or_default().as_secs();
                    let round = number + 1;
                    bar.set_message(format!("round {round} of {ROUNDS}: {candidate}{best}; {left} s left"));
                    bar.tick();
                }
                Step::Tried(trial) => {
                    if let Some(Err(error)) = file.as_mut().map(|file| write_trial(file, trial)) {
                        unkept(&error.into());
                        *file = None;
                    }
                }
                Step::Calibrating(_) | Step::Predicting | Step::Predicted(_) => {}
            }
            until(&limit)
        };
        until(&limit).map_break(Err).break_value().unwrap_or(Ok(()))?;
        try_best(workload, evidence, self.wishes, for_trials, seed, &mut observe)
    }

    /// The recommendation on the live topic, and what runs now; if that cannot be, the advice says so.
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
        let what_runs = |why| format!("what runs now was not confirmed on the live topic: {why}");
        advice.notes.extend(of_current.map(what_runs));
        [advice.confirmation, advice.current_confirmation] = confirmed;
    }
}

/// What was read of a topic, what a batch's way to the sink takes, and how many partitions there are.
struct Sampled {
    sample: Sample,
    sink_cost: Duration,
    partitions: u64,
}

fn until(limit: &Limit) -> ControlFlow<Ended> {
    limit.reached().map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// Why nothing is recommended if measuring ended before anything was known.
fn refusal(ended: Ended) -> Refusal {
    match ended {
        Ended::Interrupted => Refusal::Interrupted,
        Ended::OutOfTime => Refusal::OutOfTime,
        Ended::EveryRecordFailed(error) => Refusal::EveryRecordFails { error },
    }
}

/// Trials that cannot be kept are none the worse.
fn unkept(error: &anyhow::Error) {
    anstream::eprintln!("note: the trials are not kept: {error:#}");
}

/// What was measured is not this machine's own work where others had much of its time.
fn taken_by_others(before: Steal) -> Option<String> {
    const MUCH: f64 = 0.05;
    let share = Some(Steal::now()?.share_since(before)).filter(|share| *share > MUCH)?;
    Some(format!(
        "others had {:.0} % of this machine's processors while it was measured (steal): latencies are longer than on \
         a machine of its own, and how candidates compare is less sure",
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
        // A cost that is given as a time is that of the workload.
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
