//! A processor that takes its time and does nothing.
#![allow(clippy::disallowed_methods, reason = "a synthetic processor takes its time")]

use std::time::Duration;

use super::output::Output;
use super::processor::{Attempt, Failure, Forward, Processor};
use crate::batch::Batch;

/// Passes every record on after taking as long as a real processor would: a fixed time for a batch
/// and a time for each record. For trying a strategy before the real work exists.
#[derive(Debug, Clone, Copy, Default)]
pub struct Synthetic {
    /// For each batch.
    pub per_batch: Duration,
    /// For each record.
    pub per_record: Duration,
}

impl Synthetic {
    /// How long a batch of `records` takes.
    #[must_use]
    pub fn service_time(&self, records: u32) -> Duration {
        self.per_batch + self.per_record * records
    }
}

impl Processor for Synthetic {
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
        // A synthetic round trip waits, as a real one would: it leaves the core to others.
        std::thread::sleep(self.service_time(batch.len()));
        Forward.process(batch, out, attempt)
    }

    fn fork(&self) -> Option<Box<dyn Processor>> {
        Some(Box::new(*self))
    }
}
