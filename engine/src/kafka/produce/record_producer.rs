//! A plain producer, for demonstrations, benchmarks and tests that need records on a topic.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Message};

use crate::kafka::{ClientSettings, KafkaError};

/// A record to produce.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewRecord<'a> {
    /// Its partition; by key where there is none.
    pub partition: Option<i32>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since the epoch; now where there are none.
    pub timestamp_ms: Option<i64>,
    /// Its headers: names and values, of which any may be null.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Produces records.
pub struct RecordProducer {
    producer: BaseProducer<Failures>,
    next: AtomicUsize,
}

/// A record that did not arrive.
#[derive(Debug)]
pub struct Undelivered {
    /// The number that [`RecordProducer::send`] gave it.
    pub number: usize,
    /// Why.
    pub error: KafkaError,
}

/// How many records that did not arrive are kept between two calls of [`RecordProducer::settle`].
const MOST_KEPT: usize = 65_536;

/// Keeps which records did not arrive.
#[derive(Default)]
struct Failures(Mutex<Vec<Undelivered>>);

impl ClientContext for Failures {
    /// librdkafka's log goes nowhere: what matters comes as a delivery report.
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, _: ClientError, _: &str) {}
}

impl ProducerContext for Failures {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Err((error, message)) = result {
            let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.len() < MOST_KEPT {
                let what = format!("a record for {} did not arrive", message.topic());
                failed.push(Undelivered { number, error: KafkaError::during(what, error) });
            }
        }
    }
}

impl RecordProducer {
    /// A producer that waits up to `linger` for records to send together.
    ///
    /// # Errors
    /// Where the client's properties are wrong.
    pub fn connect(settings: &ClientSettings, linger: Duration) -> Result<Self, KafkaError> {
        let config = settings.client(
            &[
                ("linger.ms", linger.as_millis().to_string()),
                ("queue.buffering.max.messages", "1000000".to_owned()),
                // What is too large is for the brokers to say, topic by topic.
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
    /// Where the record cannot be sent at all.
    pub fn send(&self, topic: &str, record: NewRecord<'_>) -> Result<usize, KafkaError> {
        const WAIT: Duration = Duration::from_millis(10);
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
                return Err(KafkaError::during(format!("a record for {topic}"), &error));
            }
            next = refused;
            self.producer.poll(WAIT);
        }
        self.producer.poll(Duration::ZERO);
        Ok(number)
    }

    /// Waits until everything that was sent has arrived.
    ///
    /// # Errors
    /// Where it has not within a minute, or a record was refused.
    pub fn flush(&self) -> Result<(), KafkaError> {
        self.settle()?.into_iter().next().map_or(Ok(()), |first| Err(first.error))
    }

    /// Waits until everything that was sent has arrived or been refused, and returns what did not arrive since the
    /// last time: the first 65,536 of it.
    ///
    /// # Errors
    /// Where that takes longer than a minute.
    pub fn settle(&self) -> Result<Vec<Undelivered>, KafkaError> {
        let flushed = self.producer.flush(Duration::from_mins(1));
        flushed.map_err(|error| KafkaError::during("sending the last records", &error))?;
        Ok(std::mem::take(&mut *self.producer.context().0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
