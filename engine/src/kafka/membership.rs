//! A handle to a group member, for a producer that commits the member's offsets in its transactions.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};

use super::context::Context;
use crate::ids::LaneName;

/// A handle to a group member, for a producer that commits the member's offsets in its transactions.
#[derive(Clone)]
pub struct Membership {
    /// True if generations begin with rebalances. Brokers that assign partitions themselves (KIP-848) begin new ones
    /// without one.
    is_classic: bool,
    owned: Arc<Mutex<Owned>>,
}

/// What the member may commit, and as whom.
struct Owned {
    consumer: Weak<BaseConsumer<Context>>,
    /// The identity of the member in the generation of its last rebalance, in the classic protocol.
    generation: Option<Arc<ConsumerGroupMetadata>>,
    /// True if the group has rejected offsets of this generation as those of a stranger.
    is_rejected: bool,
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
        let owned = Owned {
            consumer: Arc::downgrade(consumer),
            generation: None,
            is_rejected: false,
            lost: HashSet::new(),
        };
        Self { is_classic, owned: Arc::new(Mutex::new(owned)) }
    }

    fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the client of the member. All partitions of the former client must be lost.
    pub(super) fn replace(&self, consumer: &Arc<BaseConsumer<Context>>) {
        let mut owned = self.owned();
        owned.consumer = Arc::downgrade(consumer);
        owned.generation = None;
        owned.is_rejected = false;
    }

    /// Notes that the member takes part in a generation. From now on the group accepts offsets only as those of this
    /// generation.
    ///
    /// A client may join the next generation before the partitions of the last one are given up. The group rejects their
    /// offsets only if they come with the generation that has assigned them.
    pub(super) fn joined(&self, generation: Option<Arc<ConsumerGroupMetadata>>) {
        if self.is_classic {
            let mut owned = self.owned();
            owned.generation = generation;
            owned.is_rejected = false;
        }
    }

    /// Notes that the client has reported a rebalance, so that it follows its group.
    pub(super) fn heard(&self) {
        self.owned().is_rejected = false;
    }

    /// Notes that the group has rejected offsets that came with this identity.
    pub(super) fn rejected(&self, identity: &Arc<ConsumerGroupMetadata>) {
        let mut owned = self.owned();
        // Those of an earlier generation are of no interest.
        owned.is_rejected |= owned.generation.as_ref().is_some_and(|present| Arc::ptr_eq(present, identity));
    }

    /// Returns true if the group has rejected offsets of the present generation.
    pub(super) fn is_rejected(&self) -> bool {
        self.owned().is_rejected
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
        let owned = self.owned();
        let consumer = owned.consumer.upgrade()?;
        if partitions.any(|partition| owned.lost.contains(partition)) {
            return None;
        }
        if self.is_classic {
            // A client that has not joined has no identity, and the group accepts offsets without one from any client.
            return owned.generation.clone();
        }
        consumer.group_metadata().map(Arc::new)
    }
}
