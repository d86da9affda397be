//! Batches that are sealed and not settled.

use super::runs::Runs;
use crate::ids::Tick;

#[derive(Debug)]
pub(super) struct InFlight {
    pub runs: Runs,
    pub rows: u32,
    pub bytes: u64,
    pub state: BatchState,
    /// Whether it held as many records as it might.
    pub full: bool,
    /// How often it was tried again on account of its records.
    pub retries: u32,
    /// How often it was processed, on whatever account.
    pub attempts: u32,
    /// Rows that are not settled.
    pub open_rows: u32,
    /// Which attempt a processor has taken up last, and when.
    pub started: Option<(u32, Tick)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchState {
    /// Sealed, and not yet given to a worker.
    Waiting,
    Running {
        attempt: u32,
        since: Tick,
    },
    Holding {
        attempt: u32,
        until: Tick,
    },
    /// Processed; its rows are on their way.
    Processed,
}
