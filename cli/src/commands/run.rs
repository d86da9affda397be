//! `velo run`: a statement in, its records moved from topic to topic, a report out.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use velo_engine::core::Ledger;
use velo_engine::core::failure::ByStage;
use velo_engine::exec::{Exec, ExecProcessor};
use velo_engine::kafka::{
    ClientSettings, Ensured, GroupOptions, GroupSource, KafkaSink, SinkOptions, TargetTopic, TopicReader,
    TopicSettings, TransactionOptions, ensure_topic, topic_settings,
};
use velo_engine::memory::MemoryBudget;
use velo_engine::processor::{Forward, Processor};
use velo_engine::report::{Outcome, Report};
use velo_engine::waker::Waker;
use velo_engine::{Builder, Control, JobConfig, Progress};
use velo_lint::topics::topic;
use velo_lint::{FileError, Options, Unit};
use velo_schema::{Plan, Side, Strategy};

use super::check::Checked;
use super::targets;
use crate::args::RunArgs;
use crate::input::read;
use crate::kafka::settings;
use crate::log::{self, fail, note, say};
use crate::metrics::Metrics;
use crate::render::plan::sides;
use crate::render::style;
use crate::statement::{print_errors, select};
use crate::{EXIT_USAGE, query};

/// The exit code of a job that a second Ctrl-C has ended.
const EXIT_FORCED: u8 = 130;
/// Payload bytes that a dry run's client fetches ahead.
const DRY_RUN_PREFETCH_BYTES: u64 = 64 << 20;

/// What a statement asks for.
struct Job {
    statement: String,
    source_topic: String,
    sink_topic: String,
    /// Where the dead letters of each stage go.
    dlq_topics: ByStage<Option<String>>,
    config: JobConfig,
    plan: Plan,
    /// Settings of other systems, which are not ours to follow.
    ignored: Vec<String>,
}

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    if args.memory_limit.is_some() {
        give_memory_back();
    }
    log::start(&args.log);
    let settings = settings(&args.broker)?;
    let input = read(&args.file, None)?;
    let document = input.document();
    if print_errors(&document) {
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let number = select(&document, args.statement.as_deref())?;
    let options = Options::default();
    let unit = document.units(&options).nth(number).context("the statement that was selected")?;
    if let Some(lost) = unit.lost.iter().find(|lost| lost.error != FileError::NotLooked) {
        bail!("{}: {}: {}", document.name(0), lost.path, lost.error);
    }
    let job = job(&unit, args)?;
    announce(&job, args);

    let control = Control::default();
    let signals = Signalled::listen(&control)?;
    let report = if args.dry_run {
        dry_run(&settings, &job, args, member(job.config.clone(), args, control))?
    } else {
        match full_run(&settings, &job, args, &control)? {
            Ended::Ran(report) => *report,
            Ended::Checked(code) => return Ok(code),
        }
    };
    finish(args, &report, &signals)
}

fn job(unit: &Unit<'_>, args: &RunArgs) -> Result<Job> {
    let statement = unit.statement;
    let name = statement.name.as_ref().map(|name| name.text.clone()).unwrap_or_default();
    let span = statement.query.clone().unwrap_or_default();
    let source = query::source(&unit.text[span]).with_context(|| format!("statement '{name}'"))?;
    let (source_settings, job_config, sink_config) = sides(unit);
    let source_config = source_settings.config();
    let mut topic_keys = Vec::new();
    let mut topic_of = |name: &str, side| {
        let topic = topic(unit, name, side);
        topic_keys.extend(topic.keys);
        topic.name.with_context(|| format!("statement '{name}': a topic is a placeholder, fill it in first"))
    };
    let source_topic = topic_of(&source, Side::Source)?;
    let sink_topic = topic_of(&name, Side::Sink)?;
    let ignored = unit.foreign.iter().map(|foreign| foreign.key.to_owned());
    let ignored = ignored.filter(|key| !topic_keys.contains(key)).collect();
    let uses_dlq = [&source_config, &job_config, &sink_config].iter().any(|c| c.failure.uses_dlq());
    let dlq_topic = job_config.dlq_topic.clone().or_else(|| source_config.dlq_topic.clone());
    let dlq_topic = uses_dlq.then(|| dlq_topic.unwrap_or_else(|| format!("{source_topic}.dlq")));
    let dlq_topics =
        ByStage { decode: dlq_topic.clone(), process: dlq_topic.clone(), write: dlq_topic.clone() };
    let batches = job_config.transaction_batches;
    if batches > 1 && matches!(source_config.strategy, Strategy::MegaBatch { parallel: true, .. }) {
        bail!(
            "statement '{name}': a transaction of {batches} batches needs them in order, but batch.parallel is true; \
             set 'batch.parallel' = 'false' or 'transaction.batches' = '1'"
        );
    }
    if source_topic == sink_topic || dlq_topic.as_ref().is_some_and(|dlq| *dlq == source_topic) {
        bail!("statement '{name}' would write to its own source, topic '{source_topic}', without end");
    }
    Ok(Job {
        statement: name,
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
        ignored,
    })
}

impl Job {
    /// The topics that dead letters go to, each once.
    fn dead_letter_topics(&self) -> Vec<&str> {
        let mut topics: Vec<_> =
            self.dlq_topics.each_ref().into_iter().flatten().map(String::as_str).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }
}

/// Has the allocator return freed memory to the system at once, which it reads from a variable at its start:
/// this program begins anew with it. Without that it keeps some for a while, beyond any limit.
#[cfg(unix)]
fn give_memory_back() {
    use std::os::unix::process::CommandExt;
    const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut args = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), args.next()) {
        // It returns only where it fails, and then the limit is kept less exactly.
        let _ = std::process::Command::new(program).arg0(name).args(args).env(VARIABLE, "0").exec();
    }
}

#[cfg(not(unix))]
fn give_memory_back() {}

/// One member of the job.
fn member(config: JobConfig, args: &RunArgs, control: Control) -> Builder {
    Builder::controlled(config, control).boxed_processor(processor(args))
}

fn announce(job: &Job, args: &RunArgs) {
    let strategy = job.plan.strategy.map_or("no batching".to_owned(), |strategy| strategy.to_string());
    let to = if args.dry_run { "(dry run, nothing is written)" } else { &job.sink_topic };
    say(&format!(
        "{} {} -> {to}: {strategy}, max.poll.records {}, {} tier; records that fail: {}{}",
        style::bold(&job.statement),
        job.source_topic,
        job.plan.max_poll_records,
        job.plan.tier,
        job.config.job.failure.strategy,
        job.dlq_topics.process.as_ref().map(|dlq| format!(" ({dlq})")).unwrap_or_default(),
    ));
    if args.exactly_once && job.config.source.strategy != job.config.sink.strategy {
        note(
            "with --exactly-once, sink.batch.* has no effect: what is written together is what a \
             transaction holds",
        );
    }
    if !args.exactly_once && job.config.job.transaction_batches > 1 {
        note("without --exactly-once, transaction.batches has no effect");
    }
    if !job.ignored.is_empty() {
        note(&format!("settings of other systems, not used here: {}", job.ignored.join(", ")));
    }
}

fn processor(args: &RunArgs) -> Box<dyn Processor> {
    match (&args.exec, args.cost) {
        (Some(command), _) => Box::new(ExecProcessor::new(Exec {
            command: command.clone(),
            timeout: args.exec_timeout,
            environment: Vec::new(),
        })),
        (None, Some(synthetic)) => Box::new(synthetic),
        (None, None) => Box::new(Forward),
    }
}

fn dry_run(settings: &ClientSettings, job: &Job, args: &RunArgs, builder: Builder) -> Result<Report> {
    let reader = TopicReader::connect(settings, DRY_RUN_PREFETCH_BYTES, builder.waker())?;
    let properties = reader.properties().clone();
    let mut ranges = Vec::new();
    let partitions = reader.partitions(&job.source_topic)?;
    let positions = reader.offsets(&job.source_topic, &partitions, args.from)?;
    for (partition, position) in partitions.into_iter().zip(positions) {
        ranges.push((partition.partition, position, args.until_end.then_some(partition.high)));
    }
    let source = reader.read(&job.source_topic, ranges);
    Ok(Report { properties, ..watch(&Metrics::default(), |observe| builder.run(source, observe)) })
}

/// How a command ended.
enum Ended {
    Ran(Box<Report>),
    Checked(ExitCode),
}

fn full_run(settings: &ClientSettings, job: &Job, args: &RunArgs, control: &Control) -> Result<Ended> {
    if args.exactly_once && settings.property("isolation.level") == Some("read_uncommitted") {
        bail!("isolation.level: --exactly-once reads committed records only");
    }
    let reader = TopicReader::connect(settings, 0, Waker::default())?;
    let Some(source_partitions) = reader.partition_count(&job.source_topic)? else {
        bail!("there is no topic '{}' on {}", job.source_topic, settings.bootstrap_servers());
    };
    let group_id = args.group_id.clone().unwrap_or_else(|| format!("velo-{}", job.statement));
    let member_count = args.concurrency.get();
    let memory = match args.memory_limit {
        Some(limit) => MemoryBudget::of(limit, member_count.into(), source_partitions),
        None => MemoryBudget::unlimited(source_partitions),
    };
    let options = GroupOptions {
        start: args.from,
        until_end: args.until_end,
        on_data_loss: args.on_data_loss.into(),
        exactly_once: args.exactly_once,
        max_poll_records: job.plan.max_poll_records.max,
        memory,
        ..GroupOptions::new(group_id.clone(), job.source_topic.clone(), source_partitions)
    };
    if args.check {
        let (sink, dlq) = (job.sink_topic.as_str(), job.dead_letter_topics());
        let linger = linger(&job.config.sink.strategy);
        let transactional_id = args.exactly_once.then(|| transactional_id(args, &group_id));
        let checked = Checked { settings, reader: &reader, options, sink, dlq, linger, transactional_id };
        return checked.check().map(Ended::Checked);
    }
    let of_source = topic_settings(settings, &reader, &job.source_topic);
    let ensure = |topic: &str, settings_of_new: &[(String, String)]| -> Result<TargetTopic> {
        let ensured = ensure_topic(settings, &reader, topic, source_partitions, settings_of_new)?;
        if let Ensured::Created(partitions) = ensured {
            say(&format!("created topic {topic} with {partitions} partitions"));
        }
        let TopicSettings { max_message_bytes, is_compacted, .. } = topic_settings(settings, &reader, topic);
        Ok(TargetTopic {
            name: topic.to_owned(),
            partitions: ensured.partitions(),
            max_message_bytes,
            is_compacted,
        })
    };
    let sink = ensure(&job.sink_topic, &of_source.for_sink())?;
    let mut queues: BTreeMap<&str, TargetTopic> = BTreeMap::new();
    for name in job.dead_letter_topics() {
        queues.insert(name, ensure(name, &of_source.for_dead_letters())?);
    }
    let dlq = job
        .dlq_topics
        .each_ref()
        .map(|name| name.as_ref().and_then(|name| queues.get(name.as_str()).cloned()));
    let targets = targets::Targets { settings, reader: &reader, options: &options, of_source: &of_source };
    for warning in targets.warnings(&job.sink_topic, &job.dead_letter_topics()) {
        note(&warning);
    }
    // It was for questions; nobody polls it from here on.
    drop(reader);
    let mut properties = BTreeMap::new();
    let mut members = Vec::new();
    for number in 0..member_count {
        // The names of several members differ in a number.
        let numbered = |name: String| if number == 0 { name } else { format!("{name}-{number}") };
        let config = JobConfig {
            max_unsettled_bytes: memory.in_flight_bytes,
            max_unsettled_records: memory.in_flight_records,
            ..job.config.clone()
        };
        let builder = member(config, args, control.member());
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
    if let Some(address) = &args.metrics {
        say(&format!("metrics at http://{}/metrics", metrics.serve(address, memory)?));
    }
    let report = watch(&metrics, |observe| Builder::run_all(members, observe));
    Ok(Ended::Ran(Box::new(Report { properties, memory: Some(memory), ..report })))
}

fn transactional_id(args: &RunArgs, group_id: &str) -> String {
    let of_group = || match &args.group_instance_id {
        Some(instance) => format!("{group_id}-{instance}"),
        None => group_id.to_owned(),
    };
    args.transactional_id.clone().unwrap_or_else(of_group)
}

/// A strategy that buys latency with throughput should not lose it again in the producer.
fn linger(strategy: &Strategy) -> Duration {
    match strategy {
        Strategy::LowLatency { .. } => Duration::ZERO,
        _ => Duration::from_millis(5),
    }
}

/// Runs a job behind a status line, which is there only on a terminal.
fn watch(metrics: &Metrics, run: impl FnOnce(&mut (dyn FnMut(Progress) + Send)) -> Report) -> Report {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    let mut last = (Duration::ZERO, 0);
    let report = run(&mut |progress: Progress| {
        metrics.update(&progress);
        bar.suspend(|| {
            for notice in &progress.notices {
                note(notice);
            }
        });
        bar.set_message(status(&progress, last));
        bar.tick();
        let Ledger { ok, skipped, dlq, .. } = progress.ledger;
        last = (progress.elapsed, ok + skipped + dlq);
    });
    bar.finish_and_clear();
    report
}

/// How a job goes: how many records are settled, and how many more than at the time of `last`.
fn status(progress: &Progress, last: (Duration, u64)) -> String {
    let Ledger { delivered, ok, skipped, dlq, .. } = progress.ledger;
    let settled = ok + skipped + dlq;
    let seconds = progress.elapsed.saturating_sub(last.0).as_secs_f64();
    let rate = if seconds > 0.0 { settled.saturating_sub(last.1) as f64 / seconds } else { 0.0 };
    let mut line = format!(
        "{settled} settled, {} in flight, {rate:.0}/s, batches of {}, {} tier",
        delivered - settled,
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

/// SIGINT, SIGTERM and SIGHUP: the first drains, the second ends at once.
struct Signalled {
    forced: Arc<AtomicBool>,
}

impl Signalled {
    fn listen(control: &Control) -> Result<Self> {
        let forced = Arc::new(AtomicBool::new(false));
        let (control, second) = (control.clone(), Arc::clone(&forced));
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("signal handlers")?;
        std::thread::spawn(move || {
            let mut received = signals.forever();
            if received.next().is_some() {
                say("draining; again to end at once");
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

fn finish(args: &RunArgs, report: &Report, signals: &Signalled) -> Result<ExitCode> {
    say(&summary(report));
    if let Some(error) = &report.error {
        fail(error);
    }
    if let Some(path) = &args.report {
        write_report(path, report)?;
    }
    let forced = signals.forced.load(Ordering::Acquire);
    Ok(match report.outcome {
        _ if forced => ExitCode::from(EXIT_FORCED),
        Outcome::Drained => ExitCode::SUCCESS,
        Outcome::Failed | Outcome::Interrupted => ExitCode::FAILURE,
    })
}

/// The ledger, as a sum that adds up.
pub(super) fn summary(report: &Report) -> String {
    let ledger = &report.ledger;
    let written = report.sink_batches.as_ref().map_or_else(String::new, |groups| {
        format!("; written in {}, median {} records", groups.count, groups.size_p50)
    });
    let lost = if ledger.lost > 0 { format!(", lost {}", ledger.lost) } else { String::new() };
    format!(
        "delivered {} = ok {} + skipped {} + dlq {} + failed {} + uncommitted {}  (gaps {}{lost})\n\
         {} batches, median {} records{written}; {} dequeue calls, {:.1} records each; {} tier\n\
         {:.2} s, {:.0} records/s, latency p50 {:.1} ms, p99 {:.1} ms",
        ledger.delivered,
        ledger.ok,
        ledger.skipped,
        ledger.dlq,
        ledger.failed,
        ledger.uncommitted,
        ledger.gaps,
        report.batches.count,
        report.batches.size_p50,
        report.dequeue.calls,
        report.dequeue.records_per_call,
        report.tier.actual,
        report.seconds,
        report.records_per_s,
        report.latency_ms.p50,
        report.latency_ms.p99,
    )
}

/// Writes the report whole or not at all.
fn write_report(path: &Path, report: &Report) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(report)?;
    json.push(b'\n');
    if path == Path::new("-") {
        std::io::stdout().write_all(&json)?;
        return Ok(());
    }
    write_whole(path, &json)
}

/// Writes a file by way of another one, so that nobody ever sees a part of it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let what = || path.display().to_string();
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(what)?;
    file.write_all(bytes).with_context(what)?;
    file.persist(path).with_context(what)?;
    Ok(())
}
