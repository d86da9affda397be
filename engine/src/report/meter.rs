//! Counts records, batches and latencies while a job runs, and creates the report from them.

use std::collections::BTreeMap;
use std::time::Duration;

use velo_schema::{Plan, Tier};

use super::latencies::Latencies;
use super::sizes::Sizes;
use super::{Batches, Counters, Dequeue, Outcome, PartitionEnd, Report, TierReport};
use crate::core::batcher::SealReason;
use crate::core::{Core, Ledger};
use crate::ids::{LaneName, Tick};

const LATENCY_BOUNDS_S: [f64; 17] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0,
    86_400.0,
];
const SIZE_BOUNDS: [f64; 13] =
    [1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0, 25_000.0, 50_000.0, 100_000.0];

/// The counters of a job, or of one of its members.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The duration of the warm-up; 0 for none. Records that arrive before its end are left out of the latencies.
    warm_up_ns: i64,
    /// The latencies since the timestamps of the records.
    ages: Latencies,
    /// The latencies since the records were taken from the source.
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

/// The sizes of batches and the reasons for which they were sealed.
#[derive(Debug, Default)]
pub(crate) struct BatchMeter {
    sizes: Sizes,
    by_reason: BTreeMap<SealReason, u64>,
}

impl BatchMeter {
    pub(crate) fn sealed(&mut self, reason: SealReason, records: u64) {
        *self.by_reason.entry(reason).or_default() += 1;
        self.sizes.record(records);
    }

    fn add(&mut self, other: Self) {
        self.sizes.add(&other.sizes);
        for (reason, count) in other.by_reason {
            *self.by_reason.entry(reason).or_default() += count;
        }
    }

    pub(crate) fn summary(&self) -> Batches {
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
    pub(crate) fn new(warm_up: Duration) -> Self {
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

    /// Returns the current counters.
    pub(crate) fn counters(&self) -> Counters {
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

    /// Counts calls of the source that have returned this many records in total.
    pub(crate) fn took(&mut self, now: Tick, calls: u64, records: u64, bytes: u64) {
        self.calls += calls;
        self.largest_call = self.largest_call.max(records.div_ceil(calls.max(1)));
        self.first.get_or_insert(now);
        self.bytes += bytes;
    }

    /// Counts the latencies of settled records since their creation: each creation time with its number of records.
    pub(crate) fn settled(&mut self, now: Tick, arrivals_ns: impl Iterator<Item = (i64, u32)>) {
        let now = i64::try_from(now.0).unwrap_or(i64::MAX);
        let counts = |arrival: i64| self.warm_up_ns == 0 || arrival >= self.warm_up_ns;
        for (arrival, records) in arrivals_ns.filter(|(arrival, _)| counts(*arrival)) {
            self.ages.record(now.saturating_sub(arrival), u64::from(records));
        }
    }

    /// Counts the latencies of settled records since they were taken: each time with its number of records.
    pub(crate) fn settled_since(&mut self, now: Tick, taken: impl Iterator<Item = (Tick, u32)>) {
        let ns = |tick: Tick| i64::try_from(tick.0).unwrap_or(i64::MAX);
        for (tick, records) in taken.filter(|(tick, _)| ns(*tick) >= self.warm_up_ns) {
            self.added.record(ns(now).saturating_sub(ns(tick)), records.into());
        }
    }

    /// Notes the settled offset and the end offset of a partition that is no longer read.
    pub(crate) fn ended(&mut self, name: &LaneName, settled_offset: i64, end_offset: Option<i64>) {
        let (topic, partition) = (name.topic.to_string(), name.partition);
        let end = PartitionEnd { topic: topic.clone(), partition, settled_offset, end_offset };
        self.partitions.insert((topic, partition), end);
    }

    /// Adds the counters of another member. The clocks of both members started at about the same time.
    fn add(&mut self, other: Self) {
        self.ages.add(&other.ages);
        self.added.add(&other.added);
        for (name, end) in other.partitions {
            // If several members have read a partition, the last one has settled the highest offset.
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
    pub(crate) fn new(meter: Meter, core: &Core, plan: Plan, error: Option<String>) -> Self {
        let (ledger, is_done, regroups) = (core.ledger(), core.is_done(), core.regroups());
        let end_of_input = core.is_at_end();
        Self { meter, ledger, is_done, end_of_input, regroups, error, plan, members: 1 }
    }

    /// Combines the results of two members.
    pub(crate) fn and(mut self, other: Self) -> Self {
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

    /// Returns the report.
    pub(crate) fn report(self) -> Report {
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
            fetcher: None,
            fetcher_reason: None,
            properties: BTreeMap::new(),
            notices: meter.notices,
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Returns the outcome of a job.
fn outcome(failed: bool, is_done: bool) -> Outcome {
    match failed {
        true => Outcome::Failed,
        false if is_done => Outcome::Drained,
        false => Outcome::Interrupted,
    }
}
