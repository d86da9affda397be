//! The state of batches that are sealed and not settled.

use super::runs::Runs;
use crate::ids::Tick;

#[derive(Debug)]
pub(super) struct InFlight {
    pub runs: Runs,
    pub rows: u32,
    pub bytes: u64,
    pub state: BatchState,
    /// True if the batch was sealed because it reached its maximum number of records.
    pub full: bool,
    /// The number of retries because of failed records.
    pub retries: u32,
    /// The number of finished attempts, for any reason.
    pub attempts: u32,
    /// The number of live rows that are not settled.
    pub open_rows: u32,
    /// The last attempt that a processor has started, and its start time.
    pub started: Option<(u32, Tick)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchState {
    /// The batch was not given to a worker yet.
    Waiting,
    Running {
        attempt: u32,
        since: Tick,
    },
    Holding {
        attempt: u32,
        until: Tick,
    },
    /// The batch was processed; its writes are in flight.
    Processed,
}
