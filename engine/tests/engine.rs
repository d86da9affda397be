//! The whole engine over memory: sources and sinks that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use velo_engine::columns::Batch;
use velo_engine::core::failure::RowError;
use velo_engine::driver::{Control, Engine, JobConfig};
use velo_engine::processor::{Attempt, Failure, Forward, Output, Processor, ValueFormat};
use velo_engine::report::{Outcome, Report};
use velo_engine::sink::{Ack, Acks, Discard, LaneName, MemorySink, Outgoing, SendError, Sent, Sink, Ticket};
use velo_engine::source::memory::MemorySource;
use velo_schema::keys::Key;
use velo_schema::{Config, Entry, Scope, Settings, Side};

fn config(settings: &[(Key, &str)]) -> Config {
    let entries: Vec<_> =
        settings.iter().map(|(key, text)| Entry::parse(Scope::Job, *key, text).expect("a value")).collect();
    Settings::resolve(&entries, Side::Job, None).config()
}

fn values(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!("{{\"index\":{index}}}").into_bytes()).collect()
}

fn run(
    config: JobConfig,
    values: Vec<Vec<u8>>,
    processor: Box<dyn Processor>,
    sink: impl FnOnce(Acks) -> Arc<dyn Sink>,
) -> Report {
    let control = Control::default();
    let acks = Acks::new(control.waker());
    let sink = sink(acks.clone());
    let engine = Engine::new(MemorySource::new(values), sink, acks, vec![processor], config, control);
    engine.expect("a configuration that is executed").run(&mut |_| {})
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

    fn dead_letter(&self, _: Ticket, _: &Batch, _: &LaneName, _: &RowError) -> Sent {
        Sent::Arrived
    }
}

#[test]
fn a_record_that_the_sink_refuses_follows_the_failure_strategy() {
    for (strategy, dlq) in [("LogAndContinue", 0), ("SendToDLQ", 15)] {
        let config = JobConfig::uniform(config(&[(Key::BatchSize, "10"), (Key::FailureStrategy, strategy)]));
        let report = run(config, values(100), Box::new(Forward), |acks| {
            Arc::new(Refusing { acks, error: SendError::Record })
        });
        let ledger = report.ledger;
        assert_eq!((ledger.ok, ledger.dlq, ledger.skipped), (85, dlq, 15 - dlq));
        assert_eq!(report.outcome, Outcome::Drained);
        assert!(ledger.is_balanced());
    }
}

#[test]
fn a_sink_that_takes_nothing_any_more_ends_the_job_and_skips_no_record() {
    let config = JobConfig::uniform(config(&[(Key::BatchSize, "10")]));
    let report = run(config, values(100), Box::new(Forward), |acks| {
        Arc::new(Refusing { acks, error: SendError::Sink })
    });
    assert_eq!((report.outcome, report.ledger.skipped), (Outcome::Failed, 0));
    assert!(report.ledger.is_balanced() && report.ledger.ok < 100, "{:?}", report.ledger);
}

/// Puts each row out three times, and nothing for rows whose offset is odd.
struct Uneven;

impl Processor for Uneven {
    fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
        for row in (0..batch.len()).filter(|row| batch.offset(*row) % 2 == 0) {
            for copy in 0..3_u8 {
                out.push(row, None, Some(vec![copy]));
            }
        }
        Ok(())
    }
}

#[test]
fn a_row_settles_once_however_many_records_it_puts_out_and_however_many_are_refused() {
    let config = JobConfig::uniform(config(&[(Key::BatchSize, "10")]));
    let report = run(config.clone(), values(100), Box::new(Uneven), |_| Arc::new(Discard));
    assert_eq!(report.ledger.ok, 100);
    let report = run(config, values(100), Box::new(Uneven), |acks| {
        Arc::new(Refusing { acks, error: SendError::Record })
    });
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
    let report = run(config, values(30), Box::new(Flaky(AtomicU32::new(0))), |_| Arc::new(Discard));
    assert_eq!((report.ledger.ok, report.ledger.skipped, report.outcome), (30, 0, Outcome::Drained));
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
        Arc::new(sink)
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
    let report = run(config, values(100), Box::new(Panics), |_| Arc::new(Discard));
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.error.expect("an error").contains("panicked"));
}

#[test]
fn no_batch_and_no_call_is_above_the_poll_size() {
    for (size, tier) in [(1, "standard"), (100, "standard"), (101, "buffered"), (700, "buffered")] {
        let size_text = size.to_string();
        let config = JobConfig::uniform(config(&[(Key::BatchSize, &size_text)]));
        let report = run(config, values(2000), Box::new(Forward), |_| Arc::new(Discard));
        assert!(report.batches.size_max <= size + size / 64, "{size}: {:?}", report.batches);
        assert!(report.dequeue.records_per_call <= size as f64);
        assert_eq!(serde_json::to_value(report.tier.actual).expect("json"), tier);
        assert_eq!(report.tier.actual, report.tier.requested);
    }
}
