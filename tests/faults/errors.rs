//! What a job does when brokers answer with errors: requests and the error codes that Kafka's protocol lists for them
//! in, a table of outcomes out (`docs/broker-errors.md`).

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use velo_engine::kafka::EmbeddedBroker;

use super::member::Member;
use crate::broker::{Broker, busy, root};
use crate::run::Job;
use crate::topic::{Load, committed, count};

/// A request of Kafka's protocol: its name, its API key, and the errors that it can be answered with.
type Request = (&'static str, i16, &'static [(&'static str, i16)]);

const UNKNOWN_SERVER_ERROR: (&str, i16) = ("UNKNOWN_SERVER_ERROR", -1);
const OFFSET_OUT_OF_RANGE: (&str, i16) = ("OFFSET_OUT_OF_RANGE", 1);
const CORRUPT_MESSAGE: (&str, i16) = ("CORRUPT_MESSAGE", 2);
const UNKNOWN_TOPIC_OR_PARTITION: (&str, i16) = ("UNKNOWN_TOPIC_OR_PARTITION", 3);
const LEADER_NOT_AVAILABLE: (&str, i16) = ("LEADER_NOT_AVAILABLE", 5);
const NOT_LEADER_OR_FOLLOWER: (&str, i16) = ("NOT_LEADER_OR_FOLLOWER", 6);
const REQUEST_TIMED_OUT: (&str, i16) = ("REQUEST_TIMED_OUT", 7);
const REPLICA_NOT_AVAILABLE: (&str, i16) = ("REPLICA_NOT_AVAILABLE", 9);
const MESSAGE_TOO_LARGE: (&str, i16) = ("MESSAGE_TOO_LARGE", 10);
const OFFSET_METADATA_TOO_LARGE: (&str, i16) = ("OFFSET_METADATA_TOO_LARGE", 12);
const COORDINATOR_LOAD_IN_PROGRESS: (&str, i16) = ("COORDINATOR_LOAD_IN_PROGRESS", 14);
const COORDINATOR_NOT_AVAILABLE: (&str, i16) = ("COORDINATOR_NOT_AVAILABLE", 15);
const NOT_COORDINATOR: (&str, i16) = ("NOT_COORDINATOR", 16);
const INVALID_TOPIC_EXCEPTION: (&str, i16) = ("INVALID_TOPIC_EXCEPTION", 17);
const RECORD_LIST_TOO_LARGE: (&str, i16) = ("RECORD_LIST_TOO_LARGE", 18);
const NOT_ENOUGH_REPLICAS: (&str, i16) = ("NOT_ENOUGH_REPLICAS", 19);
const NOT_ENOUGH_REPLICAS_AFTER_APPEND: (&str, i16) = ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", 20);
const INVALID_REQUIRED_ACKS: (&str, i16) = ("INVALID_REQUIRED_ACKS", 21);
const ILLEGAL_GENERATION: (&str, i16) = ("ILLEGAL_GENERATION", 22);
const INCONSISTENT_GROUP_PROTOCOL: (&str, i16) = ("INCONSISTENT_GROUP_PROTOCOL", 23);
const INVALID_GROUP_ID: (&str, i16) = ("INVALID_GROUP_ID", 24);
const UNKNOWN_MEMBER_ID: (&str, i16) = ("UNKNOWN_MEMBER_ID", 25);
const INVALID_SESSION_TIMEOUT: (&str, i16) = ("INVALID_SESSION_TIMEOUT", 26);
const REBALANCE_IN_PROGRESS: (&str, i16) = ("REBALANCE_IN_PROGRESS", 27);
const INVALID_COMMIT_OFFSET_SIZE: (&str, i16) = ("INVALID_COMMIT_OFFSET_SIZE", 28);
const TOPIC_AUTHORIZATION_FAILED: (&str, i16) = ("TOPIC_AUTHORIZATION_FAILED", 29);
const GROUP_AUTHORIZATION_FAILED: (&str, i16) = ("GROUP_AUTHORIZATION_FAILED", 30);
const CLUSTER_AUTHORIZATION_FAILED: (&str, i16) = ("CLUSTER_AUTHORIZATION_FAILED", 31);
const INVALID_TIMESTAMP: (&str, i16) = ("INVALID_TIMESTAMP", 32);
const UNSUPPORTED_VERSION: (&str, i16) = ("UNSUPPORTED_VERSION", 35);
const INVALID_REQUEST: (&str, i16) = ("INVALID_REQUEST", 42);
const UNSUPPORTED_FOR_MESSAGE_FORMAT: (&str, i16) = ("UNSUPPORTED_FOR_MESSAGE_FORMAT", 43);
const OUT_OF_ORDER_SEQUENCE_NUMBER: (&str, i16) = ("OUT_OF_ORDER_SEQUENCE_NUMBER", 45);
const INVALID_PRODUCER_EPOCH: (&str, i16) = ("INVALID_PRODUCER_EPOCH", 47);
const INVALID_TXN_STATE: (&str, i16) = ("INVALID_TXN_STATE", 48);
const INVALID_PRODUCER_ID_MAPPING: (&str, i16) = ("INVALID_PRODUCER_ID_MAPPING", 49);
const INVALID_TRANSACTION_TIMEOUT: (&str, i16) = ("INVALID_TRANSACTION_TIMEOUT", 50);
const CONCURRENT_TRANSACTIONS: (&str, i16) = ("CONCURRENT_TRANSACTIONS", 51);
const TRANSACTION_COORDINATOR_FENCED: (&str, i16) = ("TRANSACTION_COORDINATOR_FENCED", 52);
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (&str, i16) = ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", 53);
const OPERATION_NOT_ATTEMPTED: (&str, i16) = ("OPERATION_NOT_ATTEMPTED", 55);
const KAFKA_STORAGE_ERROR: (&str, i16) = ("KAFKA_STORAGE_ERROR", 56);
const UNKNOWN_PRODUCER_ID: (&str, i16) = ("UNKNOWN_PRODUCER_ID", 59);
const FETCH_SESSION_ID_NOT_FOUND: (&str, i16) = ("FETCH_SESSION_ID_NOT_FOUND", 70);
const INVALID_FETCH_SESSION_EPOCH: (&str, i16) = ("INVALID_FETCH_SESSION_EPOCH", 71);
const FENCED_LEADER_EPOCH: (&str, i16) = ("FENCED_LEADER_EPOCH", 74);
const UNKNOWN_LEADER_EPOCH: (&str, i16) = ("UNKNOWN_LEADER_EPOCH", 75);
const UNSUPPORTED_COMPRESSION_TYPE: (&str, i16) = ("UNSUPPORTED_COMPRESSION_TYPE", 76);
const OFFSET_NOT_AVAILABLE: (&str, i16) = ("OFFSET_NOT_AVAILABLE", 78);
const GROUP_MAX_SIZE_REACHED: (&str, i16) = ("GROUP_MAX_SIZE_REACHED", 81);
const FENCED_INSTANCE_ID: (&str, i16) = ("FENCED_INSTANCE_ID", 82);
const INVALID_RECORD: (&str, i16) = ("INVALID_RECORD", 87);
const UNSTABLE_OFFSET_COMMIT: (&str, i16) = ("UNSTABLE_OFFSET_COMMIT", 88);
const THROTTLING_QUOTA_EXCEEDED: (&str, i16) = ("THROTTLING_QUOTA_EXCEEDED", 89);
const PRODUCER_FENCED: (&str, i16) = ("PRODUCER_FENCED", 90);
const UNKNOWN_TOPIC_ID: (&str, i16) = ("UNKNOWN_TOPIC_ID", 100);

/// The requests of a job, with the errors that the descriptions of Kafka's requests list for each.
const REQUESTS: [Request; 15] = [
    (
        "Produce",
        0,
        &[
            UNKNOWN_SERVER_ERROR,
            CORRUPT_MESSAGE,
            UNKNOWN_TOPIC_OR_PARTITION,
            NOT_LEADER_OR_FOLLOWER,
            REQUEST_TIMED_OUT,
            MESSAGE_TOO_LARGE,
            INVALID_TOPIC_EXCEPTION,
            RECORD_LIST_TOO_LARGE,
            NOT_ENOUGH_REPLICAS,
            NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            INVALID_REQUIRED_ACKS,
            TOPIC_AUTHORIZATION_FAILED,
            CLUSTER_AUTHORIZATION_FAILED,
            INVALID_TIMESTAMP,
            UNSUPPORTED_FOR_MESSAGE_FORMAT,
            OUT_OF_ORDER_SEQUENCE_NUMBER,
            INVALID_PRODUCER_EPOCH,
            INVALID_TXN_STATE,
            KAFKA_STORAGE_ERROR,
            UNKNOWN_PRODUCER_ID,
            UNSUPPORTED_COMPRESSION_TYPE,
            INVALID_RECORD,
            THROTTLING_QUOTA_EXCEEDED,
        ],
    ),
    (
        "Fetch",
        1,
        &[
            UNKNOWN_SERVER_ERROR,
            OFFSET_OUT_OF_RANGE,
            CORRUPT_MESSAGE,
            UNKNOWN_TOPIC_OR_PARTITION,
            NOT_LEADER_OR_FOLLOWER,
            REPLICA_NOT_AVAILABLE,
            TOPIC_AUTHORIZATION_FAILED,
            UNSUPPORTED_VERSION,
            KAFKA_STORAGE_ERROR,
            FETCH_SESSION_ID_NOT_FOUND,
            INVALID_FETCH_SESSION_EPOCH,
            FENCED_LEADER_EPOCH,
            UNKNOWN_LEADER_EPOCH,
            UNSUPPORTED_COMPRESSION_TYPE,
            OFFSET_NOT_AVAILABLE,
            UNKNOWN_TOPIC_ID,
        ],
    ),
    (
        "ListOffsets",
        2,
        &[
            UNKNOWN_SERVER_ERROR,
            UNKNOWN_TOPIC_OR_PARTITION,
            LEADER_NOT_AVAILABLE,
            NOT_LEADER_OR_FOLLOWER,
            REPLICA_NOT_AVAILABLE,
            TOPIC_AUTHORIZATION_FAILED,
            UNSUPPORTED_FOR_MESSAGE_FORMAT,
            KAFKA_STORAGE_ERROR,
            FENCED_LEADER_EPOCH,
            UNKNOWN_LEADER_EPOCH,
            OFFSET_NOT_AVAILABLE,
        ],
    ),
    (
        "OffsetCommit",
        8,
        &[
            UNKNOWN_SERVER_ERROR,
            UNKNOWN_TOPIC_OR_PARTITION,
            REQUEST_TIMED_OUT,
            OFFSET_METADATA_TOO_LARGE,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            ILLEGAL_GENERATION,
            INVALID_GROUP_ID,
            UNKNOWN_MEMBER_ID,
            REBALANCE_IN_PROGRESS,
            INVALID_COMMIT_OFFSET_SIZE,
            TOPIC_AUTHORIZATION_FAILED,
            GROUP_AUTHORIZATION_FAILED,
            FENCED_INSTANCE_ID,
        ],
    ),
    (
        "OffsetFetch",
        9,
        &[
            UNKNOWN_SERVER_ERROR,
            UNKNOWN_TOPIC_OR_PARTITION,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            TOPIC_AUTHORIZATION_FAILED,
            GROUP_AUTHORIZATION_FAILED,
            UNSTABLE_OFFSET_COMMIT,
        ],
    ),
    (
        "FindCoordinator",
        10,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            INVALID_GROUP_ID,
            GROUP_AUTHORIZATION_FAILED,
            INVALID_REQUEST,
        ],
    ),
    (
        "JoinGroup",
        11,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            INCONSISTENT_GROUP_PROTOCOL,
            INVALID_GROUP_ID,
            UNKNOWN_MEMBER_ID,
            INVALID_SESSION_TIMEOUT,
            GROUP_AUTHORIZATION_FAILED,
            GROUP_MAX_SIZE_REACHED,
            FENCED_INSTANCE_ID,
        ],
    ),
    (
        "Heartbeat",
        12,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            ILLEGAL_GENERATION,
            UNKNOWN_MEMBER_ID,
            REBALANCE_IN_PROGRESS,
            GROUP_AUTHORIZATION_FAILED,
            FENCED_INSTANCE_ID,
        ],
    ),
    (
        "LeaveGroup",
        13,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            UNKNOWN_MEMBER_ID,
            GROUP_AUTHORIZATION_FAILED,
            FENCED_INSTANCE_ID,
        ],
    ),
    (
        "SyncGroup",
        14,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            ILLEGAL_GENERATION,
            INCONSISTENT_GROUP_PROTOCOL,
            UNKNOWN_MEMBER_ID,
            REBALANCE_IN_PROGRESS,
            GROUP_AUTHORIZATION_FAILED,
            FENCED_INSTANCE_ID,
        ],
    ),
    (
        "InitProducerId",
        22,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            CLUSTER_AUTHORIZATION_FAILED,
            INVALID_PRODUCER_EPOCH,
            INVALID_TRANSACTION_TIMEOUT,
            CONCURRENT_TRANSACTIONS,
            TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            PRODUCER_FENCED,
        ],
    ),
    (
        "AddPartitionsToTxn",
        24,
        &[
            UNKNOWN_SERVER_ERROR,
            UNKNOWN_TOPIC_OR_PARTITION,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            TOPIC_AUTHORIZATION_FAILED,
            INVALID_PRODUCER_EPOCH,
            INVALID_TXN_STATE,
            INVALID_PRODUCER_ID_MAPPING,
            CONCURRENT_TRANSACTIONS,
            TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            OPERATION_NOT_ATTEMPTED,
            PRODUCER_FENCED,
        ],
    ),
    (
        "AddOffsetsToTxn",
        25,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            GROUP_AUTHORIZATION_FAILED,
            INVALID_PRODUCER_EPOCH,
            INVALID_TXN_STATE,
            INVALID_PRODUCER_ID_MAPPING,
            CONCURRENT_TRANSACTIONS,
            TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            PRODUCER_FENCED,
        ],
    ),
    (
        "EndTxn",
        26,
        &[
            UNKNOWN_SERVER_ERROR,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            INVALID_PRODUCER_EPOCH,
            INVALID_TXN_STATE,
            INVALID_PRODUCER_ID_MAPPING,
            CONCURRENT_TRANSACTIONS,
            TRANSACTION_COORDINATOR_FENCED,
            TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            PRODUCER_FENCED,
        ],
    ),
    (
        "TxnOffsetCommit",
        28,
        &[
            UNKNOWN_SERVER_ERROR,
            UNKNOWN_TOPIC_OR_PARTITION,
            OFFSET_METADATA_TOO_LARGE,
            COORDINATOR_LOAD_IN_PROGRESS,
            COORDINATOR_NOT_AVAILABLE,
            NOT_COORDINATOR,
            ILLEGAL_GENERATION,
            INVALID_GROUP_ID,
            UNKNOWN_MEMBER_ID,
            INVALID_COMMIT_OFFSET_SIZE,
            TOPIC_AUTHORIZATION_FAILED,
            GROUP_AUTHORIZATION_FAILED,
            INVALID_PRODUCER_EPOCH,
            TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            FENCED_INSTANCE_ID,
            PRODUCER_FENCED,
        ],
    ),
];

/// The first API key of requests that only transactions make.
const FIRST_OF_TRANSACTIONS: i16 = 22;

/// How often a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Thrice,
    ForEver,
}

impl Times {
    const ALL: [Self; 3] = [Self::Once, Self::Thrice, Self::ForEver];

    fn count(self) -> usize {
        match self {
            Self::Once => 1,
            Self::Thrice => 3,
            Self::ForEver => 100_000,
        }
    }
}

/// What a job has done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// Everything is written and committed, exit code 0.
    Done,
    /// The job has ended with this code and error.
    Ended(i32, String),
    /// The job still tries and has said so.
    Waits(String),
    /// The job still tries and has said nothing.
    Silent,
    /// A promise is broken.
    Broken(String),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done => write!(f, "done"),
            Self::Ended(code, error) => write!(f, "exit {code}: {error}"),
            Self::Waits(note) => write!(f, "waits: {note}"),
            Self::Silent => write!(f, "waits, silently"),
            Self::Broken(what) => write!(f, "**broken**: {what}"),
        }
    }
}

/// A job that has neither ended nor said anything by then is stuck.
const PATIENCE: Duration = Duration::from_secs(45);

const LOAD: Load = Load { number: 400, partitions: 2, bytes: 100, poison_every: 1000 };

/// Runs a job whose requests of a kind fail.
fn run(api_key: i16, code: i16, times: Times) -> Outcome {
    let broker = Broker::Embedded(EmbeddedBroker::start().expect("an embedded broker"));
    let job = Job::new(&broker, LOAD, "'batch.size' = '100', 'failure_strategy' = 'FailBatch'");
    let Broker::Embedded(cluster) = &broker else { unreachable!("it is an embedded one") };
    let mut command: Command = job.command();
    command.env("RUST_BACKTRACE", "0");
    if api_key >= FIRST_OF_TRANSACTIONS {
        command.args(["--exactly-once", "--transactional-id", "errors"]);
    }
    cluster.fail_requests(api_key, code, times.count());
    let mut member = Member::start(0, command, job.folder().join("log"));
    let status = member.wait(PATIENCE);
    let said = member.said();
    let Some(status) = status else {
        drop(member);
        return last_note(&said).map_or(Outcome::Silent, |note| Outcome::Waits(plain(&job, &note)));
    };
    let Some(code) = status.code() else { return Outcome::Broken(format!("{status}")) };
    if code != 0 {
        return match last_error(&said) {
            Some(error) if !said.contains("panicked") => Outcome::Ended(code, plain(&job, &error)),
            _ => Outcome::Broken(format!("exit {code}: {said}")),
        };
    }
    let written = count(&broker, &job.sink);
    let committed: i64 = committed(&broker, &job.group, &job.source).values().sum();
    // The embedded broker does not show offsets that were committed in transactions.
    let is_committed = api_key >= FIRST_OF_TRANSACTIONS || u64::try_from(committed) == Ok(LOAD.number);
    if written < LOAD.number || !is_committed {
        return Outcome::Broken(format!("exit 0 with {written} written and {committed} committed"));
    }
    Outcome::Done
}

fn last_error(said: &str) -> Option<String> {
    let error = |line: &str| {
        line.strip_prefix("error: ").or(line.strip_prefix("the job failed: ")).map(str::to_owned)
    };
    said.lines().rev().find_map(error)
}

fn last_note(said: &str) -> Option<String> {
    said.lines().rev().find_map(|line| line.strip_prefix("note: ")).map(str::to_owned)
}

/// An error's text without what differs from run to run.
fn plain(job: &Job<'_>, text: &str) -> String {
    let names = [(&job.source, "TOPIC"), (&job.sink, "SINK"), (&job.group, "GROUP")];
    names
        .iter()
        .fold(text.to_owned(), |text, (name, plain)| text.replace(name.as_str(), plain))
        .replace('|', "\\|")
}

/// The table's file.
fn path() -> PathBuf {
    root().join("docs/broker-errors.md")
}

#[test]
#[ignore = "takes many minutes: writes docs/broker-errors.md (scripts/faults --errors)"]
fn table_of_broker_errors() {
    const JOBS: usize = 32;
    let _busy = busy();
    let only = std::env::var("VELO_FAULTS_REQUEST").ok().filter(|name| !name.is_empty());
    let is_wanted = |request: &&Request| only.as_ref().is_none_or(|only| only == request.0);
    let requests: Vec<_> = REQUESTS.iter().filter(is_wanted).collect();
    let cells: Vec<_> = requests
        .iter()
        .flat_map(|(_, key, errors)| errors.iter().map(move |(_, code)| (*key, *code)))
        .flat_map(|(key, code)| Times::ALL.map(|times| (key, code, times)))
        .collect();
    let (queue, done) = (Mutex::new(cells.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no panic").next();
                    let Some((key, code, times)) = next else { break };
                    let outcome = run(key, code, times);
                    if matches!(outcome, Outcome::Broken(_)) {
                        println!("{key} {code} {times:?}: {outcome}");
                    }
                    done.lock().expect("no panic").push((key, code, times, outcome));
                }
            });
        }
    });
    let done = done.into_inner().expect("no panic");
    let outcome = |key: i16, code: i16, times: Times| {
        let found = done.iter().find(|(k, c, t, _)| (*k, *c, *t) == (key, code, times));
        found.map(|(.., outcome)| outcome.to_string()).expect("it was run")
    };
    let mut table = String::new();
    for (name, key, errors) in requests {
        write!(table, "\n## {name}\n\n| error | once | three times | always |\n| --- | --- | --- | --- |\n")
            .expect("text");
        for (error, code) in *errors {
            let [once, thrice, for_ever] = Times::ALL.map(|times| outcome(*key, *code, times));
            let thrice = if thrice == once { "same" } else { &thrice };
            writeln!(table, "| `{error}` | {once} | {thrice} | {for_ever} |").expect("text");
        }
    }
    if only.is_some() {
        return println!("{table}");
    }
    let head = std::fs::read_to_string(path()).unwrap_or_default();
    let head = head.split("\n## ").next().unwrap_or_default().trim_end().to_owned();
    std::fs::write(path(), format!("{head}\n{table}")).expect("written");
    assert!(!table.contains("**broken**"), "see {}", path().display());
}
