//! `velo dlq`: dead letters are counted and described, and go back once, however often they are replayed.

use std::process::{Command, Output};

use serde_json::Value as Json;
use velo_engine::kafka::{NewRecord, RecordProducer};

use crate::broker::{Broker, busy, embedded, real};
use crate::run::Job;
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

fn letters_go_back_once(broker: &Broker) {
    let job = Job::new(broker, LOAD, "'batch.size' = '100', 'failure_strategy' = 'SendToDLQ'");
    job.run();
    assert_eq!(count(broker, &job.dlq), DEAD);
    // Whatever else is in the queue is not one of its letters.
    let producer =
        RecordProducer::connect(&broker.settings(), std::time::Duration::ZERO).expect("a producer");
    producer.send(&job.dlq, NewRecord { value: Some(b"stray"), ..NewRecord::default() }).expect("sent");
    producer.flush().expect("flushed");

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
    assert_eq!(
        replay(&["--dry-run"]),
        format!("{source}: 40 records would be replayed, 0 were there already\n")
    );
    assert_eq!(count(broker, source), before);
    assert_eq!(replay(&[]), format!("{source}: 40 records replayed, 0 were there already\n"));
    assert_eq!(replay(&[]), format!("{source}: 0 records replayed, 40 were there already\n"));
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
    assert_eq!(count(broker, &job.dlq), 2 * DEAD + 1);

    // To the sink: both generations, each once.
    let (sink, before) = (&job.sink, count(broker, &job.sink));
    let expected = format!("{sink}: 80 records replayed, 0 were there already\n");
    assert_eq!(replay(&["--to-sink", sink, "--error", "JSON object"]), expected);
    assert_eq!(count(broker, sink), before + 2 * DEAD);
    let expected = format!("{sink}: 0 records replayed, 80 were there already\n");
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

#[test]
fn what_cannot_be_read_or_written_is_named() {
    let broker = embedded();
    for (arguments, reason) in [
        (&["show", "nowhere.dlq"][..], "there is no topic 'nowhere.dlq'"),
        (&["replay", "a.dlq", "--to-sink", "a.dlq"], "would be replayed to itself"),
        (&["show", "a.dlq", "--stage", "procss"], "did you mean process?"),
    ] {
        let output = dlq(&broker, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
    }
}
