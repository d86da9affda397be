//! A topic of a producer: records in, without a look-up of the topic's name for each.

use std::any::Any;
use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_vtype_t as Tag;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

/// The partition of a record whose partition the client chooses (`RD_KAFKA_PARTITION_UA`).
const ANY_PARTITION: i32 = -1;

/// A topic of a producer.
pub(in crate::kafka) struct ProducerTopic {
    client: NonNull<sys::rd_kafka_t>,
    topic: NonNull<sys::rd_kafka_topic_t>,
    /// The producer, which must outlive the topic.
    _producer: Arc<dyn Any + Send + Sync>,
}

// SAFETY: librdkafka's topics may be used from any thread, and the handle has a single owner.
unsafe impl Send for ProducerTopic {}
// SAFETY: as above; producing is synchronised by librdkafka.
unsafe impl Sync for ProducerTopic {}

/// A record without headers.
#[derive(Debug, Clone, Copy)]
pub(in crate::kafka) struct Plain<'a> {
    /// The partition; `None` to let the client choose.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// The timestamp; `None` for the current time.
    pub timestamp_ms: Option<i64>,
    /// What the delivery report returns.
    pub opaque: usize,
}

impl ProducerTopic {
    /// Returns a topic of a producer, whose context takes words as opaque values. `None` if the name is invalid.
    pub(in crate::kafka) fn of<C>(producer: &Arc<BaseProducer<C>>, name: &str) -> Option<Self>
    where
        C: ProducerContext<DeliveryOpaque = usize> + 'static,
    {
        let name = CString::new(name).ok()?;
        let client = NonNull::new(producer.client().native_ptr())?;
        // SAFETY: the client is alive, the name is a C string, and the caller owns the returned handle.
        let topic = unsafe { sys::rd_kafka_topic_new(client.as_ptr(), name.as_ptr(), ptr::null_mut()) };
        let producer = Arc::clone(producer) as Arc<dyn Any + Send + Sync>;
        NonNull::new(topic).map(|topic| Self { client, topic, _producer: producer })
    }

    /// Passes a record to the client, which copies it.
    ///
    /// # Errors
    /// If the client does not take the record.
    pub(in crate::kafka) fn send(&self, record: Plain<'_>) -> Result<(), RDKafkaErrorCode> {
        let Plain { partition, key, value, timestamp_ms, opaque } = record;
        let (value, value_bytes) = parts(value);
        let (key, key_bytes) = parts(key);
        // SAFETY: the client and its topic are alive; each tag is followed by the arguments of the type that it stands
        // for; librdkafka copies key and value before the call returns.
        let error = unsafe {
            sys::rd_kafka_producev(
                self.client.as_ptr(),
                Tag::RD_KAFKA_VTYPE_RKT,
                self.topic.as_ptr(),
                Tag::RD_KAFKA_VTYPE_PARTITION,
                partition.unwrap_or(ANY_PARTITION),
                Tag::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY,
                Tag::RD_KAFKA_VTYPE_VALUE,
                value,
                value_bytes,
                Tag::RD_KAFKA_VTYPE_KEY,
                key,
                key_bytes,
                Tag::RD_KAFKA_VTYPE_OPAQUE,
                ptr::without_provenance_mut::<c_void>(opaque),
                Tag::RD_KAFKA_VTYPE_TIMESTAMP,
                timestamp_ms.unwrap_or(0),
                Tag::RD_KAFKA_VTYPE_END,
            )
        };
        match RDKafkaErrorCode::from(error) {
            RDKafkaErrorCode::NoError => Ok(()),
            error => Err(error),
        }
    }
}

impl Drop for ProducerTopic {
    fn drop(&mut self) {
        // SAFETY: the client is alive, and `self` owns the handle.
        unsafe { sys::rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}

/// Returns the start and the length of bytes; null for none.
fn parts(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}
