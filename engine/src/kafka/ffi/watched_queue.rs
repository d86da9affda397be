//! A queue of a client that says when it stops being empty.

use std::any::Any;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as sys;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

/// The function that a queue calls when it stops being empty.
struct OnReady(Box<dyn Fn() + Send + Sync>);

/// A handle to a queue with a callback. Dropping it removes the callback.
pub(in crate::kafka) struct WatchedQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// The target of the pointer of the queue's callback.
    _on_ready: Arc<OnReady>,
    /// The client, which must outlive the queue.
    _client: Arc<dyn Any + Send + Sync>,
}

// SAFETY: librdkafka's queues may be used from any thread, and the handle has a single owner.
unsafe impl Send for WatchedQueue {}

impl WatchedQueue {
    /// Returns the queue of a producer's delivery reports. A thread of the client calls `on_ready`.
    pub(in crate::kafka) fn of_reports<C>(
        producer: &Arc<BaseProducer<C>>,
        on_ready: impl Fn() + Send + Sync + 'static,
    ) -> Self
    where
        C: ProducerContext + 'static,
    {
        // SAFETY: the client is alive, and the caller owns the returned handle.
        let queue = unsafe { sys::rd_kafka_queue_get_main(producer.client().native_ptr()) };
        let queue = NonNull::new(queue).expect("every client has this queue");
        // SAFETY: the handle is that of the line before, and the producer owns the client.
        unsafe { Self::watch(queue, Arc::clone(producer) as _, on_ready) }
    }

    /// Takes over a handle to a queue.
    ///
    /// # Safety
    /// Nobody else may own the handle, and `client` must keep the client of the queue alive.
    pub(super) unsafe fn watch(
        queue: NonNull<sys::rd_kafka_queue_t>,
        client: Arc<dyn Any + Send + Sync>,
        on_ready: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let on_ready = Arc::new(OnReady(Box::new(on_ready)));
        let opaque = Arc::as_ptr(&on_ready).cast_mut().cast::<c_void>();
        // SAFETY: the queue is alive; `on_ready` outlives the callback (see `drop`).
        unsafe { sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(wake), opaque) };
        Self { queue, _on_ready: on_ready, _client: client }
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    /// Returns the number of events that wait.
    pub(in crate::kafka) fn waiting(&self) -> usize {
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_length(self.as_ptr()) }
    }
}

impl Drop for WatchedQueue {
    fn drop(&mut self) {
        // SAFETY: the callback is removed before its target is dropped, and `self` owns the handle.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.as_ptr());
        }
    }
}

unsafe extern "C" fn wake(_: *mut sys::rd_kafka_t, on_ready: *mut c_void) {
    // SAFETY: `on_ready` belongs to the queue and outlives the callback.
    let on_ready = unsafe { &*on_ready.cast::<OnReady>() };
    (on_ready.0)();
}
