//! A producer with a thread that serves its delivery reports.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, ProducerContext};

/// The duration of one poll of a producer by a thread that waits for a record. `BaseProducer::poll` returns only after
/// its time-out, whatever arrives.
pub(super) const WAIT: Duration = Duration::from_millis(1);

/// A producer with a thread that serves its delivery reports. It replaces the `ThreadedProducer` of rust-rdkafka, which
/// wakes ten times a second and spins for up to 1 ms each time.
pub(super) struct ServedProducer<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    stop: Arc<AtomicBool>,
}

impl<C: ProducerContext + 'static> ServedProducer<C> {
    /// Creates a producer and starts its thread, which calls `after` each time it has served delivery reports.
    pub(super) fn create(
        config: &ClientConfig,
        context: C,
        after: impl Fn(&BaseProducer<C>) + Send + 'static,
    ) -> Result<Self, KafkaError> {
        // `after` is called once per poll.
        const POLL_TIMEOUT: Duration = Duration::from_millis(100);
        let producer: Arc<BaseProducer<C>> = Arc::new(config.create_with_context(context)?);
        let stop = Arc::<AtomicBool>::default();
        let (served, stopped) = (Arc::clone(&producer), Arc::clone(&stop));
        // The thread is detached: it owns only the producer.
        thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                served.poll(POLL_TIMEOUT);
                after(&served);
            }
        });
        Ok(Self { producer, stop })
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
