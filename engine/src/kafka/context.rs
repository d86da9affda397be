//! What a consumer's client calls back with, kept for the poll thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics, TopicPartitionList};

use super::hint;
use crate::waker::Waker;

/// Something that a client reported.
#[derive(Debug)]
pub(super) enum ClientEvent {
    /// The group gives us these partitions.
    Assign(TopicPartitionList),
    /// The group takes these away; `lost`: somebody else may have them already.
    Revoke { partitions: TopicPartitionList, lost: bool },
    /// A commit has ended.
    Committed(Result<(), KafkaError>),
    /// The brokers hold requests back, by up to so long each.
    Throttled(Duration),
    /// An error that the client deals with itself.
    Error(Option<RDKafkaErrorCode>, String),
}

/// The context of all consumers. Rebalances are noted here and carried out by the poll thread
/// between two polls, so that draining a partition is not a callback within a callback.
pub(super) struct Context {
    events: Arc<Mutex<Vec<ClientEvent>>>,
    closing: Arc<AtomicBool>,
    waker: Waker,
}

/// The poll thread's end of a [`Context`].
pub(super) struct Inbox {
    events: Arc<Mutex<Vec<ClientEvent>>>,
    closing: Arc<AtomicBool>,
}

impl Context {
    pub fn new(waker: Waker) -> (Self, Inbox) {
        let events = Arc::default();
        let closing = Arc::default();
        let inbox = Inbox { events: Arc::clone(&events), closing: Arc::clone(&closing) };
        (Self { events, closing, waker }, inbox)
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

    /// Puts events back that were not dealt with, before those that have come since.
    pub fn put_back(&self, events: impl IntoIterator<Item = ClientEvent>) {
        let mut inbox = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.splice(..0, events);
    }

    /// From now on revocations are carried out at once: the consumer is being closed.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        let throttled = statistics.brokers.values().filter_map(|broker| Some(broker.throttle.as_ref()?.max));
        if let Some(ms) = throttled.max().filter(|ms| *ms > 0) {
            self.push(ClientEvent::Throttled(Duration::from_millis(u64::try_from(ms).unwrap_or(0))));
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
            // An error here means that the consumer is gone already.
            let _ = if assigns { Ok(()) } else { give_up(consumer, partitions) };
        } else if assigns {
            self.push(ClientEvent::Assign(partitions.clone()));
        } else {
            let lost = consumer.assignment_lost();
            self.push(ClientEvent::Revoke { partitions: partitions.clone(), lost });
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        self.push(ClientEvent::Committed(result));
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

/// Whether partitions are taken over and given up one by one.
pub(super) fn is_cooperative(consumer: &BaseConsumer<Context>) -> bool {
    matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
}

/// Takes partitions into the assignment, as the group's protocol has it.
pub(super) fn take_over(
    consumer: &BaseConsumer<Context>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    if is_cooperative(consumer) {
        consumer.incremental_assign(partitions)
    } else {
        consumer.assign(partitions)
    }
}

/// Takes partitions out of the assignment, as the group's protocol has it.
pub(super) fn give_up(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    if is_cooperative(consumer) { consumer.incremental_unassign(partitions) } else { consumer.unassign() }
}
