//! Writes outputs and dead letters to topics; a record is acknowledged when all replicas have it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, PurgeConfig};
use rdkafka::{ClientConfig, ClientContext};

use super::context::log;
use super::error::{Class, class};
use super::served::ServedProducer;
use super::settings::readable;
use super::transaction::Transactions;
use super::{ClientSettings, KafkaError, Membership, dead_letter};
use crate::columns::{Batch, BatchId, LaneName};
use crate::processor::OutputRecord;
use crate::sink::{Ack, Acks, Outgoing, Rejected, SendError, Sent, Sink, Ticket, TransactionError};

/// A topic to write to, by a producer of its own: what may be sent at once is each topic's own.
struct Target {
    producer: Arc<ServedProducer<Deliveries>>,
    topic: String,
    /// Bytes of a record that is refused before it is sent: where both topics share a producer, its own
    /// bound is the larger one.
    max_bytes: Option<u64>,
    /// How many partitions it has where those are as many as the source's: then records keep theirs.
    kept_partitions: Option<usize>,
}

/// A topic to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// The largest batch of records that it takes, where that is known: `max.message.bytes`.
    pub max_message_bytes: Option<u64>,
}

/// Where a sink writes.
#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// The outputs' topic.
    pub sink: TargetTopic,
    /// The dead letters' topic, where there are any.
    pub dlq: Option<TargetTopic>,
    /// The source's number of partitions.
    pub source_partitions: usize,
    /// The group, for the dead letters' headers.
    pub group_id: String,
    /// How long a record may wait for others to be sent with.
    pub linger: Duration,
    /// Bytes that may be written and not acknowledged, by each producer.
    pub queue_bytes: u64,
    /// Where what is written is committed in transactions.
    pub transactions: Option<TransactionOptions>,
}

/// Whose transactions a sink writes in.
#[derive(Debug, Clone)]
pub struct TransactionOptions {
    /// The transactional id. Whoever has it elsewhere cannot write any more.
    pub id: String,
    /// The member whose offsets are committed in them.
    pub membership: Membership,
}

/// Writes to topics.
pub struct KafkaSink {
    acks: Acks,
    sink: Target,
    dlq: Option<Target>,
    transactions: Option<Transactions>,
    group_id: String,
    properties: BTreeMap<String, String>,
    closed: Arc<AtomicBool>,
}

/// Takes delivery reports on the producer's own thread.
pub(super) struct Deliveries {
    acks: Acks,
    transactional: bool,
    closed: Arc<AtomicBool>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    /// An outage is not the end: records wait, and the ledger shows that they do.
    fn error(&self, _: ClientError, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let result = match result {
            Ok(_) => Ok(()),
            // The producer is going away: these records will be read and written again. One that cannot go on
            // purges its records, too, and nobody else would say so.
            Err((error, _)) if is_purged(error) && self.closed.load(Ordering::Acquire) => return,
            Err((error, _)) => Err(send_error(error, self.transactional)),
        };
        self.acks.push(Ack::of(unpack(opaque), result));
    }
}

/// Only what is wrong with the record itself may be skipped; an authorisation that was taken away, a
/// topic that is gone or a producer that cannot go on is nobody's fault. A transaction may be tried again.
fn send_error(error: &ClientError, transactional: bool) -> SendError {
    use RDKafkaErrorCode::{
        InvalidMessage, InvalidRecord, InvalidTimestamp, MessageSizeTooLarge, UnknownPartition, UnknownTopic,
        UnknownTopicOrPartition,
    };
    let reason = KafkaError::during("the brokers refused it", error).to_string();
    match error.rdkafka_error_code() {
        Some(MessageSizeTooLarge | InvalidMessage | InvalidTimestamp | InvalidRecord) => {
            SendError::Record(reason)
        }
        Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition) => SendError::Sink(reason),
        Some(code) if transactional && class(code) != Class::Unauthorized => SendError::Transaction(reason),
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
        let SinkOptions { sink, dlq, source_partitions, group_id, linger, queue_bytes, transactions } =
            options;
        let closed = Arc::<AtomicBool>::default();
        // A record that a topic takes must fit into the queue, or it would never leave.
        let largest = std::iter::once(&sink).chain(&dlq).filter_map(|topic| topic.max_message_bytes).max();
        let queue = (linger, queue_bytes.max(largest.unwrap_or(0) + QUEUE_OVERHEAD_BYTES));
        let transactional_id = transactions.as_ref().map(|transactions| transactions.id.as_str());
        let topics = || std::iter::once(&sink).chain(&dlq);
        let most = |topic: &TargetTopic| topic.max_message_bytes;
        let shared = producer_config(settings, queue, topics().filter_map(most), transactional_id);
        let create = |config: &ClientConfig| -> Result<_, KafkaError> {
            let (acks, closed) = (acks.clone(), Arc::clone(&closed));
            let context = Deliveries { acks, transactional: transactional_id.is_some(), closed };
            Ok(Arc::new(ServedProducer::create(config, context)?))
        };
        let all = transactional_id.map(|_| create(&shared)).transpose()?;
        let target = |topic: &TargetTopic| -> Result<Target, KafkaError> {
            let producer = match &all {
                Some(producer) => Arc::clone(producer),
                None => create(&producer_config(settings, queue, most(topic).into_iter(), None))?,
            };
            Ok(Target {
                producer,
                max_bytes: all.as_ref().and_then(|_| most(topic)),
                kept_partitions: Some(topic.partitions).filter(|count| *count == source_partitions),
                topic: topic.name.clone(),
            })
        };
        let (sink, dlq) = (target(&sink)?, dlq.as_ref().map(target).transpose()?);
        let begin = |TransactionOptions { membership, .. }: &TransactionOptions| {
            Transactions::init(Arc::clone(&sink.producer), membership.clone(), Arc::clone(&closed))
        };
        let transactions = transactions.as_ref().map(begin).transpose()?;
        Ok(Self { acks, sink, dlq, transactions, group_id, properties: readable(&shared), closed })
    }

    /// The client's properties, secrets masked.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// Sends a record; waits while the client's queue is full, which is the sink's back-pressure.
    fn send(&self, to: &Target, ticket: Ticket, mut record: BaseRecord<'_, [u8], [u8], usize>) -> Sent {
        const WAIT: Duration = Duration::from_millis(10);
        if let Some(most) = to.max_bytes.filter(|most| size(&record) > *most) {
            let reason = format!("it is larger than {} takes, {most} bytes", to.topic);
            self.acks.push(Ack::of(ticket, Err(SendError::Record(reason))));
            return Sent::Pending;
        }
        if let Some(Err(error)) = self.transactions.as_ref().map(Transactions::begin) {
            let reason = KafkaError::from(error).to_string();
            self.acks.push(Ack::of(ticket, Err(SendError::Transaction(reason))));
            return Sent::Pending;
        }
        while let Err((error, refused)) = to.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                let error = send_error(&error, self.transactions.is_some());
                self.acks.push(Ack::of(ticket, Err(error)));
                break;
            }
            if self.closed.load(Ordering::Acquire) {
                break;
            }
            if to.producer.in_flight_count() == 0 {
                let reason = "it is larger than what may be kept in memory to be written";
                self.acks.push(Ack::of(ticket, Err(SendError::Record(reason.to_owned()))));
                break;
            }
            record = refused;
            to.producer.poll(WAIT);
        }
        Sent::Pending
    }
}

/// What a record takes in the client's queue beside its bytes, at most.
const QUEUE_OVERHEAD_BYTES: u64 = 64 << 10;

/// The properties of a producer for topics that take so many bytes at once.
pub(super) fn producer_config(
    settings: &ClientSettings,
    (linger, queue_bytes): (Duration, u64),
    max_message_bytes: impl Iterator<Item = u64>,
    transactional_id: Option<&str>,
) -> ClientConfig {
    let bounds: Vec<_> = max_message_bytes.collect();
    let mut defaults = vec![
        ("linger.ms", linger.as_millis().to_string()),
        ("queue.buffering.max.kbytes", (queue_bytes / 1024).clamp(1, i32::MAX as u64).to_string()),
    ];
    // A record that is too large for the topic is refused by itself then, before it takes those down
    // that would be sent with it.
    defaults.extend(bounds.iter().max().map(|most| ("message.max.bytes", client_bytes(*most))));
    let mut owned = vec![("enable.idempotence", "true"), ("acks", "all"), ("partitioner", "murmur2_random")];
    match transactional_id {
        // A transaction bounds how long a record may take.
        Some(id) => owned.push(("transactional.id", id)),
        None => owned.push(("message.timeout.ms", "0")),
    }
    if bounds.len() > 1 {
        // Records that are sent together fit into either topic.
        defaults
            .extend(bounds.iter().min().map(|least| ("batch.size", client_bytes((*least).min(1_000_000)))));
    }
    settings.client(&defaults, &owned)
}

/// At most so many bytes on the wire, in a batch of its own.
fn size(record: &BaseRecord<'_, [u8], [u8], usize>) -> u64 {
    const OVERHEAD: usize = 61 + 40;
    const HEADER_OVERHEAD: usize = 10;
    let headers = record.headers.iter().flat_map(Headers::iter);
    let headers: usize =
        headers.map(|header| HEADER_OVERHEAD + header.key.len() + header.value.map_or(0, <[u8]>::len)).sum();
    (OVERHEAD + headers + record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len)) as u64
}

/// A topic's bound within what librdkafka takes for its own.
fn client_bytes(max_message_bytes: u64) -> String {
    max_message_bytes.clamp(1000, 1_000_000_000).to_string()
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
    // The source may have got partitions since that this topic has not.
    let has = |count: usize| usize::try_from(origin.partition).is_ok_and(|partition| partition < count);
    record.partition = target.kept_partitions.filter(|count| has(*count)).map(|_| origin.partition);
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
        self.send(&self.sink, ticket, record)
    }

    fn dead_letter(&self, rejected: Rejected<'_>) -> Sent {
        let Rejected { ticket, batch, origin, .. } = rejected;
        let Some(dlq) = &self.dlq else {
            let result = Err(SendError::Sink("there is no dead letter queue".to_owned()));
            self.acks.push(Ack::of(ticket, result));
            return Sent::Pending;
        };
        let row = ticket.row;
        let context = dead_letter::headers(&rejected, &self.group_id);
        let headers = context.iter().fold(headers_of(batch, row, context.len()), |all, (key, value)| {
            all.insert(Header { key, value: Some(value) })
        });
        let mut record = record(dlq, ticket, origin, batch.key(row), batch.value(row));
        record.timestamp = batch.timestamp_ms(row);
        record.headers = Some(headers);
        self.send(dlq, ticket, record)
    }

    fn commit(&self, offsets: &[(LaneName, i64)]) -> Result<(), TransactionError> {
        self.transactions.as_ref().map_or(Ok(()), |transactions| transactions.commit(offsets))
    }

    fn abort(&self) -> Result<(), TransactionError> {
        self.transactions.as_ref().map_or(Ok(()), Transactions::abort)
    }

    /// What is not acknowledged by now will be read and written again; waiting changes nothing.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for target in std::iter::once(&self.sink).chain(&self.dlq) {
            target.producer.purge(PurgeConfig::default().queue().inflight());
        }
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
