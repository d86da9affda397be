//! The only `unsafe` of the project: partition queues, batches of messages, the embedded broker's log.
//!
//! rust-rdkafka wraps neither `rd_kafka_consume_batch_queue` (the Buffered tier) nor the mock
//! cluster's request tracking. What is wrapped here holds by these arguments:
//!
//! - A [`PartitionQueue`] keeps its consumer alive: queue handles must not outlive their client.
//! - A message that librdkafka hands over is ours alone until it is destroyed, which [`Messages`]
//!   does on drop, so neither a panic nor an early return leaks one. Slices into a message borrow it.
//! - The callback of a queue gets a pointer to a shared [`Waker`] that is dropped after the callback
//!   has been removed; librdkafka calls it under the queue's lock, and removes it under the same.
#![allow(unsafe_code)]

pub(super) mod admin;

use std::any::Any;
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

use crate::batch::Headers;
use crate::ids::LaneName;
use crate::waker::Waker;

/// A partition's own queue, split from the consumer's.
pub(super) struct PartitionQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// What the queue's callback points to.
    _waker: Arc<Waker>,
    /// The consumer, which must outlive the queue.
    _consumer: Arc<dyn Any + Send + Sync>,
}

// SAFETY: librdkafka's queues may be used from any thread; this one has a single owner.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// Splits a partition's queue off and has it wake `waker` when it stops being empty.
    ///
    /// Must be called before the partition is assigned: what is fetched earlier stays in the
    /// consumer's queue.
    pub fn split<C>(
        consumer: &Arc<BaseConsumer<C>>,
        topic: &str,
        partition: i32,
        waker: &Waker,
    ) -> Option<Self>
    where
        C: ConsumerContext + 'static,
    {
        let topic = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive, the topic is a C string, and the handle returned is ours.
        let queue = unsafe { sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition) };
        let queue = NonNull::new(queue)?;
        let waker = Arc::new(waker.clone());
        let opaque = Arc::as_ptr(&waker).cast_mut().cast::<c_void>();
        // SAFETY: a null target takes the forwarding off; the waker outlives the callback (see `drop`).
        unsafe {
            sys::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(wake), opaque);
        }
        Some(Self { queue, _waker: waker, _consumer: Arc::clone(consumer) as Arc<dyn Any + Send + Sync> })
    }

    /// Takes one message that is here, into an empty `messages`.
    pub fn pop(&mut self, messages: &mut Messages) {
        // SAFETY: the queue is alive; a message returned is ours to destroy.
        let message = unsafe { sys::rd_kafka_consume_queue(self.queue.as_ptr(), 0) };
        messages.fill_with(|slots| {
            slots[0] = message;
            usize::from(!message.is_null())
        });
    }

    /// Takes up to `most` messages that are here, with one call, into an empty `messages`.
    pub fn pop_batch(&mut self, most: usize, messages: &mut Messages) {
        messages.reserve(most);
        messages.fill_with(|slots| {
            let most = most.min(slots.len());
            // SAFETY: the queue is alive and `slots` has room for `most` pointers.
            let count = unsafe {
                sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, slots.as_mut_ptr(), most)
            };
            usize::try_from(count).unwrap_or(0)
        });
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: the callback is gone before its waker is dropped, and the handle is ours.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

unsafe extern "C" fn wake(_: *mut sys::rd_kafka_t, waker: *mut c_void) {
    // SAFETY: `waker` is the shared waker of the queue, which outlives the callback.
    unsafe { &*waker.cast::<Waker>() }.wake();
}

/// Begins a commit whose end comes to the consumer's queue, as an event that its poll serves.
///
/// The wrapper's own asynchronous commit asks for no reply, so nobody ever learns how it ended.
pub(super) fn commit_async<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> Result<(), RDKafkaErrorCode> {
    let client = consumer.client().native_ptr();
    // SAFETY: client and list are alive, librdkafka copies the list, and the reply holds a reference
    // of its own to the queue, whose handle is ours to destroy.
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

/// How many events wait for the consumer's poll, which serves one of them each time.
pub(super) fn waiting_events<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> usize {
    // SAFETY: the client is alive, and the queue's handle is ours to destroy.
    unsafe {
        let queue = sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        let waiting = sys::rd_kafka_queue_length(queue);
        sys::rd_kafka_queue_destroy(queue);
        waiting
    }
}

/// Whether the consumer has a member's id: from when its group gives it one until it leaves.
pub(super) fn is_member<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> bool {
    // SAFETY: the client is alive; the id is a C string of our own, which its allocator takes back.
    unsafe {
        let client = consumer.client().native_ptr();
        let id = sys::rd_kafka_memberid(client);
        let is_member = !id.is_null() && *id != 0;
        sys::rd_kafka_mem_free(client, id.cast());
        is_member
    }
}

/// Which broker is the controller, as far as the brokers have said by now.
pub(super) fn controller_id<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> i32 {
    // SAFETY: the client is alive, and without a time-out the call only looks at what is known.
    unsafe { sys::rd_kafka_controllerid(consumer.client().native_ptr(), 0) }
}

/// The offset behind the newest record of a partition, as the last fetch has shown it.
pub(super) fn known_end<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    LaneName { topic, partition }: &LaneName,
) -> Option<i64> {
    let topic = CString::new(&**topic).ok()?;
    let (mut low, mut high) = (0, 0);
    // SAFETY: the client is alive, the topic is a C string, and both offsets are written to on success.
    let error = unsafe {
        let client = consumer.client().native_ptr();
        sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), *partition, &raw mut low, &raw mut high)
    };
    // Before the first fetch it is negative.
    (RDKafkaErrorCode::from(error) == RDKafkaErrorCode::NoError && high >= 0).then_some(high)
}

/// The time that a record was produced with which has failed, in milliseconds since the epoch.
///
/// librdkafka gives the time of messages without an error only; the one of a failed record is needed to send it again
/// as it was.
pub(super) fn timestamp_of_failed(message: &BorrowedMessage<'_>) -> Option<i64> {
    let raw = message.ptr();
    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is that of a delivery report, which belongs to the callback that has it until the callback
    // returns, on one thread: nobody else reads the error while it is not there, and it is put back.
    let timestamp = unsafe {
        let error = std::mem::replace(&mut (*raw).err, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        let timestamp = sys::rd_kafka_message_timestamp(raw, &raw mut kind);
        (*raw).err = error;
        timestamp
    };
    (timestamp >= 0).then_some(timestamp)
}

/// Messages that were taken from a queue. They are destroyed when this is cleared or dropped.
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

    /// How many are left.
    pub fn len(&self) -> usize {
        self.filled - self.next
    }

    /// Those that are left, in order.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: the slots from `next` to `filled` hold messages that live as long as `self` is borrowed.
        self.slots[self.next..self.filled].iter().map(|message| Message { raw: unsafe { &**message } })
    }

    /// The first of those that are left.
    pub fn first(&self) -> Option<Message<'_>> {
        self.iter().next()
    }

    /// Destroys the first of those that are left.
    pub fn drop_first(&mut self) {
        if let Some(message) = self.slots[..self.filled].get(self.next) {
            self.next += 1;
            // SAFETY: it was handed over to us and is destroyed once: `next` is behind it by now.
            unsafe { sys::rd_kafka_message_destroy(*message) };
        }
    }

    /// Destroys the messages.
    pub fn clear(&mut self) {
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

/// A message, or an error in a message's place.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    raw: &'a sys::rd_kafka_message_t,
}

impl<'a> Message<'a> {
    /// The error that stands in the message's place.
    pub fn error(self) -> Option<RDKafkaErrorCode> {
        let error = self.raw.err;
        (error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
    }

    pub fn offset(self) -> i64 {
        self.raw.offset
    }

    pub fn key(&self) -> Option<&'a [u8]> {
        bytes(self.raw.key, self.raw.key_len, PhantomData)
    }

    /// The value; for an error its description.
    pub fn value(&self) -> Option<&'a [u8]> {
        bytes(self.raw.payload, self.raw.len, PhantomData)
    }

    /// Bytes of key and value.
    pub fn payload_bytes(self) -> u64 {
        (self.raw.key_len + self.raw.len) as u64
    }

    pub fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive and `kind` is written to.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.raw, &raw mut kind) };
        (timestamp >= 0).then_some(timestamp)
    }

    /// A copy of the headers, if there are any.
    pub fn headers(&self) -> Option<Headers> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive; the headers returned belong to it.
        let error = unsafe { sys::rd_kafka_message_headers(self.raw, &raw mut headers) };
        if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let mut copies = Headers::new();
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the headers live as long as the message; name and value are written to on success.
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

/// Bytes that live as long as what `owner` stands for; `None` for null.
fn bytes(start: *mut c_void, length: usize, _owner: PhantomData<&()>) -> Option<&[u8]> {
    let start = NonNull::new(start)?.cast::<u8>();
    // SAFETY: librdkafka's pairs of pointer and length describe initialised memory of the message.
    Some(unsafe { slice::from_raw_parts(start.as_ptr(), length) })
}

/// librdkafka's mock cluster and the client that it runs in.
pub(super) struct MockCluster {
    cluster: NonNull<sys::rd_kafka_mock_cluster_t>,
    /// The client, which must outlive the cluster.
    _client: BaseProducer,
}

// SAFETY: the mock cluster takes its calls from any thread, under a lock of its own.
unsafe impl Send for MockCluster {}
// SAFETY: as above.
unsafe impl Sync for MockCluster {}

impl MockCluster {
    pub fn start(client: BaseProducer, brokers: i32) -> Option<Self> {
        // SAFETY: the client is alive; the cluster returned is ours to destroy before it.
        let cluster = unsafe { sys::rd_kafka_mock_cluster_new(client.client().native_ptr(), brokers) };
        let cluster = NonNull::new(cluster)?;
        // SAFETY: the cluster is alive.
        unsafe {
            sys::rd_kafka_mock_start_request_tracking(cluster.as_ptr());
            // Groups of one member need not wait three seconds for a second one.
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster.as_ptr(), 0);
        }
        Some(Self { cluster, _client: client })
    }

    pub fn bootstrap_servers(&self) -> String {
        // SAFETY: the cluster is alive and the C string belongs to it.
        let servers = unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(self.cluster.as_ptr())) };
        servers.to_string_lossy().into_owned()
    }

    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), String> {
        let topic = CString::new(topic).map_err(|error| error.to_string())?;
        // SAFETY: the cluster is alive and the topic is a C string.
        let error =
            unsafe { sys::rd_kafka_mock_topic_create(self.cluster.as_ptr(), topic.as_ptr(), partitions, 1) };
        match RDKafkaErrorCode::from(error) {
            RDKafkaErrorCode::NoError => Ok(()),
            error => Err(error.to_string()),
        }
    }

    /// Has the next requests of a kind fail with these codes, one after the other.
    pub fn fail_requests(&self, api_key: i16, codes: &[sys::rd_kafka_resp_err_t]) {
        // SAFETY: the cluster is alive, and the codes are copied.
        unsafe {
            sys::rd_kafka_mock_push_request_errors_array(
                self.cluster.as_ptr(),
                api_key,
                codes.len(),
                codes.as_ptr(),
            );
        }
    }

    /// The API keys of all requests so far.
    pub fn request_api_keys(&self) -> Vec<i16> {
        let mut count = 0;
        // SAFETY: the cluster is alive; the array returned has `count` requests and is ours to destroy.
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
        // SAFETY: the cluster is ours, and its client is alive until after this.
        unsafe { sys::rd_kafka_mock_cluster_destroy(self.cluster.as_ptr()) };
    }
}
