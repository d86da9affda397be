//! The context of a consumer: callbacks of the client in, a queue of events for the poll thread out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics, TopicPartitionList};

use super::ffi::generation_id;
use super::hint;
use super::offsets::Offsets;
use crate::ids::LaneName;
use crate::waker::Waker;

/// A generation of the group, which begins with every rebalance, and the identity of the member in it.
#[derive(Clone)]
pub(super) struct Generation {
    /// The number of the generation; negative if the group has removed the member.
    pub id: i32,
    pub member: Option<Arc<ConsumerGroupMetadata>>,
}

impl Generation {
    /// Returns the generation that the client has joined last.
    fn of(consumer: &BaseConsumer<Context>) -> Self {
        // The client may join the next one at any time.
        let mut id = generation_id(consumer);
        loop {
            let member = consumer.group_metadata().map(Arc::new);
            let after = generation_id(consumer);
            if after == id {
                return Self { id, member };
            }
            id = after;
        }
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generation({})", self.id)
    }
}

/// An event that the client has reported.
#[derive(Debug)]
pub(super) enum ClientEvent {
    /// The group has assigned these partitions in this generation.
    Assign(TopicPartitionList, Generation),
    /// The group has revoked these partitions in this generation.
    Revoke(TopicPartitionList, Generation),
    /// These partitions may already be assigned to another member.
    Lost(TopicPartitionList),
    /// A commit of these offsets has ended.
    Committed(Result<(), KafkaError>, Offsets),
    /// The brokers throttle requests, each by up to this duration.
    Throttled(Duration),
    /// An error that the client handles itself.
    Error(Option<RDKafkaErrorCode>, String),
}

/// The amount of data that a client has received from the brokers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// The number of bytes of all responses on the wire.
    pub wire_bytes: u64,
    /// The number of decompressed bytes of all fetched records, including those that were not taken.
    pub record_bytes: u64,
    /// The longest time by which the brokers have throttled a request.
    pub throttle: Duration,
}

impl std::ops::AddAssign for Received {
    fn add_assign(&mut self, other: Self) {
        self.wire_bytes += other.wire_bytes;
        self.record_bytes += other.record_bytes;
        self.throttle = self.throttle.max(other.throttle);
    }
}

/// The last stable offset and the end of each topic and partition with records of open transactions.
type Unstable = HashMap<(String, i32), (i64, i64)>;

/// The latest statistics of a client. They can be read after the client was dropped.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Received>>, Arc<Mutex<Unstable>>);

impl Meter {
    /// Returns the amount of data received, according to the latest statistics of the client.
    #[must_use]
    pub fn received(&self) -> Received {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the last stable offset of a partition, according to the latest statistics of the client. Committed
    /// records can be read up to this offset. Returns `None` if the partition has no records of open transactions.
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

/// The context of all consumers. Rebalances are only queued here. The poll thread carries them out between two polls,
/// so that partitions are not drained within a callback.
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
    pub(super) fn new(waker: Waker) -> (Self, Inbox) {
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
    pub(super) fn take(&self) -> Vec<ClientEvent> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the latest statistics of the client.
    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Makes the context answer all later rebalances itself, because the consumer is being closed.
    pub(super) fn close(&self) {
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
            // A client that closes waits for the answer to each rebalance, in kind.
            let _ = if assigns { assign(consumer, partitions) } else { unassign(consumer, partitions) };
            return;
        }
        let (partitions, generation) = (partitions.clone(), Generation::of(consumer));
        self.push(if assigns {
            ClientEvent::Assign(partitions, generation)
        } else if consumer.assignment_lost() || generation.id < 0 {
            ClientEvent::Lost(partitions)
        } else {
            ClientEvent::Revoke(partitions, generation)
        });
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let named = |element: &TopicPartitionListElem<'_>| {
            let name = LaneName { topic: element.topic().into(), partition: element.partition() };
            Some((name, element.offset().to_raw()?))
        };
        self.push(ClientEvent::Committed(result, offsets.elements().iter().filter_map(named).collect()));
    }
}

/// Writes a log line of the client. Important problems are also reported as errors.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    if let RDKafkaLogLevel::Debug = level {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    } else {
        tracing::info!(target: "librdkafka", facility, "{message}");
    }
}

/// Returns true if the group uses incremental (cooperative) assignment.
pub(super) fn is_cooperative(consumer: &BaseConsumer<Context>) -> bool {
    matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
}

/// Assigns partitions according to the rebalance protocol of the group.
pub(super) fn assign(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    if is_cooperative(consumer) {
        consumer.incremental_assign(partitions)
    } else {
        consumer.assign(partitions)
    }
}

/// Unassigns partitions according to the rebalance protocol of the group. With the eager protocol, all partitions are
/// unassigned.
pub(super) fn unassign(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    if is_cooperative(consumer) { consumer.incremental_unassign(partitions) } else { consumer.unassign() }
}
