//! `velo advise`: a topic in, a measured recommendation out.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use velo_advisor::confirm::confirm;
use velo_advisor::predict::Arrivals;
use velo_advisor::runner::Workload;
use velo_advisor::sample::{Limits, Sample, sample};
use velo_advisor::session::{ROUNDS, Step, calibrate, predict_all, shares, try_best};
use velo_advisor::trial::{Header, VERSION, write_complete, write_header, write_predicted, write_trial};
use velo_advisor::{Advice, Candidate, Cost, Evidence, Goal, Profile, Refusal, Wishes, Work, recommend};
use velo_engine::Control;
use velo_engine::exec::{Exec, ExecProcessor};
use velo_engine::kafka::{ClientSettings, TopicReader};
use velo_engine::processor::{Forward, Processor};
use velo_lint::{Document, Options};
use velo_schema::Side;

use crate::args::{AdviseArgs, DemoArg, GoalArg};
use crate::clause::with_settings;
use crate::demo::{self, Demo};
use crate::input::{Input, read};
use crate::kafka::settings;
use crate::mend;
use crate::query;
use crate::render::{advice, export, plan::sides, style};
use crate::statement::{print_errors, select};

const EXIT_NOT_ENOUGH_EVIDENCE: u8 = 3;
const EXIT_INFEASIBLE: u8 = 4;
const EXIT_INTERRUPTED: u8 = 130;

/// How long the recommendation is confirmed on the live topic.
const CONFIRM: Duration = Duration::from_secs(3);
/// Fewer records than this do not describe a workload.
const ENOUGH_RECORDS: u64 = 100;
/// How far a workload may have changed since the trials that a run goes on from.
const DRIFT: f64 = 0.2;

pub(crate) fn run(args: &AdviseArgs) -> Result<ExitCode> {
    if args.write && args.sql.as_deref() == Some(Path::new("-")) {
        bail!("--write needs a file, not stdin");
    }
    let target = args.sql.as_deref().map(|path| Target::read(path, args.statement.as_deref())).transpose()?;
    let outcome = advise(args, target.as_ref())?;
    print(args, target.as_ref(), &outcome)
}

/// The advice, and whether it was interrupted.
struct Outcome {
    advice: Advice,
    interrupted: bool,
}

impl From<Advice> for Outcome {
    fn from(advice: Advice) -> Self {
        Self { advice, interrupted: false }
    }
}

fn advise(args: &AdviseArgs, target: Option<&Target>) -> Result<Outcome> {
    let current = target.and_then(|target| target.current.clone());
    if let Some(path) = &args.from_trials {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let evidence = Evidence::read(BufReader::new(file)).with_context(|| path.display().to_string())?;
        return Ok(recommend(&evidence, wishes(args, None)).into());
    }
    if let (Some(rate), Some(record_bytes)) = (args.rate, args.record_size) {
        return Ok(modelled(args, current, rate, record_bytes).into());
    }
    if let Some(demo) = args.demo {
        let workload = match demo {
            DemoArg::Bulk => &demo::BULK,
            DemoArg::Alerts => &demo::ALERTS,
        };
        anstream::eprintln!("{} {}", style::bold("demo:"), workload.description);
        let running = Demo::start(workload)?;
        let session = Session {
            args,
            settings: running.settings()?,
            topic: demo::TOPIC.to_owned(),
            wishes: wishes(args, workload.p99),
            sink_cost: Some(args.sink_cost.unwrap_or(workload.sink_cost)),
            trials: args.trials.clone(),
            current,
            stop: stop_signal()?,
        };
        return session.advise();
    }
    let Some(topic) = args.topic.clone().or_else(|| target.map(|target| target.topic.clone())) else {
        bail!("--topic is missing");
    };
    let session = Session {
        args,
        settings: settings(&args.broker)?,
        wishes: wishes(args, None),
        sink_cost: args.sink_cost,
        trials: Some(
            args.trials.clone().unwrap_or_else(|| PathBuf::from(format!("velo-trials-{topic}.jsonl"))),
        ),
        topic,
        current,
        stop: stop_signal()?,
    };
    session.advise()
}

fn wishes(args: &AdviseArgs, default_p99: Option<Duration>) -> Wishes {
    let goal = match args.goal {
        GoalArg::Latency => Goal::Latency,
        GoalArg::Throughput => Goal::Throughput,
        GoalArg::Memory => Goal::Memory,
        GoalArg::Cpu => Goal::Cpu,
    };
    Wishes { goal, p99: args.p99.or(default_p99), memory_bytes: args.memory }
}

/// Set by Ctrl-C; a second one ends the program at once.
fn stop_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::<AtomicBool>::default();
    for signal in [SIGINT, SIGTERM] {
        let shutdown = signal_hook::flag::register_conditional_shutdown(
            signal,
            EXIT_INTERRUPTED.into(),
            Arc::clone(&stop),
        );
        shutdown.context("signal handlers")?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("signal handlers")?;
    }
    Ok(stop)
}

/// The statement that is to be configured.
struct Target {
    input: Input,
    document: Document,
    number: usize,
    /// The topic that it reads.
    topic: String,
    current: Option<Candidate>,
}

impl Target {
    fn read(path: &Path, statement: Option<&str>) -> Result<Self> {
        let input = read(path, None)?;
        let document = input.document();
        if print_errors(&document) {
            bail!("{}: mend its settings first", input.name);
        }
        let number = select(&document, statement)?;
        let options = Options::default();
        let unit = document.units(&options).nth(number).context("the statement that was selected")?;
        let span = unit.statement.query.clone().unwrap_or_default();
        let source = query::source(&unit.text[span]).with_context(|| input.name.clone())?;
        let topic = velo_lint::topics::topic(&unit, &source, Side::Source).name;
        let topic =
            topic.with_context(|| format!("{}: a topic is a placeholder, fill it in first", input.name))?;
        let (settings, ..) = sides(&unit);
        let current = Candidate::of_settings(&settings);
        Ok(Self { input, document, number, topic, current })
    }

    /// The file with this candidate in the statement's clause.
    fn with(&self, candidate: &Candidate) -> Result<String> {
        let options = Options::default();
        let unit = self.document.units(&options).nth(self.number).context("the statement")?;
        let text = with_settings(&unit, candidate).with_context(|| self.input.name.clone())?;
        // Other scopes, keys that stay and templates may have a say: what was written is read again.
        let changed = Input { text, name: self.input.name.clone(), language: self.input.language };
        let document = changed.document();
        let reads = document.units(&options).nth(self.number).map(|unit| sides(&unit).0.config());
        let wanted = candidate.config();
        let is_meant = |config: &velo_schema::Config| {
            (config.enabled, &config.strategy, config.max_batch_records)
                == (wanted.enabled, &wanted.strategy, wanted.max_batch_records)
        };
        if !reads.as_ref().is_some_and(is_meant) {
            bail!(
                "{}: other settings of the statement would change what was recommended; write the clause by hand",
                self.input.name
            );
        }
        Ok(changed.text)
    }
}

/// Advice from the model alone.
fn modelled(args: &AdviseArgs, current: Option<Candidate>, records_per_s: f64, record_bytes: u64) -> Advice {
    let cost = args.cost.unwrap_or_default();
    let sink = args.sink_cost.unwrap_or_default();
    let header = Header {
        version: VERSION,
        topic: String::new(),
        profile: Profile::random(records_per_s, record_bytes),
        work: Work::new(cost, sink),
        cost: Cost::line(cost.per_batch + sink, cost.per_record),
        current,
    };
    let arrivals = Arrivals::random(records_per_s, record_bytes);
    let predicted = predict_all(&header, &arrivals, &mut |_| ControlFlow::Continue(()));
    let evidence = Evidence { header, predicted, trials: Vec::new(), is_complete: true };
    recommend(&evidence, wishes(args, None))
}

/// One topic to advise on.
struct Session<'a> {
    args: &'a AdviseArgs,
    settings: ClientSettings,
    topic: String,
    wishes: Wishes,
    /// What a batch's way to the sink takes; measured where it is not given.
    sink_cost: Option<Duration>,
    trials: Option<PathBuf>,
    current: Option<Candidate>,
    stop: Arc<AtomicBool>,
}

impl Session<'_> {
    fn advise(&self) -> Result<Outcome> {
        if let Some(path) = &self.trials {
            // Better now than when everything has been measured; nothing is left where there was nothing.
            let was_there = path.exists();
            let opened = File::options().create(true).append(true).open(path).map(drop);
            let removed = opened.and_then(|()| if was_there { Ok(()) } else { std::fs::remove_file(path) });
            removed.with_context(|| path.display().to_string())?;
        }
        let runs = self
            .args
            .exec
            .as_ref()
            .map_or(String::new(), |command| format!("; runs '{command}' on real records, many times"));
        anstream::eprintln!(
            "reading only: no group is joined, nothing is committed or written; at most {}/s, trials for {}{runs}",
            velo_schema::format_bytes(self.args.max_rate),
            velo_schema::format_duration(self.args.budget),
        );
        let (sample, sink_cost) = self.sample()?;
        for notice in &sample.notices {
            anstream::eprintln!("note: {notice}");
        }
        if let Some(throttle) = sample.throttle {
            let throttle_ms = u64::try_from(throttle.as_millis()).unwrap_or(u64::MAX);
            return Ok(self.refused(Refusal::Throttled { throttle_ms }));
        }
        let profile = match Profile::of(&sample.recording, sample.period) {
            Some(profile) if profile.records >= ENOUGH_RECORDS => profile,
            _ if sample.recording.is_empty() => {
                return Ok(self.refused(Refusal::Idle { seconds: self.args.sample.as_secs_f64() }));
            }
            _ => {
                let records = sample.recording.len() as u64;
                return Ok(self.refused(Refusal::TooFewRecords { records, needed: ENOUGH_RECORDS }));
            }
        };
        let arrivals = Arrivals::of(&sample.recording, sample.period);
        let mut workload = Workload {
            recording: sample.recording,
            period: sample.period,
            processor: processor(self.args),
            format: self.args.value_format.into(),
            sink_cost,
            stop: Arc::clone(&self.stop),
        };
        let work = Work::new(self.args.cost.unwrap_or_default(), sink_cost);
        anstream::eprintln!("{}", advice::workload(&profile, &work));
        let Some(evidence) = self.measure(&mut workload, &arrivals, profile, work)? else {
            return Ok(self.refused(Refusal::NoTrials));
        };
        let mut advice = recommend(&evidence, self.wishes);
        let mut interrupted = self.is_stopped();
        if let Some(recommendation) = advice.recommendation.as_ref().filter(|_| !interrupted) {
            anstream::eprintln!("confirming {} on the live topic", recommendation.candidate);
            let control = Control::default();
            let reader = self.connect(&control)?;
            let (candidate, max_rate) = (&recommendation.candidate, self.args.max_rate);
            let confirmed = confirm(reader, &self.topic, candidate, &workload, CONFIRM, max_rate, control)?;
            interrupted = self.is_stopped();
            advice.confirmation = Some(confirmed);
        }
        Ok(Outcome { advice, interrupted })
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn goes_on(&self) -> ControlFlow<()> {
        if self.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Where there is nothing to make advice from.
    fn refused(&self, refusal: Refusal) -> Outcome {
        let advice = Advice::refused(self.topic.clone(), self.wishes, refusal);
        Outcome { advice: Advice { current: self.current.clone(), ..advice }, interrupted: self.is_stopped() }
    }

    fn connect(&self, control: &Control) -> Result<TopicReader> {
        // A quarter of a second ahead, so that what is fetched and thrown away stays within the cap.
        Ok(TopicReader::connect(&self.settings, self.args.max_rate / 4, control.waker())?)
    }

    fn sample(&self) -> Result<(Sample, Duration)> {
        let control = Control::default();
        let reader = self.connect(&control)?;
        let sink_cost = match self.sink_cost {
            Some(cost) => cost,
            None => reader.round_trip(&self.topic)?,
        };
        let limits = Limits { period: self.args.sample, max_bytes_per_s: self.args.max_rate };
        let bar = spinner();
        let sampled = sample(reader, &self.topic, limits, &control.waker(), &mut |records, elapsed| {
            let seconds = elapsed.as_secs_f64();
            let rate = records as f64 / seconds.max(1e-3);
            bar.set_message(format!(
                "sampling {}: {records} records, {rate:.0}/s, {seconds:.1} s",
                self.topic
            ));
            bar.tick();
            self.goes_on()
        });
        bar.finish_and_clear();
        Ok((sampled?, sink_cost))
    }

    /// What an earlier run that was interrupted has left, if it is still true.
    fn unfinished(&self, path: &Path, profile: &Profile, work: Work) -> Option<Evidence> {
        let evidence = Evidence::read(BufReader::new(File::open(path).ok()?)).ok()?;
        let Header { topic, profile: then, work: work_then, current, .. } = &evidence.header;
        let ratio = profile.records_per_s / then.records_per_s.max(1e-9);
        let is_same = !evidence.is_complete
            && *topic == self.topic
            && *current == self.current
            && work.per_batch_ms.total_cmp(&work_then.per_batch_ms).is_eq()
            && work.per_record_ms.total_cmp(&work_then.per_record_ms).is_eq()
            && !evidence.predicted.is_empty();
        if is_same && (1.0 - ratio).abs() > DRIFT {
            anstream::eprintln!("the workload is another one than in {}: starting over", path.display());
        }
        (is_same && (1.0 - ratio).abs() <= DRIFT).then_some(evidence)
    }

    /// Calibrates, predicts and tries; each finding is written before the next one is sought. None where it
    /// was interrupted before there was any.
    fn measure(
        &self,
        workload: &mut Workload,
        arrivals: &Arrivals,
        profile: Profile,
        work: Work,
    ) -> Result<Option<Evidence>> {
        let seed = profile.records;
        let budget = self.args.budget;
        let (for_calibration, for_trials) = shares(budget);
        let bar = spinner();
        let started = Instant::now();
        let earlier = self.trials.as_deref().and_then(|path| self.unfinished(path, &profile, work));
        let what = || self.trials.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let (mut evidence, mut file) = if let Some(evidence) = earlier {
            anstream::eprintln!("going on from {} trials in {}", evidence.trials.len(), what());
            let open = |path: &PathBuf| File::options().append(true).open(path);
            let file = self.trials.as_ref().map(open).transpose().with_context(what)?;
            (evidence, file.map(BufWriter::new))
        } else {
            let cost = calibrate(workload, for_calibration, seed, &mut |step| {
                if let Step::Calibrating(records) = step {
                    bar.set_message(format!("measuring batches of {records} records"));
                    bar.tick();
                }
                self.goes_on()
            });
            let Some(cost) = cost else { return Ok(None) };
            anstream::eprintln!("{}", advice::cost(&cost));
            let (topic, current) = (self.topic.clone(), self.current.clone());
            let header = Header { version: VERSION, topic, profile, work, cost, current };
            let mut file =
                self.trials.as_ref().map(File::create).transpose().with_context(what)?.map(BufWriter::new);
            let predicted = predict_all(&header, arrivals, &mut |_| self.goes_on());
            if let Some(file) = &mut file {
                write_header(file, &header).with_context(what)?;
                for trial in &predicted {
                    write_predicted(file, trial).with_context(what)?;
                }
            }
            (Evidence { header, predicted, trials: Vec::new(), is_complete: false }, file)
        };
        let mut failed = None;
        let mut observe = |step: Step<'_>| {
            match step {
                Step::Trying(candidate, number, best) => {
                    let best = best.map_or(String::new(), |best| format!("; best so far {best}"));
                    let left = budget.saturating_sub(started.elapsed()).as_secs();
                    bar.set_message(format!(
                        "round {} of {ROUNDS}: {candidate}{best}; {left} s left",
                        number + 1
                    ));
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
        if !self.is_stopped() {
            try_best(workload, &mut evidence, self.wishes, for_trials, seed, &mut observe);
        }
        bar.finish_and_clear();
        if let Some(error) = failed {
            return Err(error).with_context(what);
        }
        if let Some(file) = file.as_mut().filter(|_| evidence.is_complete) {
            write_complete(file).with_context(what)?;
        }
        Ok(Some(evidence))
    }
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

fn exit_code(Outcome { advice, interrupted }: &Outcome) -> ExitCode {
    match &advice.refusal {
        _ if *interrupted => ExitCode::from(EXIT_INTERRUPTED),
        None => ExitCode::SUCCESS,
        Some(refusal) if refusal.is_infeasible() => ExitCode::from(EXIT_INFEASIBLE),
        Some(_) => ExitCode::from(EXIT_NOT_ENOUGH_EVIDENCE),
    }
}

fn print(args: &AdviseArgs, target: Option<&Target>, outcome: &Outcome) -> Result<ExitCode> {
    let advice = &outcome.advice;
    if outcome.interrupted {
        anstream::eprintln!("interrupted: this is what is known so far; the next run goes on from here");
    }
    let mut out = anstream::stdout().lock();
    let recommendation = advice.recommendation.as_ref();
    if args.json {
        serde_json::to_writer_pretty(&mut out, advice)?;
        writeln!(out)?;
    } else if let (Some(system), Some(recommendation)) = (args.export, recommendation) {
        write!(out, "{}", export::export(system, recommendation))?;
    } else {
        write!(out, "{}", advice::text(advice))?;
    }
    let best = recommendation.filter(|best| !best.is_current);
    if let (Some(target), Some(best)) = (target, best) {
        let text = match target.with(&best.candidate) {
            Ok(text) => text,
            Err(error) if args.write => return Err(error),
            Err(error) => {
                anstream::eprintln!("note: {error:#}");
                return Ok(exit_code(outcome));
            }
        };
        if !args.json && args.export.is_none() {
            write!(out, "\n{}", mend::diff(&target.input.name, &target.input.text, &text))?;
        }
        if args.write && !outcome.interrupted {
            mend::write(Path::new(&target.input.name), &text).with_context(|| target.input.name.clone())?;
            anstream::eprintln!("{} was changed", target.input.name);
        }
    }
    Ok(exit_code(outcome))
}
