//! Writes outputs and dead letters to topics. A record is acknowledged once all in-sync replicas have it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, Producer, PurgeConfig};

use super::config::producer_config;
use super::current::Current;
use super::deliveries::{Deliveries, Shared, is_of_record, pack, send_error, serve};
use super::record::{Parts, owned_headers, record, single, size};
use super::reduce::reduced;
use super::served_producer::{ServedProducer, WAIT};
use super::target::{Target, TargetTopic, own_producer};
use super::transaction::Transactions;
use crate::core::failure::ByStage;
use crate::dead_letter::{self, MOST_REDUCED};
use crate::failpoint::{Edge, Mutant, is_on, reach};
use crate::ids::LaneName;
use crate::kafka::ffi::producer_topic::Plain;
use crate::kafka::membership::Membership;
use crate::kafka::settings::readable;
use crate::kafka::{ClientSettings, KafkaError};
use crate::process::OutputRecord;
use crate::sink::{
    Ack, Acks, Outgoing, OutgoingRows, Rejected, SendError, Sent, Sink, Ticket, TransactionError,
};
use rdkafka::message::Header;

/// The maximum number of bytes that a record needs in the queue of the client in addition to its own bytes.
const QUEUE_OVERHEAD_BYTES: u64 = 64 << 10;

/// The options of a sink.
#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// The topic for outputs.
    pub sink: TargetTopic,
    /// The dead letter queue of each stage, if the stage has one.
    pub dlq: ByStage<Option<TargetTopic>>,
    /// The number of partitions of the source.
    pub source_partitions: usize,
    /// The group, which is written to the headers of dead letters.
    pub group_id: String,
    /// The maximum time for which a record waits to be sent together with others.
    pub linger: Duration,
    /// The maximum number of unacknowledged bytes of each producer.
    pub queue_bytes: u64,
    /// The options of transactions; `None` if records are written without transactions.
    pub transactions: Option<TransactionOptions>,
}

/// The options of transactions.
#[derive(Debug, Clone)]
pub struct TransactionOptions {
    /// The transactional id. An earlier producer with the same id can no longer write.
    pub id: String,
    /// The group member whose offsets are committed in the transactions.
    pub membership: Membership,
}

/// A sink that writes to topics.
pub struct KafkaSink {
    acks: Acks,
    sink: Target,
    /// The dead letter queues by topic.
    dead_letters: BTreeMap<String, Target>,
    /// The topic of the dead letter queue of each stage.
    dlq: ByStage<Option<String>>,
    transactions: Option<Transactions>,
    group_id: String,
    properties: BTreeMap<String, String>,
    shared: Arc<Shared>,
}

impl KafkaSink {
    /// Creates the producers for these topics. They push acknowledgements to `acks`.
    ///
    /// # Errors
    /// If a client property is invalid or transactions cannot be initialised.
    pub fn connect(settings: &ClientSettings, options: SinkOptions, acks: Acks) -> Result<Self, KafkaError> {
        let SinkOptions { sink, dlq, source_partitions, group_id, linger, queue_bytes, transactions } =
            options;
        let shared = Arc::<Shared>::default();
        let dlq_names = dlq.each_ref().map(|topic| topic.as_ref().map(|topic| topic.name.clone()));
        let queues: BTreeMap<_, _> =
            dlq.into_iter().flatten().map(|topic| (topic.name.clone(), topic)).collect();
        let topics = || std::iter::once(&sink).chain(queues.values());
        let most = |topic: &TargetTopic| topic.max_message_bytes;
        // The queue must have space for the largest record that a topic accepts.
        let largest = topics().filter_map(most).max();
        let queue = (linger, queue_bytes.max(largest.unwrap_or(0) + QUEUE_OVERHEAD_BYTES));
        let transactional_id = transactions.as_ref().map(|transactions| transactions.id.as_str());
        let properties = producer_config(settings, queue, topics().filter_map(most), transactional_id);
        let (to_acks, of_sink) = (acks.clone(), Arc::clone(&shared));
        let config = properties.clone();
        let create = move || {
            let context = Deliveries {
                acks: to_acks.clone(),
                arrived: Mutex::default(),
                transactional: true,
                shared: Arc::clone(&of_sink),
                suspects: Arc::default(),
                is_retired: AtomicBool::new(false),
            };
            ServedProducer::create(&config, context, |producer| producer.context().flush())
        };
        let first = transactional_id.map(|_| create()).transpose()?;
        let of_transactions = first.map(|producer| Arc::new(Current::new(producer)));
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
                // With compression, the size of the compressed record is not known here.
                max_bytes: most(topic).filter(|_| of_transactions.is_some() && !compresses),
                is_compacted: topic.is_compacted,
                kept_partitions: Some(topic.partitions).filter(|count| *count == source_partitions),
                topic: topic.name.clone(),
            })
        };
        let queues = queues.iter().map(|(name, topic)| Ok((name.clone(), target(topic)?)));
        let queues = queues.collect::<Result<BTreeMap<_, _>, KafkaError>>()?;
        let sink = target(&sink)?;
        let begin = |TransactionOptions { membership, .. }| {
            let producer = Arc::clone(&sink.producer);
            Transactions::init(producer, Box::new(create), membership, Arc::clone(&shared), acks.clone())
        };
        let transactions = transactions.map(begin).transpose()?;
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

    /// Returns the effective client properties with masked secrets.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// Sends a record. Blocks while the queue of the client is full, which is the back-pressure of the sink.
    fn send(&self, to: &Target, ticket: Ticket, record: BaseRecord<'_, [u8], [u8], usize>) -> Sent {
        if let Err(error) = self.try_send(to, ticket, record) {
            self.acks.push(Ack::of(ticket, Err(error)));
        }
        Sent::Pending
    }

    /// Passes records to the client for as long as it takes them and nothing else is to be done, without taking the locks
    /// for each. Returns the first other one, with its row.
    fn pass<'a>(
        &self,
        outgoing: &OutgoingRows<'a>,
        rows: &mut impl Iterator<Item = (u32, OutputRecord<'a>)>,
    ) -> Option<(u32, OutputRecord<'a>)> {
        let OutgoingRows { id, batch, origin, is_open, .. } = *outgoing;
        let to = &self.sink;
        // The first record begins the transaction.
        let is_begun = self.transactions.as_ref().is_none_or(Transactions::is_open);
        let one_by_one = self.transactions.is_some() && self.shared.one_by_one.load(Ordering::Acquire);
        let is_simple = is_begun && !one_by_one && to.max_bytes.is_none();
        let producer = to.producer.read();
        let Some(topic) = is_simple.then(|| producer.topic(&to.topic)).flatten() else {
            return rows.next();
        };
        let _line = to.line.read().unwrap_or_else(PoisonError::into_inner);
        for (row, output) in rows {
            let Parts { key, value, headers } = Parts::of(batch, row, output);
            let is_free = is_open()
                && !self.shared.is_closed()
                && to.alone.as_ref().is_none_or(|alone| !alone.has_suspects());
            if !is_free || !headers.is_empty() || to.is_compacted && key.is_none() {
                return Some((row, output));
            }
            let ticket = Ticket { batch: id, row, dead_letter: false };
            let record = Plain {
                partition: to.partition(origin),
                key,
                value,
                timestamp_ms: batch.timestamp_ms(row),
                opaque: pack(ticket),
            };
            if topic.send(record).is_err() {
                return Some((row, output));
            }
            reach(Edge::RecordSent);
        }
        None
    }

    fn try_send(
        &self,
        to: &Target,
        ticket: Ticket,
        mut record: BaseRecord<'_, [u8], [u8], usize>,
    ) -> Result<(), SendError> {
        if to.is_compacted && record.key.is_none() {
            let reason =
                format!("topic {} is compacted (cleanup.policy) and rejects records without a key", to.topic);
            return Err(SendError::Record(reason));
        }
        // If only the added headers make a dead letter too large, it is written without them.
        let mut reduction = 0;
        while ticket.dead_letter
            && reduction < MOST_REDUCED
            && to.max_bytes.is_some_and(|most| size(&record) > most)
        {
            reduction += 1;
            (record.timestamp, record.headers) = reduced(reduction, record.headers.as_ref());
        }
        if let Some(most) = to.max_bytes.filter(|most| size(&record) > *most) {
            let topic = &to.topic;
            let reason = format!(
                "the record exceeds max.message.bytes of topic {topic} ({most} bytes); with \
                 -X compression.type=zstd it may fit"
            );
            return Err(SendError::Record(reason));
        }
        if self.shared.is_closed() {
            return Ok(());
        }
        self.transactions.as_ref().map_or(Ok(()), Transactions::begin)?;
        let producer = to.producer.read();
        // A record that does not fit into an empty queue is rejected.
        let mut was_empty = false;
        loop {
            if let Some(alone) = to.alone.as_ref().filter(|alone| alone.has_suspects()) {
                let _line = to.line.write().unwrap_or_else(PoisonError::into_inner);
                alone.clear_suspects(&producer);
            }
            let line = to.line.read().unwrap_or_else(PoisonError::into_inner);
            if self.shared.is_closed() {
                return Ok(());
            }
            let Err((error, refused)) = producer.send(record) else {
                reach(Edge::RecordSent);
                break;
            };
            drop(line);
            let code = error.rdkafka_error_code();
            let is_full = code == Some(RDKafkaErrorCode::QueueFull);
            if is_full && !was_empty {
                was_empty = producer.in_flight_count() == 0;
                record = refused;
                if !was_empty {
                    serve(&producer, WAIT);
                }
                continue;
            }
            return match &to.alone {
                Some(alone) if is_full || code.is_some_and(is_of_record) => {
                    let _line = to.line.write().unwrap_or_else(PoisonError::into_inner);
                    alone.send_after(&producer, ticket, single(refused));
                    Ok(())
                }
                None if is_full => Err(SendError::Record(
                    "the record is larger than the producer queue (queue.buffering.max.kbytes)".to_owned(),
                )),
                _ => Err(send_error(&error, &to.topic, self.transactions.is_some())),
            };
        }
        if self.transactions.is_some() && self.shared.one_by_one.load(Ordering::Acquire) {
            while producer.in_flight_count() > 0 && !self.shared.is_closed() {
                serve(&producer, WAIT);
            }
        }
        Ok(())
    }
}

impl Sink for KafkaSink {
    fn write(&self, Outgoing { ticket, batch, record: output, origin }: Outgoing<'_>) -> Sent {
        let row = ticket.row;
        let Parts { key, value, headers } = Parts::of(batch, row, output);
        let mut record = record(&self.sink, ticket, origin, key, value);
        record.timestamp = batch.timestamp_ms(row);
        record.headers = (!headers.is_empty()).then(|| owned_headers(headers, 0));
        self.send(&self.sink, ticket, record)
    }

    fn write_rows(&self, outgoing: OutgoingRows<'_>, _: &mut Vec<Ack>) {
        let mut rows = outgoing.output.of_rows(outgoing.rows.clone());
        while let Some((row, record)) = self.pass(&outgoing, &mut rows) {
            let OutgoingRows { id, batch, origin, is_open, .. } = outgoing;
            if !is_open() {
                return;
            }
            let ticket = Ticket { batch: id, row, dead_letter: false };
            self.write(Outgoing { ticket, batch, record, origin });
        }
    }

    fn dead_letter(&self, rejected: Rejected<'_>) -> Sent {
        let Rejected { ticket, batch, origin, error, .. } = rejected;
        let dlq = self.dlq.of(error.stage).as_ref().and_then(|name| self.dead_letters.get(name));
        let Some(dlq) = dlq else {
            let result = Err(SendError::Sink("no dead letter queue is set for this stage".to_owned()));
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
        if is_on(Mutant::DeadLetterChanged) {
            record.payload = record.payload.map(|value| &value[..value.len() / 2]);
        }
        let reduction = self.shared.reduced.load(Ordering::Acquire);
        if reduction > 0 {
            (record.timestamp, record.headers) = reduced(reduction, record.headers.as_ref());
        }
        self.send(dlq, ticket, record)
    }

    fn commit(&self, offsets: &[(LaneName, i64)]) -> Result<(), TransactionError> {
        self.transactions.as_ref().map_or(Ok(()), |transactions| transactions.commit(offsets))
    }

    fn abort(&self) -> Result<(), TransactionError> {
        self.transactions.as_ref().map_or(Ok(()), Transactions::abort)
    }

    fn unacknowledged(&self) -> usize {
        // With transactions, all targets have the same producer.
        let others = self.dead_letters.values().filter(|_| self.transactions.is_none());
        let targets = std::iter::once(&self.sink).chain(others);
        targets.map(|target| usize::try_from(target.producer.read().in_flight_count()).unwrap_or(0)).sum()
    }

    fn is_waiting(&self) -> bool {
        self.shared.is_replacing.load(Ordering::Acquire)
    }

    /// Purges all unacknowledged records, which will be read and written again. After this call, no thread passes a
    /// record to a client.
    fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        for target in std::iter::once(&self.sink).chain(self.dead_letters.values()) {
            // In the order in which writers take them.
            let producer = target.producer.get();
            let _line = target.line.write().unwrap_or_else(PoisonError::into_inner);
            producer.purge(PurgeConfig::default().queue().inflight());
        }
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        self.close();
    }
}
