//! Runs a job without a group: the source topic and a job without a sink in, the report out. Writes nothing.

use anyhow::Result;
use velo_engine::Builder;
use velo_engine::kafka::{ClientSettings, Fetching, TopicReader};
use velo_engine::memory::MemoryBudget;
use velo_engine::report::Report;
use velo_engine::waker::Waker;

use super::fetching::choose;
use super::job::{DEFAULT_START, Job};
use super::watch::watch;
use crate::args::RunArgs;
use crate::metrics::Metrics;

pub(super) fn dry_run(
    settings: &ClientSettings,
    job: &Job,
    args: &RunArgs,
    builder: Builder,
) -> Result<Report> {
    let partitions = TopicReader::connect(settings, 0, Waker::default())?.partitions(&job.source_topic)?;
    let memory = MemoryBudget::unlimited(partitions.len());
    let reader = TopicReader::connect_within(settings, &memory, builder.waker())?;
    let properties = reader.properties();
    let mut ranges = Vec::new();
    let positions = reader.offsets(&job.source_topic, &partitions, args.from.unwrap_or(DEFAULT_START))?;
    for (partition, position) in partitions.into_iter().zip(positions) {
        ranges.push((partition.partition, position, args.until_end.then_some(partition.high)));
    }
    let choice = choose(args, settings, &reader)?;
    let source = match choice.fetching {
        Fetching::Librdkafka => reader.read(&job.source_topic, ranges),
        Fetching::Native => reader.read_natively(&job.source_topic, ranges)?,
    };
    Ok(Report {
        properties,
        fetcher: Some(choice.fetching.to_string()),
        fetcher_reason: choice.reason,
        ..watch(&Metrics::default(), false, |observe| builder.run(source, observe))
    })
}
