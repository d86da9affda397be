//! Topics that change under a job: records deleted, topics recreated or gone, partitions added.

use std::time::Duration;

use velo_engine::kafka::{NewRecord, RecordProducer};

use crate::admin::{add_partitions, delete_records, delete_topic};
use crate::broker::{Broker, busy, real};
use crate::run::{Job, assert_running, stop, wait_for_commit};
use crate::topic::{Load, committed, count, first_timestamp_ms};

const SETTINGS: &str = "'batch.size' = '10'";
const LOAD: Load = Load { number: 100, partitions: 1, bytes: 100, poison_every: u64::MAX };

/// Produces records `from` to before `to` of a load to one partition.
fn produce(broker: &Broker, topic: &str, partition: i32, numbers: std::ops::Range<u64>) {
    let producer = RecordProducer::connect(&broker.settings(), Duration::ZERO).expect("a producer");
    for index in numbers {
        let (_, key, value) = LOAD.record(index);
        let record = NewRecord {
            partition: Some(partition),
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            timestamp_ms: Some(first_timestamp_ms()),
            ..NewRecord::default()
        };
        producer.send(topic, record).expect("sent");
        // Small batches, so that not all of them are fetched at once.
        if index % 50 == 49 {
            producer.flush().expect("flushed");
        }
    }
    producer.flush().expect("flushed");
}

#[test]
fn records_that_were_deleted_before_they_were_read_end_the_job_or_are_counted() {
    let _busy = busy();
    let broker = real();
    let job = Job::new(&broker, LOAD, SETTINGS);
    job.run();
    produce(&broker, &job.source, 0, 100..200);
    delete_records(&broker, &job.source, 0, 150);

    let output = job.command().output().expect("velo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("offsets 100 to 149 of {}[0] were deleted", job.source)), "{stderr}");
    assert_eq!(committed(&broker, &job.group, &job.source)[&0], 100);

    let output = job.command().args(["--on-data-loss", "continue"]).output().expect("velo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let ledger = &job.report()["ledger"];
    assert_eq!((&ledger["delivered"], &ledger["lost"], &ledger["gaps"]), (&50.into(), &50.into(), &0.into()));
    assert_eq!(committed(&broker, &job.group, &job.source)[&0], 200);
}

#[test]
fn records_that_are_deleted_under_the_cursor_end_the_job_or_are_counted() {
    let _busy = busy();
    let broker = real();
    for (choice, assignor, fetcher) in [
        ("fail", "cooperative-sticky", "librdkafka"),
        ("fail", "range", "native"),
        ("continue", "cooperative-sticky", "librdkafka"),
        ("continue", "range", "librdkafka"),
        ("continue", "cooperative-sticky", "native"),
    ] {
        let job = Job::new(&broker, LOAD, SETTINGS);
        produce(&broker, &job.source, 0, 100..2000);
        let mut command = job.command();
        // Little is fetched ahead, and each record takes its time.
        command.args(["-X", "queued.min.messages=1", "-X", "fetch.message.max.bytes=1000"]);
        command.args(["--cost", "20ms/record", "--on-data-loss", choice, "--fetcher", fetcher]);
        command.args(["-X", &format!("partition.assignment.strategy={assignor}")]);
        let mut child = command.spawn().expect("velo runs");
        wait_for_commit(&job, &mut child, 10);
        delete_records(&broker, &job.source, 0, 1900);
        let output = child.wait_with_output().expect("gone");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(i32::from(choice == "fail")), "{stderr}");
        let ledger = &job.report()["ledger"];
        let number = |name: &str| ledger[name].as_i64().expect("a number");
        assert_eq!(number("uncommitted"), 0, "what was read is settled: {ledger}");
        let committed = committed(&broker, &job.group, &job.source)[&0];
        if choice == "fail" {
            assert!(stderr.contains(&format!("offsets {committed} to 1899 of")), "{stderr}");
        } else {
            assert!(stderr.contains("to 1899 of"), "{stderr}");
            assert!(number("lost") > 0 && number("ok") + number("lost") == 2000, "{ledger}");
            assert_eq!(committed, 2000);
        }
    }
}

#[test]
fn a_sink_that_is_deleted_under_a_job_is_named() {
    let _busy = busy();
    let broker = real();
    let job = Job::new(&broker, LOAD, SETTINGS);
    produce(&broker, &job.source, 0, 100..5000);
    let mut command = job.command();
    command.args(["--cost", "10ms/record", "-X", "topic.metadata.refresh.interval.ms=500"]);
    command.args(["-X", "topic.metadata.propagation.max.ms=1000"]);
    let mut child = command.spawn().expect("velo runs");
    wait_for_commit(&job, &mut child, 10);
    delete_topic(&broker, &job.sink);
    let output = child.wait_with_output().expect("gone");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("topic '{}' was deleted while the job ran", job.sink)), "{stderr}");
    assert!(!stderr.contains("Destroy"), "{stderr}");
}

#[test]
fn a_topic_that_is_recreated_is_read_anew_only_where_that_is_wanted() {
    let _busy = busy();
    let broker = real();
    for choice in ["fail", "continue"] {
        let job = Job::new(&broker, LOAD, SETTINGS);
        let mut command = job.endless_command();
        command.args(["--on-data-loss", choice, "-X", "topic.metadata.refresh.interval.ms=500"]);
        let mut child = command.spawn().expect("velo runs");
        wait_for_commit(&job, &mut child, 100);
        delete_topic(&broker, &job.source);
        broker.create(&job.source, 1);
        produce(&broker, &job.source, 0, 0..20);
        if choice == "fail" {
            let output = child.wait_with_output().expect("gone");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{stderr}");
        } else {
            while count(&broker, &job.sink) < 120 {
                assert_running(&mut child);
            }
            stop(child, "-TERM");
            assert_eq!(committed(&broker, &job.group, &job.source)[&0], 20);
        }
    }
}

#[test]
fn the_native_fetcher_knows_a_topic_that_was_created_again_whatever_its_offsets() {
    let _busy = busy();
    let broker = real();
    for choice in ["fail", "continue"] {
        let job = Job::new(&broker, LOAD, SETTINGS);
        let mut command = job.endless_command();
        command.args(["--on-data-loss", choice, "--fetcher", "native"]);
        let mut child = command.spawn().expect("velo runs");
        wait_for_commit(&job, &mut child, 100);
        delete_topic(&broker, &job.source);
        broker.create(&job.source, 1);
        // The job's position is an offset of the new topic, too.
        produce(&broker, &job.source, 0, 0..300);
        if choice == "fail" {
            let output = child.wait_with_output().expect("gone");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{stderr}");
        } else {
            while count(&broker, &job.sink) < 400 {
                assert_running(&mut child);
            }
            stop(child, "-TERM");
            assert_eq!(committed(&broker, &job.group, &job.source)[&0], 300);
        }
    }
}

#[test]
fn partitions_that_appear_are_read_from_their_first_record_on() {
    let _busy = busy();
    let broker = real();
    let job = Job::new(&broker, LOAD, SETTINGS);
    let mut command = job.endless_command();
    command.args(["--from", "latest", "-X", "topic.metadata.refresh.interval.ms=500"]);
    let mut child = command.spawn().expect("velo runs");
    // Where it starts is committed, too.
    wait_for_commit(&job, &mut child, 100);
    add_partitions(&broker, &job.source, 3);
    produce(&broker, &job.source, 1, 0..30);
    produce(&broker, &job.source, 2, 0..40);
    while count(&broker, &job.sink) < 70 {
        assert_running(&mut child);
    }
    stop(child, "-TERM");
    assert_eq!(job.report()["ledger"]["ok"], 70);
}
