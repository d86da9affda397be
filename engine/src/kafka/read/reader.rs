//! Reads a topic without side effects: no group is joined, and nothing is committed or written.
//!
//! The types in this file have no methods that join, commit or write. librdkafka assigns partitions only to a consumer
//! with a group id, so the client has a generated one and never joins that group. Brokers only see a look-up of the
//! group's coordinator.
#![allow(clippy::disallowed_methods, reason = "round trips are measured")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;
use velo_schema::Tier;

use crate::batch::BatchBuilder;
use crate::core::batcher::Capacity;
use crate::ids::Tick;
use crate::ids::{LaneId, LaneName};
use crate::kafka::context::{ClientEvent, Context, Inbox, Meter};
use crate::kafka::fetch::{Choice, Fetcher, Fetching, NativeFetcher, QueueFetcher};
use crate::kafka::ffi::controller_id;
use crate::kafka::limits::settle_consumer;
use crate::kafka::offsets::{REQUEST_TIMEOUT, Start, bounds, offsets_of, starts};
use crate::kafka::settings::{ClientSettings, readable};
use crate::kafka::{KafkaError, hint};
use crate::memory::MemoryBudget;
use crate::source::{Filled, Source, SourceError, SourceEvent};
use crate::waker::Waker;

/// What a client prefetches of each partition, and how often it reports statistics.
#[derive(Debug, Clone, Copy)]
struct Tuning {
    queue_kbytes: u64,
    fetch_bytes: u64,
    records: u64,
    statistics_ms: u64,
}

impl Tuning {
    fn of_bytes(bytes: u64) -> Self {
        const MOST_FETCH_BYTES: u64 = 1 << 20;
        let queue_kbytes = (bytes / 1024).clamp(64, 65_536);
        Self {
            queue_kbytes,
            fetch_bytes: (queue_kbytes * 1024).min(MOST_FETCH_BYTES),
            records: 10_000,
            statistics_ms: 200,
        }
    }
}

/// The maximum time until the first broker answers.
const CONTACT_TIMEOUT: Duration = Duration::from_secs(10);

/// A partition of a topic and the bounds of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The number of the partition.
    pub partition: i32,
    /// The offset of the oldest record.
    pub low: i64,
    /// The offset after the newest record.
    pub high: i64,
}

/// A read-only client.
pub struct TopicReader {
    consumer: BaseConsumer<Context>,
    inbox: Inbox,
    waker: Waker,
    bootstrap_servers: String,
    config: ClientConfig,
}

impl TopicReader {
    /// Creates a client that prefetches at most `prefetch_bytes` of each partition (64 KiB to 64 MiB, both inclusive) and
    /// wakes `waker` when records arrive.
    ///
    /// # Errors
    /// If the client's properties are invalid.
    pub fn connect(settings: &ClientSettings, prefetch_bytes: u64, waker: Waker) -> Result<Self, KafkaError> {
        Self::connect_with(settings, Tuning::of_bytes(prefetch_bytes), waker, &[])
    }

    /// Creates a client that prefetches as a group member with this budget does.
    ///
    /// # Errors
    /// If the client's properties are invalid.
    pub fn connect_within(
        settings: &ClientSettings,
        memory: &MemoryBudget,
        waker: Waker,
    ) -> Result<Self, KafkaError> {
        let tuning = Tuning {
            queue_kbytes: memory.queue_kbytes(),
            fetch_bytes: memory.partition_fetch_bytes,
            records: memory.partition_records,
            // The statistics of many partitions are large.
            statistics_ms: 5_000,
        };
        Self::connect_with(settings, tuning, waker, &[])
    }

    /// Returns the partitions of a topic with the ends of all written records, including those of open transactions.
    pub(in crate::kafka) fn written(
        settings: &ClientSettings,
        topic: &str,
    ) -> Result<Vec<Partition>, KafkaError> {
        let all = [("isolation.level", "read_uncommitted")];
        Self::connect_with(settings, Tuning::of_bytes(0), Waker::default(), &all)?.partitions(topic)
    }

    fn connect_with(
        settings: &ClientSettings,
        tuning: Tuning,
        waker: Waker,
        more: &[(&str, &str)],
    ) -> Result<Self, KafkaError> {
        let group = format!("velo-read-only-{}", std::process::id());
        let mut config = settings.client(
            &[
                ("queued.max.messages.kbytes", tuning.queue_kbytes.to_string()),
                ("queued.min.messages", tuning.records.to_string()),
                ("fetch.message.max.bytes", tuning.fetch_bytes.to_string()),
                ("fetch.queue.backoff.ms", "10".to_owned()),
                // The statistics report throttling by the brokers and the bytes received.
                ("statistics.interval.ms", tuning.statistics_ms.to_string()),
            ],
            &[
                ("group.id", &group),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("allow.auto.create.topics", "false"),
                ("enable.partition.eof", "true"),
                // Telemetry is written to the broker, too.
                ("enable.metrics.push", "false"),
            ],
        );
        for (name, value) in more {
            config.set(*name, *value);
        }
        settle_consumer(&mut config, settings)?;
        let (context, inbox) = Context::new(waker.clone());
        let consumer = config.create_with_context(context)?;
        Ok(Self {
            consumer,
            inbox,
            waker,
            bootstrap_servers: settings.bootstrap_servers().to_owned(),
            config,
        })
    }

    /// Returns the client's properties. Secrets are masked.
    #[must_use]
    pub fn properties(&self) -> BTreeMap<String, String> {
        readable(&self.config)
    }

    /// Chooses what fetches the records: the fetcher that is `wanted`; otherwise the native one if the properties of the
    /// client and the brokers permit it. `settings` are those that the reader was created with.
    ///
    /// # Errors
    /// If the native fetcher is wanted and cannot be used with these properties.
    pub fn choose_fetcher(
        &self,
        wanted: Option<Fetching>,
        settings: &ClientSettings,
    ) -> Result<Choice, KafkaError> {
        Choice::new(wanted, settings, &self.config)
    }

    /// Returns the number of partitions of a topic; `None` if the topic does not exist.
    ///
    /// # Errors
    /// If no broker answers, or the user is not authorized.
    pub fn partition_count(&self, topic: &str) -> Result<Option<usize>, KafkaError> {
        use RDKafkaErrorCode as Code;
        let metadata =
            self.consumer.fetch_metadata(Some(topic), Duration::ZERO).or_else(|_| self.contact(topic))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.and_then(rdkafka::metadata::MetadataTopic::error).map(Code::from) {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
            Some(code) => Err(KafkaError::new(format!("topic '{topic}': {code}{}", hint(Some(code), "")))),
            None => Ok(found.map(|found| found.partitions().len())),
        }
    }

    /// Requests metadata until a broker answers. A permanent error ends the wait immediately.
    fn contact(&self, topic: &str) -> Result<Metadata, KafkaError> {
        use RDKafkaErrorCode as Code;
        const ATTEMPT: Duration = Duration::from_millis(250);
        const REPORTS: usize = 32;
        let started = Instant::now();
        let mut reason = None;
        loop {
            let error = match self.consumer.fetch_metadata(Some(topic), ATTEMPT) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            // Each poll serves one event of the client, including statistics.
            for _ in 0..REPORTS {
                drop(self.consumer.poll(Duration::ZERO));
            }
            let mut is_final = started.elapsed() >= CONTACT_TIMEOUT;
            for event in self.inbox.take() {
                let ClientEvent::Error(code, text) = event else { continue };
                // The error of a single broker is more specific than AllBrokersDown.
                if reason.is_none() || code != Some(Code::AllBrokersDown) {
                    reason = Some(text);
                }
                is_final |= matches!(code, Some(Code::Authentication | Code::SSL));
            }
            if is_final {
                let what = format!("no broker answered at {}", self.bootstrap_servers);
                return Err(match reason {
                    Some(reason) => KafkaError::new(format!("{what}: {reason}")),
                    None => KafkaError::during(what, &error),
                });
            }
        }
    }

    /// Returns the round trip time of a metadata request: the median of five requests after the client has connected.
    ///
    /// # Errors
    /// If no broker answers.
    pub fn round_trip(&self, topic: &str) -> Result<Duration, KafkaError> {
        const QUESTIONS: usize = 5;
        self.partition_count(topic)?;
        let mut times = Vec::new();
        for _ in 0..QUESTIONS {
            let asked = Instant::now();
            self.partition_count(topic)?;
            times.push(asked.elapsed());
        }
        times.sort_unstable();
        Ok(times[QUESTIONS / 2])
    }

    /// Returns the partitions of a topic.
    ///
    /// # Errors
    /// If the topic does not exist, or no broker answers.
    pub fn partitions(&self, topic: &str) -> Result<Vec<Partition>, KafkaError> {
        let count = self
            .partition_count(topic)?
            .ok_or_else(|| KafkaError::new(format!("there is no topic '{topic}' on these brokers")))?;
        let topic: Arc<str> = topic.into();
        let partitions = 0..i32::try_from(count).unwrap_or(i32::MAX);
        let names: Vec<_> =
            partitions.map(|partition| LaneName { topic: Arc::clone(&topic), partition }).collect();
        let bounds = bounds(&self.consumer, &names, REQUEST_TIMEOUT)?;
        let partition =
            |(name, (low, high)): (&LaneName, _)| Partition { partition: name.partition, low, high };
        Ok(names.iter().zip(bounds).map(partition).collect())
    }

    /// Returns the offset of a start in each of these partitions.
    ///
    /// # Errors
    /// If no broker answers.
    pub fn offsets(
        &self,
        topic: &str,
        partitions: &[Partition],
        start: Start,
    ) -> Result<Vec<i64>, KafkaError> {
        let named = |partition: &Partition| {
            let name = LaneName { topic: topic.into(), partition: partition.partition };
            (name, (partition.low, partition.high))
        };
        let partitions: Vec<_> = partitions.iter().map(named).collect();
        starts(&self.consumer, &partitions, start, REQUEST_TIMEOUT)
    }

    /// Returns true if the cluster has a controller, so that topic configurations can be described.
    pub(in crate::kafka) fn has_controller(&self, topic: &str) -> bool {
        // The embedded broker answers in time, so a slow broker is a real one.
        let Ok(metadata) = self.consumer.fetch_metadata(Some(topic), CONTACT_TIMEOUT) else { return true };
        let controller = controller_id(&self.consumer);
        metadata.brokers().iter().any(|broker| broker.id() == controller)
    }

    /// Serves the client for a while.
    pub(in crate::kafka) fn pause(&self, duration: Duration) {
        // No partition is assigned, so only errors arrive, and those are already in the inbox.
        drop(self.consumer.poll(duration));
    }

    /// Returns the client.
    pub(in crate::kafka) fn into_consumer(self) -> BaseConsumer<Context> {
        self.consumer
    }

    /// Creates a source that reads these ranges: partition, first offset, and the offset to stop before; `None` reads
    /// without an end.
    #[must_use]
    pub fn read(self, topic: &str, ranges: Vec<(i32, i64, Option<i64>)>) -> ReadSource {
        let consumer = Arc::new(self.consumer);
        let memory = MemoryBudget::unlimited(ranges.len());
        let meter = self.inbox.meter().clone();
        let fetcher = QueueFetcher::new(Arc::clone(&consumer), meter, &memory, self.waker);
        ReadSource::new(Box::new(fetcher), consumer, self.inbox, topic, ranges)
    }

    /// Like [`read`](Self::read), with connections of the engine's own.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn read_natively(
        self,
        topic: &str,
        ranges: Vec<(i32, i64, Option<i64>)>,
    ) -> Result<ReadSource, KafkaError> {
        let memory = MemoryBudget::unlimited(ranges.len());
        let fetcher = NativeFetcher::start(&self.config, topic, &memory, self.waker)?;
        Ok(ReadSource::new(Box::new(fetcher), Arc::new(self.consumer), self.inbox, topic, ranges))
    }
}

/// A source that reads from fixed offsets and cannot commit.
pub struct ReadSource {
    fetcher: Box<dyn Fetcher + Send>,
    consumer: Arc<BaseConsumer<Context>>,
    inbox: Inbox,
    topic: String,
    ranges: Vec<(i32, i64, Option<i64>)>,
    assigned: bool,
    max_bytes_per_s: Option<u64>,
    /// The time at which the rate cap permits the next read.
    paid_at: Option<Tick>,
    /// The end of the current wait for the rate cap.
    throttled_until: Option<Tick>,
}

impl ReadSource {
    fn new(
        fetcher: Box<dyn Fetcher + Send>,
        consumer: Arc<BaseConsumer<Context>>,
        inbox: Inbox,
        topic: &str,
        ranges: Vec<(i32, i64, Option<i64>)>,
    ) -> Self {
        Self {
            fetcher,
            consumer,
            inbox,
            topic: topic.to_owned(),
            ranges,
            assigned: false,
            max_bytes_per_s: None,
            paid_at: None,
            throttled_until: None,
        }
    }

    /// Limits the rate of payload bytes, in bytes per second. Unused rate accumulates for at most 250 ms.
    #[must_use]
    pub fn with_max_rate(mut self, max_bytes_per_s: Option<u64>) -> Self {
        self.max_bytes_per_s = max_bytes_per_s;
        self
    }

    fn assign(&mut self, events: &mut Vec<SourceEvent>) -> Result<(), KafkaError> {
        let mut positions = Vec::new();
        for (lane, (partition, position, end)) in (0..).map(LaneId).zip(&self.ranges) {
            let name = LaneName { topic: self.topic.as_str().into(), partition: *partition };
            self.fetcher.start(lane, &name, (*position, *end))?;
            events.push(SourceEvent::Assigned(lane, name.clone(), *position));
            positions.push((name, *position));
        }
        if self.fetcher.uses_client() {
            self.consumer.assign(&offsets_of(positions)?)?;
        }
        Ok(())
    }

    /// Returns the traffic counters of the client, which are updated every 200 ms.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.inbox.meter().clone()
    }

    /// Counts taken bytes against the rate cap.
    fn pay(&mut self, now: Tick, bytes: u64) {
        const SAVED: Duration = Duration::from_millis(250);
        let Some(rate) = self.max_bytes_per_s else { return };
        let earliest = Tick(now.0.saturating_sub(u64::try_from(SAVED.as_nanos()).unwrap_or(0)));
        let from = self.paid_at.map_or(now, |paid_at| paid_at.max(earliest));
        self.paid_at = Some(from + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64));
    }
}

impl Source for ReadSource {
    fn poll(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        self.fetcher.set_clock(now);
        if !self.assigned {
            self.assigned = true;
            self.assign(events)?;
        }
        // The client looks up the coordinator of its group although it never joins: a missing permission for that
        // is irrelevant.
        let concerns =
            |code: Option<RDKafkaErrorCode>| code != Some(RDKafkaErrorCode::GroupAuthorizationFailed);
        if let Some(Err(error)) = self.consumer.poll(Duration::ZERO)
            && concerns(error.rdkafka_error_code())
        {
            events.push(SourceEvent::Notice(error.to_string()));
        }
        for event in self.inbox.take() {
            match event {
                ClientEvent::Throttled(delay) => events.push(SourceEvent::Throttled(delay)),
                ClientEvent::Error(code, error) if concerns(code) => events.push(SourceEvent::Notice(error)),
                _ => {}
            }
        }
        self.fetcher.report(events)?;
        if self.fetcher.lanes().all_ended() {
            events.push(SourceEvent::EndOfInput(true));
        }
        match self.fetcher.lanes().broken().next() {
            Some((lane, broken)) => Err(SourceError(format!(
                "{}[{}]@{} cannot be read: {}",
                lane.name.topic, lane.name.partition, lane.position, broken.reason
            ))),
            None => Ok(()),
        }
    }

    fn fill(
        &mut self,
        now: Tick,
        lane: LaneId,
        tier: Tier,
        room: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        self.throttled_until = self.paid_at.filter(|at| *at > now);
        if self.throttled_until.is_some() {
            return Ok(Filled { drained: true, ..Filled::default() });
        }
        let before = batch.bytes();
        let filled = self.fetcher.take(lane, tier, room, batch)?;
        self.pay(now, batch.bytes() - before);
        Ok(filled)
    }

    fn ready(&mut self, lanes: &mut Vec<LaneId>) -> bool {
        self.fetcher.ready(lanes);
        // A lane that the rate cap has turned away is not empty.
        self.max_bytes_per_s.is_none()
    }

    fn next_due(&self) -> Option<Tick> {
        self.throttled_until
    }

    fn end_offset(&self, lane: LaneId) -> Option<i64> {
        self.fetcher.end_offset(lane)
    }
}

impl Drop for ReadSource {
    fn drop(&mut self) {
        self.inbox.close();
        self.fetcher.clear();
    }
}
