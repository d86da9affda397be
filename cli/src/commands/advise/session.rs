//! One topic to advise on: sampled, measured, tried, confirmed; what is known is kept and told on the way.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use indicatif::{ProgressBar, ProgressStyle};
use velo_advisor::advice::Reading;
use velo_advisor::confirm::{Live, confirm};
use velo_advisor::predict::Arrivals;
use velo_advisor::runner::Workload;
use velo_advisor::sample::{Limits, Sample, SampleError, sample};
use velo_advisor::session::{Ended, ROUNDS, Step, calibrate, predict_all, shares, try_best};
use velo_advisor::trial::{Header, Setup, VERSION, write_complete, write_holds, write_trial};
use velo_advisor::{Advice, Candidate, Confirmation, Cost, Evidence, Profile, Refusal, Wishes, Work};
use velo_engine::exec::{Exec, ExecProcessor};
use velo_engine::kafka::{ClientSettings, KafkaError, Received, TopicReader};
use velo_engine::processor::{Forward, Processor};
use velo_engine::waker::Waker;

use super::steal::Steal;
use super::trials::Trials;
use super::{Outcome, with_drift};
use crate::args::AdviseArgs;
use crate::render::advice;

/// How long a configuration is confirmed on the live topic.
const CONFIRM: Duration = Duration::from_secs(3);
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
        let (sample, sink_cost, partitions) = self.sample()?;
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
            Outcome { advice, interrupted: self.is_stopped(), unfinished }
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
            format: self.args.value_format.into(),
            sink_cost,
            has_program: self.args.exec.is_some(),
            stop: Arc::clone(&self.stop),
        };
        let work = Work::new(self.args.cost.unwrap_or_default(), sink_cost);
        anstream::eprintln!("{}", advice::workload(&profile, &work));
        let before = Steal::now();
        let (mut advice, is_complete) = match self.measure(&mut workload, &arrivals, profile.clone(), work)? {
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
        self.confirm_all(&mut advice, &workload, partitions, &mut reading);
        anstream::eprintln!("{}", advice::reading(&reading));
        Ok(end(advice, reading, is_complete))
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

    fn goes_on(&self) -> ControlFlow<()> {
        if self.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Where there is nothing to make advice from.
    fn refused(&self, refusal: Refusal) -> Advice {
        let advice = Advice::refused(self.topic.clone(), self.wishes, refusal);
        Advice { current: self.current.clone(), ..advice }
    }

    /// A client that fetches at most a quarter of a second ahead, so that what is thrown away stays within the cap.
    fn connect(&self, waker: Waker, partitions: u64) -> Result<TopicReader, KafkaError> {
        TopicReader::connect(&self.settings, self.args.max_rate / 4 / partitions.max(1), waker)
    }

    /// The sample, what a batch's way to the sink takes, and how many partitions there are.
    fn sample(&self) -> Result<(Sample, Duration, u64)> {
        let waker = Waker::default();
        let reader = self.connect(waker.clone(), 1)?;
        let partitions = reader.partitions(&self.topic)?.len() as u64;
        let sink_cost = match self.sink_cost {
            Some(cost) => cost,
            None => reader.round_trip(&self.topic)?,
        };
        drop(reader);
        let limits = Limits { period: self.args.sample, max_bytes_per_s: self.args.max_rate };
        let bar = spinner();
        let connect = || self.connect(waker.clone(), partitions);
        let sampled = sample(&connect, &self.topic, limits, &waker, &mut |records, elapsed| {
            let seconds = elapsed.as_secs_f64();
            let rate = records as f64 / seconds.max(1e-3);
            bar.set_message(format!(
                "sampling {}: {records} records, {rate:.0}/s read, {seconds:.1} s",
                self.topic
            ));
            bar.tick();
            self.goes_on()
        });
        bar.finish_and_clear();
        Ok((sampled?, sink_cost, partitions))
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
            Some(profile) => Err(Refusal::TooFewRecords { records: profile.records, needed: ENOUGH_RECORDS }),
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
        let cost = calibrate(workload, for_calibration, header.profile.records, &mut |step| {
            if let Step::Calibrating(records) = step {
                bar.set_message(format!("measuring batches of {records} records"));
                bar.tick();
            }
            self.goes_on()
        })?;
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
    ) -> Result<Result<(Advice, bool), Refusal>> {
        let started = Instant::now();
        let bar = spinner();
        let mut evidence = match self.begin(workload, self.header(profile, work), &bar) {
            Ok(evidence) => evidence,
            Err(Ended::Interrupted) => return Ok(Err(Refusal::Interrupted)),
            Err(Ended::EveryRecordFailed(error)) => return Ok(Err(Refusal::EveryRecordFails { error })),
        };
        let Header { cost, setup, work, .. } = &evidence.header;
        anstream::eprintln!("{}", advice::cost(cost, setup, work));
        bar.set_message("predicting all candidates");
        bar.tick();
        // Those that an interrupted run has left are of other arrivals.
        evidence.predicted = predict_all(&evidence.header, arrivals, &mut |_| self.goes_on());
        if self.is_stopped() {
            return Ok(Err(Refusal::Interrupted));
        }
        let mut file = self.trials.as_ref().map(|trials| trials.begin(&evidence)).transpose()?;
        let tried = self.try_best(workload, &mut evidence, &mut file, &bar, started);
        bar.finish_and_clear();
        match tried? {
            Ok(()) | Err(Ended::Interrupted) => {}
            Err(Ended::EveryRecordFailed(error)) => return Ok(Err(Refusal::EveryRecordFails { error })),
        }
        let advice = with_drift(&mut evidence, arrivals, self.wishes);
        if let Some(file) = &mut file {
            let mut finish = || -> std::io::Result<()> {
                evidence.holds.iter().try_for_each(|holds| write_holds(file, holds))?;
                if evidence.is_complete { write_complete(file) } else { file.flush() }
            };
            finish().with_context(|| self.trials.as_ref().map(Trials::name).unwrap_or_default())?;
        }
        Ok(Ok((advice, evidence.is_complete)))
    }

    fn try_best(
        &self,
        workload: &mut Workload,
        evidence: &mut Evidence,
        file: &mut Option<BufWriter<File>>,
        bar: &ProgressBar,
        started: Instant,
    ) -> Result<Result<(), Ended>> {
        let (_, for_trials) = shares(self.args.budget);
        let seed = evidence.header.profile.records;
        let mut failed = None;
        let mut observe = |step: Step<'_>| {
            match step {
                Step::Trying(candidate, number, best) => {
                    let best =
                        best.map(|best| advice::best_so_far(best, self.wishes.goal)).unwrap_or_default();
                    let left = self.args.budget.saturating_sub(started.elapsed()).as_secs();
                    let round = number + 1;
                    bar.set_message(format!("round {round} of {ROUNDS}: {candidate}{best}; {left} s left"));
                    bar.tick();
                }
                Step::Tried(trial) => {
                    if let Some(Err(error)) = file.as_mut().map(|file| write_trial(file, trial)) {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
                Step::Calibrating(_) | Step::Predicted(_) => {}
            }
            self.goes_on()
        };
        let tried = if self.is_stopped() {
            Err(Ended::Interrupted)
        } else {
            try_best(workload, evidence, self.wishes, for_trials, seed, &mut observe)
        };
        match failed {
            Some(error) => {
                Err(error).with_context(|| self.trials.as_ref().map(Trials::name).unwrap_or_default())
            }
            None => Ok(tried),
        }
    }

    /// The recommendation on the live topic, and what runs now; where that cannot be, the advice stands without.
    fn confirm_all(&self, advice: &mut Advice, workload: &Workload, partitions: u64, reading: &mut Reading) {
        let Some(best) = &advice.recommendation else { return };
        let current = advice.current.clone().filter(|_| !best.is_current);
        let wanted = [Some(best.candidate.clone()), current];
        let mut confirmed: [Option<Confirmation>; 2] = [None, None];
        let connect = |waker| self.connect(waker, partitions);
        let live = Live { topic: &self.topic, length: CONFIRM, max_bytes_per_s: self.args.max_rate };
        let mut is_throttled = false;
        for (candidate, confirmed) in wanted.iter().zip(&mut confirmed) {
            let may_go_on = !self.is_stopped() && !is_throttled;
            let Some(candidate) = candidate.as_ref().filter(|_| may_go_on) else { continue };
            anstream::eprintln!("confirming {candidate} on the live topic");
            let started = Instant::now();
            let mut received = Received::default();
            let outcome = confirm(&connect, live, candidate, workload, &mut received);
            reading.record_bytes += received.record_bytes;
            reading.wire_bytes += received.wire_bytes;
            match outcome {
                Ok(confirmation) => *confirmed = Some(confirmation),
                Err(error) => {
                    is_throttled = matches!(error, SampleError::Throttled(_));
                    let note = format!("{candidate} was not confirmed on the live topic: {error}");
                    anstream::eprintln!("note: {note}");
                    advice.notes.push(note);
                }
            }
            reading.seconds += started.elapsed().as_secs_f64();
        }
        [advice.confirmation, advice.current_confirmation] = confirmed;
        if let Some(doubt) = advice.doubt() {
            anstream::eprintln!("note: {doubt}");
            advice.notes.push(doubt);
        }
    }
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
    let (command, timeout, cost) = (args.exec.clone(), args.exec_timeout, args.cost);
    Box::new(move || match (&command, cost) {
        (Some(command), _) => Box::new(ExecProcessor::new(Exec {
            command: command.clone(),
            timeout,
            environment: vec![("VELO_ADVISE".to_owned(), "1".to_owned())],
        })),
        (None, Some(synthetic)) if !synthetic.service_time(1).is_zero() => Box::new(synthetic),
        (None, _) => Box::new(Forward),
    })
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}
