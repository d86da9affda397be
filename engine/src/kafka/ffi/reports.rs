//! The queue of a producer's delivery reports: says when there are some, and how many events wait.

use std::any::Any;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as sys;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

use super::{OnReady, wake};

/// The queue of a producer's delivery reports.
pub(in crate::kafka) struct Reports {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// The target of the pointer of the queue's callback.
    _on_ready: Arc<OnReady>,
    /// The producer, which must outlive the queue.
    _producer: Arc<dyn Any + Send + Sync>,
}

// SAFETY: librdkafka's queues may be used from any thread, and the handle has a single owner.
unsafe impl Send for Reports {}

impl Reports {
    /// Calls `on_ready` on a thread of the client each time the queue stops being empty.
    pub(in crate::kafka) fn of<C>(
        producer: &Arc<BaseProducer<C>>,
        on_ready: impl Fn() + Send + Sync + 'static,
    ) -> Self
    where
        C: ProducerContext + 'static,
    {
        let on_ready = Arc::new(OnReady(Box::new(on_ready)));
        let opaque = Arc::as_ptr(&on_ready).cast_mut().cast::<c_void>();
        // SAFETY: the client is alive, and the caller owns the returned handle.
        let queue = unsafe { sys::rd_kafka_queue_get_main(producer.client().native_ptr()) };
        let queue = NonNull::new(queue).expect("every client has this queue");
        // SAFETY: the queue is alive; `on_ready` outlives the callback (see `drop`).
        unsafe { sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(wake), opaque) };
        let producer = Arc::clone(producer) as Arc<dyn Any + Send + Sync>;
        Self { queue, _on_ready: on_ready, _producer: producer }
    }

    /// Returns the number of events that wait. Each poll of the producer serves one.
    pub(in crate::kafka) fn waiting(&self) -> usize {
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_length(self.queue.as_ptr()) }
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        // SAFETY: the callback is removed before its target is dropped, and `self` owns the handle.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}
