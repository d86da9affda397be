//! `velo run --exec`: programs that work, and programs that die, stall, talk nonsense, answer late or
//! write before they have read. Nothing is lost, and each failure is named.
#![cfg(unix)]

use serde_json::Value as Json;

use crate::broker::{Broker, busy, embedded, real};
use crate::run::Job;
use crate::topic::{Load, count, for_each};

const LOAD: Load = Load { number: 600, partitions: 2, bytes: 60, poison_every: 100 };
const SETTINGS: &str = "'batch.size' = '50', 'failure_strategy' = 'SendToDLQ', 'retry_backoff' = '10ms', \
                        'retry_backoff_max' = '10ms'";

/// Reads batches and prints what `answer` does at the end of each; `n` counts its records. `once` is
/// what happens in the first process only, before it reads.
fn program(folder: &std::path::Path, once: &str, answer: &str) -> String {
    let script = format!(
        "#!/bin/sh\n\
         if mkdir \"$(dirname \"$0\")/first\" 2>/dev/null; then {once}; fi\n\
         read -r hello\n\
         n=0\n\
         while IFS= read -r line; do\n\
           if [ -z \"$line\" ]; then {answer}; n=0; else n=$((n+1)); fi\n\
         done\n"
    );
    let path = folder.join("program.sh");
    std::fs::write(&path, script).expect("written");
    format!("sh {}", path.display())
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
    let (report, stderr, sink, dlq) = run(broker, ":", OK, &[]);
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
fn a_program_that_fails_once_is_started_again_and_nothing_is_lost() {
    const SILENT: &str = "exec sleep 1000";
    let _busy = busy();
    let broker = embedded();
    let cases = [
        ("exit 3", "the program ended without an answer: exit status: 3"),
        (SILENT, "no answer to a batch of"),
        ("read -r hello; read -r line; echo nonsense", "the answer is not as it should be"),
        ("read -r hello; kill -9 $$", "the program ended without an answer: exit status: 137"),
        // It answers twice: the second answer is late, and belongs to no batch.
        (
            "read -r hello; while read -r l && [ -n \"$l\" ]; do :; done; echo '{\"ok\":true}'; echo '{\"ok\":true}'",
            "that it was not asked",
        ),
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
fn a_program_names_bad_records_puts_out_others_and_may_write_before_it_has_read() {
    let _busy = busy();
    let broker = embedded();
    // The first record of each batch is bad; the last is written in its place as "x", and nothing else.
    let answer = "printf '{\"errors\":[{\"record\":0,\"message\":\"first\"}],\"records\":[{\"record\":%d,\"value\":\"x\"}]}\\n' $((n-1))";
    let (report, stderr, sink, dlq) = run(&broker, ":", answer, &[]);
    let batches = report["batches"]["count"].as_u64().expect("a number");
    assert_eq!((sink, dlq), (batches, batches + POISON), "{stderr}");
    assert_eq!(report["ledger"]["ok"], LOAD.number - batches - POISON);

    // More than a pipe holds, before it reads: whoever wrote first and read then would wait for ever.
    let chatty = "yes ' ' | head -c 200000 | tr -d '\\n'";
    let (_, stderr, sink, dlq) = run(&broker, chatty, OK, &[]);
    assert_eq!((sink, dlq), (LOAD.number - POISON, POISON), "{stderr}");
}

#[test]
fn what_a_program_writes_takes_the_place_of_the_input() {
    let _busy = busy();
    let broker = embedded();
    let job = Job::new(&broker, LOAD, "'batch.size' = '1'");
    let answer = "echo '{\"ok\":true,\"records\":[{\"record\":0,\"key\":\"k\",\"value_base64\":\"/wA=\"}]}'";
    let command = program(job.folder(), ":", answer);
    let output = job.command().args(["--exec", &command]).output().expect("velo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut read_back = 0;
    for_each(&broker, &job.sink, |read| {
        read_back += 1;
        assert_eq!(
            (read.key.as_deref(), read.value.as_deref()),
            (Some(b"k".as_slice()), Some(b"\xff\x00".as_slice()))
        );
    });
    assert_eq!(read_back, LOAD.number - POISON);
}
