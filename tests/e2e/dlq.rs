//! `velo dlq`: dead letters are counted and described, and go back once, however often they are replayed.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;
use velo_engine::kafka::{NewRecord, RecordProducer};

use crate::admin::{delete_records, set_cleanup_policy};
use crate::broker::{Broker, busy, embedded, real};
use crate::run::{Job, program};
use crate::topic::{Load, Read, count, for_each};

const LOAD: Load = Load { number: 2000, partitions: 3, bytes: 100, poison_every: 50 };
const DEAD: u64 = 40;

fn dlq(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velo"));
    command.arg("dlq").args(arguments).args(["--bootstrap-servers", &broker.address()]);
    command.output().expect("velo runs")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn letters(broker: &Broker, queue: &str) -> u64 {
    let shown = stdout(&dlq(broker, &["show", queue, "--format", "json"]));
    let shown: Json = serde_json::from_str(&shown).expect("json");
    shown["selected"].as_u64().expect("a count")
}

/// Which letters' records a topic has, and how often.
fn replayed(broker: &Broker, topic: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for_each(broker, topic, |read| {
        if let Some(of) = read.headers.get("velo.replay.of") {
            *found.entry(String::from_utf8_lossy(of).into_owned()).or_default() += 1;
        }
    });
    found
}

fn send(broker: &Broker, topic: &str, records: &[(Option<&str>, &str)]) {
    let producer =
        RecordProducer::connect(&broker.settings(), std::time::Duration::ZERO).expect("a producer");
    for (key, value) in records {
        let (key, value) = (key.map(str::as_bytes), Some(value.as_bytes()));
        producer.send(topic, NewRecord { key, value, ..NewRecord::default() }).expect("sent");
    }
    producer.flush().expect("flushed");
}

/// Writes all records of a topic to it again.
fn copy(broker: &Broker, topic: &str) {
    let producer =
        RecordProducer::connect(&broker.settings(), std::time::Duration::ZERO).expect("a producer");
    let mut all = Vec::new();
    for_each(broker, topic, |read| all.push(read));
    for read in all {
        let headers: Vec<_> =
            read.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_slice()))).collect();
        let record = NewRecord {
            key: read.key.as_deref(),
            value: read.value.as_deref(),
            headers: &headers,
            ..NewRecord::default()
        };
        producer.send(topic, record).expect("sent");
    }
    producer.flush().expect("flushed");
}

fn letters_go_back_once(broker: &Broker) {
    let job = Job::new(broker, LOAD, "'batch.size' = '100', 'failure_strategy' = 'SendToDLQ'");
    job.run();
    assert_eq!(count(broker, &job.dlq), DEAD);
    // Whatever else is in the queue is not one of its letters.
    send(broker, &job.dlq, &[(None, "stray")]);

    let shown: Json =
        serde_json::from_str(&stdout(&dlq(broker, &["show", &job.dlq, "--format", "json"]))).expect("json");
    assert_eq!((&shown["selected"], &shown["foreign"]), (&Json::from(DEAD), &Json::from(1)));
    assert_eq!(shown["by_error"].as_array().expect("an array").len(), 1, "{}", shown["by_error"]);
    assert_eq!(
        (&shown["by_error"][0]["stage"], &shown["by_error"][0]["count"]),
        (&"decode".into(), &DEAD.into())
    );
    let newest = &shown["newest"][0];
    assert_eq!((&newest["origin"]["topic"], &newest["attempts"]), (&Json::from(&*job.source), &1.into()));
    let text = stdout(&dlq(broker, &["show", &job.dlq, "--stage", "process"]));
    let expected =
        format!("0 dead letters in {} match --stage process; it has 40, by stage: decode 40\n", job.dlq);
    assert!(text.starts_with(expected.trim_end_matches('\n')), "{text}");
    let nothing = stdout(&dlq(broker, &["replay", &job.dlq, "--error", "no such text"]));
    assert!(nothing.contains("match --error 'no such text'; it has 40"), "{nothing}");

    // To the source: as they were, in their partitions, and once.
    let (source, before) = (&job.source, count(broker, &job.source));
    let replay = |more: &[&str]| stdout(&dlq(broker, &[&["replay", &job.dlq], more].concat()));
    assert_eq!(replay(&["--dry-run"]), format!("{source}: 40 would be replayed, 0 already present\n"));
    assert_eq!(count(broker, source), before);
    assert_eq!(replay(&[]), format!("{source}: 40 replayed, 0 already present\n"));
    assert_eq!(replay(&[]), format!("{source}: 0 replayed, 40 already present\n"));
    let mut replayed = 0;
    for_each(broker, source, |read| {
        if let Some(of) = read.headers.get("velo.replay.of") {
            replayed += 1;
            let index = String::from_utf8_lossy(&read.headers["index"]).parse().expect("a number");
            let (partition, key, value) = LOAD.record(index);
            let of = String::from_utf8_lossy(of).into_owned();
            assert!(of.starts_with(&format!("{source}[{partition}]@")), "{of}");
            assert_eq!(read.headers.len(), 2, "{:?}", read.headers);
            let Read { partition: at, key: its_key, value: its_value, .. } = read;
            assert_eq!((at, its_key, its_value), (partition, Some(key.into()), Some(value.into())));
        }
    });
    assert_eq!(replayed, DEAD);

    // What is still bad comes back to the queue, as the record that it is now.
    job.run();
    assert_eq!(letters(broker, &job.dlq), 2 * DEAD);

    // To the sink: both generations, each once.
    let (sink, before) = (&job.sink, count(broker, &job.sink));
    let expected = format!("{sink}: 80 replayed, 0 already present\n");
    assert_eq!(replay(&["--to-sink", sink, "--error", "JSON object"]), expected);
    assert_eq!(count(broker, sink), before + 2 * DEAD);
    let expected = format!("{sink}: 0 replayed, 80 already present\n");
    assert_eq!(replay(&["--to-sink", sink]), expected);
}

#[test]
fn dead_letters_on_the_embedded_broker_go_back_once() {
    let _busy = busy();
    letters_go_back_once(&embedded());
}

#[test]
fn dead_letters_on_real_kafka_go_back_once() {
    let _busy = busy();
    letters_go_back_once(&real());
}

/// Runs a job over a source until its end, with dead letters of what is no JSON.
fn run(broker: &Broker, source: &str, queue: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = folder.path().join("job.sql");
    let sink = broker.topic("sink", 1);
    let text = format!(
        "CREATE STREAM {sink} AS SELECT * FROM {source} \
         WITH ('failure_strategy' = 'SendToDLQ', 'dlq.topic' = '{queue}')"
    );
    std::fs::write(&sql, text).expect("written");
    let mut command = program();
    command.arg("run").arg(&sql).args(["--bootstrap-servers", &broker.address(), "--value-format", "json"]);
    let output = command.args(["--until-end", "--group-id", source]).output().expect("velo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_replay_that_is_repeated_puts_nothing_old_over_something_new() {
    let _busy = busy();
    let broker = real();
    let source = broker.topic_with("states", 1, &[("cleanup.policy", "compact,delete")]);
    let queue = broker.topic("states_dlq", 1);
    send(&broker, &source, &[(Some("a"), "old"), (Some("b"), "old")]);
    run(&broker, &source, &queue);
    assert_eq!(letters(&broker, &queue), 2);
    // One key has a newer state already.
    send(&broker, &source, &[(Some("b"), "{\"state\": \"new\"}")]);
    let replay = |more: &[&str]| stdout(&dlq(&broker, &[&["replay", &queue], more].concat()));
    let first = replay(&[]);
    assert!(first.starts_with(&format!("{source}: 1 replayed, 0 already present\n")), "{first}");
    assert!(first.contains("1 skipped: the topic is compacted and has newer records"), "{first}");
    assert_eq!(replayed(&broker, &source), BTreeMap::from([(format!("{source}[0]@0"), 1)]));
    // The other one gets it now, and the topic forgets what was replayed.
    let new = "{\"state\": \"new\"}";
    send(&broker, &source, &[(Some("a"), new), (Some("b"), new)]);
    delete_records(&broker, &source, 0, 4);
    let again = replay(&[]);
    assert!(again.starts_with(&format!("{source}: 0 replayed, 1 already present\n")), "{again}");
    assert_eq!(replayed(&broker, &source), BTreeMap::new());
    // Who wants the old one gets it, once.
    let over = replay(&["--over-newer"]);
    assert_eq!(over, format!("{source}: 1 replayed, 1 already present\n"));
    assert_eq!(replay(&["--over-newer"]), format!("{source}: 0 replayed, 2 already present\n"));
    assert_eq!(replayed(&broker, &source), BTreeMap::from([(format!("{source}[0]@1"), 1)]));
}

#[test]
fn a_replay_that_is_cut_off_goes_on_where_it_was_and_takes_parts() {
    let _busy = busy();
    let broker = embedded();
    let job = Job::new(&broker, LOAD, "'batch.size' = '100', 'failure_strategy' = 'SendToDLQ'");
    job.run();
    let target = broker.topic("mended", 1);
    let start = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_velo"));
        command.args(["dlq", "replay", &job.dlq, "--to-sink", &target]).args(more);
        command.args(["--bootstrap-servers", &broker.address()]).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("velo runs")
    };
    // It is killed in the middle, with a note that it began.
    let mut first = start(&["--rate", "20/s"]);
    while count(&broker, &target) < 3 {}
    first.kill().expect("killed");
    first.wait().expect("gone");
    let there = count(&broker, &target);
    assert!(there < DEAD, "{there}");
    let replay =
        |more: &[&str]| stdout(&dlq(&broker, &[&["replay", &job.dlq, "--to-sink", &target], more].concat()));
    let notes = count(&broker, &job.dlq);
    let dry = replay(&["--dry-run"]);
    assert_eq!(count(&broker, &job.dlq), notes, "a dry run notes nothing");
    let rest = DEAD - there;
    assert_eq!(dry, format!("{target}: {rest} would be replayed, {there} already present\n"));
    let part = replay(&["--limit", "2"]);
    let left = rest - 2;
    assert_eq!(
        part,
        format!(
            "{target}: 2 replayed, {there} already present\n\
             {left} left for the next replay (--limit)\n"
        )
    );
    assert_eq!(replay(&["--until", "2001-01-01"]).lines().count(), 1);
    let some = there + 2;
    assert_eq!(
        replay(&["--since", "2001-01-01"]),
        format!("{target}: {left} replayed, {some} already present\n")
    );
    let found = replayed(&broker, &target);
    assert_eq!((found.len() as u64, found.values().max()), (DEAD, Some(&1)), "{found:?}");
    assert_eq!(letters(&broker, &job.dlq), DEAD, "receipts are no letters");
}

#[test]
fn a_letter_that_its_target_refuses_stops_no_other_one() {
    let _busy = busy();
    let broker = real();
    let (source, queue) = (broker.topic("mixed", 1), broker.topic("mixed_dlq", 1));
    let records: Vec<_> =
        (0..40).map(|index| (if index == 20 { None } else { Some("k") }, "no json")).collect();
    send(&broker, &source, &records);
    run(&broker, &source, &queue);
    // A job that was killed has written all of its letters twice.
    copy(&broker, &queue);
    let target = broker.topic_with("keyed", 1, &[("cleanup.policy", "compact")]);
    let replay = |more: &[&str]| {
        dlq(&broker, &[&["replay", &queue, "--to-sink", &target, "--over-newer"], more].concat())
    };
    let dry = stdout(&replay(&["--dry-run"]));
    assert_eq!(dry, format!("{target}: 40 would be replayed, 40 already present\n"));
    for (sent, there) in [(39, 39), (0, 78)] {
        let output = replay(&[]);
        let (said, errors) = (&output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(&format!("{source}[0]@20 was not replayed")), "{errors}");
        let said = String::from_utf8_lossy(said);
        assert_eq!(said, format!("{target}: {sent} replayed, {there} already present\n"));
    }
    let all = replayed(&broker, &target);
    assert_eq!((all.len(), all.values().max()), (39, Some(&1)));
    // Once its cause is gone the refused one is written, too.
    let open = broker.topic("open", 1);
    let output = stdout(&dlq(&broker, &["replay", &queue, "--to-sink", &open]));
    assert_eq!(output, format!("{open}: 40 replayed, 40 already present\n"));
    set_cleanup_policy(&broker, &target, "delete");
    let output = stdout(&replay(&[]));
    assert_eq!(output, format!("{target}: 1 replayed, 79 already present\n"));
    assert_eq!(replayed(&broker, &target).len(), 40);
}

#[test]
fn what_cannot_be_read_or_written_is_named() {
    let broker = embedded();
    for (arguments, reason) in [
        (&["show", "nowhere.dlq"][..], "there is no topic 'nowhere.dlq'"),
        (&["replay", "a.dlq", "--to-sink", "a.dlq"], "cannot replay 'a.dlq' to itself"),
        (&["show", "a.dlq", "--stage", "procss"], "did you mean process?"),
    ] {
        let output = dlq(&broker, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
    }
}
