//! `velo advise`: measures a topic and prints a recommendation.

mod session;
mod steal;
mod target;
mod trials;

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use velo_advisor::drift::validity_range;
use velo_advisor::evidence::{Header, VERSION};
use velo_advisor::predict::Arrivals;
use velo_advisor::session::predict_all;
use velo_advisor::trial::Setup;
use velo_advisor::{Advice, Cost, Evidence, Goal, Limit, Objective, Profile, Verdict, Work, recommend};

use self::session::Session;
use self::target::Target;
use self::trials::Trials;
use crate::args::{AdviseArgs, BrokerArgs, DemoArg, GoalArg};
use crate::demo::{self, Demo};
use crate::kafka::settings;
use crate::render::{advice, export, style};

const SHORTEST_BUDGET: Duration = Duration::from_secs(1);
const SHORTEST_SAMPLE: Duration = Duration::from_millis(100);

const EXIT_NOT_WRITTEN: u8 = 1;
const EXIT_NOT_ENOUGH_EVIDENCE: u8 = 3;
const EXIT_INFEASIBLE: u8 = 4;
const EXIT_INTERRUPTED: u8 = 130;

/// The advice and how the run ended.
struct Outcome {
    advice: Advice,
    interrupted: bool,
    /// Trials file from which the next run can resume.
    unfinished: Option<String>,
    /// True if trials could not be saved.
    unsaved: bool,
}

impl From<Advice> for Outcome {
    fn from(advice: Advice) -> Self {
        Self { advice, interrupted: false, unfinished: None, unsaved: false }
    }
}

pub(crate) fn run(args: &AdviseArgs) -> Result<ExitCode> {
    if args.write && args.sql.as_deref() == Some(Path::new("-")) {
        bail!("--write cannot be used with stdin; name a file with --sql");
    }
    if args.budget < SHORTEST_BUDGET || args.sample < SHORTEST_SAMPLE {
        bail!("--budget must be at least 1s, and --sample at least 100ms");
    }
    let of_path = |path| Target::read(path, args.statement.as_deref(), &args.vars, args.topic.as_deref());
    let mut target = args.sql.as_deref().map(of_path).transpose()?;
    if let Some(Err(error)) = target.as_ref().map(Target::can_be_changed) {
        if args.write {
            return Err(error);
        }
        anstream::eprintln!("note: {error:#}");
    }
    let outcome = advise(args, target.as_mut())?;
    print(args, target.as_ref(), &outcome)
}

fn advise(args: &AdviseArgs, mut target: Option<&mut Target>) -> Result<Outcome> {
    let current = target.as_ref().and_then(|target| target.current.clone());
    if args.from_trials.is_some() || args.rate.is_some() || args.demo.is_some() {
        refuse_brokers(&args.broker)?;
    }
    if let Some(path) = &args.from_trials {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let mut evidence =
            Evidence::read(BufReader::new(file)).with_context(|| path.display().to_string())?;
        if let Some(target) = &mut target {
            target.judge(&mut evidence)?;
        }
        let objective = objective(args, evidence.header.wishes);
        return Ok(recommend(&evidence, objective).into());
    }
    let target = target.as_deref();
    if let (Some(rate), Some(record_bytes)) = (args.rate, args.record_size) {
        return Ok(modelled(args, target, rate, record_bytes).into());
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
            overruled: Vec::new(),
            bootstrap_servers: None,
            topic: demo::TOPIC.to_owned(),
            objective: objective(args, Objective { p99: workload.p99, ..NO_LIMITS }),
            sink_cost: Some(args.sink_cost.unwrap_or(workload.sink_cost)),
            trials: args.trials.clone().map(Trials::at).transpose()?,
            current,
            max_batch_records: target.and_then(|target| target.cap),
            stop: stop_signal()?,
            unsaved: Cell::default(),
        };
        return session.advise();
    }
    let topic = match (&args.topic, target) {
        (Some(topic), Some(target)) => {
            target.must_read(topic, "--topic is")?;
            topic.clone()
        }
        (Some(topic), None) => topic.clone(),
        (None, Some(target)) => target.topic()?,
        (None, None) => bail!("set the topic with --topic"),
    };
    let (settings, overruled) = settings(&args.broker)?.without(OF_THE_CAP);
    let session = Session {
        args,
        bootstrap_servers: Some(settings.bootstrap_servers().to_owned()),
        settings,
        overruled,
        objective: objective(args, NO_LIMITS),
        sink_cost: args.sink_cost,
        trials: kept(args, &topic)?,
        topic,
        current,
        max_batch_records: target.and_then(|target| target.cap),
        stop: stop_signal()?,
        unsaved: Cell::default(),
    };
    session.advise()
}

/// Returns the trials file. Fails if the file of --trials cannot be written; prints a note if the default file cannot.
fn kept(args: &AdviseArgs, topic: &str) -> Result<Option<Trials>> {
    if let Some(path) = &args.trials {
        return Trials::at(path.clone()).map(Some);
    }
    let kept = Trials::at(PathBuf::from(format!("velo-trials-{topic}.jsonl")));
    if let Err(error) = &kept {
        anstream::eprintln!(
            "note: trials are not saved, so an interrupted run cannot be resumed: {error:#}; set another file with --trials"
        );
    }
    Ok(kept.ok())
}

/// Client properties that the read rate limit and the detection of throttling depend on.
const OF_THE_CAP: &[&str] = &[
    "statistics.interval.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "fetch.message.max.bytes",
    "fetch.max.bytes",
    "fetch.queue.backoff.ms",
];
const NO_LIMITS: Objective = Objective { goal: Goal::Latency, p99: None, memory_bytes: None };

/// Rejects broker options if no broker is used. Environment variables are accepted, because other commands use them.
fn refuse_brokers(broker: &BrokerArgs) -> Result<()> {
    let is_set = |value: Option<&OsStr>, variable: &str| {
        value.is_some() && value != std::env::var_os(variable).as_deref()
    };
    if is_set(broker.bootstrap_servers.as_deref().map(OsStr::new), "VELO_BOOTSTRAP_SERVERS")
        || is_set(broker.properties_file.as_deref().map(Path::as_os_str), "VELO_PROPERTIES")
        || !broker.properties.is_empty()
    {
        bail!(
            "--rate, --demo and --from-trials do not connect to brokers; remove --bootstrap-servers, --properties and -X"
        );
    }
    Ok(())
}

/// Returns the objective of the arguments, with defaults from an earlier objective.
fn objective(args: &AdviseArgs, before: Objective) -> Objective {
    let goal = args.goal.map_or(before.goal, |goal| match goal {
        GoalArg::Latency => Goal::Latency,
        GoalArg::Throughput => Goal::Throughput,
        GoalArg::Memory => Goal::Memory,
        GoalArg::Cpu => Goal::Cpu,
    });
    Objective { goal, p99: args.p99.or(before.p99), memory_bytes: args.memory.or(before.memory_bytes) }
}

/// Returns a flag that SIGINT and SIGTERM set. A second signal exits immediately.
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

/// Returns advice from the model alone, without measurements.
fn modelled(args: &AdviseArgs, target: Option<&Target>, records_per_s: f64, record_bytes: u64) -> Advice {
    let current = target.and_then(|target| target.current.clone());
    let cost = args.cost.unwrap_or_default();
    let assumed = args.cost.is_none() && args.sink_cost.is_none();
    let sink = args.sink_cost.unwrap_or(if assumed { ASSUMED_SINK_COST } else { Duration::ZERO });
    let objective = objective(args, NO_LIMITS);
    let header = Header {
        version: VERSION,
        topic: String::new(),
        setup: Setup::default(),
        wishes: objective,
        max_batch_records: target.and_then(|target| target.cap),
        profile: Profile::random(records_per_s, record_bytes),
        work: Work::new(cost, sink),
        cost: Cost::line(cost.per_batch + sink, cost.per_record),
        current,
    };
    let arrivals = Arrivals::random(records_per_s, record_bytes);
    let predicted = predict_all(&header, &arrivals, &mut |_| ControlFlow::Continue(()));
    let mut evidence = Evidence::predicted(header, predicted);
    evidence.is_complete = true;
    let mut advice = with_validity_range(&mut evidence, &arrivals, objective, &Limit::default());
    if assumed {
        let sink = velo_schema::format_duration(sink);
        let note = format!(
            "assumed: no processing work, and a sink round trip of {sink} per batch; set them with --cost and --sink-cost"
        );
        anstream::eprintln!("note: {note}");
        advice.notes.push(note);
    }
    advice
}

/// Assumed sink round trip: a produce request that is acknowledged by all replicas.
const ASSUMED_SINK_COST: Duration = Duration::from_millis(5);

/// Returns the advice with its validity range, which is also stored in the evidence.
fn with_validity_range(
    evidence: &mut Evidence,
    arrivals: &Arrivals,
    objective: Objective,
    limit: &Limit,
) -> Advice {
    /// Number of best candidates that the recommendation is compared with.
    const OTHERS: usize = 8;
    let advice = recommend(evidence, objective);
    let Some(best) = &advice.recommendation else { return advice };
    let Some(own) = advice.evaluation(&best.candidate) else { return advice };
    let others =
        advice.candidates.iter().map(|other| &other.candidate).filter(|other| **other != best.candidate);
    let others: Vec<_> = others.take(OTHERS).cloned().collect();
    let mut goes_on =
        || if limit.reached().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    match validity_range(&evidence.header, arrivals, own, &others, objective, &mut goes_on) {
        Ok(range) => evidence.holds = Some(range),
        Err(why) => {
            evidence.holds = None;
            anstream::eprintln!("note: {why}");
            let notes = advice.notes.iter().cloned().chain([why.to_string()]).collect();
            return Advice { notes, ..advice };
        }
    }
    recommend(evidence, objective)
}

/// Returns the exit code. `is_written` is false if a file that was asked for was not written.
fn exit_code(Outcome { advice, interrupted, .. }: &Outcome, is_written: bool) -> ExitCode {
    match &advice.refusal {
        _ if *interrupted => ExitCode::from(EXIT_INTERRUPTED),
        None if !is_written => ExitCode::from(EXIT_NOT_WRITTEN),
        None => ExitCode::SUCCESS,
        Some(refusal) if refusal.is_infeasible() => ExitCode::from(EXIT_INFEASIBLE),
        Some(_) => ExitCode::from(EXIT_NOT_ENOUGH_EVIDENCE),
    }
}

fn print(args: &AdviseArgs, target: Option<&Target>, outcome: &Outcome) -> Result<ExitCode> {
    let advice = &outcome.advice;
    if outcome.interrupted {
        let next = outcome.unfinished.as_ref();
        let next = next.map_or(String::new(), |path| format!("; the next run resumes from {path}"));
        anstream::eprintln!("interrupted: the advice rests on the results so far{next}");
    }
    let mut out = anstream::stdout().lock();
    let recommendation = advice.recommendation.as_ref();
    if args.json {
        serde_json::to_writer_pretty(&mut out, advice)?;
        writeln!(out)?;
    } else if let (Some(system), Some(recommendation)) = (args.export, recommendation) {
        let record_bytes = advice.profile.as_ref().map_or(0.0, |profile| profile.mean_bytes);
        write!(out, "{}", export::export(system, recommendation, record_bytes))?;
    } else if args.export.is_some() {
        // Keep stdout free of text that is not in the exported format.
        anstream::eprint!("{}", advice::text(advice));
    } else {
        write!(out, "{}", advice::text(advice))?;
    }
    let mut is_written = !(outcome.unsaved && args.trials.is_some());
    let best = recommendation.filter(|best| !best.is_current);
    if let (Some(target), Some(best)) = (target, best) {
        let text = match target.with(&best.candidate) {
            Ok(text) => text,
            Err(error) if args.write => return Err(error),
            // The reason was printed as a note before the run.
            Err(_) => return Ok(exit_code(outcome, is_written)),
        };
        if !args.json && args.export.is_none() {
            write!(out, "\n{}", crate::write::diff(&target.input.name, &target.input.text, &text))?;
        }
        let contradiction = advice.verdict.as_ref().and_then(Verdict::contradiction);
        if args.write
            && let Some(how) = contradiction
        {
            anstream::eprintln!("{} was not changed: {how}", target.input.name);
            is_written = false;
        } else if args.write && !outcome.interrupted {
            crate::write::write(Path::new(&target.input.name), &text)
                .with_context(|| target.input.name.clone())?;
            anstream::eprintln!("{} was changed", target.input.name);
        }
    }
    Ok(exit_code(outcome, is_written))
}
