//! The source topic changes under its reader: partitions are added, records are deleted or compacted away.

use std::time::{Duration, Instant};

use fastrand::Rng;
use rdkafka::admin::{AlterConfig, ResourceSpecifier};

use crate::admin::{add_partitions, alter, delete_records};
use crate::broker::Broker;
use crate::faults::kafka::OwnKafka;
use crate::faults::oracle::Offsets;
use crate::faults::source::Part;
use crate::faults::trial::{Outcome, Plan, Site, Trial, read_all};
use crate::faults::workload::Workload;

/// A job finds out about new partitions in time for the test, and fetches little ahead, so that what changes is still to
/// be read.
const PROPERTIES: [&str; 3] =
    ["topic.metadata.refresh.interval.ms=500", "queued.min.messages=50", "fetch.message.max.bytes=5000"];

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let plan = Plan {
        cost: "0.5ms/record",
        accepts_loss: random.bool(),
        is_static: random.bool(),
        ..Plan::draw(&mut random)
    };
    let own =
        Site { properties: PROPERTIES.map(str::to_owned).to_vec(), ..Site::new(site.broker, site.mutant) };
    match seed % 3 {
        0 => grown(&own, seed, plan, &mut random),
        1 => deleted(&own, seed, plan, &mut random),
        _ => compacted(&own, seed, plan, &mut random),
    }
}

fn grown(site: &Site<'_>, seed: u64, plan: Plan, random: &mut Rng) -> Outcome {
    let workload = Workload::new(seed, 8000, 4);
    let first = Part { partitions: 0..2, ..Part::whole(&workload) };
    let mut trial = Trial::with_part(site, plan, workload, &first);
    let mut members = trial.start_all();
    trial.wait_for_more(random.i64(1..1500), &mut members);
    // The client may lose its partitions when it finds new ones during a rebalance.
    trial.incident();
    if random.bool() {
        members.push(trial.start(members.len(), None));
    }
    add_partitions(site.broker, &trial.observed().source, workload.partitions);
    trial.produce(&Part { partitions: 2..4, ..Part::whole(&workload) });
    if random.bool() && trial.wait_for_more(random.i64(1..500), &mut members) {
        // Every member must still take part in rebalances.
        members.push(trial.start(members.len(), None));
        trial.incident();
    }
    trial.all_end_well(&mut members);
    drop(members);
    trial.finish()
}

fn deleted(site: &Site<'_>, seed: u64, plan: Plan, random: &mut Rng) -> Outcome {
    let workload = Workload::new(seed, 8000, 4);
    let mut trial = Trial::new(site, plan, workload);
    let mut members = trial.start_all();
    let mut lows = Offsets::new();
    for _ in 0..random.u32(1..3) {
        if !trial.wait_for_more(random.i64(1..1500), &mut members) {
            break;
        }
        let partition = random.i32(0..workload.partitions);
        let committed = trial.committed().and_then(|committed| committed.get(&partition).copied());
        let low = committed.unwrap_or(0) + random.i64(1..1500);
        let low = low.min(trial.source().ends[&partition]).max(lows.get(&partition).copied().unwrap_or(0));
        lows.insert(partition, low);
        trial.loses_records();
        delete_records(site.broker, &trial.observed().source, partition, low);
    }
    let said: &[&str] = if plan.accepts_loss { &[] } else { &["were deleted"] };
    trial.all_end_well_or_say(&mut members, said);
    drop(members);
    trial.accept_loss();
    trial.finish()
}

/// The broker looks for what to compact all the time.
const CLEANER: [&str; 4] =
    ["--set", "log.cleaner.backoff.ms=200", "--set", "log.retention.check.interval.ms=500"];
const COMPACTED_WITHIN: Duration = Duration::from_mins(2);

fn compacted(site: &Site<'_>, seed: u64, plan: Plan, random: &mut Rng) -> Outcome {
    let kafka = OwnKafka::start(&CLEANER);
    let broker = Broker::At(kafka.broker.address());
    let own = Site { properties: site.properties.clone(), ..Site::new(&broker, site.mutant) };
    let workload = Workload {
        is_keyed: true,
        is_transactional: random.bool(),
        source: &[("segment.ms", "200")],
        ..Workload::new(seed, 8000, 4)
    };
    let mut trial = Trial::new(&own, plan, workload);
    let topic = trial.observed().source.clone();
    let mut members = trial.start_all();
    trial.wait_for_more(random.i64(1..1500), &mut members);
    let compact = AlterConfig::new(ResourceSpecifier::Topic(&topic))
        .set("cleanup.policy", "compact")
        .set("segment.ms", "200")
        .set("min.cleanable.dirty.ratio", "0.01");
    alter(&broker, &compact);
    trial.loses_records();
    let began = Instant::now();
    while read_all(&broker, &topic).len() >= usize::try_from(workload.records).expect("small") {
        assert!(began.elapsed() < COMPACTED_WITHIN, "the broker does not compact the topic");
    }
    trial.all_end_well(&mut members);
    drop(members);
    trial.finish()
}
