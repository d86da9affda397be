//! What an observer of a running job sees.

use std::time::Duration;

use velo_schema::Tier;

use crate::core::Ledger;
use crate::ids::LaneName;
use crate::report::Counters;

/// How far a partition is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub partition: LaneName,
    /// Records that can be read and are not settled, delivered or not.
    pub records: u64,
    /// Records after those, from the first one on that belongs to a transaction which is still open: a reader of
    /// committed records gets them once it has ended.
    pub unstable_records: u64,
}

/// What an observer sees about ten times a second, and at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Where the records are.
    pub ledger: Ledger,
    /// Since the first record.
    pub elapsed: Duration,
    /// Records that a batch may hold now.
    pub batch_size: u64,
    /// The tier in which records are taken now.
    pub tier: Tier,
    /// What has been counted.
    pub counters: Counters,
    /// Payload bytes that are taken and not settled.
    pub bytes_in_flight: u64,
    /// How far each partition is behind.
    pub lag: Vec<Lag>,
    /// Whether the source has had an answer about which partitions are its own.
    pub is_ready: bool,
    /// What has happened since it looked last: each record that was left out, errors of the client.
    pub notices: Vec<String>,
}

impl Progress {
    /// Of both members together.
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
