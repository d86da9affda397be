//! A producer with a thread that serves its delivery reports.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, ProducerContext};

use crate::kafka::ffi::producer_topic::ProducerTopic;
use crate::kafka::ffi::watched_queue::WatchedQueue;
use crate::waker::Waker;

/// The duration of one poll of a producer by a thread that waits for a record. `BaseProducer::poll` returns only after
/// its time-out, whatever arrives.
pub(super) const WAIT: Duration = Duration::from_millis(1);

/// A producer with a thread that serves its delivery reports. It replaces the `ThreadedProducer` of rust-rdkafka, which
/// wakes ten times a second and spins for up to 1 ms each time.
pub(super) struct ServedProducer<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    /// The topics that were written to, by name.
    topics: Mutex<BTreeMap<String, Arc<ProducerTopic>>>,
    stop: Arc<AtomicBool>,
}

impl<C: ProducerContext + 'static> ServedProducer<C> {
    /// Creates a producer and starts its thread, which calls `after` each time it has served delivery reports.
    pub(super) fn create(
        config: &ClientConfig,
        context: C,
        after: impl Fn(&BaseProducer<C>) + Send + 'static,
    ) -> Result<Self, KafkaError> {
        // Other threads may have served the last reports.
        const MOST_WAIT: Duration = Duration::from_millis(100);
        let producer: Arc<BaseProducer<C>> = Arc::new(config.create_with_context(context)?);
        let stop = Arc::<AtomicBool>::default();
        let (served, stopped) = (Arc::clone(&producer), Arc::clone(&stop));
        let waker = Waker::default();
        let wake = waker.clone();
        let reports = WatchedQueue::of_reports(&producer, move || wake.wake());
        // The thread is detached: it owns only the producer.
        thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                // Each poll serves one event.
                while reports.waiting() > 0 {
                    served.poll(Duration::ZERO);
                    after(&served);
                }
                after(&served);
                waker.wait(MOST_WAIT);
            }
        });
        Ok(Self { producer, topics: Mutex::default(), stop })
    }
}

impl<C: ProducerContext<DeliveryOpaque = usize> + 'static> ServedProducer<C> {
    /// Returns a topic to write to; `None` if its name is invalid.
    pub(super) fn topic(&self, name: &str) -> Option<Arc<ProducerTopic>> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(name) {
            return Some(Arc::clone(topic));
        }
        let topic = Arc::new(ProducerTopic::of(&self.producer, name)?);
        topics.insert(name.to_owned(), Arc::clone(&topic));
        Some(topic)
    }
}

impl<C: ProducerContext + 'static> Deref for ServedProducer<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

impl<C: ProducerContext + 'static> Drop for ServedProducer<C> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}
