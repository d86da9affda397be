//! The producer that a sink writes with now: how to create one in, a producer that can be replaced out.

use std::sync::{Arc, PoisonError, RwLock};

use rdkafka::error::KafkaError;

use super::deliveries::Deliveries;
use super::served_producer::ServedProducer;

type Create = dyn Fn() -> Result<ServedProducer<Deliveries>, KafkaError> + Send + Sync;

/// A producer that can be replaced by another one of the same configuration.
pub(super) struct Current {
    producer: RwLock<Arc<ServedProducer<Deliveries>>>,
    create: Box<Create>,
}

impl Current {
    /// Creates the first producer.
    pub(super) fn new(
        create: impl Fn() -> Result<ServedProducer<Deliveries>, KafkaError> + Send + Sync + 'static,
    ) -> Result<Self, KafkaError> {
        Ok(Self { producer: RwLock::new(Arc::new(create()?)), create: Box::new(create) })
    }

    /// Returns the producer to use.
    pub(super) fn get(&self) -> Arc<ServedProducer<Deliveries>> {
        Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Creates another producer, which is not used yet.
    pub(super) fn create(&self) -> Result<ServedProducer<Deliveries>, KafkaError> {
        (self.create)()
    }

    /// Replaces the producer.
    pub(super) fn set(&self, producer: ServedProducer<Deliveries>) {
        *self.producer.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(producer);
    }
}
