//! Writes outputs and dead letters to topics; a record is acknowledged when all replicas have it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, PurgeConfig, ThreadedProducer};

use super::settings::readable;
use super::{ClientSettings, KafkaError};
use crate::columns::{Batch, BatchId, LaneName};
use crate::core::failure::RowError;
use crate::processor::OutputRecord;
use crate::sink::{Ack, Acks, Outgoing, SendError, Sent, Sink, Ticket};

/// A topic to write to and its number of partitions.
struct Target {
    topic: String,
    /// Whether it has as many partitions as the source; then records keep theirs.
    keeps_partition: bool,
}

/// Where a sink writes.
#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// The outputs' topic and its number of partitions.
    pub sink: (String, usize),
    /// The dead letters' topic and its number of partitions, where there are any.
    pub dlq: Option<(String, usize)>,
    /// The source's number of partitions.
    pub source_partitions: usize,
    /// The group, for the dead letters' headers.
    pub group_id: String,
    /// How long a record may wait for others to be sent with.
    pub linger: Duration,
}

/// Writes to topics.
pub struct KafkaSink {
    producer: ThreadedProducer<Deliveries>,
    acks: Acks,
    sink: Target,
    dlq: Option<Target>,
    group_id: String,
    properties: BTreeMap<String, String>,
    closed: AtomicBool,
}

/// Takes delivery reports on the producer's own thread.
struct Deliveries {
    acks: Acks,
}

impl ClientContext for Deliveries {
    /// librdkafka's log goes nowhere: what matters comes as a delivery report.
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}

    /// An outage is not the end: records wait, and the ledger shows that they do.
    fn error(&self, _: ClientError, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let result = match result {
            Ok(_) => Ok(()),
            // The producer is going away: these records will be read and written again.
            Err((error, _)) if is_purged(error) => return,
            Err((error, _)) => Err(send_error(error)),
        };
        self.acks.push(Ack::of(unpack(opaque), result));
    }
}

/// Only what is wrong with the record itself may be skipped; an authorisation that was taken away, a
/// topic that is gone or a producer that cannot go on is nobody's fault.
fn send_error(error: &ClientError) -> SendError {
    use RDKafkaErrorCode::{InvalidMessage, InvalidRecord, InvalidTimestamp, MessageSizeTooLarge};
    let reason = KafkaError::during("the brokers refused it", error).to_string();
    match error.rdkafka_error_code() {
        Some(MessageSizeTooLarge | InvalidMessage | InvalidTimestamp | InvalidRecord) => {
            SendError::Record(reason)
        }
        _ => SendError::Sink(reason),
    }
}

fn is_purged(error: &ClientError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// A ticket as the one word that librdkafka carries along: batch, row, and the kind in the lowest bit.
fn pack(ticket: Ticket) -> usize {
    (ticket.batch.0 as usize) << 32 | (ticket.row as usize) << 1 | usize::from(ticket.dead_letter)
}

fn unpack(word: usize) -> Ticket {
    let low = |bits: usize| u32::try_from(bits & 0xFFFF_FFFF).unwrap_or(u32::MAX);
    Ticket { batch: BatchId(low(word >> 32)), row: low(word) >> 1, dead_letter: word & 1 == 1 }
}

impl KafkaSink {
    /// A producer for these topics, which leaves its acknowledgements in `acks`.
    ///
    /// # Errors
    /// Where the client's properties are wrong.
    pub fn connect(settings: &ClientSettings, options: SinkOptions, acks: Acks) -> Result<Self, KafkaError> {
        let config = settings.client(
            &[("linger.ms", options.linger.as_millis().to_string())],
            &[
                ("enable.idempotence", "true"),
                ("acks", "all"),
                ("message.timeout.ms", "0"),
                ("partitioner", "murmur2_random"),
            ],
        );
        let producer = config.create_with_context(Deliveries { acks: acks.clone() })?;
        let target = |(topic, partitions): (String, usize)| Target {
            topic,
            keeps_partition: partitions == options.source_partitions,
        };
        Ok(Self {
            producer,
            acks,
            sink: target(options.sink),
            dlq: options.dlq.map(target),
            group_id: options.group_id,
            properties: readable(&config),
            closed: AtomicBool::new(false),
        })
    }

    /// The client's properties, secrets masked.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// Sends a record; waits while the client's queue is full, which is the sink's back-pressure.
    fn send(&self, ticket: Ticket, mut record: BaseRecord<'_, [u8], [u8], usize>) -> Sent {
        const WAIT: Duration = Duration::from_millis(10);
        while let Err((error, refused)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                self.acks.push(Ack::of(ticket, Err(send_error(&error))));
                break;
            }
            if self.closed.load(Ordering::Acquire) {
                break;
            }
            record = refused;
            self.producer.poll(WAIT);
        }
        Sent::Pending
    }
}

fn record<'a>(
    target: &'a Target,
    ticket: Ticket,
    origin: &LaneName,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut record = BaseRecord::with_opaque_to(&target.topic, pack(ticket));
    record.key = key;
    record.payload = value;
    record.partition = target.keeps_partition.then_some(origin.partition);
    record
}

fn headers_of(batch: &Batch, row: u32, more: usize) -> OwnedHeaders {
    let headers = batch.headers(row);
    let start = OwnedHeaders::new_with_capacity(headers.len() + more);
    headers.iter().fold(start, |all, (key, value)| all.insert(Header { key, value: value.as_ref() }))
}

impl Sink for KafkaSink {
    fn write(&self, Outgoing { ticket, batch, record: output, origin }: Outgoing<'_>) -> Sent {
        let row = ticket.row;
        let (key, value) = match output {
            OutputRecord::Forward => (batch.key(row), batch.value(row)),
            OutputRecord::New { key, value } => (key.as_deref(), value.as_deref()),
        };
        let mut record = record(&self.sink, ticket, origin, key, value);
        record.timestamp = batch.timestamp_ms(row);
        if *output == OutputRecord::Forward && !batch.headers(row).is_empty() {
            record.headers = Some(headers_of(batch, row, 0));
        }
        self.send(ticket, record)
    }

    fn dead_letter(&self, ticket: Ticket, batch: &Batch, origin: &LaneName, error: &RowError) -> Sent {
        let Some(dlq) = &self.dlq else {
            let result = Err(SendError::Sink("there is no dead letter queue".to_owned()));
            self.acks.push(Ack::of(ticket, result));
            return Sent::Pending;
        };
        let row = ticket.row;
        let context = [
            ("__connect.errors.topic", origin.topic.to_string()),
            ("__connect.errors.partition", origin.partition.to_string()),
            ("__connect.errors.offset", batch.offset(row).to_string()),
            ("__connect.errors.stage", error.stage.to_string()),
            ("__connect.errors.exception.message", error.message.clone()),
            ("velo.timestamp_ms", batch.timestamp_ms(row).unwrap_or(-1).to_string()),
            ("velo.group", self.group_id.clone()),
        ];
        let headers = context.iter().fold(headers_of(batch, row, context.len()), |all, (key, value)| {
            all.insert(Header { key, value: Some(value) })
        });
        let mut record = record(dlq, ticket, origin, batch.key(row), batch.value(row));
        record.timestamp = batch.timestamp_ms(row);
        record.headers = Some(headers);
        self.send(ticket, record)
    }

    /// What is not acknowledged by now will be read and written again; waiting changes nothing.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_the_way_through_librdkafka() {
        for (batch, row, dead_letter) in [(0, 0, false), (u32::MAX, 0x7FFF_FFFF, true), (7, 99_999, false)] {
            let ticket = Ticket { batch: BatchId(batch), row, dead_letter };
            assert_eq!(unpack(pack(ticket)), ticket);
        }
    }
}
