//! The books: where every delivered record ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Fate;

/// Where every delivered record ended. The states add up to `delivered`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// Records that the source handed over.
    pub delivered: u64,
    /// Processed and written.
    pub ok: u64,
    /// Failed, logged and left out.
    pub skipped: u64,
    /// Failed and written to the dead letter queue.
    pub dlq: u64,
    /// In the batch that made the job fail.
    pub failed: u64,
    /// Not settled when the job or their lane ended; they will be read again.
    pub uncommitted: u64,
    /// Offsets that held no record.
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
    /// Whether every delivered record ended in exactly one state.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.delivered == self.ok + self.skipped + self.dlq + self.failed + self.uncommitted
    }
}

/// Where a settled record goes in the ledger.
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
