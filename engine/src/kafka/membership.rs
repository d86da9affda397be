//! A member of a group, for those who commit its offsets in their transactions.

use std::sync::{Arc, Weak};

use rdkafka::consumer::BaseConsumer;

use super::context::Context;

/// A member of a group, as those know it who commit its offsets in their transactions.
#[derive(Clone)]
pub struct Membership(Weak<BaseConsumer<Context>>);

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Membership")
    }
}

impl Membership {
    pub(super) fn of(consumer: &Arc<BaseConsumer<Context>>) -> Self {
        Self(Arc::downgrade(consumer))
    }

    /// The member, until it has left.
    pub(super) fn consumer(&self) -> Option<Arc<BaseConsumer<Context>>> {
        self.0.upgrade()
    }
}
