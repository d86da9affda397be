//! `velo run`: runs a statement between two topics and reports the result.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use indicatif::ProgressBar;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use velo_engine::core::Ledger;
use velo_engine::core::failure::ByStage;
use velo_engine::failpoint::{Mutant, is_on};
use velo_engine::kafka::{
    ClientSettings, Ensured, GroupOptions, GroupSource, Inspector, KafkaSink, SinkOptions, Start,
    TargetTopic, TopicReader, TopicSettings, TransactionOptions, ensure_topic, topic_settings,
};
use velo_engine::memory::MemoryBudget;
use velo_engine::process::exec::{Exec, ExecProcessor, MOST_ANSWER_BYTES};
use velo_engine::process::{Forward, Processor};
use velo_engine::report::{Latency, Outcome, Report};
use velo_engine::waker::Waker;
use velo_engine::{Builder, Control, JobConfig, Progress};
use velo_lint::unused::Reason;
use velo_lint::{Endpoint, Options, Route, Unit, Unused, unused};
use velo_schema::value::{Kind, parse};
use velo_schema::{FailureStrategy, Plan, Settings, Strategy, format_elapsed};

use super::check::Checked;
use super::targets;
use crate::args::{CheckArg, RunArgs};
use crate::input::read;
use crate::kafka::settings;
use crate::log::{self, fail, note, say};
use crate::metrics::{Listener, Metrics};
use crate::progress::{Rate, Status};
use crate::render::style;
use crate::statement::{document, print_errors, refuse, select};
use crate::{EXIT_USAGE, dead_letters, query};

/// The exit code of a job that a second signal ended.
const EXIT_FORCED: u8 = 130;
/// The start position of partitions without a committed offset if `--from` is not set.
const DEFAULT_START: Start = Start::Earliest;
/// The time after which a job without partitions reports that it waits for an assignment.
const PATIENCE: Duration = Duration::from_secs(5);

/// A statement that can run: its topics and settings.
struct Job {
    statement: String,
    source_topic: String,
    sink_topic: String,
    /// The dead letter topic of each stage that sends records there.
    dlq_topics: ByStage<Option<String>>,
    config: JobConfig,
    plan: Plan,
    /// The settings that the run does not use, with the reasons.
    notes: Vec<String>,
}

impl Job {
    /// Returns the dead letter topics, sorted and without duplicates.
    fn dead_letter_topics(&self) -> Vec<&str> {
        let mut topics: Vec<_> =
            self.dlq_topics.each_ref().into_iter().flatten().map(String::as_str).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }
}

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    if args.memory_limit.is_some() {
        give_memory_back();
    }
    log::start(&args.log);
    if let Some(path) = &args.report {
        may_be_written(path)?;
    }
    let settings = settings(&args.broker)?;
    let input = read(&args.file, None)?;
    let document = document(&input, &args.vars);
    if print_errors(&document) {
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let number = select(&document, args.statement.as_deref())?;
    let options = Options::default();
    let unit = document.units(&options).nth(number).context("the selected statement")?;
    query::check(unit.text, unit.statement).with_context(|| of_statement(&unit))?;
    let route = Route::first(&unit);
    refuse(&document, &unit, &route)?;
    let job = job(&unit, &route, args).with_context(|| of_statement(&unit))?;
    announce(&job, args);

    let control = Control::default();
    let signals = Signalled::listen(&control)?;
    let report = if args.dry_run {
        dry_run(&settings, &job, args, member(job.config.clone(), args, control, MOST_ANSWER_BYTES))?
    } else {
        match full_run(&settings, &job, args, &control)? {
            Ended::Ran(report) => *report,
            Ended::Checked(code) => return Ok(code),
        }
    };
    Ok(finish(args, &report, &signals))
}

fn of_statement(unit: &Unit<'_>) -> String {
    format!("statement '{}'", unit.statement.name.as_ref().map_or("", |name| &name.text))
}

fn job(unit: &Unit<'_>, route: &Route, args: &RunArgs) -> Result<Job> {
    let (Some(source), Some(sink)) = (&route.source, &route.sink) else {
        bail!("it has no {}", if route.source.is_none() { "source" } else { "sink" });
    };
    if unit.statement.sinks().len() > 1 {
        bail!("it has several sinks, but velo run writes to one");
    }
    let (source_topic, sink_topic) = (topic_of(source)?, topic_of(sink)?);
    let [source_config, job_config, sink_config] =
        [&route.at_source, &route.in_job, &route.at_sink].map(Settings::config);
    let dlq_topics = dead_letters::topics(route);
    let batches = job_config.transaction_batches;
    if batches > 1 && matches!(source_config.strategy, Strategy::MegaBatch { parallel: true, .. }) {
        bail!(
            "transaction.batches is {batches}, which requires batches in order, but batch.parallel is true; \
             set 'batch.parallel' = 'false' or 'transaction.batches' = '1'"
        );
    }
    if source_topic == sink_topic {
        bail!("the source and the sink are the same topic '{source_topic}'; set 'sink.topic' to another one");
    }
    for (stage, topic) in dead_letters::by_name(&dlq_topics) {
        let Some(topic) = topic else { continue };
        parse(Kind::Topic, topic).map_err(|error| anyhow!("dead letter topic '{topic}': {error}"))?;
        if *topic == source_topic {
            bail!("the dead letter topic of the {stage} stage is the source, '{topic}'; set 'dlq.topic'");
        }
        if *topic == sink_topic {
            bail!("the dead letter topic of the {stage} stage is the sink, '{topic}'; set 'dlq.topic'");
        }
    }
    Ok(Job {
        statement: unit.statement.name.as_ref().map(|name| name.text.clone()).unwrap_or_default(),
        plan: Plan::of(&source_config, None),
        config: JobConfig {
            source: source_config,
            sink: sink_config,
            format: args.value_format.into(),
            drain_timeout: args.drain_timeout,
            exactly_once: args.exactly_once,
            max_batch_time: args.max_batch_time,
            warm_up: args.warm_up,
            ..JobConfig::uniform(job_config)
        },
        source_topic,
        sink_topic,
        dlq_topics,
        notes: notes(unit, route, args.exactly_once),
    })
}

/// Returns the topic of a source or sink.
///
/// # Errors
/// If the topic is unknown or Kafka does not allow its name.
fn topic_of(endpoint: &Endpoint) -> Result<String> {
    let topic = &endpoint.topic;
    let Some(name) = &topic.name else {
        bail!("the topic of '{0}' is unknown; set it with '{0}.topic'", endpoint.name)
    };
    if let Some(error) = topic.error() {
        match &topic.key {
            Some(key) => bail!("'{key}' = '{name}': {error}"),
            None => bail!("'{name}': {error}; set the topic with '{name}.topic'"),
        }
    }
    Ok(name.clone())
}

/// Returns the settings that the run does not use, with the reasons.
fn notes(unit: &Unit<'_>, route: &Route, exactly_once: bool) -> Vec<String> {
    let (others, ours): (Vec<_>, Vec<_>) =
        unused(unit, route, exactly_once).into_iter().partition(|unused| unused.why == Reason::Foreign);
    let mut notes: Vec<_> =
        ours.into_iter().map(|Unused { key, why, .. }| format!("'{key}' is not used: {why}")).collect();
    if !others.is_empty() {
        let keys: Vec<_> = others.into_iter().map(|unused| unused.key).collect();
        notes.push(format!("settings of other systems are ignored: {}", keys.join(", ")));
    }
    for endpoint in route.endpoints() {
        let of_uri = endpoint.uri.as_ref().filter(|uri| uri.matches('/').count() > 2);
        if let Some(uri) = of_uri {
            notes.push(format!("the broker in '{uri}' is ignored: --bootstrap-servers sets the brokers"));
        }
    }
    notes
}

/// Replaces this process by one whose allocator returns freed memory to the system at once. The allocator reads this
/// setting from the environment when the process starts; by default it keeps freed memory for a while.
#[cfg(unix)]
fn give_memory_back() {
    use std::os::unix::process::CommandExt;
    const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut args = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), args.next()) {
        // `exec` returns only if it fails. The job then runs with the default, and may exceed the limit.
        let _ = std::process::Command::new(program).arg0(name).args(args).env(VARIABLE, "0").exec();
    }
}

#[cfg(not(unix))]
fn give_memory_back() {}

/// Creates one member of the job.
fn member(config: JobConfig, args: &RunArgs, control: Control, most_answer_bytes: u64) -> Builder {
    Builder::controlled(config, control).boxed_processor(processor(args, most_answer_bytes))
}

fn announce(job: &Job, args: &RunArgs) {
    let strategy = job.plan.strategy.map_or("no batching".to_owned(), |strategy| strategy.to_string());
    let to = if args.dry_run { "(dry run, nothing is written)" } else { &job.sink_topic };
    say(&format!(
        "{} {} -> {to}: {strategy}, max.poll.records {}, {} tier; failed records: {}",
        style::bold(&job.statement),
        job.source_topic,
        job.plan.max_poll_records,
        job.plan.tier,
        failures(job),
    ));
    for unused in &job.notes {
        note(unused);
    }
}

/// Returns the failure strategy with its dead letter topic: one if all stages have the same, else one per stage.
fn failures(job: &Job) -> String {
    let JobConfig { source, job: processing, sink, .. } = &job.config;
    let strategies = [source, processing, sink].map(|config| config.failure.strategy);
    let stages = dead_letters::by_name(&job.dlq_topics);
    let of = |(strategy, (_, topic)): (&FailureStrategy, &(&str, &Option<String>))| {
        let topic = topic.as_ref().map(|topic| format!(" ({topic})")).unwrap_or_default();
        format!("{strategy}{topic}")
    };
    let all: Vec<_> = strategies.iter().zip(&stages).map(of).collect();
    if all.iter().all(|stage| *stage == all[0]) {
        return all[0].clone();
    }
    let named = stages.iter().zip(&all).map(|((stage, _), what)| format!("{stage} {what}"));
    named.collect::<Vec<_>>().join(", ")
}

fn processor(args: &RunArgs, most_answer_bytes: u64) -> Box<dyn Processor> {
    match (&args.exec, args.cost) {
        (Some(command), _) => {
            let (command, timeout) = (command.clone(), args.exec_timeout);
            let processor = ExecProcessor::new(Exec { command, timeout, environment: Vec::new() });
            Box::new(processor.speaking(args.exec_protocol.into()).answering_within(most_answer_bytes))
        }
        (None, Some(synthetic)) => Box::new(synthetic),
        (None, None) => Box::new(Forward),
    }
}

fn dry_run(settings: &ClientSettings, job: &Job, args: &RunArgs, builder: Builder) -> Result<Report> {
    let partitions = TopicReader::connect(settings, 0, Waker::default())?.partitions(&job.source_topic)?;
    let memory = MemoryBudget::unlimited(partitions.len());
    let reader = TopicReader::connect_within(settings, &memory, builder.waker())?;
    let properties = reader.properties().clone();
    let mut ranges = Vec::new();
    let positions = reader.offsets(&job.source_topic, &partitions, args.from.unwrap_or(DEFAULT_START))?;
    for (partition, position) in partitions.into_iter().zip(positions) {
        ranges.push((partition.partition, position, args.until_end.then_some(partition.high)));
    }
    let source = reader.read(&job.source_topic, ranges);
    Ok(Report { properties, ..watch(&Metrics::default(), false, |observe| builder.run(source, observe)) })
}

/// The result of a full run or its preflight checks.
enum Ended {
    Ran(Box<Report>),
    Checked(ExitCode),
}

fn full_run(settings: &ClientSettings, job: &Job, args: &RunArgs, control: &Control) -> Result<Ended> {
    if args.exactly_once && settings.property("isolation.level") == Some("read_uncommitted") {
        bail!("isolation.level=read_uncommitted cannot be combined with --exactly-once; remove the property");
    }
    // An address that is in use must end the job before it joins the group.
    let listener =
        args.metrics.as_deref().filter(|_| args.check.is_none()).map(Listener::bind).transpose()?;
    let reader = TopicReader::connect(settings, 0, Waker::default())?;
    let Some(source_partitions) = reader.partition_count(&job.source_topic)? else {
        bail!("there is no topic '{}' on {}", job.source_topic, settings.bootstrap_servers());
    };
    let group_id = args.group_id.clone().unwrap_or_else(|| format!("velo-{}", job.statement));
    let member_count = args.concurrency.get();
    let memory = memory(args, job, source_partitions);
    let options = GroupOptions {
        start: args.from.unwrap_or(DEFAULT_START),
        until_end: args.until_end,
        on_data_loss: args.on_data_loss.into(),
        exactly_once: args.exactly_once,
        max_poll_records: job.plan.max_poll_records.max,
        memory,
        ..GroupOptions::new(group_id.clone(), job.source_topic.clone(), source_partitions)
    };
    if let Some(check) = args.check {
        let (sink, dlq) = (job.sink_topic.as_str(), job.dead_letter_topics());
        let linger = linger(&job.config.sink.strategy);
        let transactional_id = args.exactly_once.then(|| transactional_id(args, &group_id));
        let checked = Checked {
            settings,
            reader: &reader,
            options,
            sink,
            dlq,
            linger,
            transactional_id,
            shows_defaults: check == CheckArg::All,
        };
        return checked.check().map(Ended::Checked);
    }
    let (sink, dlq) = target_topics(settings, job, &reader, &options)?;
    // The reader is not polled while the job runs.
    drop(reader);
    note_idle_members(member_count, &options);
    if args.from.is_some() {
        note_committed(settings, &options);
    }
    let mut properties = BTreeMap::new();
    let mut members = Vec::new();
    for number in 0..member_count {
        // The ids of members after the first end in a number.
        let numbered = |name: String| if number == 0 { name } else { format!("{name}-{number}") };
        let config = JobConfig {
            max_unsettled_bytes: memory.in_flight_bytes,
            max_unsettled_records: memory.in_flight_records.unwrap_or(u64::MAX),
            ..job.config.clone()
        };
        let most_answer_bytes = memory.exec_answer_bytes.unwrap_or(MOST_ANSWER_BYTES);
        let builder = member(config, args, control.member(), most_answer_bytes);
        let instance_id = args.group_instance_id.clone().map(numbered);
        let options = GroupOptions { instance_id, ..options.clone() };
        let source = GroupSource::join(settings, options, builder.waker())?;
        let transactions = args.exactly_once.then(|| TransactionOptions {
            id: numbered(transactional_id(args, &group_id)),
            membership: source.membership(),
        });
        let options = SinkOptions {
            sink: sink.clone(),
            dlq: dlq.clone(),
            source_partitions,
            group_id: group_id.clone(),
            linger: linger(&job.config.sink.strategy),
            queue_bytes: memory.producer_bytes,
            transactions,
        };
        let sink = KafkaSink::connect(settings, options, builder.acks())?;
        properties.extend(sink.properties().clone());
        properties.extend(source.properties().clone());
        members.push((builder.sink(sink), source));
    }
    let metrics = Metrics::default();
    if let Some(listener) = listener {
        say(&format!("metrics at http://{}/metrics", listener.address()));
        metrics.serve(listener, memory);
    }
    let report = watch(&metrics, true, |observe| Builder::run_all(members, observe));
    Ok(Ended::Ran(Box::new(Report { properties, memory: Some(memory), ..report })))
}

fn transactional_id(args: &RunArgs, group_id: &str) -> String {
    let of_group = || match &args.group_instance_id {
        Some(instance) => format!("{group_id}-{instance}"),
        None => group_id.to_owned(),
    };
    args.transactional_id.clone().unwrap_or_else(of_group)
}

/// Returns the time that the producer waits to fill a request: none if the strategy trades throughput for latency.
fn linger(strategy: &Strategy) -> Duration {
    match strategy {
        Strategy::LowLatency { .. } => Duration::ZERO,
        _ => Duration::from_millis(5),
    }
}

/// Divides the memory of the job.
fn memory(args: &RunArgs, job: &Job, source_partitions: usize) -> MemoryBudget {
    let Some(limit) = args.memory_limit else { return MemoryBudget::unlimited(source_partitions) };
    let programs = args.exec.as_ref().map_or(0, |_| job.config.threads_of_a_batch() as u64);
    MemoryBudget::with_programs(limit, args.concurrency.get().into(), source_partitions, programs)
}

/// Returns the sink and the dead letter queue of each stage. Missing topics are created with the settings of the source.
/// Reports records that these topics will reject or delete.
fn target_topics(
    settings: &ClientSettings,
    job: &Job,
    reader: &TopicReader,
    options: &GroupOptions,
) -> Result<(TargetTopic, ByStage<Option<TargetTopic>>)> {
    let of_source = topic_settings(settings, reader, &job.source_topic);
    let ensure = |topic: &str, settings_of_new: &[(String, String)]| -> Result<TargetTopic> {
        let ensured = ensure_topic(settings, reader, topic, options.partitions, settings_of_new)?;
        if let Ensured::Created(partitions) = ensured {
            say(&format!("created topic {topic} with {partitions} partitions"));
        }
        let TopicSettings { max_message_bytes, is_compacted, .. } = topic_settings(settings, reader, topic);
        let (name, partitions) = (topic.to_owned(), ensured.partitions());
        Ok(TargetTopic { name, partitions, max_message_bytes, is_compacted })
    };
    let sink = ensure(&job.sink_topic, &of_source.for_sink())?;
    let mut queues: BTreeMap<&str, TargetTopic> = BTreeMap::new();
    for name in job.dead_letter_topics() {
        queues.insert(name, ensure(name, &of_source.for_dead_letters())?);
    }
    let queue = |name: &Option<String>| queues.get(name.as_deref()?).cloned();
    let dlq = job.dlq_topics.each_ref().map(queue);
    let targets = targets::Targets { settings, reader, options, of_source: &of_source };
    for warning in targets.warnings(&job.sink_topic, &job.dead_letter_topics()) {
        note(&warning);
    }
    Ok((sink, dlq))
}

/// Reports how many members have no partition.
fn note_idle_members(members: u16, options: &GroupOptions) {
    let idle = usize::from(members).saturating_sub(options.partitions);
    if idle > 0 {
        note(&format!(
            "{idle} of {members} members get no partition: {} has {} partitions",
            options.topic, options.partitions
        ));
    }
}

/// Reports the number of partitions with committed offsets, on which `--from` has no effect.
fn note_committed(settings: &ClientSettings, options: &GroupOptions) {
    let committed =
        Inspector::connect(settings, options).and_then(|inspector| inspector.committed(options.partitions));
    // If the offsets cannot be read, joining the group fails with the reason.
    let Ok(committed) = committed else { return };
    let known = committed.iter().flatten().count();
    if known > 0 {
        note(&format!(
            "--from has no effect on {known} of {} partitions: group {} has committed offsets for them; set another \
             --group-id to start over",
            options.partitions, options.group_id
        ));
    }
}

/// Runs a job with a status line (on a terminal only), prints its notices and updates the metrics.
fn watch(
    metrics: &Metrics,
    joins_group: bool,
    run: impl FnOnce(&mut (dyn FnMut(Progress) + Send)) -> Report,
) -> Report {
    let line = Status::start(ProgressBar::new_spinner(), "{spinner} {wide_msg}");
    let started = Instant::now();
    let (mut rate, mut is_waiting) = (Rate::default(), joins_group);
    run(&mut |progress: Progress| {
        metrics.update(&progress);
        for notice in &progress.notices {
            note(notice);
        }
        let Ledger { delivered, ok, skipped, dlq, .. } = progress.ledger;
        let rate = rate.add(started.elapsed(), ok + skipped + dlq);
        let has_partitions = progress.is_ready || delivered > 0 || !joins_group;
        if is_waiting && (has_partitions || started.elapsed() >= PATIENCE) {
            is_waiting = false;
            if !has_partitions {
                note(WAITING);
            }
        }
        line.bar().set_message(if has_partitions {
            status(&progress, rate)
        } else {
            "waiting for the group to assign partitions".to_owned()
        });
        line.bar().tick();
    })
}

const WAITING: &str = "waiting for the group to assign partitions: a rebalance completes when every member has \
                       rejoined, or when session.timeout.ms (45 s by default) has passed for a member that was killed";

/// Formats the status line.
fn status(progress: &Progress, rate: f64) -> String {
    let Ledger { delivered, ok, skipped, dlq, .. } = progress.ledger;
    let settled = ok + skipped + dlq;
    let mut line = format!(
        "{settled} settled, {} in flight, {rate:.0}/s, batches of {}, {} tier",
        delivered.saturating_sub(settled),
        progress.batch_size,
        progress.tier,
    );
    for (count, what) in [(skipped, "skipped"), (dlq, "dead letters")] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    line
}

/// Handles SIGINT, SIGTERM and SIGHUP: the first signal drains the job, the second one ends it immediately.
struct Signalled {
    forced: Arc<AtomicBool>,
}

impl Signalled {
    fn listen(control: &Control) -> Result<Self> {
        let forced = Arc::new(AtomicBool::new(false));
        let (control, second) = (control.clone(), Arc::clone(&forced));
        let mut signals =
            Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot install signal handlers")?;
        std::thread::spawn(move || {
            let mut received = signals.forever();
            if received.next().is_some() {
                say("draining; repeat the signal to end immediately");
                control.drain();
            }
            if received.next().is_some() {
                second.store(true, Ordering::Release);
                control.abandon();
            }
        });
        Ok(Self { forced })
    }
}

fn finish(args: &RunArgs, report: &Report, signals: &Signalled) -> ExitCode {
    say(&summary(report));
    if let Some(error) = &report.error {
        fail(error);
    }
    if let Some(path) = &args.report
        && let Err(error) = write_report(path, report)
    {
        log::error(&format!("cannot write the report: {error:#}"));
        return ExitCode::FAILURE;
    }
    let forced = signals.forced.load(Ordering::Acquire);
    match report.outcome {
        _ if forced => ExitCode::from(EXIT_FORCED),
        Outcome::Drained if args.until_end && !report.end_of_input && !is_on(Mutant::StoppedIsDone) => {
            log::error(
                "the job was stopped before the end of the topic; the records in flight were settled and committed",
            );
            ExitCode::FAILURE
        }
        Outcome::Drained => ExitCode::SUCCESS,
        Outcome::Failed | Outcome::Interrupted => ExitCode::FAILURE,
    }
}

/// Formats the result of a run: the ledger, then batches, throughput and latencies.
pub(super) fn summary(report: &Report) -> String {
    let ledger = &report.ledger;
    let written = report.sink_batches.as_ref().map_or_else(String::new, |groups| {
        format!("; written in {}, median {} records", groups.count, groups.size_p50)
    });
    let lost = if ledger.lost > 0 { format!(", lost {}", ledger.lost) } else { String::new() };
    let sum = format!(
        "delivered {} = ok {} + skipped {} + dlq {} + failed {} + uncommitted {}  (gaps {}{lost})",
        ledger.delivered,
        ledger.ok,
        ledger.skipped,
        ledger.dlq,
        ledger.failed,
        ledger.uncommitted,
        ledger.gaps,
    );
    // Without batches the other figures are meaningless.
    if report.batches.count == 0 {
        return sum;
    }
    format!(
        "{sum}\n\
         {} batches, median {} records{written}; {} dequeue calls, {:.1} records each; {} tier\n\
         {}, {:.0} records/s\n\
         {}",
        report.batches.count,
        report.batches.size_p50,
        report.dequeue.calls,
        report.dequeue.records_per_call,
        report.tier.actual,
        format_elapsed(Duration::try_from_secs_f64(report.seconds).unwrap_or_default()),
        report.records_per_s,
        latencies(report),
    )
}

/// Formats the latency that the job added, and the age of the records when they were settled.
fn latencies(report: &Report) -> String {
    let ms = |ms: f64| format_elapsed(Duration::try_from_secs_f64(ms / 1e3).unwrap_or(Duration::MAX));
    let quantiles = |latency: &Latency| format!("p50 {}, p99 {}", ms(latency.p50), ms(latency.p99));
    let (added, age) = (&report.added_latency_ms, &report.latency_ms);
    let all: Vec<_> = [("latency added by this job", added), ("age of records when settled", age)]
        .into_iter()
        .filter(|(_, latency)| latency.count > 0)
        .map(|(name, latency)| format!("{name}: {}", quantiles(latency)))
        .collect();
    match all.is_empty() {
        false => all.join("; "),
        // Reports of earlier versions have no count.
        true if age.max > 0.0 => format!("age of records when settled: {}", quantiles(age)),
        true if report.ledger.ok > 0 => {
            "no latency was measured: all records arrived within --warm-up".to_owned()
        }
        true => "no latency was measured: no record was settled as ok".to_owned(),
    }
}

/// Writes the report to a file or to stdout.
fn write_report(path: &Path, report: &Report) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(report)?;
    json.push(b'\n');
    if path == Path::new("-") {
        std::io::stdout().write_all(&json)?;
        return Ok(());
    }
    write_whole(path, &json)
}

/// Checks that a report can be written to `path`.
fn may_be_written(path: &Path) -> Result<()> {
    if path == Path::new("-") {
        return Ok(());
    }
    let (shown, folder) = (path.display(), folder_of(path));
    if path.is_dir() {
        bail!("--report {shown}: is a directory; specify a file");
    }
    if !folder.is_dir() {
        bail!("--report {shown}: there is no directory '{}'", folder.display());
    }
    match tempfile::NamedTempFile::new_in(folder) {
        Ok(_) => Ok(()),
        // The error's own text names the temporary file.
        Err(error) => bail!("--report {shown}: cannot create a file in the directory: {}", error.kind()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file atomically: into a temporary file, which is then renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let what = || path.display().to_string();
    let mut file = tempfile::NamedTempFile::new_in(folder_of(path)).with_context(what)?;
    file.write_all(bytes).with_context(what)?;
    file.persist(path).with_context(what)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;
    use velo_engine::Engine;
    use velo_engine::source::memory::MemorySource;
    use velo_lint::{Document, Language, NoFiles, Variables};

    fn job_of(sql: &str, more: &[&str]) -> Result<Job> {
        let args = ["velo", "run", "job.sql", "--bootstrap-servers", "localhost:1"];
        let Command::Run(args) = Cli::parse_from(args.iter().chain(more)).command else {
            panic!("not a run")
        };
        let document = Document::read_to_run("job.sql", sql, Language::Sql, &NoFiles, Variables::default());
        let options = Options::default();
        let unit = document.units(&options).next().context("a statement")?;
        query::check(unit.text, unit.statement)?;
        let route = Route::first(&unit);
        refuse(&document, &unit, &route)?;
        job(&unit, &route, &args)
    }

    #[test]
    fn every_stage_has_its_failure_strategy_and_dead_letter_topic() {
        let sql = "CREATE STREAM s AS SELECT * FROM \"prod.orders\" INTO out WITH ('failure_strategy' = 'SendToDLQ', \
                   'dlq.topic' = 'a', 'source.dlq.topic' = 'b', 'out.failure_strategy' = 'FailBatch')";
        let job = job_of(sql, &[]).expect("a job");
        assert_eq!((job.source_topic.as_str(), job.sink_topic.as_str()), ("prod.orders", "out"));
        let ByStage { decode, process, write } = &job.dlq_topics;
        assert_eq!([decode.as_deref(), process.as_deref(), write.as_deref()], [Some("b"), Some("a"), None]);
        assert_eq!(failures(&job), "decode SendToDLQ (b), process SendToDLQ (a), write FailBatch");
        assert_eq!(job.notes, [] as [&str; 0]);
    }

    #[test]
    fn unused_settings_are_reported_with_the_reason() {
        let sql = "CREATE STREAM s AS SELECT * FROM kafka://broker:9092/orders INTO out WITH ( \
                   'batch.window' = '5s', 'batch.size' = '5', 's.batch.size' = '7', 'source.batch.size' = '8', \
                   'sink.batch.size' = '9', 'max_retries' = '5', 'dlq.topic' = 'x', 'transaction.batches' = '2', \
                   'orders.topic' = 'here', 'source.topic' = 'there', 'linger.ms' = '5', 'Batch.Size' = '5')";
        let job = job_of(sql, &[]).expect("a job");
        assert_eq!(job.source_topic, "here");
        assert_eq!(
            job.notes,
            [
                "'batch.window' is not used: fixed_size does not read it",
                "'batch.size' is not used: narrower scopes override it",
                "'s.batch.size' is not used: 's' is neither the source nor the sink",
                "'max_retries' is not used: LogAndContinue does not retry",
                "'dlq.topic' is not used: LogAndContinue sends nothing to a dead letter queue",
                "'transaction.batches' is not used: only --exactly-once has transactions",
                "'Batch.Size' is not used: did you mean 'batch.size'?",
                "'source.topic' is not used: 'orders.topic' overrides it",
                "settings of other systems are ignored: linger.ms",
                "the broker in 'kafka://broker:9092/orders' is ignored: --bootstrap-servers sets the brokers",
            ]
        );
        let notes = job_of(sql, &["--exactly-once"]).expect("a job").notes;
        assert!(
            notes.iter().any(|note| note.starts_with("'sink.batch.size' is not used: with --exactly-once"))
        );
    }

    #[test]
    fn topics_that_form_a_loop_or_have_invalid_names_are_rejected() {
        for (sql, reason) in [
            ("CREATE STREAM s AS SELECT * FROM s", "the source and the sink are the same topic 's'"),
            (
                "CREATE STREAM s AS SELECT * FROM t WITH ('sink.topic' = 't')",
                "the source and the sink are the same topic 't'",
            ),
            (
                "CREATE STREAM \"t.dlq\" AS SELECT * FROM t WITH ('sink.failure_strategy' = 'SendToDLQ')",
                "the dead letter topic of the write stage is the sink, 't.dlq'",
            ),
            (
                "CREATE STREAM s AS SELECT * FROM t WITH ('source.failure_strategy' = 'SendToDLQ', 'source.dlq.topic' = 't')",
                "the dead letter topic of the decode stage is the source, 't'",
            ),
            ("CREATE STREAM s AS SELECT * FROM \"a b\"", "set the topic with 'a b.topic'"),
            ("CREATE STREAM s AS SELECT * FROM t WITH ('t.topic' = 'a/b')", "'t.topic' = 'a/b'"),
            ("CREATE STREAM s AS SELECT * FROM file:///x/y", "'file:///x/y'"),
            ("CREATE STREAM s AS SELECT * FROM t JOIN u ON true", "JOIN"),
        ] {
            let error = job_of(sql, &[]).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(reason), "{sql}: {error}");
        }
    }

    fn report(values: usize) -> Report {
        let source = MemorySource::new(vec![b"{}".to_vec(); values]);
        Engine::builder(velo_schema::Config::default()).start(source).report()
    }

    #[test]
    fn a_summary_without_batches_is_the_ledger_only() {
        assert_eq!(summary(&report(0)).lines().count(), 1);
        let some = report(250);
        let failed =
            Report { latency_ms: Latency::default(), added_latency_ms: Latency::default(), ..some.clone() };
        let late = summary(&failed);
        assert!(late.ends_with("no latency was measured: all records arrived within --warm-up"), "{late}");
        let some = summary(&some);
        assert!(some.contains("latency added by this job: p50 "), "{some}");
        assert!(some.contains("; age of records when settled: p50 "), "{some}");
        assert!(some.contains("3 batches, median 100 records"), "{some}");
    }

    #[test]
    fn a_report_path_is_checked_before_the_job_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing/report.json");
        for path in [missing.as_path(), folder.path()] {
            let error = may_be_written(path).expect_err("it cannot be written");
            assert!(format!("{error:#}").starts_with("--report "), "{error:#}");
        }
        may_be_written(&folder.path().join("report.json")).expect("it can");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left behind");
        may_be_written(Path::new("report.json")).expect("in this folder");
        may_be_written(Path::new("-")).expect("stdout");
    }
}
