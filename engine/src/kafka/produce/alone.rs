//! Sends records one by one: those that were refused together with others, and those that are too large for their
//! topic unless they are compressed. What is refused here is to blame itself.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _, OwnedHeaders, ToBytes};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use super::dead_letter;
use super::deliveries::{Deliveries, Shared, Suspect, send_error};
use crate::kafka::context::log;
use crate::sink::{Ack, Acks, SendError, Ticket};

/// How long the producer is waited for at a time.
const WAIT: Duration = Duration::from_millis(10);

/// A producer whose requests hold one record each.
pub(super) struct Alone {
    config: ClientConfig,
    /// Made when it is needed, which is hardly ever.
    producer: OnceLock<BaseProducer<Outcome>>,
    topic: String,
    acks: Acks,
    shared: Arc<Shared>,
    suspects: Arc<Mutex<Vec<Suspect>>>,
}

/// A record to send.
#[derive(Debug, Clone)]
pub(super) struct Single<'a> {
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub timestamp_ms: Option<i64>,
    pub headers: Option<OwnedHeaders>,
}

/// How the one record that is on its way has ended.
#[derive(Default)]
struct Outcome(Mutex<Option<Result<(), ClientError>>>);

impl ClientContext for Outcome {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, _: ClientError, _: &str) {}
}

impl ProducerContext for Outcome {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

impl Alone {
    /// A producer like the one that has `config`, for one topic.
    pub fn new(
        mut config: ClientConfig,
        topic: String,
        acks: Acks,
        shared: Arc<Shared>,
        suspects: Arc<Mutex<Vec<Suspect>>>,
    ) -> Self {
        let compresses = config.get("compression.type").is_some_and(|codec| codec != "none");
        if !compresses {
            // The brokers compare sizes after compression.
            config.set("compression.type", "zstd");
        }
        config
            .set("batch.num.messages", "1")
            .set("linger.ms", "0")
            .set("message.max.bytes", "1000000000")
            .set("queue.buffering.max.kbytes", "2097151")
            .set("enable.metrics.push", "false");
        Self { config, producer: OnceLock::new(), topic, acks, shared, suspects }
    }

    /// True if records wait to be sent one by one.
    pub fn has_suspects(&self) -> bool {
        !self.suspects.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Sends what was refused together with others, in the order in which it was sent first, once `producer` has
    /// nothing in flight. Nobody may send by `producer` meanwhile.
    pub fn clear_suspects(&self, producer: &BaseProducer<Deliveries>) {
        while self.has_suspects() {
            if !self.drain(producer) {
                return;
            }
            let mut suspects =
                std::mem::take(&mut *self.suspects.lock().unwrap_or_else(PoisonError::into_inner));
            suspects.sort_by_key(|suspect| (suspect.ticket.batch, suspect.ticket.row));
            for suspect in suspects {
                let message = &suspect.message;
                let single = Single {
                    partition: (message.partition() >= 0).then_some(message.partition()),
                    key: message.key(),
                    value: message.payload(),
                    timestamp_ms: suspect.timestamp_ms,
                    headers: suspect.headers(),
                };
                self.send(suspect.ticket, single);
            }
        }
    }

    /// Sends one record after all that `producer` has in flight, and acknowledges it.
    pub fn send_after(&self, producer: &BaseProducer<Deliveries>, ticket: Ticket, single: Single<'_>) {
        if self.drain(producer) {
            self.clear_suspects(producer);
            self.send(ticket, single);
        }
    }

    /// Waits until a producer has nothing in flight; false if the sink was closed before.
    fn drain(&self, producer: &BaseProducer<Deliveries>) -> bool {
        while producer.in_flight_count() > 0 {
            if self.shared.is_closed() {
                return false;
            }
            producer.poll(WAIT);
        }
        !self.shared.is_closed()
    }

    fn send(&self, ticket: Ticket, single: Single<'_>) {
        let mut next = single;
        let mut reduction = 0;
        let result = loop {
            let Some(result) = self.attempt(&next) else { return };
            match result.map_err(|error| send_error(&error, &self.topic, false)) {
                // What velo adds to a dead letter, or keeps of its record, is never why it cannot be written.
                Err(SendError::Record(_)) if ticket.dead_letter && reduction < dead_letter::MOST_REDUCED => {
                    reduction += 1;
                    tracing::warn!(
                        topic = self.topic,
                        reduction,
                        "a dead letter is written with less beside its record"
                    );
                    (next.timestamp_ms, next.headers) =
                        dead_letter::reduced(reduction, next.headers.as_ref());
                }
                result => break result,
            }
        };
        self.acks.push(Ack::of(ticket, result));
    }

    /// Sends a record and waits for its end; `None` if the sink was closed before.
    fn attempt(&self, single: &Single<'_>) -> Option<Result<(), ClientError>> {
        let producer = match self.producer() {
            Ok(producer) => producer,
            Err(error) => return Some(Err(error)),
        };
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic);
        record.partition = single.partition;
        record.key = single.key.map(ToBytes::to_bytes);
        record.payload = single.value.map(ToBytes::to_bytes);
        record.timestamp = single.timestamp_ms;
        record.headers.clone_from(&single.headers);
        loop {
            if self.shared.is_closed() {
                return None;
            }
            match producer.send(record) {
                Ok(()) => break,
                Err((error, refused)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    record = refused;
                    producer.poll(WAIT);
                }
                Err((error, _)) => return Some(Err(error)),
            }
        }
        loop {
            producer.poll(WAIT);
            let ended = producer.context().0.lock().unwrap_or_else(PoisonError::into_inner).take();
            if ended.is_some() || self.shared.is_closed() {
                return ended;
            }
        }
    }

    fn producer(&self) -> Result<&BaseProducer<Outcome>, ClientError> {
        if let Some(producer) = self.producer.get() {
            return Ok(producer);
        }
        let producer = self.config.create_with_context(Outcome::default())?;
        Ok(self.producer.get_or_init(|| producer))
    }
}
