//! What a run did, as data: the ledger, the batches, the calls, the latencies.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::{Plan, Span, StrategyKind, Tier};

use crate::core::batcher::SealReason;
use crate::core::{Core, Ledger, Tick};
use crate::memory::MemoryBudget;

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
    /// Members of the group that the job had in this process.
    #[serde(default = "one")]
    pub members: u32,
    /// The batches.
    pub batches: Batches,
    /// What was written together, where the sink's settings regroup it.
    pub sink_batches: Option<Batches>,
    /// The calls to the client.
    pub dequeue: Dequeue,
    /// From a record's arrival to its being settled as ok.
    pub latency_ms: Latency,
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

/// Quantiles of a latency in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
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
    /// Of values that are each `scale` as large as recorded.
    fn of(histogram: &Histogram<u64>, bounds: &[f64], scale: f64) -> Self {
        let mut counts: Vec<_> = bounds.iter().copied().chain([f64::MAX]).map(|bound| (bound, 0)).collect();
        for recorded in histogram.iter_recorded() {
            // The least of those that are not told apart: a round number is itself.
            let value = histogram.lowest_equivalent(recorded.value_iterated_to()) as f64 * scale;
            let bucket = bounds.partition_point(|bound| *bound < value);
            counts[bucket].1 += recorded.count_since_last_iteration();
        }
        Self { counts, count: histogram.len(), sum: histogram.mean() * histogram.len() as f64 * scale }
    }

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

const LATENCY_BOUNDS_S: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
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
    /// Seconds from a record's arrival to its being settled as ok.
    pub latency_s: Buckets,
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
        self.batch_records.add(&other.batch_records);
    }
}

/// What is counted while a run goes on.
#[derive(Debug)]
pub(crate) struct Meter {
    /// With a warm-up, what came before its end is left out; without one, nothing is.
    warm_up_ns: i64,
    latency_us: Histogram<u64>,
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
#[derive(Debug)]
pub(crate) struct BatchMeter {
    sizes: Histogram<u64>,
    by_reason: BTreeMap<SealReason, u64>,
}

impl Default for BatchMeter {
    fn default() -> Self {
        let sizes = Histogram::new_with_max(u64::from(u32::MAX), DIGITS).expect("a valid histogram");
        Self { sizes, by_reason: BTreeMap::new() }
    }
}

impl BatchMeter {
    pub fn sealed(&mut self, reason: SealReason, records: u64) {
        *self.by_reason.entry(reason).or_default() += 1;
        self.sizes.saturating_record(records);
    }

    fn add(&mut self, other: Self) {
        self.sizes.add(&other.sizes).expect("both histograms have the same bounds");
        for (reason, count) in other.by_reason {
            *self.by_reason.entry(reason).or_default() += count;
        }
    }

    pub fn summary(&self) -> Batches {
        Batches {
            count: self.sizes.len(),
            by_reason: self.by_reason.clone(),
            size_p50: self.sizes.value_at_quantile(0.5),
            size_max: self.sizes.max(),
        }
    }
}

/// Two significant digits are a per cent, which is finer than any two runs agree.
const DIGITS: u8 = 2;
/// A day; longer latencies count as this.
const MAX_LATENCY_US: u64 = 86_400_000_000;

impl Meter {
    pub fn new(warm_up: Duration) -> Self {
        Self {
            warm_up_ns: i64::try_from(warm_up.as_nanos()).unwrap_or(i64::MAX),
            latency_us: Histogram::new_with_max(MAX_LATENCY_US, DIGITS).expect("a valid histogram"),
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
            latency_s: Buckets::of(&self.latency_us, &LATENCY_BOUNDS_S, 1e-6),
            batch_records: Buckets::of(&self.batches.sizes, &SIZE_BOUNDS, 1.0),
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
            let micros = u64::try_from(now.saturating_sub(arrival) / 1000).unwrap_or(0);
            self.latency_us.saturating_record(micros);
        }
    }

    /// Counts what another member counted; both clocks began at about the same time.
    fn add(&mut self, other: Self) {
        self.latency_us.add(&other.latency_us).expect("both histograms have the same bounds");
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

    fn latencies(&self) -> Latency {
        let ms = |us: u64| us as f64 / 1e3;
        Latency {
            p50: ms(self.latency_us.value_at_quantile(0.5)),
            p99: ms(self.latency_us.value_at_quantile(0.99)),
            max: ms(self.latency_us.max()),
        }
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
    regroups: bool,
    pub error: Option<String>,
    plan: Plan,
    members: u32,
}

impl Ending {
    pub fn new(meter: Meter, core: &Core, plan: Plan, error: Option<String>) -> Self {
        let (ledger, is_done, regroups) = (core.ledger(), core.is_done(), core.regroups());
        Self { meter, ledger, is_done, regroups, error, plan, members: 1 }
    }

    /// Both members together.
    pub fn and(mut self, other: Self) -> Self {
        self.meter.add(other.meter);
        Self {
            ledger: self.ledger + other.ledger,
            is_done: self.is_done && other.is_done,
            error: self.error.or(other.error),
            members: self.members + other.members,
            ..self
        }
    }

    /// What has become of everything.
    pub fn report(self) -> Report {
        let Self { meter, ledger, is_done, regroups, error, plan, members } = self;
        let seconds = meter.first.map_or(0.0, |first| meter.last.since(first).as_secs_f64());
        let per_call = if meter.calls == 0 { 0.0 } else { ledger.delivered as f64 / meter.calls as f64 };
        Report {
            version: 1,
            outcome: outcome(error.is_some(), is_done),
            error,
            ledger,
            members,
            batches: meter.batches.summary(),
            sink_batches: regroups.then(|| meter.groups.summary()),
            dequeue: Dequeue {
                calls: meter.calls,
                empty_calls: meter.empty_calls,
                records_per_call: per_call,
            },
            latency_ms: meter.latencies(),
            seconds,
            records_per_s: if seconds > 0.0 { ledger.ok as f64 / seconds } else { 0.0 },
            bytes: meter.bytes,
            tier: TierReport { requested: plan.tier, actual: meter.actual_tier() },
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
