//! What a broker refuses, and what passes by itself: exactly the record that causes it fails, everything else is
//! written, and no job ends on account of an error that passes.

use std::process::Output;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value as Json;
use velo_engine::kafka::{NewRecord, RecordProducer};

use crate::broker::{Broker, busy, embedded, real};
use crate::run::{Job, program};
use crate::topic::{Load, committed, count, first_timestamp_ms, for_each};

static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
static LARGE: OnceLock<Vec<u8>> = OnceLock::new();
const RECORDS: usize = 1000;
/// Which of them are bad.
const BAD: [usize; 3] = [150, 500, 850];
const TEN_DAYS_MS: i64 = 10 * 24 * 3_600_000;
/// A source takes records of any time.
const ANY_TIME: (&str, &str) = ("message.timestamp.after.max.ms", "9223372036854775807");

/// Others of times up to an hour from now, which is what brokers do by default since 4.0.
const AN_HOUR: (&str, &str) = ("message.timestamp.after.max.ms", "3600000");

/// Keyed records of which some are bad in one way or another.
fn produce(broker: &Broker, topic: &str, bad: impl Fn(NewRecord<'static>) -> NewRecord<'static>) {
    let producer = RecordProducer::connect(&broker.settings(), Duration::from_millis(5)).expect("a producer");
    for index in 0..RECORDS {
        let key: &'static [u8] = [b"a", b"b", b"c"][index % 3];
        let value: &'static [u8] = b"{\"some\":\"value\"}";
        let timestamp_ms = Some(first_timestamp_ms() + i64::try_from(index).expect("small"));
        let record = NewRecord { key: Some(key), value: Some(value), timestamp_ms, ..NewRecord::default() };
        let record = if BAD.contains(&index) { bad(record) } else { record };
        producer.send(topic, record).expect("sent");
    }
    producer.flush().expect("flushed");
}

/// Runs a job from topic to topic with dead letters, and again; returns the first report.
fn run(broker: &Broker, source: &str, sink: &str, more: &[&str]) -> Json {
    let folder = tempfile::tempdir().expect("a folder");
    let sql = folder.path().join("job.sql");
    let text =
        format!("CREATE STREAM {sink} AS SELECT * FROM {source} WITH ('failure_strategy' = 'SendToDLQ')");
    std::fs::write(&sql, text).expect("written");
    let report = folder.path().join("report.json");
    let mut reports = Vec::new();
    for _ in 0..2 {
        let mut command = program();
        command.arg("run").arg(&sql).args([
            "--bootstrap-servers",
            &broker.address(),
            "--until-end",
            "--report",
        ]);
        let output = command.arg(&report).args(more).output().expect("velo runs");
        let Output { status, stderr, .. } = output;
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        let read = std::fs::read(&report).expect("a report");
        reports.push(serde_json::from_slice::<Json>(&read).expect("json"));
    }
    assert_eq!(reports[1]["ledger"]["delivered"], 0, "the first run has committed everything");
    reports.swap_remove(0)
}

/// The sink holds all but the bad records, each key's in order; the queue holds those.
fn assert_only_the_bad_are_dead(broker: &Broker, source: &str, sink: &str) {
    let mut last = std::collections::HashMap::new();
    let mut written = 0;
    for_each(broker, sink, |record| {
        let before = last.insert(record.key.clone(), record.timestamp_ms);
        assert!(before.is_none_or(|before| before < record.timestamp_ms), "the order of {:?}", record.key);
        written += 1;
    });
    // Transactions leave markers, which count as offsets.
    let mut dead = 0;
    for_each(broker, &format!("{source}.dlq"), |_| dead += 1);
    assert_eq!((written, dead), (RECORDS - BAD.len(), BAD.len()));
}

#[test]
fn a_record_that_the_brokers_refuse_takes_no_other_with_it() {
    let _busy = busy();
    let kafka = real();
    for more in [&[][..], &["--exactly-once"]] {
        // Without a key for a compacted topic: known beforehand.
        let source = kafka.topic_with("keyless", 1, &[]);
        produce(&kafka, &source, |record| NewRecord { key: None, ..record });
        let sink = kafka.topic_with("compacted", 1, &[("cleanup.policy", "compact")]);
        let report = run(&kafka, &source, &sink, more);
        assert_eq!(report["ledger"]["dlq"], BAD.len(), "{report}");
        assert_only_the_bad_are_dead(&kafka, &source, &sink);
        // Of a time that only the broker compares with its own.
        let source = kafka.topic_with("future", 1, &[ANY_TIME]);
        let later = |record: NewRecord<'static>| NewRecord {
            timestamp_ms: record.timestamp_ms.map(|ms| ms + TEN_DAYS_MS),
            ..record
        };
        produce(&kafka, &source, later);
        let sink = kafka.topic_with("present", 1, &[AN_HOUR]);
        let report = run(&kafka, &source, &sink, more);
        assert_eq!(report["ledger"]["dlq"], BAD.len(), "{report}");
        assert_only_the_bad_are_dead(&kafka, &source, &sink);
    }
}

#[test]
fn a_dead_letter_is_written_whatever_its_queue_refuses() {
    let _busy = busy();
    let kafka = real();
    let source = kafka.topic_with("limits", 1, &[ANY_TIME]);
    let sink = kafka.topic_with("limited", 1, &[("max.message.bytes", "10000")]);
    // Neither the records' times nor all that is added to them.
    kafka.create_with(&format!("{source}.dlq"), 1, &[("max.message.bytes", "20000"), AN_HOUR]);
    let noise = NOISE.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(5);
        (0..19_650).map(|_| random.u8(..)).collect()
    });
    produce(&kafka, &source, |record| NewRecord {
        value: Some(noise),
        timestamp_ms: record.timestamp_ms.map(|ms| ms + TEN_DAYS_MS),
        ..record
    });
    let report = run(&kafka, &source, &sink, &[]);
    assert_eq!(report["ledger"]["dlq"], BAD.len(), "{report}");
    let mut letters = 0;
    for_each(&kafka, &format!("{source}.dlq"), |record| {
        assert_eq!(record.value.as_deref(), Some(noise.as_slice()));
        let original = std::str::from_utf8(&record.headers["velo.timestamp_ms"]).expect("a number");
        assert!(original.parse::<i64>().expect("a number") > first_timestamp_ms() + TEN_DAYS_MS - 1);
        assert!(record.timestamp_ms < original.parse().ok(), "the queue's own time");
        letters += 1;
    });
    assert_eq!(letters, BAD.len());
}

#[test]
fn a_record_that_fits_once_it_is_compressed_is_written() {
    let _busy = busy();
    let kafka = real();
    let source = kafka.topic_with("large", 1, &[("max.message.bytes", "4000000")]);
    let sink = kafka.topic_with("small", 1, &[]);
    let large = LARGE.get_or_init(|| vec![b'e'; 3_000_000]);
    produce(&kafka, &source, |record| NewRecord { value: Some(large), ..record });
    let report = run(&kafka, &source, &sink, &[]);
    assert_eq!((&report["ledger"]["ok"], &report["ledger"]["dlq"]), (&RECORDS.into(), &0.into()), "{report}");
    assert_eq!(count(&kafka, &sink), RECORDS as u64);
}

#[test]
fn fetches_that_fail_for_a_while_are_made_again() {
    const FETCH: i16 = 1;
    let _busy = busy();
    let broker = embedded();
    let load = Load { number: 2000, partitions: 2, bytes: 100, poison_every: 5000 };
    let job = Job::new(&broker, load, "'failure_strategy' = 'FailBatch'");
    let Broker::Embedded(cluster) = &broker else { unreachable!("it is an embedded one") };
    // An unknown error, a corrupt message, an error of the broker's disk.
    for code in [-1, 2, 56] {
        cluster.fail_requests(FETCH, code, 3);
    }
    let report = job.run();
    assert_eq!(report["ledger"]["ok"], 2000, "{report}");
    assert_eq!(committed(&broker, &job.group, &job.source).values().sum::<i64>(), 2000);
    let notices = report["notices"].as_array().expect("notices");
    let is_about =
        |what: &str| notices.iter().any(|notice| notice.as_str().is_some_and(|text| text.contains(what)));
    assert!(is_about("cannot be read; fetches are retried") && is_about("can be read again"), "{notices:?}");
}
