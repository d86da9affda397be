//! The state of a running job as reported to observers.

use std::time::Duration;

use velo_schema::Tier;

use crate::core::Ledger;
use crate::ids::LaneName;
use crate::report::Counters;

/// The lag of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub partition: LaneName,
    /// The number of records that are readable and not settled, whether delivered or not.
    pub records: u64,
    /// The number of records after the last stable offset. They become readable once the open transaction before them
    /// ends.
    pub unstable_records: u64,
}

/// The progress of a job. It is reported about ten times a second and at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The number of records in each state.
    pub ledger: Ledger,
    /// The time since the first record.
    pub elapsed: Duration,
    /// The current maximum number of records of a batch.
    pub batch_size: u64,
    /// The current consumer tier.
    pub tier: Tier,
    /// The counters of the job.
    pub counters: Counters,
    /// Payload bytes of records that are taken and not settled.
    pub bytes_in_flight: u64,
    /// The lag of each partition.
    pub lag: Vec<Lag>,
    /// True if the source has got its first assignment, even an empty one.
    pub is_ready: bool,
    /// The notices since the last report: skipped records, client errors.
    pub notices: Vec<String>,
}

impl Progress {
    /// Returns the combined progress of two members.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            ledger: self.ledger + other.ledger,
            elapsed: self.elapsed.max(other.elapsed),
            batch_size: self.batch_size.max(other.batch_size),
            counters: {
                let mut counters = self.counters;
                counters.add(&other.counters);
                counters
            },
            bytes_in_flight: self.bytes_in_flight + other.bytes_in_flight,
            lag: [self.lag, other.lag].concat(),
            is_ready: self.is_ready && other.is_ready,
            tier: self.tier,
            notices: self.notices,
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            ledger: Ledger::default(),
            elapsed: Duration::ZERO,
            batch_size: 0,
            tier: Tier::Auto,
            counters: Counters::default(),
            bytes_in_flight: 0,
            lag: Vec::new(),
            is_ready: false,
            notices: Vec::new(),
        }
    }
}
