//! Every batch strategy with every failure strategy in every stage, and bad records first, in the
//! middle, last, two of them, and all: the ledger, the sink and the dead letter queue agree with a count
//! made here.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use velo_engine::batch::Batch;
use velo_engine::core::failure::{ByStage, RowError, Stage};
use velo_engine::kafka::{
    Fetching, GroupOptions, GroupSource, KafkaSink, NewRecord, RecordProducer, SinkOptions, TargetTopic,
    topic_settings,
};
use velo_engine::process::{Attempt, Failure, Forward, Output, Processor, ValueFormat};
use velo_engine::report::{Outcome, Report};
use velo_engine::{Builder, JobConfig};
use velo_schema::keys::Key;
use velo_schema::{Config, Entry, Scope, Settings, Side};

use crate::broker::{Broker, busy, embedded, real};
use crate::topic::{committed, count};

const RECORDS: usize = 40;
const PARTITIONS: i32 = 2;
/// No JSON, named by the processor, and too large for the sink, whose limit is `SINK_BYTES`, however it is compressed.
/// It has no key: the embedded broker knows no limits, so its sink is said to be compacted.
const BAD_BYTES: usize = 20_000;
const SINK_BYTES: u64 = 10_000;

type Setting = (Key, &'static str);

const STRATEGIES: [&[Setting]; 6] = [
    &[(Key::BatchStrategy, "fixed_size"), (Key::BatchSize, "7")],
    &[(Key::BatchStrategy, "time_window"), (Key::BatchWindow, "2ms")],
    &[(Key::BatchStrategy, "memory_based"), (Key::BatchMemorySize, "30000"), (Key::BatchTimeout, "2ms")],
    &[(Key::BatchStrategy, "adaptive_size"), (Key::BatchMinSize, "3"), (Key::BatchTimeout, "2ms")],
    &[(Key::BatchStrategy, "low_latency"), (Key::BatchLowLatencyMaxSize, "3")],
    &[(Key::BatchStrategy, "mega_batch"), (Key::BatchTimeout, "2ms")],
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Skipped,
    Dlq,
    Failed,
}

const FAILURES: [(&[Setting], Fate); 6] = [
    (&[(Key::FailureStrategy, "LogAndContinue")], Fate::Skipped),
    (&[(Key::FailureStrategy, "SendToDLQ")], Fate::Dlq),
    (&[(Key::FailureStrategy, "FailBatch")], Fate::Failed),
    (&[(Key::FailureStrategy, "RetryWithBackoff")], Fate::Failed),
    (&[(Key::FailureStrategy, "RetryWithBackoff"), (Key::OnExhausted, "SendToDLQ")], Fate::Dlq),
    (&[(Key::FailureStrategy, "RetryWithBackoff"), (Key::OnExhausted, "LogAndContinue")], Fate::Skipped),
];

const STAGES: [Stage; 3] = [Stage::Decode, Stage::Process, Stage::Write];

/// Names bad records, if they are to fail here.
struct Strict(bool);

impl Processor for Strict {
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
        Forward.process(batch, out, attempt)?;
        let is_bad = |row: &u32| self.0 && batch.value(*row).is_some_and(|value| value.len() == BAD_BYTES);
        let error = |row| RowError { row, stage: Stage::Process, message: "bad".into(), retriable: true };
        let bad: Vec<_> = (0..batch.len()).filter(is_bad).map(error).collect();
        if bad.is_empty() { Ok(()) } else { Err(Failure::Rows(bad)) }
    }
}

/// A topic with these bad records, alternating between the partitions.
struct Poisoned {
    topic: String,
    bad: Vec<usize>,
}

impl Poisoned {
    fn produce(broker: &Broker, bad: &[usize]) -> Self {
        let topic = broker.topic("poisoned", PARTITIONS);
        let producer =
            RecordProducer::connect(&broker.settings(), Duration::from_millis(5)).expect("a producer");
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<_> = (0..BAD_BYTES).map(|_| random.u8(..)).collect();
        for index in 0..RECORDS {
            let is_bad = bad.contains(&index);
            let (key, value) =
                if is_bad { (None, noise.as_slice()) } else { (Some(b"k".as_slice()), b"{}".as_slice()) };
            let partition = i32::try_from(index).expect("small") % PARTITIONS;
            let record =
                NewRecord { partition: Some(partition), key, value: Some(value), ..NewRecord::default() };
            producer.send(&topic, record).expect("sent");
        }
        producer.flush().expect("flushed");
        Self { topic, bad: bad.to_vec() }
    }

    /// The offset of the first bad record of each partition; behind the end where there is none.
    fn first_bad(&self) -> BTreeMap<i32, i64> {
        let first = |partition: i32| {
            let of_it = self.bad.iter().map(|index| i32::try_from(*index).expect("small"));
            let first = of_it.filter(|index| index % PARTITIONS == partition).min();
            first.map_or(i64::MAX, |index| i64::from(index / PARTITIONS))
        };
        (0..PARTITIONS).map(|partition| (partition, first(partition))).collect()
    }
}

/// A topic that takes no more than `SINK_BYTES` at once, where the broker knows such a thing.
fn narrow_topic(broker: &Broker) -> String {
    if let Broker::Embedded(_) = broker {
        return broker.topic("narrow", PARTITIONS);
    }
    broker.topic_with("narrow", PARTITIONS, &[("max.message.bytes", &SINK_BYTES.to_string())])
}

fn config(settings: &[Setting]) -> Config {
    let quick = [(Key::RetryBackoff, "1ms"), (Key::RetryBackoffMax, "1ms"), (Key::MaxRetries, "1")];
    let all = settings.iter().chain(&quick);
    let entries: Vec<_> =
        all.map(|(key, text)| Entry::parse(Scope::Job, *key, text).expect("a value")).collect();
    Settings::resolve(&entries, Side::Job, None).config()
}

/// The topics that one thread's jobs write to, one after the other.
struct Targets<'a> {
    broker: &'a Broker,
    sink: TargetTopic,
    dlq: TargetTopic,
}

impl<'a> Targets<'a> {
    fn new(broker: &'a Broker) -> Self {
        let topic = |name: String, is_compacted| {
            let said = topic_settings(&broker.settings(), &broker.reader(), &name).max_message_bytes;
            let partitions = usize::try_from(PARTITIONS).expect("small");
            TargetTopic { name, partitions, max_message_bytes: said, is_compacted }
        };
        let is_embedded = matches!(broker, Broker::Embedded(_));
        let sink = topic(narrow_topic(broker), is_embedded);
        let expected = (!is_embedded).then_some(SINK_BYTES);
        assert_eq!(sink.max_message_bytes, expected);
        Self { broker, sink, dlq: topic(broker.topic("letters", PARTITIONS), false) }
    }

    fn counts(&self) -> (u64, u64) {
        (count(self.broker, &self.sink.name), count(self.broker, &self.dlq.name))
    }

    fn run(
        &self,
        source: &Poisoned,
        group: &str,
        settings: &[Setting],
        (stage, fetching): (Stage, Fetching),
    ) -> Report {
        let format = if stage == Stage::Decode { ValueFormat::Json } else { ValueFormat::Bytes };
        let job = JobConfig { format, ..JobConfig::uniform(config(settings)) };
        let max_poll_records = job.plan().max_poll_records.max;
        let builder = Builder::new(job).processor(Strict(stage == Stage::Process));
        let options = SinkOptions {
            sink: self.sink.clone(),
            dlq: ByStage { decode: (), process: (), write: () }.map(|()| Some(self.dlq.clone())),
            source_partitions: self.sink.partitions,
            group_id: group.to_owned(),
            linger: Duration::ZERO,
            queue_bytes: 64 << 20,
            transactions: None,
        };
        let sink = KafkaSink::connect(&self.broker.settings(), options, builder.acks()).expect("a sink");
        let options = GroupOptions {
            until_end: true,
            max_poll_records,
            fetching,
            ..GroupOptions::new(group, source.topic.clone(), self.sink.partitions)
        };
        let joined = GroupSource::join(&self.broker.settings(), options, builder.waker()).expect("a source");
        builder.sink(sink).run(joined, &mut |_| {})
    }

    fn check(&self, source: &Poisoned, number: usize, settings: &[Setting], stage: Stage, fate: Fate) {
        let group = format!("{}-{number}", self.sink.name);
        let before = self.counts();
        let fetching = [Fetching::Librdkafka, Fetching::Native][number % 2];
        let report = self.run(source, &group, settings, (stage, fetching));
        let after = self.counts();
        let (written, dead) = (after.0 - before.0, after.1 - before.1);
        let what = format!("{settings:?} in {stage} with {:?}: {written} {dead} {report:?}", source.bad);
        let ledger = report.ledger;
        let (bad, good) = (source.bad.len() as u64, (RECORDS - source.bad.len()) as u64);
        assert!(ledger.is_balanced(), "{what}");
        let committed = committed(self.broker, &group, &source.topic);
        if fate == Fate::Failed && bad > 0 {
            assert_eq!(report.outcome, Outcome::Failed, "{what}");
            assert_eq!((ledger.skipped, ledger.dlq, dead), (0, 0, 0), "{what}");
            assert!(ledger.failed > 0 && ledger.ok <= written && written <= good, "{what}");
            // Nothing is committed past a record that failed.
            let first = source.first_bad();
            assert!(committed.iter().all(|(partition, offset)| *offset <= first[partition]), "{what}");
            return;
        }
        assert_eq!(report.outcome, Outcome::Drained, "{what}");
        let expected = if fate == Fate::Dlq { (0, bad) } else { (bad, 0) };
        assert_eq!((ledger.ok, ledger.skipped, ledger.dlq), (good, expected.0, expected.1), "{what}");
        assert_eq!((written, dead), (good, expected.1), "{what}");
        assert_eq!(committed.values().sum::<i64>(), i64::try_from(RECORDS).expect("small"), "{what}");
    }
}

fn every_combination(broker: &Broker) {
    const THREADS: usize = 16;
    let all: Vec<usize> = (0..RECORDS).collect();
    let patterns: [&[usize]; 6] = [&[], &[0], &[RECORDS / 2], &[RECORDS - 1], &[3, RECORDS / 2 + 1], &all];
    let sources = patterns.map(|bad| Poisoned::produce(broker, bad));
    let mut jobs = Vec::new();
    for strategy in STRATEGIES {
        for (failure, fate) in FAILURES {
            for stage in STAGES {
                for source in &sources {
                    jobs.push((jobs.len(), [strategy, failure].concat(), stage, fate, source));
                }
            }
        }
    }
    let number = jobs.len();
    let (queue, done) = (Mutex::new(jobs), Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let targets = Targets::new(broker);
                loop {
                    let job = queue.lock().expect("no panic").pop();
                    let Some((number, settings, stage, fate, source)) = job else { break };
                    targets.check(source, number, &settings, stage, fate);
                    *done.lock().expect("no panic") += 1;
                }
            });
        }
    });
    assert_eq!(done.into_inner().expect("no panic"), number);
}

#[test]
fn the_embedded_broker_sees_every_strategy_fail_in_every_way() {
    let _busy = busy();
    every_combination(&embedded());
}

#[test]
fn real_kafka_sees_every_strategy_fail_in_every_way() {
    let _busy = busy();
    every_combination(&real());
}
