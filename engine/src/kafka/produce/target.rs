//! A topic to write to: its properties in; its producers, and what they must know of it, out.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rdkafka::ClientConfig;
use rdkafka::producer::Producer as _;

use super::alone::Alone;
use super::current::Current;
use super::deliveries::{Deliveries, Shared};
use super::served_producer::ServedProducer;
use crate::ids::LaneName;
use crate::kafka::KafkaError;
use crate::sink::Acks;

/// The properties of a topic to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetTopic {
    /// The name of the topic.
    pub name: String,
    /// The number of partitions.
    pub partitions: usize,
    /// The maximum size of a batch of records in bytes (`max.message.bytes`), if it is known.
    pub max_message_bytes: Option<u64>,
    /// True if the topic is compacted, so that records without a key are rejected.
    pub is_compacted: bool,
}

/// A topic to write to and its producer. Without transactions, each topic has a separate producer, because topics have
/// different limits on the size of a batch.
pub(super) struct Target {
    pub producer: Arc<Current>,
    /// Sends records one per request; `None` with transactions, which have a single producer.
    pub alone: Option<Arc<Alone>>,
    /// Locked for reading while a record is passed to the client, and for writing while no record may be.
    pub line: Arc<RwLock<()>>,
    pub topic: String,
    /// The maximum size of a record in bytes, if it is checked before the record is sent. With transactions, the limit
    /// of the shared producer may be that of another topic.
    pub max_bytes: Option<u64>,
    /// True if the topic is compacted, so that records without a key are rejected.
    pub is_compacted: bool,
    /// The number of partitions, if the source has as many. In that case records keep their partition.
    pub kept_partitions: Option<usize>,
}

impl Target {
    /// Returns the partition for a record; `None` if its key selects it.
    pub(super) fn partition(&self, origin: &LaneName) -> Option<i32> {
        // The source may have more partitions now than when the job started.
        let has = |count: usize| usize::try_from(origin.partition).is_ok_and(|partition| partition < count);
        self.kept_partitions.filter(|count| has(*count)).map(|_| origin.partition)
    }
}

/// The producer of a topic, the producer that sends its records one per request, and the lock of both.
type OwnProducer = (Arc<Current>, Arc<Alone>, Arc<RwLock<()>>);

pub(super) fn own_producer(
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
    let context = Deliveries {
        acks: acks.clone(),
        arrived: Mutex::default(),
        transactional: false,
        shared: Arc::clone(shared),
        suspects,
        is_retired: AtomicBool::new(false),
    };
    let (clearing, order) = (Arc::clone(&alone), Arc::clone(&line));
    let producer = ServedProducer::create(config, context, move |producer| {
        producer.context().flush();
        // If no more records are written, only this thread sends the suspects.
        if clearing.has_suspects() {
            let _line = order.write().unwrap_or_else(PoisonError::into_inner);
            clearing.clear_suspects(producer);
        }
    })?;
    Ok((Arc::new(Current::new(producer)), alone, line))
}
