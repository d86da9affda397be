//! The recommendation on the live topic: the real engine over the read-only source.
#![allow(clippy::disallowed_methods, reason = "confirming lasts for a time")]

use std::time::Duration;

use velo_engine::kafka::{Start, TopicReader};
use velo_engine::{Builder, Control};

use crate::advice::Confirmation;
use crate::candidate::Candidate;
use crate::runner::Workload;
use crate::sample::SampleError;

/// Runs a candidate on what comes into the topic from now on, for `length`; `reader` wakes `control`.
///
/// # Errors
/// Where the topic cannot be read.
pub fn confirm(
    reader: TopicReader,
    topic: &str,
    candidate: &Candidate,
    workload: &Workload,
    length: Duration,
    max_bytes_per_s: u64,
    control: Control,
) -> Result<Confirmation, SampleError> {
    let mut ranges = Vec::new();
    for partition in reader.partitions(topic)? {
        ranges.push((partition.partition, reader.offset(topic, partition, Start::Latest)?, None));
    }
    let source = reader.read(topic, ranges).with_max_rate(Some(max_bytes_per_s));
    let stop = control.clone();
    let builder = Builder::controlled(candidate.config(), control).boxed_processor(workload.work());
    let started = std::time::Instant::now();
    let report = builder.run(source, &mut |_| {
        if started.elapsed() >= length {
            stop.drain();
        }
    });
    if let Some(error) = report.error {
        return Err(velo_engine::source::SourceError(error).into());
    }
    Ok(Confirmation {
        records: report.ledger.ok,
        seconds: report.seconds,
        records_per_s: report.records_per_s,
        p50_ms: report.latency_ms.p50,
        p99_ms: report.latency_ms.p99,
        tier: report.tier.actual,
        records_per_call: report.dequeue.records_per_call,
    })
}
