//! The whole engine over memory: sources and sinks that misbehave.

mod allocations;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;

use velo_engine::batch::{Batch, BatchBuilder, Record};
use velo_engine::core::Revoke;
use velo_engine::core::batcher::{Capacity, SealReason};
use velo_engine::core::failure::{RowError, Stage};
use velo_engine::ids::Tick;
use velo_engine::ids::{LaneId, LaneName};
use velo_engine::process::{Attempt, Failure, Forward, Output, Processor, ValueFormat};
use velo_engine::report::{Outcome, Report};
use velo_engine::sink::{Ack, Acks, Discard, MemorySink, Outgoing, Rejected, SendError, Sent, Sink, Ticket};
use velo_engine::source::memory::MemorySource;
use velo_engine::source::{Filled, Source, SourceError, SourceEvent};
use velo_engine::{Control, Engine, JobConfig};
use velo_schema::keys::Key;
use velo_schema::{Config, Entry, Scope, Settings, Side, Tier};

fn config(settings: &[(Key, &str)]) -> Config {
    let entries: Vec<_> =
        settings.iter().map(|(key, text)| Entry::parse(Scope::Job, *key, text).expect("a value")).collect();
    Settings::resolve(&entries, Side::Job, None).config()
}

fn values(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!("{{\"index\":{index}}}").into_bytes()).collect()
}

fn run<S: Sink + 'static>(
    config: JobConfig,
    values: Vec<Vec<u8>>,
    processor: Box<dyn Processor>,
    sink: impl FnOnce(Acks) -> S,
) -> Report {
    let builder = Engine::builder(config).boxed_processor(processor);
    let sink = sink(builder.acks());
    builder.sink(sink).run(MemorySource::new(values), &mut |_| {})
}

/// Refuses every record whose row is divisible by seven, in one way or the other.
struct Refusing {
    acks: Acks,
    error: fn(String) -> SendError,
}

impl Sink for Refusing {
    fn write(&self, outgoing: Outgoing<'_>) -> Sent {
        let refuses = outgoing.batch.offset(outgoing.ticket.row) % 7 == 0;
        let result = if refuses { Err((self.error)("no".to_owned())) } else { Ok(()) };
        self.acks.push(Ack::of(outgoing.ticket, result));
        Sent::Pending
    }

    fn dead_letter(&self, _: Rejected<'_>) -> Sent {
        Sent::Arrived
    }
}

#[test]
fn a_record_that_the_sink_refuses_follows_the_failure_strategy() {
    for (strategy, dlq) in [("LogAndContinue", 0), ("SendToDLQ", 15)] {
        let config = JobConfig::uniform(config(&[(Key::BatchSize, "10"), (Key::FailureStrategy, strategy)]));
        let report =
            run(config, values(100), Box::new(Forward), |acks| Refusing { acks, error: SendError::Record });
        let ledger = report.ledger;
        assert_eq!((ledger.ok, ledger.dlq, ledger.skipped), (85, dlq, 15 - dlq));
        assert_eq!(report.outcome, Outcome::Drained);
        assert!(ledger.is_balanced());
    }
}

#[test]
fn a_sink_that_takes_nothing_any_more_ends_the_job_and_skips_no_record() {
    let config = JobConfig::uniform(config(&[(Key::BatchSize, "10")]));
    let report =
        run(config, values(100), Box::new(Forward), |acks| Refusing { acks, error: SendError::Sink });
    assert_eq!((report.outcome, report.ledger.skipped), (Outcome::Failed, 0));
    assert!(report.ledger.is_balanced() && report.ledger.ok < 100, "{:?}", report.ledger);
}

/// Blocks in its first record until it is closed, and counts what is handed to it.
struct Blocking {
    calls: Arc<AtomicU32>,
    closed: Arc<(Mutex<bool>, Condvar)>,
    control: Control,
}

impl Sink for Blocking {
    fn write(&self, _: Outgoing<'_>) -> Sent {
        if self.calls.fetch_add(1, Ordering::AcqRel) == 0 {
            self.control.abandon();
        }
        let (closed, news) = &*self.closed;
        let closed = closed.lock().unwrap();
        drop(news.wait_while(closed, |closed| !*closed).unwrap());
        Sent::Pending
    }

    fn dead_letter(&self, _: Rejected<'_>) -> Sent {
        Sent::Arrived
    }

    fn close(&self) {
        let (closed, news) = &*self.closed;
        *closed.lock().unwrap() = true;
        news.notify_all();
    }
}

#[test]
fn nothing_is_handed_to_a_sink_once_it_is_closed() {
    for workers in [1, 2] {
        let config = JobConfig::uniform(config(&[(Key::BatchSize, "100")]));
        let builder = Engine::builder(config).processor(Forward).workers(workers);
        let calls = Arc::<AtomicU32>::default();
        let sink = Blocking { calls: Arc::clone(&calls), closed: Arc::default(), control: builder.control() };
        let report = builder.sink(sink).run(MemorySource::new(values(100)), &mut |_| {});
        // All of the batch's other records were still to be written.
        assert_eq!((calls.load(Ordering::Acquire), report.ledger.uncommitted), (1, 100), "{workers} workers");
    }
}

fn assign_two_lanes(events: &mut Vec<SourceEvent>) {
    for partition in 0..2 {
        let name = LaneName { topic: "t".into(), partition };
        events.push(SourceEvent::Assigned(LaneId(partition.unsigned_abs()), name, 0));
    }
}

/// Gives ten records of each of two lanes, and loses the second one once the sink has the first record.
struct LosesALane {
    next: Step,
    filled: HashSet<LaneId>,
    written: Arc<AtomicU32>,
    go_on: Arc<(Mutex<bool>, Condvar)>,
    control: Control,
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Assign,
    Lose,
    GoOn,
    End,
}

impl Source for LosesALane {
    fn poll(&mut self, _: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        match self.next {
            Step::Assign => {
                assign_two_lanes(events);
                self.next = Step::Lose;
            }
            Step::Lose if self.written.load(Ordering::Acquire) > 0 => {
                events.push(SourceEvent::Revoked(LaneId(1), Revoke::Lost));
                self.next = Step::GoOn;
                self.control.waker().wake();
            }
            // The job knows by now.
            Step::GoOn => {
                let (go_on, news) = &*self.go_on;
                *go_on.lock().unwrap() = true;
                news.notify_all();
                events.push(SourceEvent::EndOfInput(true));
                self.next = Step::End;
            }
            Step::Lose | Step::End => {}
        }
        Ok(())
    }

    fn fill(
        &mut self,
        _: Tick,
        lane: LaneId,
        _: Tier,
        _: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        if !self.filled.insert(lane) {
            return Ok(Filled { drained: true, ..Filled::default() });
        }
        for offset in 0..10 {
            batch.push(lane, Record { offset, value: Some(b"v"), ..Record::default() });
        }
        Ok(Filled::default())
    }
}

/// Blocks in its first record until it may go on, and keeps which partitions were written.
struct Held {
    written: Arc<AtomicU32>,
    go_on: Arc<(Mutex<bool>, Condvar)>,
    partitions: Arc<Mutex<Vec<i32>>>,
    control: Control,
}

impl Sink for Held {
    fn write(&self, outgoing: Outgoing<'_>) -> Sent {
        self.partitions.lock().unwrap().push(outgoing.origin.partition);
        self.written.fetch_add(1, Ordering::AcqRel);
        self.control.waker().wake();
        let (go_on, news) = &*self.go_on;
        drop(news.wait_while(go_on.lock().unwrap(), |go_on| !*go_on).unwrap());
        Sent::Arrived
    }

    fn dead_letter(&self, _: Rejected<'_>) -> Sent {
        Sent::Arrived
    }
}

#[test]
fn nothing_more_is_written_of_a_lane_that_is_lost() {
    for workers in [1, 2] {
        let config = JobConfig::uniform(config(&[(Key::BatchSize, "20")]));
        let builder = Engine::builder(config).processor(Forward).workers(workers);
        let (written, go_on) = (Arc::<AtomicU32>::default(), Arc::<(Mutex<bool>, Condvar)>::default());
        let partitions = Arc::<Mutex<Vec<i32>>>::default();
        let source = LosesALane {
            next: Step::Assign,
            filled: HashSet::new(),
            written: Arc::clone(&written),
            go_on: Arc::clone(&go_on),
            control: builder.control(),
        };
        let sink = Held { written, go_on, partitions: Arc::clone(&partitions), control: builder.control() };
        let report = builder.sink(sink).run(source, &mut |_| {});
        let of_second = partitions.lock().unwrap().iter().filter(|partition| **partition == 1).count();
        // A record that is being written when the lane is lost is completed.
        assert!(of_second <= 1, "{of_second} of the lost lane, {workers} workers");
        assert_eq!((report.ledger.ok, report.ledger.uncommitted), (10, 10), "{workers} workers");
    }
}

/// Fails after three records of its second lane, with more of its first one to come.
struct FailsInTheMiddle {
    announced: bool,
    failed: bool,
}

impl Source for FailsInTheMiddle {
    fn poll(&mut self, _: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        if !std::mem::replace(&mut self.announced, true) {
            assign_two_lanes(events);
        }
        Ok(())
    }

    fn fill(
        &mut self,
        _: Tick,
        lane: LaneId,
        _: Tier,
        _: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        if self.failed {
            return Ok(Filled { drained: true, ..Filled::default() });
        }
        let rows = if lane == LaneId(1) { 3 } else { 5 };
        for offset in 0..rows {
            batch.push(lane, Record { offset, value: Some(b"v"), ..Record::default() });
        }
        self.failed = lane == LaneId(1);
        if self.failed {
            Err(SourceError("the partition cannot be read".into()))
        } else {
            Ok(Filled::default())
        }
    }
}

#[test]
fn what_a_source_appended_before_it_failed_is_settled_as_what_it_is() {
    let config = JobConfig::uniform(config(&[(Key::BatchSize, "100"), (Key::BatchTimeout, "1h")]));
    let sink = MemorySink::default();
    let written = sink.written();
    let source = FailsInTheMiddle { announced: false, failed: false };
    let report = Engine::builder(config).processor(Forward).sink(sink).run(source, &mut |_| {});
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(
        report.error.as_deref().is_some_and(|error| error.contains("cannot be read")),
        "{:?}",
        report.error
    );
    let records = &written.lock().unwrap().records;
    let of = |lane| records.iter().filter(|(of, ..)| *of == LaneId(lane)).count() as u64;
    assert_eq!(report.ledger.ok, of(0) + of(1), "{:?}", report.ledger);
    assert_eq!((of(1), report.ledger.delivered, report.ledger.ok), (3, of(0) + 3, of(0) + 3));
}

/// Puts each row out three times, and nothing for rows whose offset is odd.
struct Uneven;

impl Processor for Uneven {
    fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
        for row in (0..batch.len()).filter(|row| batch.offset(*row) % 2 == 0) {
            for copy in 0..3_u8 {
                out.push(row, None, Some(&[copy]));
            }
        }
        Ok(())
    }
}

#[test]
fn a_row_settles_once_however_many_records_it_puts_out_and_however_many_are_refused() {
    let config = JobConfig::uniform(config(&[(Key::BatchSize, "10")]));
    let report = run(config.clone(), values(100), Box::new(Uneven), |_| Discard);
    assert_eq!(report.ledger.ok, 100);
    let report =
        run(config, values(100), Box::new(Uneven), |acks| Refusing { acks, error: SendError::Record });
    // Of the even offsets, every seventh.
    assert_eq!((report.ledger.skipped, report.ledger.ok), (8, 92));
    assert!(report.ledger.is_balanced());
}

/// Fails as a system twice, then works.
struct Flaky(AtomicU32);

impl Processor for Flaky {
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
        if self.0.fetch_add(1, Ordering::Relaxed) < 2 {
            return Err(Failure::System(format!("attempt {} failed", attempt.number)));
        }
        Forward.process(batch, out, attempt)
    }
}

#[test]
fn a_failure_that_no_record_is_to_blame_for_is_tried_again_and_skips_none() {
    let settings = [(Key::BatchSize, "10"), (Key::RetryBackoff, "1ms"), (Key::RetryBackoffMax, "2ms")];
    let config = JobConfig::uniform(config(&settings));
    let report = run(config, values(30), Box::new(Flaky(AtomicU32::new(0))), |_| Discard);
    assert_eq!((report.ledger.ok, report.ledger.skipped, report.outcome), (30, 0, Outcome::Drained));
}

#[test]
fn a_failure_that_no_attempt_can_change_ends_the_job_with_its_reason() {
    struct Missing;
    impl Processor for Missing {
        fn process(&mut self, _: &Batch, _: &mut Output, _: Attempt) -> Result<(), Failure> {
            Err(Failure::Fatal("no such program".to_owned()))
        }
        fn fork(&self) -> Option<Box<dyn Processor>> {
            Some(Box::new(Self))
        }
    }
    let mega = config(&[(Key::BatchStrategy, "mega_batch")]);
    for (settings, parallelism) in [(config(&[(Key::BatchSize, "10")]), 1), (mega, 3)] {
        let job = JobConfig { parallelism, ..JobConfig::uniform(settings) };
        let report = run(job, values(30), Box::new(Missing), |_| Discard);
        assert_eq!((report.outcome, report.error.as_deref()), (Outcome::Failed, Some("no such program")));
        assert_eq!((report.ledger.ok, report.ledger.failed), (0, 0), "no record is to blame");
        assert!(report.ledger.is_balanced());
    }
}

#[test]
fn what_is_not_json_goes_where_the_strategy_says_and_all_else_is_forwarded_in_order() {
    let mut input = values(50);
    input[17] = b"not json".to_vec();
    input[49] = b"[]".to_vec();
    let settings = config(&[(Key::BatchSize, "8"), (Key::FailureStrategy, "SendToDLQ")]);
    let job = JobConfig { format: ValueFormat::Json, ..JobConfig::uniform(settings) };
    let mut written = None;
    let report = run(job, input.clone(), Box::new(Forward), |_| {
        let sink = MemorySink::default();
        written = Some(sink.written());
        sink
    });
    assert_eq!((report.ledger.ok, report.ledger.dlq), (48, 2));
    let kept = written.expect("a sink");
    let kept = kept.lock().expect("no panic");
    let offsets = |records: &[velo_engine::sink::Kept]| records.iter().map(|kept| kept.1).collect::<Vec<_>>();
    assert_eq!(offsets(&kept.dead_letters), [17, 49]);
    assert!(offsets(&kept.records).is_sorted());
    assert_eq!(kept.dead_letters[0].2.as_deref(), Some(input[17].as_slice()));
}

#[test]
fn a_processor_that_panics_fails_the_job_instead_of_hanging_it() {
    struct Panics;
    impl Processor for Panics {
        fn process(&mut self, _: &Batch, _: &mut Output, _: Attempt) -> Result<(), Failure> {
            panic!("as a test wants it")
        }
    }
    let config = JobConfig::uniform(config(&[(Key::BatchSize, "10")]));
    let report = run(config, values(100), Box::new(Panics), |_| Discard);
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.error.expect("an error").contains("panicked"));
}

#[test]
fn a_member_that_panics_drains_the_others_and_is_heard() {
    /// Panics, or waits for as long as the job runs.
    struct Member {
        panics: bool,
    }
    impl Source for Member {
        fn poll(&mut self, _: Tick, _: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
            assert!(!self.panics, "as a test wants it");
            Ok(())
        }

        fn fill(
            &mut self,
            _: Tick,
            _: LaneId,
            _: Tier,
            _: Capacity,
            _: &mut BatchBuilder,
        ) -> Result<Filled, SourceError> {
            Ok(Filled::default())
        }
    }
    let first = Engine::builder(config(&[]));
    let control = first.control();
    let second = velo_engine::Builder::controlled(config(&[]), control);
    let members = vec![(first, Member { panics: true }), (second, Member { panics: false })];
    let run = std::panic::AssertUnwindSafe(|| velo_engine::Builder::run_all(members, &mut |_| {}));
    let panic = std::panic::catch_unwind(run).expect_err("the panic of the first one");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"as a test wants it"));
}

#[test]
fn no_batch_and_no_call_is_above_the_poll_size() {
    for (size, tier) in [(1, "standard"), (100, "standard"), (101, "buffered"), (700, "buffered")] {
        let size_text = size.to_string();
        let config = JobConfig::uniform(config(&[(Key::BatchSize, &size_text)]));
        let report = run(config, values(2000), Box::new(Forward), |_| Discard);
        assert!(report.batches.size_max <= size, "{size}: {:?}", report.batches);
        assert!(report.dequeue.records_per_call <= size as f64);
        assert_eq!(serde_json::to_value(report.tier.actual).expect("json"), tier);
        assert_eq!(report.tier.actual, report.tier.requested);
    }
}

/// Every batch strategy, each with sizes that a few hundred records fill several times.
fn strategies() -> Vec<Vec<(Key, &'static str)>> {
    let strategy = |word| (Key::BatchStrategy, word);
    vec![
        vec![strategy("fixed_size"), (Key::BatchSize, "7")],
        vec![strategy("time_window"), (Key::BatchWindow, "2ms"), (Key::BatchMaxSize, "50")],
        vec![strategy("memory_based"), (Key::BatchMemorySize, "200")],
        vec![strategy("adaptive_size"), (Key::BatchMinSize, "2"), (Key::BatchAdaptiveMaxSize, "40")],
        vec![strategy("low_latency"), (Key::BatchLowLatencyMaxSize, "3")],
        vec![strategy("mega_batch"), (Key::BatchMegaBatchSize, "10000"), (Key::BatchTimeout, "5ms")],
    ]
}

/// What happens to records that stay bad: their number and what the job comes to.
const FAILURES: [(&[(Key, &str)], Fate); 7] = [
    (&[], Fate::Skipped),
    (&[(Key::FailureStrategy, "LogAndContinue")], Fate::Skipped),
    (&[(Key::FailureStrategy, "SendToDLQ")], Fate::Dlq),
    (&[(Key::FailureStrategy, "FailBatch")], Fate::Failed),
    (&[(Key::FailureStrategy, "RetryWithBackoff")], Fate::Failed),
    (&[(Key::FailureStrategy, "RetryWithBackoff"), (Key::OnExhausted, "SendToDLQ")], Fate::Dlq),
    (&[(Key::FailureStrategy, "RetryWithBackoff"), (Key::OnExhausted, "LogAndContinue")], Fate::Skipped),
];

/// What is written together, where that is not as it was read.
const REGROUP: [(Key, &str); 2] = [(Key::BatchStrategy, "fixed_size"), (Key::BatchSize, "11")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Skipped,
    Dlq,
    Failed,
}

/// How bad records show themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// They cannot be decoded.
    Decode,
    /// The processor names them.
    Named,
    /// The processor fails and names none.
    Unnamed,
    /// The sink refuses them.
    Refused,
}

const BAD: &[u8] = b"[\"bad\"]";

/// Fails bad records in its way.
struct Strict(Shows);

impl Processor for Strict {
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
        let bad: Vec<_> = (0..batch.len()).filter(|row| batch.value(*row) == Some(BAD)).collect();
        Forward.process(batch, out, attempt)?;
        let error = |row| RowError { row, stage: Stage::Process, message: "bad".into(), retriable: true };
        match self.0 {
            _ if bad.is_empty() => Ok(()),
            Shows::Named => Err(Failure::Rows(bad.into_iter().map(error).collect())),
            Shows::Unnamed => Err(Failure::Unnamed("one of them".into())),
            Shows::Decode | Shows::Refused => Ok(()),
        }
    }
}

/// Keeps what it gets, and refuses bad records if it is to.
struct StrictSink {
    acks: Acks,
    kept: MemorySink,
    refuses: bool,
}

impl Sink for StrictSink {
    fn write(&self, outgoing: Outgoing<'_>) -> Sent {
        if self.refuses && outgoing.batch.value(outgoing.ticket.row) == Some(BAD) {
            self.acks.push(Ack::of(outgoing.ticket, Err(SendError::Record("bad".into()))));
            return Sent::Pending;
        }
        self.kept.write(outgoing)
    }

    fn dead_letter(&self, rejected: Rejected<'_>) -> Sent {
        self.kept.dead_letter(rejected)
    }
}

/// One job: `bad` offsets among `count` records.
fn run_with(
    settings: &[(Key, &str)],
    shows: Shows,
    count: usize,
    bad: &[usize],
    regroup: &[(Key, &str)],
) -> (Report, Vec<i64>, Vec<i64>) {
    let mut input = values(count);
    for index in bad {
        input[*index] = BAD.to_vec();
    }
    let quick = [(Key::RetryBackoff, "1ms"), (Key::RetryBackoffMax, "1ms"), (Key::MaxRetries, "2")];
    let format = if shows == Shows::Decode { ValueFormat::Json } else { ValueFormat::Bytes };
    let uniform = JobConfig::uniform(config(&[settings, &quick].concat()));
    let sink = config(&[settings, &quick, regroup].concat());
    let job = JobConfig { format, sink, ..uniform };
    let mut written = None;
    let report = run(job, input, Box::new(Strict(shows)), |acks| {
        let kept = MemorySink::default();
        written = Some(kept.written());
        StrictSink { acks, kept, refuses: shows == Shows::Refused }
    });
    let written = written.expect("a sink");
    let written = written.lock().expect("no panic");
    let offsets = |records: &[velo_engine::sink::Kept]| records.iter().map(|kept| kept.1).collect::<Vec<_>>();
    (report, offsets(&written.records), offsets(&written.dead_letters))
}

#[test]
fn every_strategy_with_every_failure_strategy_accounts_for_every_record() {
    const COUNT: usize = 120;
    let poison: [&[usize]; 5] = [&[], &[0], &[60], &[COUNT - 1], &[3, 4, 60]];
    let all: Vec<usize> = (0..COUNT).collect();
    for strategy in strategies() {
        for (failure, fate) in FAILURES {
            for shows in [Shows::Decode, Shows::Named, Shows::Unnamed, Shows::Refused] {
                for (number, bad) in poison.into_iter().chain([all.as_slice()]).enumerate() {
                    let settings = [strategy.as_slice(), failure].concat();
                    // Every other job writes in groups of another size than it reads.
                    let groups: &[_] = if number % 2 == 0 { &[] } else { &REGROUP };
                    let (report, written, dead) = run_with(&settings, shows, COUNT, bad, groups);
                    let what = format!("{settings:?} {shows:?} {bad:?}: {report:?}");
                    assert_eq!(report.sink_batches.is_some(), !groups.is_empty(), "{what}");
                    let ledger = report.ledger;
                    assert!(ledger.is_balanced(), "{what}");
                    let good = (COUNT - bad.len()) as u64;
                    let count = bad.len() as u64;
                    if fate == Fate::Failed && !bad.is_empty() {
                        assert_eq!(report.outcome, Outcome::Failed, "{what}");
                        assert_eq!((ledger.skipped, ledger.dlq), (0, 0), "{what}");
                        assert!(ledger.failed >= 1 && dead.is_empty(), "{what}");
                        // Nothing of a batch that fails before it is written is written.
                        let first = i64::try_from(bad[0]).expect("small");
                        assert!(
                            shows == Shows::Refused || written.iter().all(|offset| *offset < first),
                            "{what}"
                        );
                        continue;
                    }
                    assert_eq!(report.outcome, Outcome::Drained, "{what}");
                    let expected = if fate == Fate::Dlq { (0, count) } else { (count, 0) };
                    assert_eq!(
                        (ledger.skipped, ledger.dlq, ledger.ok),
                        (expected.0, expected.1, good),
                        "{what}"
                    );
                    assert!(written.is_sorted() && written.len() as u64 == good, "{what}");
                    let bad: Vec<_> = bad.iter().map(|index| i64::try_from(*index).expect("small")).collect();
                    assert_eq!(dead, if fate == Fate::Dlq { bad } else { Vec::new() }, "{what}");
                }
            }
        }
    }
}

#[test]
fn what_is_written_is_grouped_as_the_sink_says() {
    let sizes = |size| config(&[(Key::BatchSize, size), (Key::BatchTimeout, "1h")]);
    let mut written = None;
    let job = JobConfig { sink: sizes("50"), ..JobConfig::uniform(sizes("7")) };
    let report = run(job, values(1010), Box::new(Forward), |_| {
        let sink = MemorySink::default();
        written = Some(sink.written());
        sink
    });
    assert_eq!((report.ledger.ok, report.outcome), (1010, Outcome::Drained));
    let groups = report.sink_batches.expect("it regroups");
    let reasons = [(SealReason::Count, 20), (SealReason::Drain, 1)];
    assert_eq!((groups.size_max, groups.by_reason), (50, reasons.into_iter().collect()));
    assert_eq!(report.batches.count, 145);
    let written = written.expect("a sink");
    let offsets: Vec<_> = written.lock().expect("no panic").records.iter().map(|kept| kept.1).collect();
    assert_eq!(offsets, (0..1010).collect::<Vec<_>>());
}

#[test]
fn a_processor_that_names_a_row_that_is_not_there_fails_the_job() {
    struct Wrong;
    impl Processor for Wrong {
        fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
            out.push(batch.len(), None, None);
            Ok(())
        }
    }
    let report = Engine::builder(config(&[])).processor(Wrong).start(MemorySource::new(values(10))).report();
    assert_eq!((report.outcome, report.ledger.ok), (Outcome::Failed, 0));
}

#[test]
fn several_workers_write_in_order_too() {
    let sink = MemorySink::default();
    let written = sink.written();
    let builder = Engine::builder(config(&[(Key::BatchSize, "3")])).workers(3).sink(sink);
    assert_eq!(builder.run(MemorySource::new(values(500)), &mut |_| {}).ledger.ok, 500);
    let offsets: Vec<_> = written.lock().expect("no panic").records.iter().map(|kept| kept.1).collect();
    assert_eq!(offsets, (0..500).collect::<Vec<_>>());
}

#[test]
fn a_mega_batch_is_processed_in_parallel_in_memory_that_is_used_again() {
    for (parallel, reuse) in [("true", "true"), ("true", "false"), ("false", "true"), ("false", "false")] {
        let config = config(&[
            (Key::BatchStrategy, "mega_batch"),
            (Key::BatchMegaBatchSize, "10000"),
            (Key::BatchParallel, parallel),
            (Key::BatchReuseBuffer, reuse),
        ]);
        let mut written = None;
        let job = JobConfig { parallelism: 4, ..JobConfig::uniform(config) };
        let report = run(job, values(105_000), Box::new(Forward), |_| {
            let sink = MemorySink::default();
            written = Some(sink.written());
            sink
        });
        assert_eq!((report.ledger.ok, report.batches.count), (105_000, 11), "{parallel} {reuse}");
        assert!(report.notices.is_empty(), "{:?}", report.notices);
        let written = written.expect("a sink");
        let kept = written.lock().expect("no panic");
        let right = kept.records.iter().zip(values(105_000)).zip(0..);
        assert!(right.into_iter().all(|((kept, value), offset)| kept.1 == offset && kept.2 == Some(value)));
    }
}

/// Acknowledges nothing before it is told to.
struct Late {
    /// The records that are not acknowledged; `None` once all are.
    waiting: Arc<Mutex<Option<Vec<Ticket>>>>,
}

impl Sink for Late {
    fn write(&self, outgoing: Outgoing<'_>) -> Sent {
        match &mut *self.waiting.lock().expect("no panic") {
            Some(waiting) => {
                waiting.push(outgoing.ticket);
                Sent::Pending
            }
            None => Sent::Arrived,
        }
    }

    fn dead_letter(&self, _: Rejected<'_>) -> Sent {
        Sent::Arrived
    }
}

/// A source of two lanes. It gives a record each time that the last one has been sealed, until one batch of the memory
/// that is used again is free. Then the first lane fills that one, and the second has a record, too.
struct AlmostFull {
    /// The number of batches that are to be begun.
    batches: u32,
    offsets: [i64; 2],
    acks: Acks,
    waiting: Arc<Mutex<Option<Vec<Ticket>>>>,
    is_announced: bool,
}

impl Source for AlmostFull {
    fn poll(&mut self, _: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        let lanes = [LaneId(0), LaneId(1)];
        if !std::mem::replace(&mut self.is_announced, true) {
            events.extend(lanes.map(|lane| {
                let partition = i32::from(lane == LaneId(1));
                SourceEvent::Assigned(lane, LaneName { topic: "memory".into(), partition }, 0)
            }));
        }
        if self.batches == 0 {
            // All batches are in use now.
            let waiting = self.waiting.lock().expect("no panic").take();
            waiting.into_iter().flatten().for_each(|ticket| self.acks.push(Ack::of(ticket, Ok(()))));
        }
        if self.offsets[1] > 0 {
            events.extend(lanes.map(SourceEvent::Ended));
            events.push(SourceEvent::EndOfInput(true));
        }
        Ok(())
    }

    fn fill(
        &mut self,
        _: Tick,
        lane: LaneId,
        _: Tier,
        room: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        let is_first = lane == LaneId(0);
        let records = match self.batches {
            0 => u64::from(!is_first && self.offsets[1] == 0),
            1 if is_first && batch.is_empty() => room.records,
            _ => u64::from(is_first && batch.is_empty()),
        };
        self.batches -= u32::from(is_first && records > 0);
        for _ in 0..records {
            let offset = &mut self.offsets[lane.0 as usize];
            batch.push(lane, Record { offset: *offset, value: Some(b"{}"), ..Record::default() });
            *offset += 1;
        }
        Ok(Filled { calls: u64::from(records > 0), drained: true, ..Filled::default() })
    }
}

#[test]
fn no_batch_is_filled_while_all_memory_that_is_used_again_is_in_use() {
    // Six batches: four full ones, which are as many records as may be in flight, and two more.
    let mega = config(&[
        (Key::BatchStrategy, "mega_batch"),
        (Key::BatchMegaBatchSize, "10000"),
        (Key::BatchTimeout, "1ms"),
    ]);
    let builder = Engine::builder(mega);
    let waiting = Arc::new(Mutex::new(Some(Vec::new())));
    let sink = Late { waiting: Arc::clone(&waiting) };
    let source =
        AlmostFull { batches: 6, offsets: [0, 0], acks: builder.acks(), waiting, is_announced: false };
    let report = builder.sink(sink).run(source, &mut |_| {});
    assert_eq!((report.outcome, report.ledger.ok, report.error), (Outcome::Drained, 10_006, None));
}

/// Notes the threads that it works on; each of its forks notes them in the same place.
struct OnThreads(Arc<Mutex<HashSet<ThreadId>>>);

impl Processor for OnThreads {
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
        self.0.lock().expect("no panic").insert(std::thread::current().id());
        Forward.process(batch, out, attempt)
    }

    fn fork(&self) -> Option<Box<dyn Processor>> {
        Some(Box::new(Self(Arc::clone(&self.0))))
    }
}

#[test]
fn the_keys_of_a_mega_batch_are_shared_among_threads_if_it_says_so() {
    for (parallel, expected) in [("true", 4), ("false", 1)] {
        let config = config(&[(Key::BatchStrategy, "mega_batch"), (Key::BatchParallel, parallel)]);
        let job = JobConfig { parallelism: 4, ..JobConfig::uniform(config) };
        let records = (0..1000).map(|n: u32| (n.to_be_bytes().to_vec(), b"{}".to_vec())).collect();
        let threads = Arc::<Mutex<HashSet<_>>>::default();
        let builder = Engine::builder(job).processor(OnThreads(Arc::clone(&threads)));
        assert_eq!(builder.run(MemorySource::keyed(records), &mut |_| {}).ledger.ok, 1000);
        assert_eq!(threads.lock().expect("no panic").len(), expected);
    }
}

#[test]
fn a_processor_that_cannot_be_forked_says_so_under_parallel() {
    let config = config(&[(Key::BatchStrategy, "mega_batch")]);
    let job = JobConfig { parallelism: 2, ..JobConfig::uniform(config) };
    let report = run(job, values(10), Box::new(Uneven), |_| Discard);
    assert_eq!(report.notices, ["batch.parallel: the processor runs on a single thread"]);
}

#[test]
fn a_handle_shows_how_far_a_job_is_and_ends_it() {
    /// Waits until it is told to go on.
    struct Gate(std::sync::mpsc::Receiver<()>);
    impl Processor for Gate {
        fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
            self.0.recv().map_err(|error| Failure::System(error.to_string()))?;
            Forward.process(batch, out, attempt)
        }
    }
    let start = |gate| {
        let sizes = config(&[(Key::BatchSize, "10")]);
        Engine::builder(sizes).processor(Gate(gate)).start(MemorySource::new(values(1000)))
    };
    let (go, gate) = std::sync::mpsc::channel();
    let engine = start(gate);
    go.send(()).expect("it listens");
    while engine.progress().ledger.ok < 10 {
        std::thread::yield_now();
    }
    assert!(!engine.is_finished());
    for _ in 0..50 {
        go.send(()).expect("it listens");
    }
    let report = engine.drain();
    assert_eq!((report.outcome, report.ledger.uncommitted), (Outcome::Drained, 0));
    assert!(report.ledger.ok >= 10 && report.ledger.is_balanced());

    let (go, gate) = std::sync::mpsc::channel();
    let engine = start(gate);
    while engine.progress().ledger.delivered == 0 {
        std::thread::yield_now();
    }
    // Nothing is in its way any more, but it is to end at once.
    let stopped = std::thread::spawn(move || engine.stop());
    drop(go);
    let report = stopped.join().expect("no panic");
    assert_eq!((report.outcome, report.ledger.ok), (Outcome::Interrupted, 0));
    assert!(report.ledger.uncommitted > 0 && report.ledger.is_balanced());
}

#[test]
fn a_record_that_recovers_is_retried_and_written_in_its_place() {
    struct SecondTime;
    impl Processor for SecondTime {
        fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
            let retriable =
                |row| RowError { row, stage: Stage::Process, message: "later".into(), retriable: true };
            Forward.process(batch, out, attempt)?;
            if attempt.number == 0 { Err(Failure::Rows(vec![retriable(0)])) } else { Ok(()) }
        }
    }
    let settings =
        [(Key::BatchSize, "5"), (Key::FailureStrategy, "RetryWithBackoff"), (Key::RetryBackoff, "1ms")];
    let mut written = None;
    let report = run(JobConfig::uniform(config(&settings)), values(20), Box::new(SecondTime), |_| {
        let sink = MemorySink::default();
        written = Some(sink.written());
        sink
    });
    assert_eq!((report.ledger.ok, report.outcome), (20, Outcome::Drained));
    let written = written.expect("a sink");
    let offsets: Vec<_> = written.lock().expect("no panic").records.iter().map(|kept| kept.1).collect();
    assert_eq!(offsets, (0..20).collect::<Vec<_>>());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    /// Whatever the configuration, no batch and no call is above the plan's poll size, and the tier is the plan's.
    #[test]
    fn plan_and_engine_agree(
        strategy in proptest::sample::select(vec!["fixed_size", "time_window", "memory_based", "adaptive_size", "low_latency", "mega_batch"]),
        size in 1_u64..400,
        range in (1_u64..50, 50_u64..300),
        bytes in 1_u64..5000,
        cap in proptest::sample::select(vec![1_u64, 30, 100, 101, 100_000]),
        enabled in proptest::bool::weighted(0.9),
    ) {
        let texts = [size, range.0, range.1, bytes, cap].map(|n| n.to_string());
        let config = config(&[
            (Key::BatchEnable, if enabled { "true" } else { "false" }),
            (Key::BatchStrategy, strategy),
            (Key::BatchSize, &texts[0]),
            (Key::BatchLowLatencyMaxSize, &texts[0]),
            (Key::BatchMinSize, &texts[1]),
            (Key::BatchAdaptiveMaxSize, &texts[2]),
            (Key::BatchMemorySize, &texts[3]),
            (Key::BatchMaxSize, &texts[4]),
            (Key::BatchTimeout, "1ms"),
            (Key::BatchWindow, "1ms"),
        ]);
        let plan = velo_schema::Plan::of(&config, None);
        let report = run(JobConfig::uniform(config), values(1000), Box::new(Forward), |_| Discard);
        proptest::prop_assert_eq!(report.ledger.ok, 1000);
        let most = plan.max_poll_records.max;
        proptest::prop_assert!(report.batches.size_max <= most, "{:?} above {}", report.batches, most);
        proptest::prop_assert!(report.dequeue.records_per_call <= most as f64);
        proptest::prop_assert_eq!((report.tier.requested, report.max_poll_records), (plan.tier, plan.max_poll_records));
        let seen = report.tier.actual;
        proptest::prop_assert!(plan.tier != Tier::Standard || seen == Tier::Standard);
    }
}
