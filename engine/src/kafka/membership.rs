//! A handle to a group member, for a producer that commits the member's offsets in its transactions.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};

use super::context::{Context, is_cooperative};

/// A handle to a group member, for a producer that commits the member's offsets in its transactions.
#[derive(Clone)]
pub struct Membership {
    consumer: Weak<BaseConsumer<Context>>,
    /// The identity of the member in the generation that has assigned its partitions, if the group is eager.
    assigned: Arc<Mutex<Option<Arc<ConsumerGroupMetadata>>>>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Membership")
    }
}

impl Membership {
    pub(super) fn of(consumer: &Arc<BaseConsumer<Context>>) -> Self {
        Self { consumer: Arc::downgrade(consumer), assigned: Arc::default() }
    }

    /// Notes that the member was assigned partitions.
    pub(super) fn assigned(&self) {
        let eager = self.consumer.upgrade().filter(|consumer| !is_cooperative(consumer));
        let metadata = eager.and_then(|consumer| consumer.group_metadata()).map(Arc::new);
        *self.assigned.lock().unwrap_or_else(PoisonError::into_inner) = metadata;
    }

    /// Returns the identity of the member, with which the group accepts the offsets of its partitions. `None` if the
    /// member has left.
    ///
    /// An eager client may join the next generation before the partitions of the last one are given up. The group
    /// rejects their offsets only if they come with the generation that has assigned them.
    pub(super) fn metadata(&self) -> Option<Arc<ConsumerGroupMetadata>> {
        let consumer = self.consumer.upgrade()?;
        let assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assigned.or_else(|| consumer.group_metadata().map(Arc::new))
    }
}
