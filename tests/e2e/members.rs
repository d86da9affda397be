//! Several members of a group, in one process and in several: they come, go, die and fall asleep.

use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::admin::add_partitions;
use crate::broker::{Broker, busy, real};
use crate::run::{Audit, BUFFERED, Job, assert_running, audit, stop, wait_for_commit};
use crate::topic::{Load, committed, count};

fn sum_of_commits(job: &Job<'_>) -> i64 {
    committed(job.broker, &job.group, &job.source).values().sum()
}

/// What a job with these bad records ends with, once.
fn everything(load: Load) -> Audit {
    let poison = load.number / load.poison_every;
    Audit { sink: load.number - poison, dlq: poison, lost: 0, repeated: 0 }
}

#[test]
fn several_members_in_a_process_share_the_partitions() {
    let _busy = busy();
    let broker = real();
    let load = Load { number: 20_000, partitions: 4, bytes: 100, poison_every: 100 };
    for exactly_once in [false, true] {
        let job = Job::new(&broker, load, BUFFERED);
        let mut command = job.command();
        command.args(["--concurrency", "3"]).args(exactly_once.then_some("--exactly-once"));
        let output = command.output().expect("velo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(audit(&job, load), everything(load));
        let report = job.report();
        assert_eq!((&report["members"], &report["ledger"]["delivered"]), (&3.into(), &load.number.into()));
        assert_eq!(sum_of_commits(&job), 20_000);
    }
}

#[test]
fn transactions_of_several_batches_commit_everything_once() {
    let _busy = busy();
    let broker = real();
    let load = Load { number: 20_000, partitions: 3, bytes: 100, poison_every: 50 };
    let job = Job::new(&broker, load, &format!("{BUFFERED}, 'transaction.batches' = '4'"));
    let output = job.command().arg("--exactly-once").output().expect("velo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(audit(&job, load), everything(load));
    assert_eq!(sum_of_commits(&job), 20_000);
    let report = job.report();
    assert_eq!((&report["ledger"]["ok"], &report["ledger"]["dlq"]), (&19_600.into(), &400.into()));
}

/// Kills a job again and again, at any moment, and lets it finish.
fn kills(broker: &Broker, rounds: u32, exactly_once: bool) -> Audit {
    let load = Load { number: 200_000, partitions: 4, bytes: 100, poison_every: 100 };
    let job = Job::new(broker, load, &format!("{BUFFERED}, 'transaction.batches' = '3'"));
    let command = || {
        let mut command = job.command();
        // A static member that comes back has its partitions at once.
        command.args(["--group-instance-id", "one"]).args(exactly_once.then_some("--exactly-once"));
        command
    };
    for round in 0..rounds {
        let mut child = command().args(["--cost", "20ms+0.02ms/record"]).spawn().expect("velo runs");
        if round == 0 {
            wait_for_commit(&job, &mut child, 1);
        }
        // The moment is what is random.
        thread::sleep(Duration::from_millis(fastrand::u64(200..1500)));
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
    let before = sum_of_commits(&job);
    let output = command().output().expect("velo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let audit = audit(&job, load);
    println!("{rounds} kills, exactly once: {exactly_once}, {before} committed by the killed: {audit:?}");
    assert!(before > 0, "the killed jobs got nothing done");
    assert_eq!(audit.lost, 0);
    assert_eq!(sum_of_commits(&job), 200_000);
    audit
}

#[test]
fn a_job_that_is_killed_again_and_again_loses_nothing() {
    let _busy = busy();
    kills(&real(), 3, false);
}

#[test]
fn a_job_that_is_killed_again_and_again_writes_nothing_twice_in_transactions() {
    let _busy = busy();
    assert_eq!(kills(&real(), 3, true).repeated, 0);
}

#[test]
#[ignore = "takes minutes: the same, thirty times each"]
fn thirty_kills() {
    let _busy = busy();
    kills(&real(), 30, false);
    assert_eq!(kills(&real(), 30, true).repeated, 0);
}

/// Three processes share a topic; every few seconds one leaves and another one joins.
fn churn(broker: &Broker, time: Duration, exactly_once: bool) {
    const RECORDS_PER_S: u64 = 9000;
    let load =
        Load { number: RECORDS_PER_S * time.as_secs(), partitions: 12, bytes: 200, poison_every: 1000 };
    let job = Job::new(broker, load, BUFFERED);
    let mut started = 0;
    let mut start = || {
        started += 1;
        let mut command = job.endless_command();
        command.args(["--cost", "0.3ms/record"]);
        if exactly_once {
            command.args(["--exactly-once", "--transactional-id", &format!("{}-{started}", job.group)]);
        }
        command.spawn().expect("velo runs")
    };
    let mut members: Vec<Child> = (0..3).map(|_| start()).collect();
    wait_for_commit(&job, &mut members[0], 1);
    let begun = Instant::now();
    while begun.elapsed() < time {
        let before = sum_of_commits(&job);
        stop(members.remove(0), "-TERM");
        members.push(start());
        // The next change comes when the others have done something in between.
        while sum_of_commits(&job) <= before + 1000 && begun.elapsed() < time {
            members.iter_mut().for_each(assert_running);
        }
    }
    for member in members {
        stop(member, "-TERM");
    }
    let before = sum_of_commits(&job);
    let output = job.command().output().expect("velo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!(
        "{started} members, exactly once: {exactly_once}, {before} of {} committed by them",
        load.number
    );
    // Everybody settled what they had in hand before they left.
    assert_eq!(audit(&job, load), everything(load));
}

#[test]
fn processes_that_come_and_go_share_a_topic() {
    let _busy = busy();
    let broker = real();
    churn(&broker, Duration::from_secs(8), false);
    churn(&broker, Duration::from_secs(8), true);
}

#[test]
#[ignore = "takes minutes: the same, for two minutes each"]
fn two_minutes_of_coming_and_going() {
    let _busy = busy();
    let broker = real();
    churn(&broker, Duration::from_mins(2), false);
    churn(&broker, Duration::from_mins(2), true);
}

/// A group's state and how many members it has, as its broker knows them.
fn members(job: &Job<'_>) -> (String, usize) {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", job.broker.address()).create().expect("a consumer");
    let list = consumer.fetch_group_list(Some(&job.group), Duration::from_secs(30)).expect("groups");
    let group = list.groups().first().expect("the group");
    (group.state().to_owned(), group.members().len())
}

#[test]
fn a_member_that_had_no_partition_is_not_missed() {
    let _busy = busy();
    let broker = real();
    let load = Load { number: 1000, partitions: 1, bytes: 100, poison_every: 100 };
    let job = Job::new(&broker, load, BUFFERED);
    let mut first = job.endless_command().spawn().expect("velo runs");
    wait_for_commit(&job, &mut first, 1000);
    let mut second = job.endless_command().spawn().expect("velo runs");
    while members(&job) != ("Stable".to_owned(), 2) {
        assert_running(&mut first);
        assert_running(&mut second);
    }
    // Nobody has to wait until its session has run out.
    stop(second, "-TERM");
    assert_eq!(members(&job).1, 1);
    stop(first, "-TERM");
    assert_eq!(members(&job).1, 0);
}

fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
}

/// A job that is stopped for longer than its session wakes up when another one has done all the work. Returns how
/// many records it writes then.
fn wakes_up_too_late(broker: &Broker, exactly_once: bool) -> u64 {
    let load = Load { number: 20_000, partitions: 2, bytes: 100, poison_every: 100 };
    let job = Job::new(broker, load, BUFFERED);
    let log = tempfile::NamedTempFile::new().expect("a file");
    let member = |name: &str| {
        let mut command = job.endless_command();
        command.args(["-X", "session.timeout.ms=6000", "--cost", "0.3ms/record", "--log-level", "info"]);
        if exactly_once {
            command.args(["--exactly-once", "--transactional-id", &format!("{}-{name}", job.group)]);
        }
        command
    };
    let mut zombie = member("zombie").stderr(log.reopen().expect("a file")).spawn().expect("velo runs");
    wait_for_commit(&job, &mut zombie, 1000);
    signal(&zombie, "-STOP");
    let mut peer = member("peer").spawn().expect("velo runs");
    wait_for_commit(&job, &mut peer, 20_000);
    let (written, dead) = (count(broker, &job.sink), count(broker, &job.dlq));

    signal(&zombie, "-CONT");
    let assigned =
        || std::fs::read_to_string(log.path()).expect("a log").matches("partition assigned").count();
    // It has joined again when it has partitions again.
    while assigned() < 3 {
        assert_running(&mut peer);
        assert_eq!(zombie.try_wait().expect("a child"), None, "the one that woke up has ended");
    }
    assert_eq!(sum_of_commits(&job), 20_000);
    let late = count(broker, &job.sink) + count(broker, &job.dlq) - written - dead;
    signal(&zombie, "-TERM");
    let status = zombie.wait().expect("gone");
    assert!(status.success(), "{status}: {}", std::fs::read_to_string(log.path()).expect("a log"));
    stop(peer, "-TERM");
    let audit = audit(&job, load);
    println!("woke up too late, exactly once: {exactly_once}: {audit:?}");
    assert_eq!(audit.lost, 0);
    assert!(!exactly_once || audit == everything(load));
    late
}

#[test]
fn a_job_that_was_stopped_while_a_peer_took_over_writes_and_commits_nothing() {
    let _busy = busy();
    let broker = real();
    // It may have been stopped in the middle of a write, which then goes on; not again and again.
    let writes_nothing = (0..3).any(|_| wakes_up_too_late(&broker, false) == 0);
    assert!(writes_nothing, "it has written after it woke up");
    // What is undone takes up offsets, too: here the audit says that it is.
    wakes_up_too_late(&broker, true);
}

/// A member that is stopped until its group has nobody in it comes back, and ends only when everything is written.
fn comes_back_to_the_end(broker: &Broker, exactly_once: bool) {
    let load = Load { number: 20_000, partitions: 2, bytes: 100, poison_every: 100 };
    let job = Job::new(broker, load, BUFFERED);
    let mut command = job.command();
    command.args(["--cost", "0.3ms/record"]);
    if exactly_once {
        command.arg("--exactly-once");
    }
    let mut child = command.spawn().expect("velo runs");
    wait_for_commit(&job, &mut child, 1000);
    signal(&child, "-STOP");
    while members(&job).1 > 0 {
        assert_running(&mut child);
    }
    signal(&child, "-CONT");
    let output = child.wait_with_output().expect("gone");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let Audit { sink, dlq, lost, repeated } = audit(&job, load);
    let expected = everything(load);
    assert_eq!(lost, 0);
    assert!(sink >= expected.sink && dlq >= expected.dlq && (!exactly_once || repeated == 0), "{sink} {dlq}");
    assert_eq!(sum_of_commits(&job), i64::try_from(load.number).expect("small"));
}

#[test]
fn a_member_that_lost_its_partitions_is_not_at_the_end() {
    let _busy = busy();
    let kafka = real();
    comes_back_to_the_end(&kafka, false);
    comes_back_to_the_end(&kafka, true);
}

/// A program that answers as soon as there is a file `go`. It makes a file `asked` when it has a batch.
const GATED: &str = "read -r hello
    while IFS= read -r line; do
      if [ -z \"$line\" ]; then
        : > asked
        until [ -e go ]; do sleep 0.05; done
        echo '{\"ok\":true}'
      fi
    done";

/// The topic gets partitions while a member still has to release one: the client of the member joins its group again
/// before that, and takes part in no rebalance from then on.
fn grows_during_a_rebalance(broker: &Broker, exactly_once: bool) {
    let load = Load { number: 400, partitions: 2, bytes: 100, poison_every: 100 };
    // The first batch has records of both partitions.
    let settings =
        "'batch.size' = '400', 'batch.timeout' = '5s', 'failure_strategy' = 'SendToDLQ', 'max_retries' = '0'";
    let job = Job::new(broker, load, settings);
    std::fs::write(job.folder().join("program.sh"), GATED).expect("written");
    let program = format!("cd {} && sh program.sh", job.folder().display());
    let member = |name: &str| {
        let log = std::fs::File::create(job.folder().join(name)).expect("a log");
        let mut command = job.endless_command();
        command.args(["--exec", &program, "--log-level", "info", "-X", "heartbeat.interval.ms=500"]);
        command.args(["-X", "topic.metadata.refresh.interval.ms=500", "--drain-timeout", "5m"]);
        if exactly_once {
            command.args(["--exactly-once", "--transactional-id", &format!("{}-{name}", job.group)]);
        }
        command.stderr(log).spawn().expect("velo runs")
    };
    let said = |name: &str| std::fs::read_to_string(job.folder().join(name)).expect("a log");
    let mut running = vec![("first", member("first"))];
    let check = |running: &mut [(&str, Child)]| {
        for (name, child) in running {
            let status = child.try_wait().expect("a child");
            assert_eq!(status, None, "the {name} member has ended by itself: {}", said(name));
        }
    };
    while !job.folder().join("asked").exists() || said("first").matches("partition assigned").count() < 2 {
        check(&mut running);
    }
    running.push(("second", member("second")));
    while !said("first").contains("partition revoked") {
        check(&mut running);
    }
    add_partitions(broker, &job.source, 4);
    while !said("first").contains("the job joins its group again") {
        check(&mut running);
    }
    std::fs::write(job.folder().join("go"), "").expect("written");
    running.push(("third", member("third")));
    while members(&job) != ("Stable".to_owned(), 3) || sum_of_commits(&job) < 400 {
        check(&mut running);
    }
    for (_, child) in running {
        stop(child, "-TERM");
    }
    let audit = audit(&job, load);
    assert_eq!(audit.lost, 0);
    assert!(!exactly_once || audit == everything(load), "{audit:?}");
}

#[test]
fn a_member_whose_topic_grows_during_a_rebalance_stays_one() {
    let _busy = busy();
    let broker = real();
    grows_during_a_rebalance(&broker, false);
    grows_during_a_rebalance(&broker, true);
}

#[test]
fn an_instance_whose_transactional_id_is_taken_over_says_so_and_ends() {
    let _busy = busy();
    let broker = real();
    let load = Load { number: 20_000, partitions: 2, bytes: 100, poison_every: 100 };
    let job = Job::new(&broker, load, BUFFERED);
    let member = |cost: &str| {
        let mut command = job.endless_command();
        command.args(["--exactly-once", "--transactional-id", &job.group, "--cost", cost]);
        command
    };
    let log = tempfile::NamedTempFile::new().expect("a file");
    let mut first = member("1ms/record").stderr(log.reopen().expect("a file")).spawn().expect("velo runs");
    wait_for_commit(&job, &mut first, 1000);
    let mut second = member("0ms").spawn().expect("velo runs");
    let status = first.wait().expect("gone");
    let said = std::fs::read_to_string(log.path()).expect("a log");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("another process has taken over the transactional id"), "{said}");
    wait_for_commit(&job, &mut second, 20_000);
    stop(second, "-TERM");
    assert_eq!(audit(&job, load), everything(load));
}

#[test]
fn a_batch_that_takes_too_long_ends_the_job_and_frees_its_partitions() {
    let _busy = busy();
    let broker = real();
    let load = Load { number: 1000, partitions: 2, bytes: 100, poison_every: 100 };
    let job = Job::new(&broker, load, BUFFERED);
    let mut command = job.command();
    command.args(["--exec", "sleep 600", "--max-batch-time", "2s"]);
    let output = command.output().expect("velo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("has been processed for 2s"), "{stderr}");
    // The next one gets the partitions at once, and everything.
    job.run();
    assert_eq!(audit(&job, load), everything(load));
}

#[test]
fn what_does_not_fit_into_memory_is_sealed_earlier_and_nothing_is_lost() {
    let _busy = busy();
    let broker = real();
    let load = Load { number: 20_000, partitions: 4, bytes: 500, poison_every: 100 };
    for exactly_once in [false, true] {
        let settings = "'batch.strategy' = 'mega_batch', 'batch.mega_batch_size' = '50000', \
                        'failure_strategy' = 'SendToDLQ'";
        let job = Job::new(&broker, load, settings);
        let mut command = job.command();
        command.args(["--memory-limit", "8MiB"]).args(exactly_once.then_some("--exactly-once"));
        let output = command.output().expect("velo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(audit(&job, load), everything(load));
        let report = job.report();
        assert!(report["batches"]["by_reason"]["memory"].as_u64() > Some(2), "{}", report["batches"]);
        assert_eq!(report["memory"]["limit_bytes"], 8 << 20);
    }
}
