//! A handle to a group member, for a producer that commits the member's offsets in its transactions.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};

use super::context::Context;
use crate::ids::LaneName;

/// A handle to a group member, for a producer that commits the member's offsets in its transactions.
#[derive(Clone)]
pub struct Membership {
    consumer: Weak<BaseConsumer<Context>>,
    /// True if generations end with rebalances. Brokers that assign partitions themselves (KIP-848) begin new ones without
    /// one.
    is_classic: bool,
    owned: Arc<Mutex<Owned>>,
}

/// What the member may commit, and as whom.
#[derive(Default)]
struct Owned {
    /// The identity of the member in the generation of its last rebalance; `None` for the present one.
    generation: Option<Arc<ConsumerGroupMetadata>>,
    /// The partitions that others may have.
    lost: HashSet<LaneName>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Membership")
    }
}

impl Membership {
    pub(super) fn of(consumer: &Arc<BaseConsumer<Context>>, is_classic: bool) -> Self {
        Self { consumer: Arc::downgrade(consumer), is_classic, owned: Arc::default() }
    }

    fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the member takes part in the present generation. From now on the group accepts offsets only as those
    /// of this generation.
    ///
    /// A client may join the next generation before the partitions of the last one are given up. The group rejects their
    /// offsets only if they come with the generation that has assigned them.
    pub(super) fn joined(&self) {
        if !self.is_classic {
            return;
        }
        let metadata = self.consumer.upgrade().and_then(|consumer| consumer.group_metadata()).map(Arc::new);
        self.owned().generation = metadata;
    }

    /// Notes that the member reads a partition.
    pub(super) fn owns(&self, partition: &LaneName) {
        self.owned().lost.remove(partition);
    }

    /// Notes that others may have these partitions.
    pub(super) fn lost(&self, partitions: impl IntoIterator<Item = LaneName>) {
        self.owned().lost.extend(partitions);
    }

    /// Returns the identity of the member, with which the group accepts the offsets of its partitions. `None` if the
    /// member has left, or others may have one of the partitions.
    pub(super) fn metadata<'a>(
        &self,
        mut partitions: impl Iterator<Item = &'a LaneName>,
    ) -> Option<Arc<ConsumerGroupMetadata>> {
        let consumer = self.consumer.upgrade()?;
        let owned = self.owned();
        if partitions.any(|partition| owned.lost.contains(partition)) {
            return None;
        }
        owned.generation.clone().or_else(|| consumer.group_metadata().map(Arc::new))
    }
}
