//! A producer whose delivery reports are served by a thread of its own.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, ProducerContext};

/// rust-rdkafka's own such producer wakes ten times a second, and spins for up to a millisecond each time.
pub(super) struct ServedProducer<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    stop: Arc<AtomicBool>,
}

impl<C: ProducerContext + 'static> ServedProducer<C> {
    /// A producer, and what its thread does each time after it has served delivery reports.
    pub fn create(
        config: &ClientConfig,
        context: C,
        after: impl Fn(&BaseProducer<C>) + Send + 'static,
    ) -> Result<Self, KafkaError> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let producer: Arc<BaseProducer<C>> = Arc::new(config.create_with_context(context)?);
        let stop = Arc::<AtomicBool>::default();
        let (served, stopped) = (Arc::clone(&producer), Arc::clone(&stop));
        // Nobody waits for its end: it holds nothing but the producer.
        thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                served.poll(PATIENCE);
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
