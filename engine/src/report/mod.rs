//! What a run did, as data: the ledger, the batches, the calls, the latencies.

mod latencies;
mod sizes;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::{Plan, Span, StrategyKind, Tier};

use crate::columns::LaneName;
use crate::core::batcher::SealReason;
use crate::core::{Core, Ledger, Tick};
use crate::memory::MemoryBudget;
use latencies::Latencies;
use sizes::Sizes;

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

const LATENCY_BOUNDS_S: [f64; 17] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0,
    86_400.0,
];
const SIZE_BOUNDS: [f64; 13] =
    [1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0, 25_000.0, 50_000.0, 100_000.0];

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

/// What is counted while a run goes on.
#[derive(Debug)]
pub(crate) struct Meter {
    /// With a warm-up, what came before its end is left out; without one, nothing is.
    warm_up_ns: i64,
    /// From records' timestamps.
    ages: Latencies,
    /// From the moments that records were taken.
    added: Latencies,
    partitions: BTreeMap<(String, i32), PartitionEnd>,
    pub batches: BatchMeter,
    pub groups: BatchMeter,
    calls: u64,
    pub empty_calls: u64,
    largest_call: u64,
    bytes: u64,
    pub retries: u64,
    pub first: Option<Tick>,
    pub last: Tick,
    pub notices: Vec<String>,
}

/// Sizes of batches and why they were sealed.
#[derive(Debug, Default)]
pub(crate) struct BatchMeter {
    sizes: Sizes,
    by_reason: BTreeMap<SealReason, u64>,
}

impl BatchMeter {
    pub fn sealed(&mut self, reason: SealReason, records: u64) {
        *self.by_reason.entry(reason).or_default() += 1;
        self.sizes.record(records);
    }

    fn add(&mut self, other: Self) {
        self.sizes.add(&other.sizes);
        for (reason, count) in other.by_reason {
            *self.by_reason.entry(reason).or_default() += count;
        }
    }

    pub fn summary(&self) -> Batches {
        let sizes = &self.sizes;
        Batches {
            count: sizes.count(),
            by_reason: self.by_reason.clone(),
            size_p50: sizes.quantile(50),
            size_max: sizes.max(),
            size_min: sizes.min(),
            size_p99: sizes.quantile(99),
            records: sizes.sum(),
        }
    }
}

impl Meter {
    pub fn new(warm_up: Duration) -> Self {
        Self {
            warm_up_ns: i64::try_from(warm_up.as_nanos()).unwrap_or(i64::MAX),
            ages: Latencies::default(),
            added: Latencies::default(),
            partitions: BTreeMap::new(),
            batches: BatchMeter::default(),
            groups: BatchMeter::default(),
            calls: 0,
            empty_calls: 0,
            largest_call: 0,
            bytes: 0,
            retries: 0,
            first: None,
            last: Tick::default(),
            notices: Vec::new(),
        }
    }

    /// What has been counted so far.
    pub fn counters(&self) -> Counters {
        Counters {
            bytes: self.bytes,
            calls: (self.calls, self.empty_calls),
            batches: self.batches.by_reason.clone(),
            retries: self.retries,
            latency_s: self.ages.buckets(&LATENCY_BOUNDS_S),
            added_latency_s: self.added.buckets(&LATENCY_BOUNDS_S),
            batch_records: self.batches.sizes.buckets(&SIZE_BOUNDS),
        }
    }

    /// Calls that returned this many records between them.
    pub fn took(&mut self, now: Tick, calls: u64, records: u64, bytes: u64) {
        self.calls += calls;
        self.largest_call = self.largest_call.max(records.div_ceil(calls.max(1)));
        self.first.get_or_insert(now);
        self.bytes += bytes;
    }

    /// Records are settled that arrived at these times.
    pub fn settled(&mut self, now: Tick, arrivals_ns: impl Iterator<Item = i64>) {
        let now = i64::try_from(now.0).unwrap_or(i64::MAX);
        for arrival in arrivals_ns.filter(|arrival| self.warm_up_ns == 0 || *arrival >= self.warm_up_ns) {
            self.ages.record(now.saturating_sub(arrival), 1);
        }
    }

    /// Records are settled: how many of them were taken when.
    pub fn settled_since(&mut self, now: Tick, taken: impl Iterator<Item = (Tick, u32)>) {
        let ns = |tick: Tick| i64::try_from(tick.0).unwrap_or(i64::MAX);
        for (tick, records) in taken.filter(|(tick, _)| ns(*tick) >= self.warm_up_ns) {
            self.added.record(ns(now).saturating_sub(ns(tick)), records.into());
        }
    }

    /// A partition is settled up to this offset, and it is not read any more.
    pub fn ended(&mut self, name: &LaneName, settled_offset: i64, end_offset: Option<i64>) {
        let (topic, partition) = (name.topic.to_string(), name.partition);
        let end = PartitionEnd { topic: topic.clone(), partition, settled_offset, end_offset };
        self.partitions.insert((topic, partition), end);
    }

    /// Counts what another member counted; both clocks began at about the same time.
    fn add(&mut self, other: Self) {
        self.ages.add(&other.ages);
        self.added.add(&other.added);
        for (name, end) in other.partitions {
            // Of several members that had it, the last one got furthest.
            let known = self.partitions.entry(name).or_insert_with(|| end.clone());
            if end.settled_offset > known.settled_offset {
                *known = end;
            }
        }
        self.batches.add(other.batches);
        self.groups.add(other.groups);
        self.calls += other.calls;
        self.empty_calls += other.empty_calls;
        self.largest_call = self.largest_call.max(other.largest_call);
        self.bytes += other.bytes;
        self.retries += other.retries;
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.max(other.last);
        self.notices.extend(other.notices);
    }

    fn actual_tier(&self) -> Tier {
        if self.largest_call > 1 { Tier::Buffered } else { Tier::Standard }
    }
}

/// How a job, or one of its members, ended.
pub(crate) struct Ending {
    meter: Meter,
    ledger: Ledger,
    is_done: bool,
    end_of_input: bool,
    regroups: bool,
    pub error: Option<String>,
    plan: Plan,
    members: u32,
}

impl Ending {
    pub fn new(meter: Meter, core: &Core, plan: Plan, error: Option<String>) -> Self {
        let (ledger, is_done, regroups) = (core.ledger(), core.is_done(), core.regroups());
        let end_of_input = core.is_at_end();
        Self { meter, ledger, is_done, end_of_input, regroups, error, plan, members: 1 }
    }

    /// Both members together.
    pub fn and(mut self, other: Self) -> Self {
        self.meter.add(other.meter);
        Self {
            ledger: self.ledger + other.ledger,
            is_done: self.is_done && other.is_done,
            end_of_input: self.end_of_input && other.end_of_input,
            error: self.error.or(other.error),
            members: self.members + other.members,
            ..self
        }
    }

    /// What has become of everything.
    pub fn report(self) -> Report {
        let Self { meter, ledger, is_done, end_of_input, regroups, error, plan, members } = self;
        let actual = meter.actual_tier();
        let seconds = meter.first.map_or(0.0, |first| meter.last.since(first).as_secs_f64());
        let per_call = if meter.calls == 0 { 0.0 } else { ledger.delivered as f64 / meter.calls as f64 };
        Report {
            version: 1,
            outcome: outcome(error.is_some(), is_done),
            error,
            ledger,
            end_of_input,
            members,
            batches: meter.batches.summary(),
            sink_batches: regroups.then(|| meter.groups.summary()),
            partitions: meter.partitions.into_values().collect(),
            dequeue: Dequeue {
                calls: meter.calls,
                empty_calls: meter.empty_calls,
                records_per_call: per_call,
            },
            latency_ms: meter.ages.summary(),
            added_latency_ms: meter.added.summary(),
            seconds,
            records_per_s: if seconds > 0.0 { ledger.ok as f64 / seconds } else { 0.0 },
            bytes: meter.bytes,
            tier: TierReport { requested: plan.tier, actual },
            strategy: plan.strategy,
            max_poll_records: plan.max_poll_records,
            memory: None,
            properties: BTreeMap::new(),
            notices: meter.notices,
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// How an outcome and an error follow from how a run ended.
fn outcome(failed: bool, is_done: bool) -> Outcome {
    match failed {
        true => Outcome::Failed,
        false if is_done => Outcome::Drained,
        false => Outcome::Interrupted,
    }
}
