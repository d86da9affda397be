//! `velo run --exec`: programs that work, that cannot start, and that die, stall, talk nonsense, answer late or
//! write before they have read. Nothing is lost, and each failure is named.
#![cfg(unix)]

use serde_json::Value as Json;

use crate::broker::{Broker, busy, embedded, real};
use crate::run::Job;
use crate::topic::{Load, count, for_each};

const LOAD: Load = Load { number: 600, partitions: 2, bytes: 60, poison_every: 100 };
const SETTINGS: &str = "'batch.size' = '50', 'failure_strategy' = 'SendToDLQ', 'retry_backoff' = '10ms', \
                        'retry_backoff_max' = '10ms'";

/// Reads batches and prints what `answer` does at the end of each; `n` counts its records. `once` is what the
/// first process does instead of its second answer.
fn program(folder: &std::path::Path, once: &str, answer: &str) -> String {
    let script = format!(
        "#!/bin/sh\n\
         read -r hello\n\
         n=0\n\
         while IFS= read -r line; do\n\
           if [ -n \"$line\" ]; then n=$((n+1)); continue; fi\n\
           if [ -e answered ] && mkdir failed 2>/dev/null; then {once}; else {answer}; : > answered; fi\n\
           n=0\n\
         done\n"
    );
    let path = folder.join("program.sh");
    std::fs::write(&path, script).expect("written");
    format!("cd {} && sh program.sh", folder.display())
}

const OK: &str = "echo '{\"ok\":true}'";

/// Runs a job whose values need not be JSON through a program; returns its report and what it said.
fn run(broker: &Broker, once: &str, answer: &str, more: &[&str]) -> (Json, String, u64, u64) {
    let job = Job::new(broker, LOAD, SETTINGS);
    let command = program(job.folder(), once, answer);
    let mut velo = job.command();
    velo.args(["--exec", &command]).args(more);
    let output = velo.output().expect("velo runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let report = serde_json::from_slice(&std::fs::read(job.report_path()).expect("a report")).expect("json");
    (report, stderr, count(broker, &job.sink), count(broker, &job.dlq))
}

const POISON: u64 = 6;

fn a_program_does_the_work(broker: &Broker) {
    let (report, stderr, sink, dlq) = run(broker, OK, OK, &[]);
    assert_eq!((sink, dlq), (LOAD.number - POISON, POISON), "{stderr}");
    assert_eq!((&report["ledger"]["ok"], &report["ledger"]["dlq"]), (&sink.into(), &dlq.into()));
}

#[test]
fn a_program_does_the_work_on_either_broker() {
    let _busy = busy();
    a_program_does_the_work(&embedded());
    a_program_does_the_work(&real());
}

#[test]
fn a_program_that_fails_after_its_first_answer_is_started_again_and_nothing_is_lost() {
    const SILENT: &str = "exec sleep 1000";
    let _busy = busy();
    let broker = embedded();
    let cases = [
        ("exit 3", "the program ended without an answer: exit status: 3"),
        (SILENT, "no answer to a batch of"),
        ("echo nonsense", "does not follow the protocol"),
        ("echo '{\"ok\":true,\"records\":[{\"record\":0,\"header\":[]}]}'", "unknown field `header`"),
        ("kill -9 $$", "the program ended without an answer: exit status: 137"),
        // It answers twice, at once: the second answer belongs to no batch.
        ("printf '{\"ok\":true}\\n{\"ok\":true}\\n'", "an unexpected line"),
    ];
    for (once, reason) in cases {
        // Only one that never answers is not waited for, and then for longer than any other may take.
        let timeout = if once == SILENT { "10s" } else { "5m" };
        let (report, stderr, sink, dlq) = run(&broker, once, OK, &["--exec-timeout", timeout]);
        assert!(stderr.contains(reason), "{once}: {stderr}");
        assert_eq!((sink, dlq), (LOAD.number - POISON, POISON), "{once}: {stderr}");
        assert_eq!((&report["outcome"], &report["ledger"]["uncommitted"]), (&"drained".into(), &0.into()));
    }
}

#[test]
fn a_program_that_never_answers_as_it_should_ends_the_job_with_its_reason() {
    let _busy = busy();
    let broker = embedded();
    for (command, reason) in [
        ("/no/such/program", "exit status: 127 (command not found)"),
        ("/dev/null", "exit status: 126 (command not executable)"),
        ("exit 3", "exit status: 3"),
        ("while read -r l; do [ -z \"$l\" ] && echo nonsense; done", "does not follow the protocol"),
        ("tr '\\0' x < /dev/zero", "is longer than 64 MiB"),
    ] {
        // A batch of one record: a longer one would be halved first where the answer is too long.
        let job = Job::new(&broker, LOAD, "'batch.size' = '1', 'failure_strategy' = 'SendToDLQ'");
        let output = job.command().args(["--exec", command]).output().expect("velo runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {stderr}");
        assert!(stderr.contains(reason), "{command}: {stderr}");
        let report = job.report();
        assert_eq!((&report["outcome"], &report["ledger"]["ok"]), (&"failed".into(), &0.into()), "{command}");
        assert_eq!(count(&broker, &job.sink), 0);
    }
}

#[test]
fn a_program_of_the_first_version_of_the_protocol_still_works() {
    let _busy = busy();
    let broker = embedded();
    // It takes no other version, and no field that version 1 did not have.
    let strict = "read -r h; [ \"$h\" = '{\"velo_exec\":1}' ] || exit 9; \
                  while IFS= read -r line; do case \"$line\" in *headers*) exit 8;; '') echo '{\"ok\":true}';; esac; done";
    let job = Job::new(&broker, LOAD, SETTINGS);
    let output = job.command().args(["--exec", strict, "--exec-protocol", "1"]).output().expect("velo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(count(&broker, &job.sink), LOAD.number - POISON);
}

#[test]
fn a_program_names_bad_records_puts_out_others_and_may_write_before_it_has_read() {
    let _busy = busy();
    let broker = embedded();
    // The first record of each batch is bad; the last is written in its place as "x", and nothing else.
    let answer = "printf '{\"errors\":[{\"record\":0,\"message\":\"first\"}],\"records\":[{\"record\":%d,\"value\":\"x\"}]}\\n' $((n-1))";
    let (report, stderr, sink, dlq) = run(&broker, answer, answer, &[]);
    let batches = report["batches"]["count"].as_u64().expect("a number");
    assert_eq!((sink, dlq), (batches, batches + POISON), "{stderr}");
    assert_eq!(report["ledger"]["ok"], LOAD.number - batches - POISON);

    // More than a pipe holds, before it reads: whoever wrote first and read then would wait for ever.
    let chatty = format!("yes ' ' | head -c 200000 | tr -d '\\n'; {OK}");
    let (_, stderr, sink, dlq) = run(&broker, &chatty, OK, &[]);
    assert_eq!((sink, dlq), (LOAD.number - POISON, POISON), "{stderr}");
}

#[test]
fn what_a_program_writes_takes_the_place_of_the_input() {
    let _busy = busy();
    let broker = embedded();
    let job = Job::new(&broker, LOAD, "'batch.size' = '1'");
    let answer = "echo '{\"ok\":true,\"records\":[{\"record\":0,\"key\":\"k\",\"value_base64\":\"/wA=\"}]}'";
    let command = program(job.folder(), answer, answer);
    let output = job.command().args(["--exec", &command]).output().expect("velo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut read_back = 0;
    for_each(&broker, &job.sink, |read| {
        read_back += 1;
        assert_eq!(
            (read.key.as_deref(), read.value.as_deref()),
            (Some(b"k".as_slice()), Some(b"\xff\x00".as_slice()))
        );
        // The headers are those of the record that it was written for.
        assert_eq!(read.headers.keys().collect::<Vec<_>>(), ["index"]);
    });
    assert_eq!(read_back, LOAD.number - POISON);
}

#[test]
fn headers_of_outputs_are_given_inherited_or_none() {
    let _busy = busy();
    let broker = embedded();
    let job = Job::new(&broker, LOAD, "'batch.size' = '1'");
    let answer = "case \"$n\" in 1) echo '{\"ok\":true,\"records\":[{\"record\":0,\"value\":\"inherits\"},\
                  {\"record\":0,\"value\":\"none\",\"headers\":[]},\
                  {\"record\":0,\"value\":\"own\",\"headers\":[{\"name\":\"trace\",\"value\":\"abc\"},\
                  {\"name\":\"raw\",\"value_base64\":\"/wA=\"}]}]}';; esac";
    let command = program(job.folder(), answer, answer);
    let output = job.command().args(["--exec", &command]).output().expect("velo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut seen = std::collections::BTreeMap::<_, u64>::new();
    for_each(&broker, &job.sink, |read| {
        let value = String::from_utf8(read.value.expect("a value")).expect("text");
        let names: Vec<_> = read.headers.keys().map(String::as_str).collect();
        match value.as_str() {
            "inherits" => assert_eq!(names, ["index"]),
            "none" => assert!(names.is_empty(), "{names:?}"),
            _ => {
                assert_eq!(names, ["raw", "trace"]);
                assert_eq!((&*read.headers["trace"], &*read.headers["raw"]), (&b"abc"[..], &b"\xff\x00"[..]));
            }
        }
        *seen.entry(value).or_default() += 1;
    });
    let expected = ["inherits", "none", "own"].map(|value| (value.to_owned(), LOAD.number - POISON));
    assert_eq!(seen, expected.into());
}

#[test]
fn a_memory_limit_has_a_part_for_the_program() {
    let _busy = busy();
    let broker = embedded();
    let (report, stderr, ..) = run(&broker, OK, OK, &["--memory-limit", "64MiB"]);
    let memory = &report["memory"];
    assert_eq!(memory["exec_bytes"], 16 << 20, "{stderr}");
    assert_eq!(memory["exec_answer_bytes"], 2 << 20);
    let part = |name: &str| memory[name].as_u64().expect("bytes");
    assert!(part("prefetch_bytes") + part("in_flight_bytes") + part("producer_bytes") <= 24 << 20);
}

#[test]
fn the_dead_letters_of_each_stage_go_to_the_topic_of_its_scope() {
    let _busy = busy();
    let broker = embedded();
    let [decoding, processing] = ["decoding", "processing"].map(|name| broker.topic(name, LOAD.partitions));
    let settings = format!("{SETTINGS}, 'dlq.topic' = '{processing}', 'source.dlq.topic' = '{decoding}'");
    let job = Job::new(&broker, LOAD, &settings);
    let answer = "echo '{\"errors\":[{\"record\":0,\"message\":\"first\"}]}'";
    let command = program(job.folder(), answer, answer);
    let output = job.command().args(["--exec", &command]).output().expect("velo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains(&format!("decode SendToDLQ ({decoding}), process SendToDLQ ({processing})")),
        "{stderr}"
    );
    let batches = job.report()["batches"]["count"].as_u64().expect("a number");
    let counts = [&decoding, &processing, &job.dlq, &job.sink].map(|topic| count(&broker, topic));
    assert_eq!(counts, [POISON, batches, 0, LOAD.number - POISON - batches], "{stderr}");
}
