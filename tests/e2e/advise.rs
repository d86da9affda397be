//! `velo-advise`: advice that depends on the workload, and no trace of it on the brokers.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value as Json;
use tempfile::TempDir;
use velo_engine::kafka::{NewRecord, RecordProducer};

use crate::broker::{Broker, embedded, quiet, real};
use crate::topic::{committed, count};

/// Runs `work` while records come into a topic at a steady rate.
fn while_producing<T>(broker: &Broker, topic: &str, records_per_s: u64, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    let producer = RecordProducer::connect(&broker.settings(), Duration::from_millis(5)).expect("a producer");
    thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            let value = [b'x'; 200];
            let mut sent = 0;
            while !stop.load(Ordering::Acquire) {
                let record = NewRecord { key: Some(b"key"), value: Some(&value), ..NewRecord::default() };
                producer
                    .send(topic, NewRecord { partition: Some(i32::from(sent % 2 == 1)), ..record })
                    .expect("sent");
                sent += 1;
                let due = start + Duration::from_nanos(sent * 1_000_000_000 / records_per_s);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            producer.flush().expect("flushed");
        });
        let result = work();
        stop.store(true, Ordering::Release);
        result
    })
}

/// Waits for the topic to have records, so that advice is asked for on a live topic.
fn wait_for_records(broker: &Broker, topic: &str) {
    while count(broker, topic) == 0 {
        thread::yield_now();
    }
}

fn advise(broker: &Broker, topic: &str, folder: &TempDir, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_velo-advise"))
        .current_dir(folder.path())
        .args(["--topic", topic, "--bootstrap-servers", &broker.address(), "--json"])
        .args(["--sample", "2s", "--budget", "6s"])
        .args(more)
        .output()
        .expect("velo-advise runs")
}

fn json(output: &Output) -> Json {
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"))
}

/// The strategy, and records of a batch at most.
fn recommended(advice: &Json) -> (String, u64) {
    let best = &advice["recommendation"];
    let strategy = best["candidate"]["strategy"].as_str();
    let strategy = strategy.unwrap_or_else(|| panic!("no recommendation: {advice}"));
    (strategy.to_owned(), best["max_poll_records"]["max"].as_u64().expect("a size"))
}

/// Requests that change nothing. Produce is the test's own producer's.
const HARMLESS: &[&str] =
    &["ApiVersions", "Metadata", "FindCoordinator", "ListOffsets", "Fetch", "DescribeConfigs"];
const OF_THE_PRODUCER: &[&str] = &["Produce", "InitProducerId"];

fn assert_harmless(broker: &Broker) {
    let Broker::Embedded(embedded) = broker else { panic!("only the embedded broker keeps a log") };
    for request in embedded.requests() {
        let allowed = HARMLESS.iter().chain(OF_THE_PRODUCER).any(|allowed| *allowed == request);
        assert!(allowed, "a request that is not read-only: {request}");
    }
}

#[test]
fn the_embedded_broker_sees_only_requests_that_read() {
    let _quiet = quiet();
    let broker = embedded();
    let topic = broker.topic("advised", 2);
    let folder = TempDir::new().expect("a folder");
    let output = while_producing(&broker, &topic, 1000, || {
        wait_for_records(&broker, &topic);
        advise(&broker, &topic, &folder, &[])
    });
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    recommended(&json(&output));
    assert_harmless(&broker);

    // The check itself would notice a single commit.
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", "g")
        .create()
        .expect("a consumer");
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(1)).expect("an offset");
    consumer.commit(&offsets, CommitMode::Sync).expect("committed");
    let noticed = catch_unwind(std::panic::AssertUnwindSafe(|| assert_harmless(&broker)));
    assert!(noticed.is_err(), "a commit went unnoticed");
}

/// The broker's groups and their members.
fn groups(broker: &Broker) -> BTreeMap<String, usize> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("a consumer");
    let list = consumer.fetch_group_list(None, Duration::from_secs(30)).expect("groups");
    list.groups().iter().map(|group| (group.name().to_owned(), group.members().len())).collect()
}

#[test]
fn real_kafka_has_the_same_groups_and_offsets_afterwards() {
    let _quiet = quiet();
    let broker = real();
    let topic = broker.topic("advised", 2);
    let folder = TempDir::new().expect("a folder");
    let of_ours = |groups: BTreeMap<String, usize>| -> Vec<_> {
        groups.into_iter().filter(|(name, _)| name.starts_with("velo-read-only")).collect()
    };
    // A group of somebody else, whose offset must not move.
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", format!("other-{topic}"))
        .create()
        .expect("a consumer");
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(0)).expect("an offset");
    consumer.commit(&offsets, CommitMode::Sync).expect("committed");
    let before = committed(&broker, &format!("other-{topic}"), &topic);

    let output = while_producing(&broker, &topic, 1000, || {
        wait_for_records(&broker, &topic);
        advise(&broker, &topic, &folder, &[])
    });
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    recommended(&json(&output));
    assert_eq!(committed(&broker, &format!("other-{topic}"), &topic), before);
    assert_eq!(of_ours(groups(&broker)), [], "the advisor left a group behind");
}

#[test]
fn swapped_trials_give_the_other_advice_and_the_same_trials_the_same() {
    let _quiet = quiet();
    let broker = embedded();
    let topic = broker.topic("advised", 2);
    let folder = TempDir::new().expect("a folder");
    let output = while_producing(&broker, &topic, 500, || {
        wait_for_records(&broker, &topic);
        advise(&broker, &topic, &folder, &["--p99", "20ms", "--sink-cost", "1ms"])
    });
    let advice = json(&output);
    let (strategy, records) = recommended(&advice);
    assert_eq!(strategy, "low_latency");

    let from = |trials: &str| {
        let path = folder.path().join("swapped.jsonl");
        std::fs::write(&path, trials).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_velo-advise"))
            .args(["--json", "--p99", "20ms", "--from-trials"])
            .arg(path)
            .output()
            .expect("velo-advise runs");
        recommended(&json(&output))
    };
    let trials =
        std::fs::read_to_string(folder.path().join(format!("velo-trials-{topic}.jsonl"))).expect("trials");
    assert_eq!(from(&trials), (strategy.clone(), records));

    let best = format!("{{\"strategy\":\"low_latency\",\"records\":{records}}}");
    let other = "{\"strategy\":\"fixed_size\",\"records\":2000}";
    let swapped = trials.replace(&best, "THE BEST").replace(other, &best).replace("THE BEST", other);
    // What the two have in common with a third stays; the best of the rest may win now, never the best.
    let now = from(&swapped);
    assert_ne!(now, (strategy, records));
}

#[test]
fn demos_of_different_workloads_end_differently() {
    let _quiet = quiet();
    let demo = |workload: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_velo-advise"))
            .args(["--demo", workload, "--json", "--budget", "10s", "--sample", "2s"])
            .output()
            .expect("velo-advise runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        recommended(&json(&output))
    };
    let (bulk, bulk_records) = demo("bulk");
    let (alerts, alert_records) = demo("alerts");
    assert_eq!((bulk.as_str(), alerts.as_str()), ("fixed_size", "low_latency"));
    assert!(bulk_records > 100 && alert_records <= 10, "{bulk_records} and {alert_records}");
}

/// The p99 of `velo run` with a clause, on a live topic, once it has written `records` records.
fn p99_of_run(broker: &Broker, rate: u64, cost: &str, clause: &str, records: u64) -> f64 {
    let source = broker.topic("live", 2);
    let sink = broker.topic("out", 2);
    let folder = TempDir::new().expect("a folder");
    let sql = format!("CREATE STREAM {sink} AS SELECT * FROM {source} WITH ({clause});");
    std::fs::write(folder.path().join("job.sql"), sql).expect("written");
    while_producing(broker, &source, rate, || {
        wait_for_records(broker, &source);
        let mut child = Command::new(env!("CARGO_BIN_EXE_velo"))
            .current_dir(folder.path())
            .args(["run", "job.sql", "--bootstrap-servers", &broker.address(), "--from", "latest"])
            .args(["--cost", cost, "--report", "report.json"])
            .spawn()
            .expect("velo runs");
        while count(broker, &sink) < records {
            assert_eq!(child.try_wait().expect("a child"), None, "the job ended by itself");
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
        assert!(child.wait().expect("an end").success());
    });
    let report = std::fs::read(folder.path().join("report.json")).expect("a report");
    let report: Json = serde_json::from_slice(&report).expect("json");
    report["latency_ms"]["p99"].as_f64().expect("a latency")
}

#[test]
fn velo_run_confirms_the_order_of_the_advice_on_both_workloads() {
    let _quiet = quiet();
    let broker = real();
    let bulk = "'batch.strategy' = 'fixed_size', 'batch.size' = '500'";
    let alerts = "'batch.strategy' = 'low_latency', 'batch.low_latency_max_size' = '1'";
    // What the demos' sinks cost: 10 ms and 0.2 ms a batch. One record at a time, 10 ms each, is far
    // behind after 300 of them.
    let with_bulk = p99_of_run(&broker, 20_000, "10ms", bulk, 20_000);
    let with_alerts = p99_of_run(&broker, 20_000, "10ms", alerts, 300);
    assert!(with_bulk < with_alerts, "20,000/s: {with_bulk} ms with {bulk}, {with_alerts} ms with {alerts}");
    let with_bulk = p99_of_run(&broker, 500, "200us", bulk, 1500);
    let with_alerts = p99_of_run(&broker, 500, "200us", alerts, 1500);
    assert!(with_alerts < with_bulk, "500/s: {with_alerts} ms with {alerts}, {with_bulk} ms with {bulk}");
}

#[test]
fn an_idle_topic_and_an_impossible_wish_are_refused() {
    let _quiet = quiet();
    let broker = embedded();
    let idle = broker.topic("idle", 1);
    let folder = TempDir::new().expect("a folder");
    let output = advise(&broker, &idle, &folder, &[]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(json(&output)["refusal"]["reason"], "idle");

    let topic = broker.topic("advised", 2);
    let output = while_producing(&broker, &topic, 1000, || {
        wait_for_records(&broker, &topic);
        // No batch can be through before the work on it is done.
        advise(&broker, &topic, &folder, &["--p99", "5ms", "--sink-cost", "20ms"])
    });
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(json(&output)["refusal"]["reason"], "latency_limit");
}
