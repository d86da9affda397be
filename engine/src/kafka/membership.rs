//! A handle to a group member, for a producer that commits the member's offsets in its transactions.

use std::sync::{Arc, Weak};

use rdkafka::consumer::BaseConsumer;

use super::context::Context;

/// A handle to a group member, for a producer that commits the member's offsets in its transactions.
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

    /// Returns the member's consumer; `None` once the member has left.
    pub(super) fn consumer(&self) -> Option<Arc<BaseConsumer<Context>>> {
        self.0.upgrade()
    }
}
