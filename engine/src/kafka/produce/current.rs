//! The producer that a sink writes with now. Transactions replace it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use rdkafka::producer::Producer;

use super::deliveries::Deliveries;
use super::served_producer::ServedProducer;

/// A producer that can be replaced by another one of the same configuration.
pub(super) struct Current(RwLock<Arc<ServedProducer<Deliveries>>>);

impl Current {
    pub(super) fn new(first: ServedProducer<Deliveries>) -> Self {
        Self(RwLock::new(Arc::new(first)))
    }

    /// Returns the producer to use. It cannot be replaced while the guard lives.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Arc<ServedProducer<Deliveries>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the producer to use, for calls that take long.
    pub(super) fn get(&self) -> Arc<ServedProducer<Deliveries>> {
        Arc::clone(&self.read())
    }

    /// Replaces the producer. Later reports of the old one are ignored.
    pub(super) fn set(&self, producer: ServedProducer<Deliveries>) {
        self.read().client().context().retire();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(producer);
    }
}
