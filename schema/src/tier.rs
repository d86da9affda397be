//! Ranges of records, and the consumer tier that a poll size selects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest poll that the Standard tier serves; above it the tier is Buffered.
pub const STANDARD_MAX_RECORDS: u64 = 100;

/// A closed range of whole numbers; `min == max` where there is only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// Smallest.
    pub min: u64,
    /// Largest.
    pub max: u64,
}

impl Span {
    /// Whether `other` lies within.
    #[must_use]
    pub fn contains(&self, other: Self) -> bool {
        self.min <= other.min && other.max <= self.max
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}-{}", self.min, self.max) }
    }
}

/// How records are taken from the consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// One record a call.
    Standard,
    /// Many records a call.
    Buffered,
    /// Changes with the batch size.
    Auto,
}

impl Tier {
    /// The tier of a poll size.
    #[must_use]
    pub fn of_records(records: u64) -> Self {
        if records <= STANDARD_MAX_RECORDS { Self::Standard } else { Self::Buffered }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Standard => "Standard",
            Self::Buffered => "Buffered",
            Self::Auto => "Auto",
        })
    }
}
