//! The only `unsafe` code of the project: partition queues, batches of messages, the request log of the embedded
//! broker.
//!
//! rust-rdkafka wraps neither `rd_kafka_consume_batch_queue` (the Buffered tier) nor the request tracking of the mock
//! cluster. The wrappers here are sound for these reasons:
//!
//! - A [`WatchedQueue`] keeps its client alive, because a queue handle must not outlive it.
//! - A message that librdkafka returns is owned by its receiver until it is destroyed. [`Messages`] destroys its
//!   messages on drop, so neither a panic nor an early return leaks one. Slices into a message borrow the message.
//! - The callback of a queue gets a pointer to a shared `OnReady`, which is dropped after the callback is removed.
//!   librdkafka calls and removes the callback under the lock of the queue.
#![allow(unsafe_code)]

pub(super) mod admin;
pub(super) mod producer_topic;
pub(super) mod watched_queue;

use std::ffi::{CStr, CString, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, Producer};
use watched_queue::WatchedQueue;

use crate::batch::Headers;
use crate::ids::LaneName;

/// The queue of a partition, split from the queue of the consumer.
pub(super) struct PartitionQueue(WatchedQueue);

impl PartitionQueue {
    /// Splits off the queue of a partition. When the queue becomes non-empty, a thread of the client calls `on_ready`.
    ///
    /// Must be called before the partition is assigned: messages that are fetched earlier stay in the queue of the
    /// consumer.
    pub(super) fn split<C>(
        consumer: &Arc<BaseConsumer<C>>,
        topic: &str,
        partition: i32,
        on_ready: impl Fn() + Send + Sync + 'static,
    ) -> Option<Self>
    where
        C: ConsumerContext + 'static,
    {
        let topic = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive, the topic is a C string, and the caller owns the returned handle.
        let queue = unsafe { sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition) };
        let queue = NonNull::new(queue)?;
        // SAFETY: the queue is alive; a null target removes the forwarding.
        unsafe { sys::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut()) };
        // SAFETY: the handle is that of above, and the consumer owns the client.
        Some(Self(unsafe { WatchedQueue::watch(queue, Arc::clone(consumer) as _, on_ready) }))
    }

    /// Takes one queued message, if there is one. `messages` is cleared first.
    pub(super) fn pop(&mut self, messages: &mut Messages) {
        // SAFETY: the queue is alive, and the caller owns the returned message.
        let message = unsafe { sys::rd_kafka_consume_queue(self.0.as_ptr(), 0) };
        messages.fill_with(|slots| {
            slots[0] = message;
            usize::from(!message.is_null())
        });
    }

    /// Takes up to `most` queued messages with one call. `messages` is cleared first.
    pub(super) fn pop_batch(&mut self, most: usize, messages: &mut Messages) {
        messages.reserve(most);
        messages.fill_with(|slots| {
            let most = most.min(slots.len());
            // SAFETY: the queue is alive and `slots` has room for `most` pointers.
            let count =
                unsafe { sys::rd_kafka_consume_batch_queue(self.0.as_ptr(), 0, slots.as_mut_ptr(), most) };
            usize::try_from(count).unwrap_or(0)
        });
    }
}

/// Begins a commit. Its result arrives in the consumer's queue as an event that a poll serves.
///
/// The asynchronous commit of rust-rdkafka requests no reply, so its result is never reported.
pub(super) fn commit_async<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> Result<(), RDKafkaErrorCode> {
    let client = consumer.client().native_ptr();
    // SAFETY: client and list are alive, librdkafka copies the list, the reply keeps its own reference to the
    // queue, and the caller owns the queue's handle.
    let error = unsafe {
        let queue = sys::rd_kafka_queue_get_consumer(client);
        let error = sys::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, ptr::null_mut());
        sys::rd_kafka_queue_destroy(queue);
        error
    };
    match RDKafkaErrorCode::from(error) {
        RDKafkaErrorCode::NoError => Ok(()),
        error => Err(error),
    }
}

/// Returns the number of events in the consumer's queue. Each poll serves one of them.
pub(super) fn waiting_events<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> usize {
    // SAFETY: the client is alive, and the caller owns the queue's handle.
    unsafe {
        let queue = sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        let waiting = sys::rd_kafka_queue_length(queue);
        sys::rd_kafka_queue_destroy(queue);
        waiting
    }
}

/// Returns true if the consumer has a member id, which it has from joining its group until leaving.
pub(super) fn is_member<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> bool {
    // SAFETY: the client is alive; the id is a C string that the caller owns and frees with its allocator.
    unsafe {
        let client = consumer.client().native_ptr();
        let id = sys::rd_kafka_memberid(client);
        let is_member = !id.is_null() && *id != 0;
        sys::rd_kafka_mem_free(client, id.cast());
        is_member
    }
}

/// Returns the number of the generation of the group that the consumer has joined last; negative if the group has
/// removed the consumer.
pub(super) fn generation_id<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> i32 {
    // SAFETY: the client is alive, and the caller owns the returned metadata.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return -1;
        }
        let id = sys::rd_kafka_consumer_group_metadata_generation_id(metadata);
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        id
    }
}

/// Returns the id of the controller as known from earlier metadata; negative if it is unknown.
pub(super) fn controller_id<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> i32 {
    // SAFETY: the client is alive, and with a time-out of 0 the call only reads cached metadata.
    unsafe { sys::rd_kafka_controllerid(consumer.client().native_ptr(), 0) }
}

/// Returns the offset after the newest record of a partition, as of the last fetch.
pub(super) fn known_end<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    LaneName { topic, partition }: &LaneName,
) -> Option<i64> {
    let topic = CString::new(&**topic).ok()?;
    let (mut low, mut high) = (0, 0);
    // SAFETY: the client is alive, the topic is a C string, and both offsets are written on success.
    let error = unsafe {
        let client = consumer.client().native_ptr();
        sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), *partition, &raw mut low, &raw mut high)
    };
    // The offset is negative before the first fetch.
    (RDKafkaErrorCode::from(error) == RDKafkaErrorCode::NoError && high >= 0).then_some(high)
}

/// Returns the timestamp of a record whose delivery failed, in milliseconds since the epoch.
///
/// librdkafka returns the timestamp only of messages without an error. The timestamp of a failed record is needed to
/// send the record again unchanged.
pub(super) fn timestamp_of_failed(message: &BorrowedMessage<'_>) -> Option<i64> {
    let raw = message.ptr();
    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is that of a delivery report, which one thread owns until its callback returns: no other
    // code reads the error while it is replaced, and the error is restored.
    let timestamp = unsafe {
        let error = std::mem::replace(&mut (*raw).err, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        let timestamp = sys::rd_kafka_message_timestamp(raw, &raw mut kind);
        (*raw).err = error;
        timestamp
    };
    (timestamp >= 0).then_some(timestamp)
}

/// Messages that were taken from a queue. Clearing or dropping the value destroys them.
#[derive(Default)]
pub(super) struct Messages {
    slots: Vec<*mut sys::rd_kafka_message_t>,
    /// The slots before this one have been destroyed.
    next: usize,
    filled: usize,
}

// SAFETY: the messages are owned, and librdkafka lets any thread destroy them.
unsafe impl Send for Messages {}

impl Messages {
    fn reserve(&mut self, slots: usize) {
        if self.slots.len() < slots {
            self.slots.resize(slots, ptr::null_mut());
        }
    }

    fn fill_with(&mut self, fill: impl FnOnce(&mut [*mut sys::rd_kafka_message_t]) -> usize) {
        self.clear();
        self.reserve(1);
        self.filled = fill(&mut self.slots);
    }

    /// Returns the number of messages that are left.
    pub(super) fn len(&self) -> usize {
        self.filled - self.next
    }

    /// Returns the messages that are left, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: the slots from `next` to `filled` hold messages that live as long as `self` is borrowed.
        self.slots[self.next..self.filled].iter().map(|message| Message { raw: unsafe { &**message } })
    }

    /// Returns the first message that is left.
    pub(super) fn first(&self) -> Option<Message<'_>> {
        self.iter().next()
    }

    /// Destroys the first message that is left.
    pub(super) fn drop_first(&mut self) {
        if let Some(message) = self.slots[..self.filled].get(self.next) {
            self.next += 1;
            // SAFETY: `self` owns the message and destroys it once, because `next` is already after it.
            unsafe { sys::rd_kafka_message_destroy(*message) };
        }
    }

    /// Destroys all messages.
    pub(super) fn clear(&mut self) {
        while self.len() > 0 {
            self.drop_first();
        }
        (self.next, self.filled) = (0, 0);
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A message, or an error in place of a message.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    raw: &'a sys::rd_kafka_message_t,
}

impl<'a> Message<'a> {
    /// Returns the error that is in place of the message.
    pub(super) fn error(self) -> Option<RDKafkaErrorCode> {
        let error = self.raw.err;
        (error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
    }

    pub(super) fn offset(self) -> i64 {
        self.raw.offset
    }

    pub(super) fn key(&self) -> Option<&'a [u8]> {
        bytes(self.raw.key, self.raw.key_len, PhantomData)
    }

    /// Returns the value; for an error, its description.
    pub(super) fn value(&self) -> Option<&'a [u8]> {
        bytes(self.raw.payload, self.raw.len, PhantomData)
    }

    /// Returns the number of bytes of key and value.
    pub(super) fn payload_bytes(self) -> u64 {
        (self.raw.key_len + self.raw.len) as u64
    }

    pub(super) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive and `kind` is writable.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.raw, &raw mut kind) };
        (timestamp >= 0).then_some(timestamp)
    }

    /// Returns a copy of the headers, if there are any.
    pub(super) fn headers(&self) -> Option<Headers> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive and owns the returned headers.
        let error = unsafe { sys::rd_kafka_message_headers(self.raw, &raw mut headers) };
        if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let mut copies = Headers::new();
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the headers live as long as the message; name and value are written on success.
        while unsafe {
            sys::rd_kafka_header_get_all(headers, copies.len(), &raw mut name, &raw mut value, &raw mut size)
        } == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            // SAFETY: names are C strings, and live as long as the message.
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
            let value = bytes(value.cast_mut(), size, PhantomData).map(<[u8]>::to_vec);
            copies.push((name, value));
        }
        Some(copies)
    }
}

/// Returns bytes that live as long as the owner that `_owner` represents; `None` for null.
fn bytes(start: *mut c_void, length: usize, _owner: PhantomData<&()>) -> Option<&[u8]> {
    let start = NonNull::new(start)?.cast::<u8>();
    // SAFETY: librdkafka's pairs of pointer and length are initialised memory of the message.
    Some(unsafe { slice::from_raw_parts(start.as_ptr(), length) })
}

/// The mock cluster of librdkafka and the client in which it runs.
pub(super) struct MockCluster {
    cluster: NonNull<sys::rd_kafka_mock_cluster_t>,
    /// The client, which must outlive the cluster.
    _client: BaseProducer,
}

// SAFETY: the mock cluster accepts calls from any thread and has its own lock.
unsafe impl Send for MockCluster {}
// SAFETY: as above.
unsafe impl Sync for MockCluster {}

impl MockCluster {
    pub(super) fn start(client: BaseProducer, brokers: i32) -> Option<Self> {
        // SAFETY: the client is alive; the caller owns the returned cluster and destroys it before the client.
        let cluster = unsafe { sys::rd_kafka_mock_cluster_new(client.client().native_ptr(), brokers) };
        let cluster = NonNull::new(cluster)?;
        // SAFETY: the cluster is alive.
        unsafe {
            sys::rd_kafka_mock_start_request_tracking(cluster.as_ptr());
            // A group of one member does not need to wait three seconds for a second member.
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster.as_ptr(), 0);
        }
        Some(Self { cluster, _client: client })
    }

    pub(super) fn bootstrap_servers(&self) -> String {
        // SAFETY: the cluster is alive and the C string belongs to it.
        let servers = unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(self.cluster.as_ptr())) };
        servers.to_string_lossy().into_owned()
    }

    pub(super) fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), String> {
        let topic = CString::new(topic).map_err(|error| error.to_string())?;
        // SAFETY: the cluster is alive and the topic is a C string.
        let error =
            unsafe { sys::rd_kafka_mock_topic_create(self.cluster.as_ptr(), topic.as_ptr(), partitions, 1) };
        match RDKafkaErrorCode::from(error) {
            RDKafkaErrorCode::NoError => Ok(()),
            error => Err(error.to_string()),
        }
    }

    /// Makes the next requests with this API key fail with these codes, one code per request.
    pub(super) fn fail_requests(&self, api_key: i16, codes: &[i32]) {
        // SAFETY: the cluster is alive. The codes are read and copied as C integers, so they need not be ones that the
        // client knows.
        unsafe {
            sys::rd_kafka_mock_push_request_errors_array(
                self.cluster.as_ptr(),
                api_key,
                codes.len(),
                codes.as_ptr().cast::<sys::rd_kafka_resp_err_t>(),
            );
        }
    }

    /// Returns the API keys of all requests so far.
    pub(super) fn request_api_keys(&self) -> Vec<i16> {
        let mut count = 0;
        // SAFETY: the cluster is alive; the returned array has `count` requests and is owned by the caller.
        unsafe {
            let requests = sys::rd_kafka_mock_get_requests(self.cluster.as_ptr(), &raw mut count);
            if requests.is_null() {
                return Vec::new();
            }
            let keys = slice::from_raw_parts(requests, count)
                .iter()
                .map(|request| sys::rd_kafka_mock_request_api_key(*request))
                .collect();
            sys::rd_kafka_mock_request_destroy_array(requests, count);
            keys
        }
    }
}

impl Drop for MockCluster {
    fn drop(&mut self) {
        // SAFETY: `self` owns the cluster, and the client is dropped after it.
        unsafe { sys::rd_kafka_mock_cluster_destroy(self.cluster.as_ptr()) };
    }
}
