//! What an operator sees of a job before and while it runs: `--check`, `--metrics`, logs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value as Json;

use crate::broker::{busy, embedded, real};
use crate::run::{BUFFERED, Job, stop, wait_for_commit};
use crate::topic::{Load, committed};

const LOAD: Load = Load { number: 2000, partitions: 2, bytes: 100, poison_every: 100 };

#[test]
fn a_check_says_what_a_job_would_find_and_touches_nothing() {
    let _busy = busy();
    let broker = real();
    let job = Job::new(&broker, LOAD, BUFFERED);
    let run = |kind: &str, more: &[&str]| {
        let mut command = job.command_without_broker();
        command.args([kind, "--fetcher", "auto", "--bootstrap-servers", &broker.address()]).args(more);
        let output = command.output().expect("velo runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let check = |more: &[&str]| run("--check", more);
    let check_all = || run("--check=all", &[]);
    let (code, text, stderr) = check(&["-X", "fetch.min.bytes=7", "-X", "sasl.password=hunter2"]);
    assert_eq!(code, Some(0), "{text}{stderr}");
    for part in [
        &format!("{} has 2 partitions", job.source),
        &format!("{} may be written", job.dlq),
        "2000 records to read; 2 partitions without a committed offset",
        "group does not exist yet",
        "reading starts at --from earliest",
        "deletes dead letters",
        "ok    native",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let property =
        |name: &str| text.lines().find(|line| line.trim_start().starts_with(name)).expect("a line");
    assert!(property("fetch.min.bytes ").contains('7') && property("fetch.min.bytes ").contains("-X"));
    assert!(property("queued.max.messages.kbytes ").contains("derived from the plan"));
    assert!(property("enable.auto.commit ").contains("the engine's own"));
    let (_, producer) = text.split_once("the producer's properties").expect("two parts");
    assert!(!text.contains("socket.timeout.ms") && !text.contains("0x"), "{text}");
    let (_, all, _) = check_all();
    let line = all.lines().find(|line| line.trim_start().starts_with("socket.timeout.ms ")).expect("a line");
    assert!(line.contains("default") && !all.contains("0x") && !all.contains("--check=all"), "{all}");
    let property =
        |name: &str| producer.lines().find(|line| line.trim_start().starts_with(name)).expect("a line");
    assert!(property("enable.idempotence ").contains("the engine's own"));
    assert!(property("queue.buffering.max.kbytes ").contains("derived from the plan"));
    assert!(property("sasl.password ").contains("***") && !text.contains("hunter2"), "{text}");
    let (_, text, _) = check(&["-X", "socket.nagle.disable=false"]);
    let reason =
        "librdkafka, because native cannot be used: socket.nagle.disable is supported by librdkafka only";
    assert!(text.contains(reason), "{text}");
    assert!(committed(&broker, &job.group, &job.source).is_empty());
    job.run();
    let text = check(&[]).1;
    assert!(text.contains("0 records to read; 0 partitions without"), "{text}");
    assert!(text.contains("reading starts at the committed offsets; --from has no effect"), "{text}");
}

fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: velo\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().expect("a status").to_owned(), body.to_owned())
}

#[test]
fn metrics_count_what_the_report_counts() {
    let _busy = busy();
    let broker = embedded();
    let job = Job::new(&broker, LOAD, BUFFERED);
    let mut command = job.endless_command();
    command.args(["--metrics", "127.0.0.1:0", "--log-format", "json", "--fetcher", "auto"]);
    let mut child = command.spawn().expect("velo runs");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    // Every line is an object, and one says where the metrics are.
    let address = loop {
        let line: Json = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("json");
        let message = line["message"].as_str().expect("a message").to_owned();
        if let Some(rest) = message.strip_prefix("metrics at http://") {
            break rest.split('/').next().expect("an address").to_owned();
        }
    };
    wait_for_commit(&job, &mut child, 2000);
    // The group's commit is known a moment before the numbers are looked at again.
    let sample = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default()
    };
    let metrics = loop {
        let (status, body) = get(&address, "/metrics");
        assert!(status.contains("200"), "{status}");
        if sample(&body, "velo_records_settled_total{state=\"ok\"}") == "1980" {
            break body;
        }
        assert!(child.try_wait().expect("a child").is_none());
    };
    for (name, value) in [
        ("velo_records_delivered_total", "2000"),
        ("velo_records_settled_total{state=\"dlq\"}", "20"),
        ("velo_record_latency_seconds_count", "1980"),
        ("velo_buffered_tier", "1"),
        ("velo_fetcher_info{name=\"native\",reason=\"\"}", "1"),
        ("velo_batch_size_records", "500"),
        (&format!("velo_lag_records{{topic=\"{}\",partition=\"0\"}}", job.source), "0"),
    ] {
        assert_eq!(sample(&metrics, name), value, "{name}: {metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(get(&address, "/healthz").0.contains("200") && get(&address, "/readyz").0.contains("200"));
    assert!(get(&address, "/other").0.contains("404"));
    stop(child, "-TERM");
    let rest: Vec<Json> =
        lines.map(|line| serde_json::from_str(&line.expect("text")).expect("json")).collect();
    assert!(
        rest.iter().any(|line| line["message"].as_str().is_some_and(|m| m.starts_with("delivered 2000")))
    );
}

#[test]
fn what_a_job_could_not_write_is_found_before_it_begins() {
    let _busy = busy();
    let broker = embedded();
    let job = Job::new(&broker, LOAD, BUFFERED);
    let mut command = crate::run::program();
    command.arg("run").arg(job.sql_path()).args(["--bootstrap-servers", &broker.address(), "--until-end"]);
    let report = job.folder().join("missing/report.json");
    let output =
        command.args(["--group-id", &job.group, "--report"]).arg(&report).output().expect("velo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(&format!("--report {}", report.display())), "{stderr}");
    assert!(committed(&broker, &job.group, &job.source).is_empty(), "it began");
    // A collector of objects gets one.
    let output = command.args(["--log-format", "json"]).output().expect("velo runs");
    let line: Json = serde_json::from_slice(&output.stderr).expect("an object");
    assert!(line["message"].as_str().expect("a message").contains("--report"), "{line}");
}

#[test]
fn a_start_that_has_no_effect_and_members_without_partitions_are_reported() {
    let _busy = busy();
    let broker = embedded();
    let job = Job::new(&broker, LOAD, BUFFERED);
    let run = |more: &[&str]| {
        let output = job.command().args(more).output().expect("velo runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        stderr
    };
    let first = run(&["--from", "earliest", "--concurrency", "3"]);
    assert!(!first.contains("has no effect"), "{first}");
    assert!(first.contains("1 of 3 members get no partition"), "{first}");
    let second = run(&["--from", "latest"]);
    assert!(second.contains("--from has no effect on 2 of 2 partitions"), "{second}");
    assert!(!run(&[]).contains("has no effect"));
}

#[test]
fn a_report_says_what_the_job_added_and_where_each_partition_ended() {
    let _busy = busy();
    let broker = embedded();
    let job = Job::new(&broker, LOAD, BUFFERED);
    let report = job.run();
    // The records are an hour old; the job took less than that.
    let p50 = |name: &str| report[name]["p50"].as_f64().expect("a latency");
    assert!(p50("latency_ms") >= 3_000_000.0 && p50("added_latency_ms") < 3_000_000.0, "{report}");
    let counted = |name: &str| report[name]["count"].as_u64().expect("a number");
    assert_eq!((counted("latency_ms"), counted("added_latency_ms")), (1980, 1980));
    assert_eq!(report["batches"]["records"], 2000);
    let partitions = report["partitions"].as_array().expect("an array");
    let ends: Vec<_> = partitions.iter().map(|end| (&end["partition"], &end["settled_offset"])).collect();
    let end = Json::from(1000);
    assert_eq!(ends, [(&Json::from(0), &end), (&Json::from(1), &end)]);
    assert_eq!(partitions[0]["topic"], *job.source);
    assert_eq!(report["memory"]["in_flight_records"], Json::Null);
}

#[test]
fn a_report_names_the_fetcher_and_the_reason() {
    let _busy = busy();
    let broker = embedded();
    let job = Job::new(&broker, LOAD, BUFFERED);
    let run = |more: &[&str]| {
        let output = job.command().args(more).output().expect("velo runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let report = || -> Json {
        let text = std::fs::read_to_string(job.report_path()).expect("a report");
        serde_json::from_str(&text).expect("JSON")
    };
    let reason = "socket.nagle.disable is supported by librdkafka only";
    let property = ["-X", "socket.nagle.disable=false"];
    let (code, said) = run(&[&property[..], &["--fetcher", "auto"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("librdkafka fetches the records: {reason}")), "{said}");
    assert_eq!((&report()["fetcher"], &report()["fetcher_reason"]), (&"librdkafka".into(), &reason.into()));
    let (code, said) = run(&[&property[..], &["--fetcher", "native"]].concat());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--fetcher native") && said.contains(reason), "{said}");
    let (code, said) = run(&["--fetcher", "auto"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((&report()["fetcher"], &report()["fetcher_reason"]), (&"native".into(), &Json::Null));
}

#[test]
fn an_address_that_is_taken_is_said() {
    let _busy = busy();
    let broker = embedded();
    let job = Job::new(&broker, LOAD, BUFFERED);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = job.command().args(["--metrics", &address]).output().expect("velo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(&format!("--metrics {address}")), "{stderr}");
    assert!(committed(&broker, &job.group, &job.source).is_empty(), "it began");
}
