//! A configuration on the live topic: the real engine over the read-only source.
#![allow(clippy::disallowed_methods, reason = "confirming lasts for a time")]

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use velo_engine::kafka::{KafkaError, Received, Start, TopicReader};
use velo_engine::source::SourceError;
use velo_engine::waker::Waker;
use velo_engine::{Builder, Control, JobConfig};

use crate::advice::Confirmation;
use crate::candidate::Candidate;
use crate::runner::Workload;
use crate::sample::SampleError;

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Live<'a> {
    /// The topic.
    pub topic: &'a str,
    /// For how long.
    pub length: Duration,
    /// Most payload bytes a second.
    pub max_bytes_per_s: u64,
}

/// Runs a candidate on what comes into the topic from now on, and adds what was `received` for it. `connect`
/// makes a client that wakes a waker. Where the workload is stopped it ends at once.
///
/// # Errors
/// Where the topic cannot be read, or the brokers hold the client back, which ends it, too.
pub fn confirm(
    connect: &dyn Fn(Waker) -> Result<TopicReader, KafkaError>,
    live: Live<'_>,
    candidate: &Candidate,
    workload: &Workload,
    received: &mut Received,
) -> Result<Confirmation, SampleError> {
    let control = Control::default();
    let reader = connect(control.waker())?;
    let mut ranges = Vec::new();
    for partition in reader.partitions(live.topic)? {
        ranges.push((partition.partition, reader.offset(live.topic, partition, Start::Latest)?, None));
    }
    let source = reader.read(live.topic, ranges).with_max_rate(Some(live.max_bytes_per_s));
    let meter = source.meter();
    let config = JobConfig { format: workload.format, ..JobConfig::uniform(candidate.config()) };
    let stop = control.clone();
    let builder = Builder::controlled(config, control).boxed_processor(workload.work());
    let started = Instant::now();
    let report = builder.run(source, &mut |_| {
        let is_throttled = !meter.received().throttle.is_zero();
        if is_throttled || workload.stop.load(Ordering::Acquire) {
            stop.abandon();
        } else if started.elapsed() >= live.length {
            stop.drain();
        }
    });
    let seen = meter.received();
    *received += seen;
    if !seen.throttle.is_zero() {
        return Err(SampleError::Throttled(seen.throttle));
    }
    if let Some(error) = report.error {
        return Err(SourceError(error).into());
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
