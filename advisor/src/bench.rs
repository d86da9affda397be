//! The interface that measurements run on: the real engine, or a simulated one in tests.

use std::time::Duration;

use crate::candidate::Candidate;
use crate::trial::Trial;

/// Measures batches and tries candidates.
pub trait Bench {
    /// Measures the processing time of one batch of a load, for `length`. Returns `None` if no batch was completed in a
    /// reasonable time.
    ///
    /// # Errors
    /// If the measurement ended early.
    fn serve(&mut self, load: Load, length: Duration) -> Result<Option<Duration>, Ended>;
    /// Returns the largest possible number of records per batch.
    fn most_records(&self) -> u64 {
        u64::MAX
    }
    /// Tries a candidate once.
    ///
    /// # Errors
    /// If the trial ended early.
    fn try_candidate(&mut self, candidate: &Candidate, part: Part) -> Result<Trial, Ended>;
}

/// Batches of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Records per batch.
    pub records: u64,
    /// True if each batch is processed on several threads.
    pub is_parallel: bool,
}

/// The part of the recording that the trials of a round replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Number of the round, from 0.
    pub round: u32,
    /// Duration of the saturated replay, in which all records are available at once.
    pub saturated: Duration,
    /// Duration of the replay at the recorded times, warm-up included.
    pub replay: Duration,
    /// Position in the recording at which both replays begin.
    pub from: Duration,
}

/// Reason why a measurement ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The caller or a signal interrupted it.
    Interrupted,
    /// The time budget is used up.
    OutOfTime,
    /// Processing failed for every record. Contains the first error.
    EveryRecordFailed(String),
}

/// Returns the warm-up of a replay, which its latencies exclude.
#[must_use]
pub fn warm_up(replay: Duration) -> Duration {
    replay / 5
}
