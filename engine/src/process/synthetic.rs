//! A processor that only waits.
#![allow(clippy::disallowed_methods, reason = "a synthetic processor takes its time")]

use std::time::Duration;

use super::output::Output;
use super::processor::{Attempt, Failure, Forward, Processor};
use crate::batch::Batch;

/// Forwards every record after the simulated service time of a real processor: a fixed time per batch and a time per
/// record. For testing a strategy before the real processor exists.
#[derive(Debug, Clone, Copy, Default)]
pub struct Synthetic {
    /// The time per batch.
    pub per_batch: Duration,
    /// The time per record.
    pub per_record: Duration,
}

impl Synthetic {
    /// Returns the service time of a batch of `records` records.
    #[must_use]
    pub fn service_time(&self, records: u32) -> Duration {
        self.per_batch + self.per_record * records
    }
}

impl Processor for Synthetic {
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
        // The thread sleeps as it would in a real round trip, so that the CPU is free for other threads.
        std::thread::sleep(self.service_time(batch.len()));
        Forward.process(batch, out, attempt)
    }

    fn fork(&self) -> Option<Box<dyn Processor>> {
        Some(Box::new(*self))
    }
}
