//! Reports what a job will do: the job and its group in, a line and notes on stderr out.

use velo_engine::JobConfig;
use velo_engine::kafka::{ClientSettings, GroupOptions, Inspector};
use velo_schema::FailureStrategy;

use super::job::Job;
use crate::args::RunArgs;
use crate::dead_letters;
use crate::log::{note, say};
use crate::render::style;

pub(super) fn announce(job: &Job, args: &RunArgs) {
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
pub(super) fn failures(job: &Job) -> String {
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

/// Reports how many members have no partition.
pub(super) fn note_idle_members(members: u16, options: &GroupOptions) {
    let idle = usize::from(members).saturating_sub(options.partitions);
    if idle > 0 {
        note(&format!(
            "{idle} of {members} members get no partition: {} has {} partitions",
            options.topic, options.partitions
        ));
    }
}

/// Reports the number of partitions with committed offsets, on which `--from` has no effect.
pub(super) fn note_committed(settings: &ClientSettings, options: &GroupOptions) {
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
