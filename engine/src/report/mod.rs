//! What a run did, as data: the ledger, the batches, the calls, the latencies.

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

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that was taken is settled; failed records were skipped or are in the queue for them.
    Drained,
    /// The job failed.
    Failed,
    /// It was ended before everything that was taken was settled.
    Interrupted,
}

/// The report of a run. Fields are only ever added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Of this format: 1.
    pub version: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed, where it did.
    pub error: Option<String>,
    /// Where every record ended.
    pub ledger: Ledger,
    /// True if the source has come to its end, and all of it is settled and committed.
    #[serde(default)]
    pub end_of_input: bool,
    /// Members of the group that the job had in this process.
    #[serde(default = "one")]
    pub members: u32,
    /// The batches.
    pub batches: Batches,
    /// What was written together, where the sink's settings regroup it.
    pub sink_batches: Option<Batches>,
    /// Where each partition ended that the job had, by topic and partition.
    #[serde(default)]
    pub partitions: Vec<PartitionEnd>,
    /// The calls to the client.
    pub dequeue: Dequeue,
    /// From a record's timestamp to its being settled as ok: how old records were. In a drain of a backlog that
    /// is mostly the time that they waited before the job began.
    pub latency_ms: Latency,
    /// From the moment that a record was taken from the client's queue to its being settled as ok: what the job
    /// adds.
    #[serde(default)]
    pub added_latency_ms: Latency,
    /// From the first record taken to the last one settled.
    pub seconds: f64,
    /// Records settled as ok in that time.
    pub records_per_s: f64,
    /// Payload bytes taken.
    pub bytes: u64,
    /// The consumer tier.
    pub tier: TierReport,
    /// The strategy, `None` where batching is disabled.
    pub strategy: Option<StrategyKind>,
    /// Records a poll at most.
    pub max_poll_records: Span,
    /// How memory was divided, where there is a client.
    #[serde(default)]
    pub memory: Option<MemoryBudget>,
    /// The client's properties, where there is a client; secrets masked.
    pub properties: BTreeMap<String, String>,
    /// What was worth telling while it ran.
    pub notices: Vec<String>,
    /// Of the engine.
    pub engine_version: String,
}

fn one() -> u32 {
    1
}

/// How many batches there were, and how large.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Batches {
    /// How many.
    pub count: u64,
    /// How many by reason of sealing.
    pub by_reason: BTreeMap<SealReason, u64>,
    /// Records of the median batch.
    pub size_p50: u64,
    /// Records of the largest batch.
    pub size_max: u64,
    /// Records of the smallest batch.
    #[serde(default)]
    pub size_min: u64,
    /// Records that 99 of 100 batches do not exceed.
    #[serde(default)]
    pub size_p99: u64,
    /// Records of all batches.
    #[serde(default)]
    pub records: u64,
}

/// Where a partition ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PartitionEnd {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Every record before this offset is settled.
    pub settled_offset: i64,
    /// The offset after its newest record, if that was known.
    pub end_offset: Option<i64>,
}

/// How records were taken from the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dequeue {
    /// Calls that returned records.
    pub calls: u64,
    /// Calls that returned none.
    pub empty_calls: u64,
    /// Records a call that returned any.
    pub records_per_call: f64,
}

/// Quantiles of a latency in milliseconds; all are 0 if it is that of no records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// How many records it is of.
    #[serde(default)]
    pub count: u64,
}

/// The tier that was planned and the one that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TierReport {
    /// As the plan says.
    pub requested: Tier,
    /// As it was: Buffered where any call returned more than one record.
    pub actual: Tier,
}

/// A histogram of fixed buckets, as monitoring systems have them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    /// The largest value of each bucket, and how many values are in it and in none before it. The last
    /// bucket has no bound.
    pub counts: Vec<(f64, u64)>,
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl Buckets {
    /// Both together.
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

/// What a job has counted so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counters {
    /// Payload bytes taken.
    pub bytes: u64,
    /// Calls to the client that returned records, and calls that returned none.
    pub calls: (u64, u64),
    /// Batches by reason of sealing.
    pub batches: BTreeMap<SealReason, u64>,
    /// Times a batch was held and tried again.
    pub retries: u64,
    /// Seconds from a record's timestamp to its being settled as ok.
    pub latency_s: Buckets,
    /// Seconds from a record's being taken to its being settled as ok.
    pub added_latency_s: Buckets,
    /// Records of a batch.
    pub batch_records: Buckets,
}

impl Counters {
    /// Counts what another member counted.
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
