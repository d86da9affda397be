//! The processing of batches, and its failures.

use super::output::Output;
use crate::batch::Batch;
use crate::core::Verdict;
use crate::core::failure::RowError;

/// An attempt at a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The number of the attempt; 0 for the first.
    pub number: u32,
}

/// Why a batch was not processed completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// These rows failed. All other rows succeeded, and their output is written.
    Rows(Vec<RowError>),
    /// An unknown record failed, so no row counts as processed. The batch is bisected to find the record.
    Unnamed(String),
    /// No row was processed, and no record caused the failure. The batch is held and retried.
    System(String),
    /// No row was processed, and no later attempt can succeed. The job fails with this reason.
    Fatal(String),
}

/// Why no row of a batch was processed, if no record caused the failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unprocessed {
    pub message: String,
    /// True if no later attempt can succeed.
    pub is_fatal: bool,
}

impl From<Unprocessed> for Failure {
    fn from(Unprocessed { message, is_fatal }: Unprocessed) -> Self {
        if is_fatal { Self::Fatal(message) } else { Self::System(message) }
    }
}

impl From<Unprocessed> for Verdict {
    fn from(Unprocessed { message, is_fatal }: Unprocessed) -> Self {
        let (system, fatal) = if is_fatal { (None, Some(message)) } else { (Some(message), None) };
        Self { system, fatal, ..Self::default() }
    }
}

/// Processes the batches of a job.
pub trait Processor: Send {
    /// Processes a batch on a worker thread. The records in `out` are written only for rows that succeed.
    ///
    /// # Errors
    /// If known records caused the failure: [`Failure::Rows`]. If an unknown record did: [`Failure::Unnamed`]. If no
    /// record did: [`Failure::System`]. If no later attempt can succeed: [`Failure::Fatal`].
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure>;

    /// Creates an equal processor for another thread. Under `batch.parallel` each processor gets a fixed subset of the
    /// keys. Several workers of a job take whole batches. Returns `None` if the work cannot be shared.
    fn fork(&self) -> Option<Box<dyn Processor>> {
        None
    }

    /// Returns a function that interrupts a running [`process`](Self::process) of this processor and all forks, if
    /// that is possible. The function is called when the job ends with batches in flight.
    fn interrupt(&self) -> Option<Interrupt> {
        None
    }

    /// True if processing a batch costs less than sharing it among threads. Then `batch.parallel` has no effect.
    fn is_trivial(&self) -> bool {
        false
    }
}

/// Interrupts a processor.
pub type Interrupt = Box<dyn Fn() + Send + Sync>;

/// Forwards every record: `SELECT *`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forward;

impl Processor for Forward {
    fn process(&mut self, _: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
        out.forward_all();
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn Processor>> {
        Some(Box::new(*self))
    }

    fn is_trivial(&self) -> bool {
        true
    }
}
