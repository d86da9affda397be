//! What a consumer's client calls back with, kept for the poll thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics, TopicPartitionList};

use super::hint;
use super::offsets::Offsets;
use crate::ids::LaneName;
use crate::waker::Waker;

/// Something that a client reported.
#[derive(Debug)]
pub(super) enum ClientEvent {
    /// The group gives us these partitions.
    Assign(TopicPartitionList),
    /// The group takes these away; `lost`: somebody else may have them already.
    Revoke { partitions: TopicPartitionList, lost: bool },
    /// A commit of these offsets has ended.
    Committed(Result<(), KafkaError>, Offsets),
    /// The brokers hold requests back, by up to so long each.
    Throttled(Duration),
    /// An error that the client deals with itself.
    Error(Option<RDKafkaErrorCode>, String),
}

/// What a client has received from brokers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes of all answers, as they came over the wire.
    pub wire_bytes: u64,
    /// Bytes of the records in them, decompressed; also of those that nobody has taken yet.
    pub record_bytes: u64,
    /// The longest delay of a request that the brokers have asked for.
    pub throttle: Duration,
}

impl std::ops::AddAssign for Received {
    fn add_assign(&mut self, other: Self) {
        self.wire_bytes += other.wire_bytes;
        self.record_bytes += other.record_bytes;
        self.throttle = self.throttle.max(other.throttle);
    }
}

/// By topic and partition: the last stable offset and the end, where open transactions keep them apart.
type Unstable = HashMap<(String, i32), (i64, i64)>;

/// What says so, while the client is used and after it is gone.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Received>>, Arc<Mutex<Unstable>>);

impl Meter {
    /// By the client's latest statistics.
    #[must_use]
    pub fn received(&self) -> Received {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last stable offset of a partition behind which there are records of open transactions, by the client's
    /// latest statistics. A reader of committed records gets no further.
    pub(super) fn stable_end(&self, LaneName { topic, partition }: &LaneName) -> Option<i64> {
        let unstable = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        unstable.get(&(topic.to_string(), *partition)).map(|(stable, _)| *stable)
    }

    fn set_unstable(&self, unstable: Unstable) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = unstable;
    }

    fn set(&self, received: Received) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Received { throttle: held.throttle.max(received.throttle), ..received };
    }
}

/// The context of all consumers. Rebalances are noted here and carried out by the poll thread
/// between two polls, so that draining a partition is not a callback within a callback.
pub(super) struct Context {
    events: Arc<Mutex<Vec<ClientEvent>>>,
    closing: Arc<AtomicBool>,
    meter: Meter,
    waker: Waker,
}

/// The poll thread's end of a [`Context`].
pub(super) struct Inbox {
    events: Arc<Mutex<Vec<ClientEvent>>>,
    closing: Arc<AtomicBool>,
    meter: Meter,
}

impl Context {
    pub fn new(waker: Waker) -> (Self, Inbox) {
        let events = Arc::default();
        let closing = Arc::default();
        let meter = Meter::default();
        let inbox =
            Inbox { events: Arc::clone(&events), closing: Arc::clone(&closing), meter: meter.clone() };
        (Self { events, closing, meter, waker }, inbox)
    }

    fn push(&self, event: ClientEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.waker.wake();
    }
}

impl Inbox {
    pub fn take(&self) -> Vec<ClientEvent> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the client has received.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// From now on rebalances are answered at once: the consumer is being closed.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let wire_bytes = statistics.brokers.values().map(|broker| broker.rxbytes).sum();
        let record_bytes = partitions.map(|partition| partition.rxbytes).sum();
        let throttled = statistics.brokers.values().filter_map(|broker| Some(broker.throttle.as_ref()?.max));
        let throttle = Duration::from_millis(u64::try_from(throttled.max().unwrap_or(0)).unwrap_or(0));
        self.meter.set(Received { wire_bytes, record_bytes, throttle });
        let mut unstable = Unstable::new();
        for (name, topic) in &statistics.topics {
            for (number, partition) in &topic.partitions {
                let (stable, end) = (partition.ls_offset, partition.hi_offset);
                if (0..end).contains(&stable) {
                    unstable.insert((name.clone(), *number), (stable, end));
                }
            }
        }
        self.meter.set_unstable(unstable);
        if !throttle.is_zero() {
            self.push(ClientEvent::Throttled(throttle));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let error = code.map_or_else(|| error.to_string(), |code| code.to_string());
        self.push(ClientEvent::Error(code, format!("{error}: {reason}{}", hint(code, reason))));
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigns = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            // What is given now is given up, too. An error here means that the consumer is gone already.
            let _ = unassign(consumer, partitions);
        } else if assigns {
            self.push(ClientEvent::Assign(partitions.clone()));
        } else {
            let lost = consumer.assignment_lost();
            self.push(ClientEvent::Revoke { partitions: partitions.clone(), lost });
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let named = |element: &TopicPartitionListElem<'_>| {
            let name = LaneName { topic: element.topic().into(), partition: element.partition() };
            Some((name, element.offset().to_raw()?))
        };
        self.push(ClientEvent::Committed(result, offsets.elements().iter().filter_map(named).collect()));
    }
}

/// The client's own log. What matters of it comes as an error, too.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    if let RDKafkaLogLevel::Debug = level {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    } else {
        tracing::info!(target: "librdkafka", facility, "{message}");
    }
}

/// True if partitions are assigned and unassigned one by one.
pub(super) fn is_cooperative(consumer: &BaseConsumer<Context>) -> bool {
    matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
}

/// Adds partitions to the assignment, in the way of the group's protocol.
pub(super) fn assign(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    if is_cooperative(consumer) {
        consumer.incremental_assign(partitions)
    } else {
        consumer.assign(partitions)
    }
}

/// Removes partitions from the assignment, in the way of the group's protocol.
pub(super) fn unassign(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    if is_cooperative(consumer) { consumer.incremental_unassign(partitions) } else { consumer.unassign() }
}
