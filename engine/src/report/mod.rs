//! The report of a run: ledger, batches, client calls and latencies.

mod latencies;
mod meter;
mod sizes;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::{Span, StrategyKind, Tier};

use crate::core::Ledger;
use crate::core::batcher::SealReason;
use crate::memory::MemoryBudget;

pub(crate) use meter::{Ending, Meter};

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All records that were taken are settled. Failed records were skipped or are in the dead letter queue.
    Drained,
    /// The job failed.
    Failed,
    /// The job was stopped before all records that were taken were settled.
    Interrupted,
}

/// The report of a run. Later versions only add fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The version of this format: 1.
    pub version: u32,
    /// The outcome of the run.
    pub outcome: Outcome,
    /// The error message, if the job failed.
    pub error: Option<String>,
    /// The number of records in each final state.
    pub ledger: Ledger,
    /// True if the source was read to its end and all of its records are settled and committed.
    #[serde(default)]
    pub end_of_input: bool,
    /// The number of group members in this process.
    #[serde(default = "one")]
    pub members: u32,
    /// The batches that were processed.
    pub batches: Batches,
    /// The groups that were written; `None` if the sink writes the batches that were processed.
    pub sink_batches: Option<Batches>,
    /// The final offsets of each partition that the job had, by topic and partition.
    #[serde(default)]
    pub partitions: Vec<PartitionEnd>,
    /// The calls to the client.
    pub dequeue: Dequeue,
    /// The latency from a record's timestamp until the record is settled as `ok`. While a backlog is processed, most of
    /// it is the time before the job started.
    pub latency_ms: Latency,
    /// The latency that the job adds: from taking a record from the client's queue until the record is settled as `ok`.
    #[serde(default)]
    pub added_latency_ms: Latency,
    /// The time from the first record taken to the last record settled, in seconds.
    pub seconds: f64,
    /// Records settled as `ok` per second of that time.
    pub records_per_s: f64,
    /// Payload bytes of all records taken.
    pub bytes: u64,
    /// The consumer tier.
    pub tier: TierReport,
    /// The batch strategy; `None` if batching is disabled.
    pub strategy: Option<StrategyKind>,
    /// The maximum number of records per poll.
    pub max_poll_records: Span,
    /// The memory limits, if there is a Kafka client.
    #[serde(default)]
    pub memory: Option<MemoryBudget>,
    /// What has fetched the records, `native` or `librdkafka`; `None` without a Kafka client.
    #[serde(default)]
    pub fetcher: Option<String>,
    /// Why `librdkafka` has fetched the records although no fetcher was asked for.
    #[serde(default)]
    pub fetcher_reason: Option<String>,
    /// The properties of the Kafka client with masked secrets; empty without a client.
    pub properties: BTreeMap<String, String>,
    /// The notices of the run.
    pub notices: Vec<String>,
    /// The version of the engine.
    pub engine_version: String,
}

fn one() -> u32 {
    1
}

/// The number of batches and their sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Batches {
    /// The number of batches.
    pub count: u64,
    /// The number of batches by seal reason.
    pub by_reason: BTreeMap<SealReason, u64>,
    /// The median number of records per batch.
    pub size_p50: u64,
    /// The number of records of the largest batch.
    pub size_max: u64,
    /// The number of records of the smallest batch.
    #[serde(default)]
    pub size_min: u64,
    /// The number of records that 99 % of the batches do not exceed.
    #[serde(default)]
    pub size_p99: u64,
    /// The number of records of all batches.
    #[serde(default)]
    pub records: u64,
}

/// The final offsets of a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PartitionEnd {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset before which all records are settled.
    pub settled_offset: i64,
    /// The offset after the newest record, if it is known.
    pub end_offset: Option<i64>,
}

/// The calls that took records from the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dequeue {
    /// The number of calls that returned records.
    pub calls: u64,
    /// The number of calls that returned no record.
    pub empty_calls: u64,
    /// The mean number of records per call that returned records.
    pub records_per_call: f64,
}

/// Quantiles of a latency in milliseconds; all are 0 if `count` is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The maximum.
    pub max: f64,
    /// The number of records.
    #[serde(default)]
    pub count: u64,
}

/// The planned and the actual consumer tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TierReport {
    /// The tier of the plan.
    pub requested: Tier,
    /// The tier that was used: Buffered if any call returned more than one record.
    pub actual: Tier,
}

/// A histogram with fixed buckets, for monitoring systems.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    /// The inclusive upper bound of each bucket, and the number of values in the bucket; counts are not cumulative. The
    /// bound of the last bucket is [`f64::MAX`].
    pub counts: Vec<(f64, u64)>,
    /// The number of all values.
    pub count: u64,
    /// The sum of all values.
    pub sum: f64,
}

impl Buckets {
    /// Adds the values of another histogram with the same buckets.
    fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
        } else {
            for ((_, count), (_, more)) in self.counts.iter_mut().zip(&other.counts) {
                *count += more;
            }
        }
        self.count += other.count;
        self.sum += other.sum;
    }
}

/// The counters of a job so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counters {
    /// Payload bytes of all records taken.
    pub bytes: u64,
    /// The number of calls to the client that returned records, and of calls that returned no record.
    pub calls: (u64, u64),
    /// The number of batches by seal reason.
    pub batches: BTreeMap<SealReason, u64>,
    /// The number of batch retries.
    pub retries: u64,
    /// The latency in seconds from a record's timestamp until the record is settled as `ok`.
    pub latency_s: Buckets,
    /// The latency in seconds from taking a record until the record is settled as `ok`.
    pub added_latency_s: Buckets,
    /// The number of records per batch.
    pub batch_records: Buckets,
}

impl Counters {
    /// Adds the counters of another member.
    pub(crate) fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.calls = (self.calls.0 + other.calls.0, self.calls.1 + other.calls.1);
        for (reason, count) in &other.batches {
            *self.batches.entry(*reason).or_default() += count;
        }
        self.retries += other.retries;
        self.latency_s.add(&other.latency_s);
        self.added_latency_s.add(&other.added_latency_s);
        self.batch_records.add(&other.batch_records);
    }
}
