//! Writes outputs and dead letters to topics; a record is acknowledged when all replicas have it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, PurgeConfig};

use super::alone::{Alone, Single};
use super::dead_letter;
use super::deliveries::{Deliveries, Shared, is_of_record, pack, send_error};
use super::polled_producer::ServedProducer;
use super::transaction::Transactions;
use crate::core::failure::ByStage;
use crate::ids::LaneName;
use crate::kafka::membership::Membership;
use crate::kafka::settings::readable;
use crate::kafka::{ClientSettings, KafkaError};
use crate::process::OutputRecord;
use crate::sink::{Ack, Acks, Outgoing, Rejected, SendError, Sent, Sink, Ticket, TransactionError};

/// A topic to write to, by a producer of its own: what may be sent at once is each topic's own.
struct Target {
    producer: Arc<ServedProducer<Deliveries>>,
    /// Sends what has to be sent by itself; transactions have one producer only.
    alone: Option<Arc<Alone>>,
    /// Held for reading while a record is handed to the client, and for writing while nothing may be.
    line: Arc<RwLock<()>>,
    topic: String,
    /// Bytes of a record that is refused before it is sent, since its producer's own bound is another topic's.
    max_bytes: Option<u64>,
    /// Whether it refuses records without a key.
    is_compacted: bool,
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
    /// The largest batch of records that it takes, if that is known: `max.message.bytes`.
    pub max_message_bytes: Option<u64>,
    /// True if it is compacted: then it takes no record without a key.
    pub is_compacted: bool,
}

/// Where a sink writes.
#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// The outputs' topic.
    pub sink: TargetTopic,
    /// The dead letters' topic of each stage, if it has one.
    pub dlq: ByStage<Option<TargetTopic>>,
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
    /// By topic.
    dead_letters: BTreeMap<String, Target>,
    /// Which of them a stage's go to.
    dlq: ByStage<Option<String>>,
    transactions: Option<Transactions>,
    group_id: String,
    properties: BTreeMap<String, String>,
    shared: Arc<Shared>,
}

impl KafkaSink {
    /// A producer for these topics, which leaves its acknowledgements in `acks`.
    ///
    /// # Errors
    /// Where the client's properties are wrong.
    pub fn connect(settings: &ClientSettings, options: SinkOptions, acks: Acks) -> Result<Self, KafkaError> {
        let SinkOptions { sink, dlq, source_partitions, group_id, linger, queue_bytes, transactions } =
            options;
        let shared = Arc::<Shared>::default();
        let dlq_names = dlq.each_ref().map(|topic| topic.as_ref().map(|topic| topic.name.clone()));
        let queues: BTreeMap<_, _> =
            dlq.into_iter().flatten().map(|topic| (topic.name.clone(), topic)).collect();
        let topics = || std::iter::once(&sink).chain(queues.values());
        let most = |topic: &TargetTopic| topic.max_message_bytes;
        // A record that a topic takes must fit into the queue, or it would never leave.
        let largest = topics().filter_map(most).max();
        let queue = (linger, queue_bytes.max(largest.unwrap_or(0) + QUEUE_OVERHEAD_BYTES));
        let transactional_id = transactions.as_ref().map(|transactions| transactions.id.as_str());
        let properties = producer_config(settings, queue, topics().filter_map(most), transactional_id);
        let of_transactions = transactional_id
            .map(|_| {
                let suspects = Arc::default();
                let context = Deliveries {
                    acks: acks.clone(),
                    transactional: true,
                    shared: Arc::clone(&shared),
                    suspects,
                };
                ServedProducer::create(&properties, context, |_| {}).map(Arc::new)
            })
            .transpose()?;
        let line = Arc::<RwLock<()>>::default();
        let target = |topic: &TargetTopic| -> Result<Target, KafkaError> {
            let (producer, alone, line) = if let Some(producer) = &of_transactions {
                (Arc::clone(producer), None, Arc::clone(&line))
            } else {
                let config = producer_config(settings, queue, most(topic).into_iter(), None);
                let (producer, alone, line) = own_producer(&config, topic, &acks, &shared)?;
                (producer, Some(alone), line)
            };
            let compresses = settings.property("compression.type").is_some_and(|codec| codec != "none");
            Ok(Target {
                producer,
                alone,
                line,
                // What is compressed may be smaller in the end.
                max_bytes: most(topic).filter(|_| of_transactions.is_some() && !compresses),
                is_compacted: topic.is_compacted,
                kept_partitions: Some(topic.partitions).filter(|count| *count == source_partitions),
                topic: topic.name.clone(),
            })
        };
        let queues = queues.iter().map(|(name, topic)| Ok((name.clone(), target(topic)?)));
        let queues = queues.collect::<Result<BTreeMap<_, _>, KafkaError>>()?;
        let sink = target(&sink)?;
        let begin = |TransactionOptions { membership, .. }: &TransactionOptions| {
            Transactions::init(Arc::clone(&sink.producer), membership.clone(), Arc::clone(&shared))
        };
        let transactions = transactions.as_ref().map(begin).transpose()?;
        let properties = readable(&properties);
        Ok(Self {
            acks,
            sink,
            dead_letters: queues,
            dlq: dlq_names,
            transactions,
            group_id,
            properties,
            shared,
        })
    }

    /// The client's properties, secrets masked.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// Sends a record; waits while the client's queue is full, which is the sink's back-pressure.
    fn send(&self, to: &Target, ticket: Ticket, record: BaseRecord<'_, [u8], [u8], usize>) -> Sent {
        if let Err(error) = self.try_send(to, ticket, record) {
            self.acks.push(Ack::of(ticket, Err(error)));
        }
        Sent::Pending
    }

    fn try_send(
        &self,
        to: &Target,
        ticket: Ticket,
        mut record: BaseRecord<'_, [u8], [u8], usize>,
    ) -> Result<(), SendError> {
        const WAIT: Duration = Duration::from_millis(10);
        if to.is_compacted && record.key.is_none() {
            let reason =
                format!("topic {} is compacted (cleanup.policy) and takes no record without a key", to.topic);
            return Err(SendError::Record(reason));
        }
        // A letter that is too large only by what is added to it goes without that.
        let mut reduction = 0;
        while ticket.dead_letter
            && reduction < dead_letter::MOST_REDUCED
            && to.max_bytes.is_some_and(|most| size(&record) > most)
        {
            reduction += 1;
            (record.timestamp, record.headers) = dead_letter::reduced(reduction, record.headers.as_ref());
        }
        if let Some(most) = to.max_bytes.filter(|most| size(&record) > *most) {
            let topic = &to.topic;
            let reason = format!(
                "it is larger than {topic} takes, {most} bytes; with -X compression.type=zstd it may fit"
            );
            return Err(SendError::Record(reason));
        }
        if let Some(Err(error)) = self.transactions.as_ref().map(Transactions::begin) {
            return Err(SendError::Transaction(KafkaError::from(error).to_string()));
        }
        // One that does not fit into an empty queue will never fit.
        let mut was_empty = false;
        loop {
            if let Some(alone) = to.alone.as_ref().filter(|alone| alone.has_suspects()) {
                let _line = to.line.write().unwrap_or_else(PoisonError::into_inner);
                alone.clear_suspects(&to.producer);
            }
            let line = to.line.read().unwrap_or_else(PoisonError::into_inner);
            if self.shared.is_closed() {
                return Ok(());
            }
            let Err((error, refused)) = to.producer.send(record) else { break };
            drop(line);
            let code = error.rdkafka_error_code();
            let is_full = code == Some(RDKafkaErrorCode::QueueFull);
            if is_full && !was_empty {
                was_empty = to.producer.in_flight_count() == 0;
                record = refused;
                if !was_empty {
                    to.producer.poll(WAIT);
                }
                continue;
            }
            return match &to.alone {
                Some(alone) if is_full || code.is_some_and(is_of_record) => {
                    let _line = to.line.write().unwrap_or_else(PoisonError::into_inner);
                    alone.send_after(&to.producer, ticket, single(refused));
                    Ok(())
                }
                None if is_full => Err(SendError::Record(
                    "it is larger than what may be kept in memory to be written".to_owned(),
                )),
                _ => Err(send_error(&error, &to.topic, self.transactions.is_some())),
            };
        }
        if self.transactions.is_some() && self.shared.one_by_one.load(Ordering::Acquire) {
            while to.producer.in_flight_count() > 0 && !self.shared.is_closed() {
                to.producer.poll(WAIT);
            }
        }
        Ok(())
    }
}

/// A topic's own producer, what sends records one by one beside it, and the lock of both.
type OwnProducer = (Arc<ServedProducer<Deliveries>>, Arc<Alone>, Arc<RwLock<()>>);

fn own_producer(
    config: &ClientConfig,
    topic: &TargetTopic,
    acks: &Acks,
    shared: &Arc<Shared>,
) -> Result<OwnProducer, KafkaError> {
    let suspects = Arc::<Mutex<Vec<_>>>::default();
    let line = Arc::<RwLock<()>>::default();
    let alone = Alone::new(
        config.clone(),
        topic.name.clone(),
        acks.clone(),
        Arc::clone(shared),
        Arc::clone(&suspects),
    );
    let alone = Arc::new(alone);
    let context =
        Deliveries { acks: acks.clone(), transactional: false, shared: Arc::clone(shared), suspects };
    let (clearing, order) = (Arc::clone(&alone), Arc::clone(&line));
    let producer = ServedProducer::create(config, context, move |producer| {
        // Nobody else does it while nothing more is to be written.
        if clearing.has_suspects() {
            let _line = order.write().unwrap_or_else(PoisonError::into_inner);
            clearing.clear_suspects(producer);
        }
    })?;
    Ok((Arc::new(producer), alone, line))
}

fn single(record: BaseRecord<'_, [u8], [u8], usize>) -> Single<'_> {
    Single {
        partition: record.partition,
        key: record.key,
        value: record.payload,
        timestamp_ms: record.timestamp,
        headers: record.headers,
    }
}

/// What a record takes in the client's queue beside its bytes, at most.
const QUEUE_OVERHEAD_BYTES: u64 = 64 << 10;

/// The properties of a producer for topics that take so many bytes at once.
pub(in crate::kafka) fn producer_config(
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

fn owned_headers(headers: &[(String, Option<Vec<u8>>)], more: usize) -> OwnedHeaders {
    let start = OwnedHeaders::new_with_capacity(headers.len() + more);
    headers.iter().fold(start, |all, (key, value)| all.insert(Header { key, value: value.as_ref() }))
}

impl Sink for KafkaSink {
    fn write(&self, Outgoing { ticket, batch, record: output, origin }: Outgoing<'_>) -> Sent {
        let row = ticket.row;
        let (key, value) = match output {
            OutputRecord::Forward => (batch.key(row), batch.value(row)),
            OutputRecord::New { key, value, .. } => (key.as_deref(), value.as_deref()),
        };
        let mut record = record(&self.sink, ticket, origin, key, value);
        record.timestamp = batch.timestamp_ms(row);
        let headers = match output {
            OutputRecord::New { headers: Some(headers), .. } => headers,
            _ => batch.headers(row),
        };
        record.headers = (!headers.is_empty()).then(|| owned_headers(headers, 0));
        self.send(&self.sink, ticket, record)
    }

    fn dead_letter(&self, rejected: Rejected<'_>) -> Sent {
        let Rejected { ticket, batch, origin, error, .. } = rejected;
        let dlq = self.dlq.of(error.stage).as_ref().and_then(|name| self.dead_letters.get(name));
        let Some(dlq) = dlq else {
            let result = Err(SendError::Sink("there is no dead letter queue".to_owned()));
            self.acks.push(Ack::of(ticket, result));
            return Sent::Pending;
        };
        let row = ticket.row;
        let context = dead_letter::headers(&rejected, &self.group_id);
        let headers =
            context.iter().fold(owned_headers(batch.headers(row), context.len()), |all, (key, value)| {
                all.insert(Header { key, value: Some(value) })
            });
        let mut record = record(dlq, ticket, origin, batch.key(row), batch.value(row));
        record.timestamp = batch.timestamp_ms(row);
        record.headers = Some(headers);
        let reduced = self.shared.reduced.load(Ordering::Acquire);
        if reduced > 0 {
            (record.timestamp, record.headers) = dead_letter::reduced(reduced, record.headers.as_ref());
        }
        self.send(dlq, ticket, record)
    }

    fn commit(&self, offsets: &[(LaneName, i64)]) -> Result<(), TransactionError> {
        self.transactions.as_ref().map_or(Ok(()), |transactions| transactions.commit(offsets))
    }

    fn abort(&self) -> Result<(), TransactionError> {
        self.transactions.as_ref().map_or(Ok(()), Transactions::abort)
    }

    /// What is not acknowledged by now will be read and written again; waiting changes nothing. Once this returns,
    /// nothing more is handed to a client, whatever a thread was about to write.
    fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        for target in std::iter::once(&self.sink).chain(self.dead_letters.values()) {
            let _line = target.line.write().unwrap_or_else(PoisonError::into_inner);
            target.producer.purge(PurgeConfig::default().queue().inflight());
        }
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        self.close();
    }
}
