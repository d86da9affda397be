//! Closes a consumer when the value is dropped, and waits for it for a limited time.
//!
//! A client with a fatal error, such as a fenced static member, waits for the answer to a rebalance that it no longer
//! reports (librdkafka 2.12), so closing it may never return.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::kafka::context::Context;

/// A client leaves its group and closes its connections within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time for a client with a fatal error, which the group has removed already.
const FATAL_PATIENCE: Duration = Duration::from_secs(1);

/// The last reference to a consumer.
pub(super) struct Closing(Option<Arc<BaseConsumer<Context>>>);

impl Closing {
    pub(super) fn of(consumer: &Arc<BaseConsumer<Context>>) -> Self {
        Self(Some(Arc::clone(consumer)))
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let Some(consumer) = self.0.take() else { return };
        let is_fatal = consumer.client().fatal_error().is_some();
        let (closed, wait) = channel();
        // A client that does not close is left to the end of the process.
        std::thread::spawn(move || {
            drop(consumer);
            let _ = closed.send(());
        });
        let patience = if is_fatal { FATAL_PATIENCE } else { PATIENCE };
        if wait.recv_timeout(patience).is_err() {
            tracing::warn!("the consumer has not closed within {patience:?}");
        }
    }
}
