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
use crate::run::program;
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
    program()
        .current_dir(folder.path())
        .args(["advise", "--topic", topic, "--bootstrap-servers", &broker.address(), "--json"])
        .args(if more.contains(&"--sample") { &[][..] } else { &["--sample", "2s"] })
        .args(if more.contains(&"--budget") { &[][..] } else { &["--budget", "10s"] })
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

/// It has measured all it wanted to; a busy machine may have been too noisy for a recommendation.
fn assert_advised(output: &Output) {
    let advice = json(output);
    let said = String::from_utf8_lossy(&output.stderr);
    let is_noisy = advice["refusal"]["reason"] == "noisy";
    assert!(output.status.success() || is_noisy, "{said}\n{}", advice["refusal"]);
    assert_eq!(advice["measured"], true, "{said}");
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
    assert_advised(&output);
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
    assert_advised(&output);
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

    // What the best did is what the first other one of another strategy did, and the other way round.
    let best = advice["recommendation"]["candidate"].to_string();
    let tried = advice["candidates"].as_array().expect("candidates").iter();
    let mut other = tried.filter(|tried| tried["rounds"] != 0).map(|tried| &tried["candidate"]);
    let other = other.rfind(|other| other["strategy"] != strategy).expect("another").to_string();
    let swapped = trials.replace(&best, "THE BEST").replace(&other, &best).replace("THE BEST", &other);
    assert_ne!(swapped, trials, "{best} and {other}");
    // A third may win now, never the best.
    assert_ne!(from(&swapped), (strategy, records));
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
    assert_ne!(bulk, "low_latency");
    assert_eq!(alerts, "low_latency");
    assert!(bulk_records > 100 && alert_records <= 50, "{bulk_records} and {alert_records}");
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
        let mut child = program()
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

/// A candidate of advice as a clause.
fn clause(candidate: &Json) -> String {
    let strategy = format!("'batch.strategy' = '{}'", candidate["strategy"].as_str().expect("a strategy"));
    let settings = candidate["settings"].as_array().expect("settings").iter();
    let text = |json: &Json| json.as_str().expect("a text").to_owned();
    let settings =
        settings.map(|setting| format!("'{}' = '{}'", text(&setting["key"]), text(&setting["value"])));
    std::iter::once(strategy).chain(settings).collect::<Vec<_>>().join(", ")
}

/// How much worse than the best of those that simulation with the true cost ranks first the advised
/// configuration is, both measured by `velo run` on the live topic. The figures are printed, whatever they are.
#[test]
#[ignore = "takes a quarter of an hour, and is only worth something in a release build on a quiet machine"]
fn regret_on_a_real_broker() {
    const RANKED: usize = 12;
    const SECONDS: u64 = 6;
    let _quiet = quiet();
    let broker = real();
    let folder = TempDir::new().expect("a folder");
    let mut regrets = Vec::new();
    for (rate, cost) in [
        (500, "1ms"),
        (2000, "5ms"),
        (5000, "20ms+0.01ms/record"),
        (1000, "0.2ms+0.3ms/record"),
        (300, "10ms+1ms/record"),
        (10_000, "2ms+0.02ms/record"),
    ] {
        let topic = broker.topic("live", 2);
        let advice = while_producing(&broker, &topic, rate, || {
            wait_for_records(&broker, &topic);
            advise(&broker, &topic, &folder, &["--cost", cost, "--budget", "25s", "--sink-cost", "0ms"])
        });
        let advised = json(&advice)["recommendation"]["candidate"].clone();
        let rate_text = format!("{rate}/s");
        let args = ["advise", "--rate", &rate_text, "--record-size", "200", "--cost", cost, "--json"];
        let model = json(&velo(&folder, &args));
        let ranked =
            model["candidates"].as_array().expect("candidates").iter().map(|tried| &tried["candidate"]);
        let measure = |candidate: &Json| p99_of_run(&broker, rate, cost, &clause(candidate), rate * SECONDS);
        let own = measure(&advised);
        let others: Vec<_> = ranked
            .filter(|ranked| **ranked != advised)
            .take(RANKED)
            .map(|ranked| (measure(ranked), ranked))
            .collect();
        let (best, of) =
            others.iter().fold((own, &advised), |best, other| if other.0 < best.0 { *other } else { best });
        let regret = own / best - 1.0;
        println!(
            "{rate}/s, {cost}: advised {} with p99 {own:.1} ms; best {} with {best:.1} ms; regret {:.1} %",
            clause(&advised),
            clause(of),
            regret * 100.0
        );
        regrets.push(regret);
    }
    regrets.sort_by(f64::total_cmp);
    println!("median {:.1} %, worst {:.1} %", (regrets[2] + regrets[3]) * 50.0, regrets[5] * 100.0);
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

/// A topic with records of the last seconds, as an hour of them would look in small.
fn recorded(broker: &Broker, records: u64) -> String {
    let topic = broker.topic("advised", 2);
    let producer = RecordProducer::connect(&broker.settings(), Duration::from_millis(5)).expect("a producer");
    for index in 0..records {
        let value = format!("{{\"index\":{index}}}");
        let record = NewRecord { value: Some(value.as_bytes()), ..NewRecord::default() };
        producer.send(&topic, record).expect("sent");
        // Records of one millisecond have no rate.
        if index % 20 == 0 {
            producer.flush().expect("flushed");
        }
    }
    producer.flush().expect("flushed");
    topic
}

fn velo(folder: &TempDir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_velo"))
        .current_dir(folder.path())
        .args(args)
        .output()
        .expect("velo runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const BY_THE_MODEL: &[&str] =
    &["advise", "--rate", "5k/s", "--record-size", "1KiB", "--cost", "2ms+0.05ms/record"];

#[test]
fn a_statement_is_changed_in_place_and_the_change_is_shown() {
    let folder = TempDir::new().expect("a folder");
    let before = "-- the job\nCREATE STREAM a AS SELECT * FROM b EMIT CHANGES WITH (\n    'failure_strategy' = \
                  'FailBatch',\n    'batch.size' = '2000', -- by guess\n    'batch.timeout' = '10s'\n);\n";
    let path = folder.path().join("job.sql");
    std::fs::write(&path, before).expect("written");
    let args = [BY_THE_MODEL, &["--p99", "100ms", "--sql", "job.sql"]].concat();
    let output = velo(&folder, &args);
    let shown = stdout(&output);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.starts_with("modelled, not measured"), "{shown}");
    assert!(shown.contains("-    'batch.size' = '2000', -- by guess"), "{shown}");
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), before, "nobody said --write");

    assert!(velo(&folder, &[&args[..], &["--write"]].concat()).status.success());
    let after = std::fs::read_to_string(&path).expect("a file");
    assert_ne!(after, before);
    assert!(
        after.starts_with("-- the job\n") && after.contains("'failure_strategy' = 'FailBatch'"),
        "{after}"
    );
    assert!(velo(&folder, &["lint", "job.sql", "--fail-on", "warning"]).status.success(), "{after}");
    // What runs now is what is recommended now.
    let again = stdout(&velo(&folder, &args));
    assert!(again.contains("this is what runs now"), "{again}");
}

#[test]
fn a_recommendation_is_said_in_other_systems_terms() {
    let folder = TempDir::new().expect("a folder");
    for (system, part) in [
        ("guide", "'batch.strategy' = "),
        ("velostream-0.1", "'sink.batch.strategy' = "),
        ("librdkafka", "queued.min.messages="),
        ("java", "max.poll.records="),
        ("spring", "spring.kafka.listener.type=batch"),
        ("redpanda-connect", "batching:\n  count: "),
    ] {
        let output = velo(&folder, &[BY_THE_MODEL, &["--export", system]].concat());
        assert!(stdout(&output).contains(part), "{system}: {}", stdout(&output));
    }
}

#[test]
fn what_the_model_says_obeys_its_arithmetic() {
    let folder = TempDir::new().expect("a folder");
    let advice = |more: &[&str]| {
        let output = velo(&folder, &[BY_THE_MODEL, &["--json"], more].concat());
        (output.status.code(), json(&output))
    };
    let (code, free) = advice(&["--goal", "throughput"]);
    assert_eq!((code, &free["measured"]), (Some(0), &false.into()));
    // Of 2 ms a batch and 0.05 ms a record nothing is left but the record's part: 20,000/s at most.
    let capacity = free["candidates"][0]["capacity_records_per_s"].as_f64().expect("a number");
    assert!((19_700.0..20_000.0).contains(&capacity), "{capacity}");
    // A batch takes more than 2 ms, whatever its size; 1 KiB times three is more than 2 KiB.
    for (wish, reason) in [(["--p99", "1ms"], "latency_limit"), (["--memory", "2KiB"], "memory_limit")] {
        let (code, refused) = advice(&wish);
        assert_eq!((code, refused["refusal"]["reason"].as_str()), (Some(4), Some(reason)));
    }
    let output =
        velo(&folder, &["advise", "--rate", "5k/s", "--record-size", "1", "--cost", "1ms/record", "--json"]);
    assert_eq!(json(&output)["refusal"]["reason"], "nothing_keeps_up");
    let schema = json(&velo(&folder, &["schema", "--of", "advise"]));
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for advice in [free, json(&output)] {
        let errors: Vec<_> = validator.iter_errors(&advice).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0]);
    }
}

#[test]
fn an_interrupted_run_says_what_it_knows_and_the_next_one_goes_on() {
    let _quiet = quiet();
    let broker = real();
    let topic = broker.topic("advised", 2);
    let folder = TempDir::new().expect("a folder");
    let trials = folder.path().join("trials.jsonl");
    let command = |budget: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_velo-advise"));
        command
            .current_dir(folder.path())
            .args(["--topic", &topic, "--bootstrap-servers", &broker.address(), "--sink-cost", "1ms"])
            .args(["--sample", "2s", "--budget", budget, "--trials", "trials.jsonl"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        command
    };
    while_producing(&broker, &topic, 1000, || {
        wait_for_records(&broker, &topic);
        let mut child = command("60s").spawn().expect("velo-advise runs");
        while !std::fs::read_to_string(&trials).is_ok_and(|text| text.contains("{\"trial\":")) {
            assert_eq!(child.try_wait().expect("a child"), None, "it has ended by itself");
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
        let output = child.wait_with_output().expect("an end");
        assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(stdout(&output).contains("recommendation:"), "{}", stdout(&output));

        let output = command("6s").output().expect("velo-advise runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("going on from "), "{said}");
        assert!(output.status.success(), "{said}");
    });
    let report = velo(&folder, &["report", "trials.jsonl"]);
    assert!(stdout(&report).contains("recommendation:"), "{}", String::from_utf8_lossy(&report.stderr));
    let nothing = velo(&folder, &["report", "missing.json"]);
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn a_program_is_measured_on_the_topics_own_records() {
    let _quiet = quiet();
    let broker = real();
    let topic = recorded(&broker, 1000);
    let folder = TempDir::new().expect("a folder");
    // It answers only where it is told that nothing it puts out is written.
    let program =
        "[ \"$VELO_ADVISE\" = 1 ] && while read -r l; do [ -z \"$l\" ] && echo '{\"ok\":true}'; done";
    let args = ["--sample", "4s", "--exec", program, "--value-format", "json", "--sink-cost", "1ms"];
    let output = advise(&broker, &topic, &folder, &args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("on real records, many times"), "{said}");
    assert!(json(&output)["cost"]["per_batch_ms"].as_f64() > Some(0.5), "{}", json(&output)["cost"]);
}

#[test]
fn a_topic_of_four_records_is_too_few_to_advise_on() {
    let broker = real();
    let topic = recorded(&broker, 4);
    let folder = TempDir::new().expect("a folder");
    let output = advise(&broker, &topic, &folder, &["--sample", "1s"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(json(&output)["refusal"]["reason"], "too_few_records");
}
