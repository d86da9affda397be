//! A job's work on its batches, and how it fails.

use super::output::Output;
use crate::batch::Batch;
use crate::core::Verdict;
use crate::core::failure::RowError;

/// Which attempt at a batch this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// 0 for the first.
    pub number: u32,
}

/// Why a batch was not processed as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// These rows failed; all others are done and their output stands.
    Rows(Vec<RowError>),
    /// A record is bad and nobody knows which, so nothing is done: the batch is halved until it is found.
    Unnamed(String),
    /// Nothing was processed, and no record is to blame: the batch is held and tried again.
    System(String),
    /// Nothing was processed, and no later attempt can succeed either: the job ends with this reason.
    Fatal(String),
}

/// Why nothing of a batch was processed, without any record being to blame.
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

/// A job's work on its batches.
pub trait Processor: Send {
    /// Processes a batch on a worker. What it puts into `out` is written only for rows that succeed.
    ///
    /// # Errors
    /// [`Failure::Rows`] if records are to blame, [`Failure::Unnamed`] if one of them is, [`Failure::System`] if
    /// none is, and [`Failure::Fatal`] if no later attempt can succeed.
    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure>;

    /// Another one that does the same on another thread. Under `batch.parallel` each gets some of the
    /// keys, always the same ones; several workers of a job take whole batches as they come. `None`
    /// where the work cannot be shared.
    fn fork(&self) -> Option<Box<dyn Processor>> {
        None
    }

    /// What ends a [`process`](Self::process) that is under way, and those of all forks, where
    /// something can: it is called when the job ends, whatever is in flight.
    fn interrupt(&self) -> Option<Interrupt> {
        None
    }
}

/// Ends what a processor is at.
pub type Interrupt = Box<dyn Fn() + Send + Sync>;

/// Passes every record on: `SELECT *`.
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
}
