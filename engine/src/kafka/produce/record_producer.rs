//! A plain producer, for commands, benchmarks and tests that write records to a topic.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Message};

use super::served_producer::WAIT;
use crate::kafka::{ClientSettings, KafkaError};

/// A record to produce.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewRecord<'a> {
    /// The partition; chosen by key if `None`.
    pub partition: Option<i32>,
    /// The key; `None` for null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` for null.
    pub value: Option<&'a [u8]>,
    /// The timestamp in milliseconds since the epoch; the current time if `None`.
    pub timestamp_ms: Option<i64>,
    /// The headers: names and values. A value of `None` is null.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Produces records.
pub struct RecordProducer {
    producer: BaseProducer<Failures>,
    next: AtomicUsize,
}

/// A record that was not delivered.
#[derive(Debug)]
pub struct Undelivered {
    /// The number that [`RecordProducer::send`] returned for the record.
    pub number: usize,
    /// The reason.
    pub error: KafkaError,
}

/// The maximum number of undelivered records that are kept between two calls of [`RecordProducer::settle`].
const MOST_KEPT: usize = 65_536;

/// The records that were not delivered.
#[derive(Default)]
struct Failures(Mutex<Vec<Undelivered>>);

impl ClientContext for Failures {
    /// Discards the log of librdkafka: relevant errors are in the delivery reports.
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, _: ClientError, _: &str) {}
}

impl ProducerContext for Failures {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Err((error, message)) = result {
            let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.len() < MOST_KEPT {
                let what = format!("a record for topic '{}' was not delivered", message.topic());
                failed.push(Undelivered { number, error: KafkaError::during(what, error) });
            }
        }
    }
}

impl RecordProducer {
    /// Creates a producer that waits up to `linger` to send records together.
    ///
    /// # Errors
    /// If the client's properties are invalid.
    pub fn connect(settings: &ClientSettings, linger: Duration) -> Result<Self, KafkaError> {
        let config = settings.client(
            &[
                ("linger.ms", linger.as_millis().to_string()),
                ("queue.buffering.max.messages", "1000000".to_owned()),
                // The brokers enforce the size limit of each topic.
                ("message.max.bytes", "1000000000".to_owned()),
            ],
            &[
                ("enable.idempotence", "true"),
                ("partitioner", "murmur2_random"),
                ("enable.metrics.push", "false"),
            ],
        );
        Ok(Self { producer: config.create_with_context(Failures::default())?, next: AtomicUsize::default() })
    }

    /// Sends a record and returns its number; waits while the client's queue is full.
    ///
    /// # Errors
    /// If the client does not accept the record.
    pub fn send(&self, topic: &str, record: NewRecord<'_>) -> Result<usize, KafkaError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut next = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, number);
        next.partition = record.partition;
        next.key = record.key;
        next.payload = record.value;
        next.timestamp = record.timestamp_ms;
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        next.headers = (!record.headers.is_empty()).then(|| {
            record.headers.iter().fold(headers, |all, (key, value)| all.insert(Header { key, value: *value }))
        });
        while let Err((error, refused)) = self.producer.send(next) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(KafkaError::during(format!("sending a record to topic '{topic}'"), &error));
            }
            next = refused;
            self.producer.poll(WAIT);
        }
        self.producer.poll(Duration::ZERO);
        Ok(number)
    }

    /// Waits until all records are delivered.
    ///
    /// # Errors
    /// If records are still in flight after one minute, or a record was not delivered.
    pub fn flush(&self) -> Result<(), KafkaError> {
        self.settle()?.into_iter().next().map_or(Ok(()), |first| Err(first.error))
    }

    /// Waits until all records are delivered or have failed. Returns the records that have failed since the last call,
    /// at most the first 65,536.
    ///
    /// # Errors
    /// If records are still in flight after one minute.
    pub fn settle(&self) -> Result<Vec<Undelivered>, KafkaError> {
        let flushed = self.producer.flush(Duration::from_mins(1));
        flushed.map_err(|error| KafkaError::during("flushing records", &error))?;
        Ok(std::mem::take(&mut *self.producer.context().0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
