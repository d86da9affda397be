//! Counts delivered records by their final state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Fate;

/// The number of records in each final state. `ok`, `skipped`, `dlq`, `failed` and `uncommitted` add up to
/// `delivered`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// Records that the source delivered.
    pub delivered: u64,
    /// Records that were processed and written.
    pub ok: u64,
    /// Records that failed, were logged and skipped.
    pub skipped: u64,
    /// Records that failed and were written to the dead letter queue.
    pub dlq: u64,
    /// Records of the batch that made the job fail.
    pub failed: u64,
    /// Records that were not settled when the job ended or their partition was revoked. They are read again.
    pub uncommitted: u64,
    /// Offsets without a record.
    pub gaps: u64,
    /// Offsets whose records were deleted before they were read, with `--on-data-loss continue`.
    #[serde(default)]
    pub lost: u64,
}

impl std::ops::Add for Ledger {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            delivered: self.delivered + other.delivered,
            ok: self.ok + other.ok,
            skipped: self.skipped + other.skipped,
            dlq: self.dlq + other.dlq,
            failed: self.failed + other.failed,
            uncommitted: self.uncommitted + other.uncommitted,
            gaps: self.gaps + other.gaps,
            lost: self.lost + other.lost,
        }
    }
}

impl Ledger {
    /// Returns true if every delivered record is in exactly one final state.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.delivered == self.ok + self.skipped + self.dlq + self.failed + self.uncommitted
    }
}

/// The ledger state of a settled record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Ok,
    Dlq,
    Skipped,
}

impl From<Fate> for Settled {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Ok => Self::Ok,
            Fate::Dlq => Self::Dlq,
        }
    }
}
