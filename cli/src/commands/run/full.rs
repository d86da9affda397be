//! Runs a job as members of a group: the job and the client settings in, the report out, or with `--check` the exit
//! code of the preflight checks. Opens the source and the sink of each member.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use velo_engine::kafka::{
    ClientSettings, GroupOptions, GroupSource, KafkaSink, SinkOptions, TopicReader, TransactionOptions,
};
use velo_engine::process::exec::MOST_ANSWER_BYTES;
use velo_engine::report::Report;
use velo_engine::waker::Waker;
use velo_engine::{Builder, Control, JobConfig};
use velo_schema::Strategy;

use super::announce::{note_committed, note_idle_members};
use super::fetching::choose;
use super::job::{DEFAULT_START, Job};
use super::member::member;
use super::memory::memory;
use super::topics::target_topics;
use super::watch::watch;
use crate::args::{CheckArg, RunArgs};
use crate::commands::check::Checked;
use crate::log::say;
use crate::metrics::{Listener, Metrics};

/// The result of a full run or its preflight checks.
pub(super) enum Ended {
    Ran(Box<Report>),
    Checked(ExitCode),
}

pub(super) fn full_run(
    settings: &ClientSettings,
    job: &Job,
    args: &RunArgs,
    control: &Control,
) -> Result<Ended> {
    if args.exactly_once && settings.is_set_to("isolation.level", "read_uncommitted") {
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
    let choice = choose(args, settings, &reader)?;
    let options = GroupOptions {
        start: args.from.unwrap_or(DEFAULT_START),
        until_end: args.until_end,
        on_data_loss: args.on_data_loss.into(),
        exactly_once: args.exactly_once,
        max_poll_records: job.plan.max_poll_records.max,
        memory,
        fetching: choice.fetching,
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
            choice,
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
        metrics.serve(listener, memory, choice.clone());
    }
    let report = watch(&metrics, true, |observe| Builder::run_all(members, observe));
    Ok(Ended::Ran(Box::new(Report {
        properties,
        memory: Some(memory),
        fetcher: Some(choice.fetching.to_string()),
        fetcher_reason: choice.reason,
        ..report
    })))
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
