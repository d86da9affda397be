//! Sends records one per request: records that were rejected together with others, and records that fit the size
//! limit of their topic only if they are compressed. A rejection here is caused by the record itself.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _, OwnedHeaders, ToBytes};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use super::deliveries::{Deliveries, Shared, Suspect, send_error, serve};
use super::reduce::reduced;
use super::served_producer::WAIT;
use crate::dead_letter::MOST_REDUCED;
use crate::kafka::context::log;
use crate::sink::{Ack, Acks, SendError, Ticket};

/// A producer that sends one record per request.
pub(super) struct Alone {
    config: ClientConfig,
    /// Created on first use, because it is rarely needed.
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

/// The delivery result of the one record in flight.
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
    /// Creates a producer for one topic from the configuration of the regular producer.
    pub(super) fn new(
        mut config: ClientConfig,
        topic: String,
        acks: Acks,
        shared: Arc<Shared>,
        suspects: Arc<Mutex<Vec<Suspect>>>,
    ) -> Self {
        let compresses = config.get("compression.type").is_some_and(|codec| codec != "none");
        if !compresses {
            // The brokers check sizes after compression.
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

    /// Returns true if records wait to be sent one by one.
    pub(super) fn has_suspects(&self) -> bool {
        !self.suspects.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Waits until `producer` has no record in flight, then sends the suspects in the order in which they were sent
    /// first. No record may be sent with `producer` meanwhile.
    pub(super) fn clear_suspects(&self, producer: &BaseProducer<Deliveries>) {
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

    /// Sends one record after all records that `producer` has in flight, and acknowledges the record.
    pub(super) fn send_after(&self, producer: &BaseProducer<Deliveries>, ticket: Ticket, single: Single<'_>) {
        if self.drain(producer) {
            self.clear_suspects(producer);
            self.send(ticket, single);
        }
    }

    /// Waits until a producer has no record in flight. Returns false if the sink was closed before that.
    fn drain(&self, producer: &BaseProducer<Deliveries>) -> bool {
        while producer.in_flight_count() > 0 {
            if self.shared.is_closed() {
                return false;
            }
            serve(producer, WAIT);
        }
        !self.shared.is_closed()
    }

    fn send(&self, ticket: Ticket, single: Single<'_>) {
        let mut next = single;
        let mut reduction = 0;
        let result = loop {
            let Some(result) = self.attempt(&next) else { return };
            match result.map_err(|error| send_error(&error, &self.topic, false)) {
                // Added headers and the kept timestamp must never prevent a dead letter from being written.
                Err(SendError::Record(_)) if ticket.dead_letter && reduction < MOST_REDUCED => {
                    reduction += 1;
                    tracing::warn!(
                        topic = self.topic,
                        reduction,
                        "the dead letter queue rejected a record; it is sent again with fewer added headers"
                    );
                    (next.timestamp_ms, next.headers) = reduced(reduction, next.headers.as_ref());
                }
                result => break result,
            }
        };
        self.acks.push(Ack::of(ticket, result));
    }

    /// Sends a record and waits for its delivery result. Returns `None` if the sink was closed before that.
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
