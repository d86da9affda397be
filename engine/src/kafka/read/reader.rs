//! Reads a topic and leaves no trace: it joins no group, commits nothing, writes nothing.
//!
//! The types of this file have no way to do any of that. librdkafka assigns partitions only to a
//! consumer with a group id, so there is one, made up for the process, that nobody ever joins; all
//! that brokers see of it is a look-up of its coordinator.
#![allow(clippy::disallowed_methods, reason = "round trips are measured")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;
use velo_schema::Tier;

use crate::batch::BatchBuilder;
use crate::core::batcher::Room;
use crate::ids::Tick;
use crate::ids::{LaneId, LaneName};
use crate::kafka::context::{ClientEvent, Context, Inbox, Meter};
use crate::kafka::fetch::{Lane, Lanes};
use crate::kafka::ffi::{controller_id, known_end};
use crate::kafka::limits::settle_consumer;
use crate::kafka::offsets::{REQUEST_TIMEOUT, Start, bounds, offsets_of, starts};
use crate::kafka::settings::{ClientSettings, readable};
use crate::kafka::{KafkaError, hint};
use crate::memory::MemoryBudget;
use crate::source::{Filled, Source, SourceError, SourceEvent};
use crate::waker::Waker;

/// How long the first broker may take to answer.
const CONTACT_TIMEOUT: Duration = Duration::from_secs(10);

/// A partition of a topic and its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// The oldest record's offset.
    pub low: i64,
    /// The offset behind the newest record.
    pub high: i64,
}

/// A client that can only look.
pub struct TopicReader {
    consumer: BaseConsumer<Context>,
    inbox: Inbox,
    waker: Waker,
    bootstrap_servers: String,
    properties: BTreeMap<String, String>,
}

impl TopicReader {
    /// Connects, with a prefetch of at most `prefetch_bytes`, to wake `waker` when records come.
    ///
    /// # Errors
    /// Where the client's properties are wrong.
    pub fn connect(settings: &ClientSettings, prefetch_bytes: u64, waker: Waker) -> Result<Self, KafkaError> {
        Self::connect_with(settings, prefetch_bytes, waker, &[])
    }

    /// Returns the partitions of a topic with the ends of all that was written, open transactions included.
    pub(in crate::kafka) fn written(
        settings: &ClientSettings,
        topic: &str,
    ) -> Result<Vec<Partition>, KafkaError> {
        let all = [("isolation.level", "read_uncommitted")];
        Self::connect_with(settings, 0, Waker::default(), &all)?.partitions(topic)
    }

    fn connect_with(
        settings: &ClientSettings,
        prefetch_bytes: u64,
        waker: Waker,
        more: &[(&str, &str)],
    ) -> Result<Self, KafkaError> {
        let group = format!("velo-read-only-{}", std::process::id());
        let kbytes = (prefetch_bytes / 1024).clamp(64, 65_536);
        let mut config = settings.client(
            &[
                ("queued.max.messages.kbytes", kbytes.to_string()),
                ("fetch.message.max.bytes", (kbytes * 1024).to_string()),
                ("fetch.queue.backoff.ms", "10".to_owned()),
                // They say whether the brokers hold requests back, and what came over the wire.
                ("statistics.interval.ms", "200".to_owned()),
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
            properties: readable(&config),
        })
    }

    /// The client's properties, secrets masked.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// How many partitions the topic has; `None` where there is no such topic.
    ///
    /// # Errors
    /// Where no broker answers, or none may.
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

    /// Asks until a broker answers; what will not change while it waits ends it at once.
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
            // The client's reports wait to be polled, one at a time, statistics among them.
            for _ in 0..REPORTS {
                drop(self.consumer.poll(Duration::ZERO));
            }
            let mut is_final = started.elapsed() >= CONTACT_TIMEOUT;
            for event in self.inbox.take() {
                let ClientEvent::Error(code, text) = event else { continue };
                // That all are down says less than why one of them is.
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

    /// How long a question to the brokers takes: the median of a few, once connected.
    ///
    /// # Errors
    /// Where no broker answers.
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

    /// The partitions of a topic.
    ///
    /// # Errors
    /// Where there is no such topic, or no broker answers.
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

    /// The offset of a start on each of these partitions.
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

    /// Whether there is a broker that answers questions about configurations.
    pub(in crate::kafka) fn has_controller(&self, topic: &str) -> bool {
        // A broker that is slow to answer is a real one.
        let Ok(metadata) = self.consumer.fetch_metadata(Some(topic), CONTACT_TIMEOUT) else { return true };
        let controller = controller_id(&self.consumer);
        metadata.brokers().iter().any(|broker| broker.id() == controller)
    }

    /// Serves the client for a while.
    pub(in crate::kafka) fn pause(&self, duration: Duration) {
        // Nothing is assigned, so nothing but errors comes; those are in the inbox already.
        drop(self.consumer.poll(duration));
    }

    /// The client itself.
    pub(in crate::kafka) fn into_consumer(self) -> BaseConsumer<Context> {
        self.consumer
    }

    /// Reads partitions from offsets to their ends: behind an offset, or never.
    #[must_use]
    pub fn read(self, topic: &str, ranges: Vec<(i32, i64, Option<i64>)>) -> ReadSource {
        ReadSource {
            lanes: Lanes::new(&MemoryBudget::unlimited(ranges.len())),
            consumer: Arc::new(self.consumer),
            inbox: self.inbox,
            waker: self.waker,
            topic: topic.to_owned(),
            ranges,
            assigned: false,
            max_bytes_per_s: None,
            paid_at: None,
            throttled_until: None,
        }
    }
}

/// A source that reads from fixed offsets and cannot commit.
pub struct ReadSource {
    lanes: Lanes,
    consumer: Arc<BaseConsumer<Context>>,
    inbox: Inbox,
    waker: Waker,
    topic: String,
    ranges: Vec<(i32, i64, Option<i64>)>,
    assigned: bool,
    max_bytes_per_s: Option<u64>,
    /// When what has been taken is paid for.
    paid_at: Option<Tick>,
    /// Until then the rate cap lets nothing be taken.
    throttled_until: Option<Tick>,
}

impl ReadSource {
    /// Reads at most this many payload bytes a second. What is not used within a quarter of a second is lost.
    #[must_use]
    pub fn with_max_rate(mut self, max_bytes_per_s: Option<u64>) -> Self {
        self.max_bytes_per_s = max_bytes_per_s;
        self
    }

    fn assign(&mut self, events: &mut Vec<SourceEvent>) -> Result<(), KafkaError> {
        let mut positions = Vec::new();
        for (partition, position, end) in &self.ranges {
            let name = LaneName { topic: self.topic.as_str().into(), partition: *partition };
            self.lanes.begin(&self.consumer, &name, (*position, *end), &self.waker, events)?;
            positions.push((name, *position));
        }
        self.consumer.assign(&offsets_of(positions)?)?;
        Ok(())
    }

    /// What comes from the brokers, as it was at most a fifth of a second ago.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.inbox.meter().clone()
    }

    /// Counts what was taken against the rate cap.
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
        self.lanes.set_clock(now);
        if !self.assigned {
            self.assigned = true;
            self.assign(events)?;
        }
        // The client asks for the coordinator of its group, although it never joins one: that it may not is
        // nobody's concern.
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
        self.lanes.report(events)?;
        if self.lanes.all_ended() {
            events.push(SourceEvent::EndOfInput(true));
        }
        match self.lanes.broken().next() {
            Some((Lane { name, position, .. }, reason)) => Err(SourceError(format!(
                "{}[{}] cannot be read on at offset {position}: {reason}",
                name.topic, name.partition
            ))),
            None => Ok(()),
        }
    }

    fn fill(
        &mut self,
        now: Tick,
        lane: LaneId,
        tier: Tier,
        room: Room,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        self.throttled_until = self.paid_at.filter(|at| *at > now);
        if self.throttled_until.is_some() {
            return Ok(Filled { drained: true, ..Filled::default() });
        }
        let before = batch.bytes();
        let filled = self.lanes.fill(lane, tier, room, batch)?;
        self.pay(now, batch.bytes() - before);
        Ok(filled)
    }

    fn next_due(&self) -> Option<Tick> {
        self.throttled_until
    }

    fn end_offset(&self, lane: LaneId) -> Option<i64> {
        known_end(&self.consumer, self.lanes.name(lane)?)
    }
}

impl Drop for ReadSource {
    fn drop(&mut self) {
        self.inbox.close();
        self.lanes.clear();
    }
}
