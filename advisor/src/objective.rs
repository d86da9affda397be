//! The objective of the advice: a goal and the limits that a recommendation must meet.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The quantity to optimise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Lowest p99 latency.
    Latency,
    /// Highest throughput in records per second.
    Throughput,
    /// Smallest memory requirement.
    Memory,
    /// Least processing time per record.
    Cpu,
}

/// The goal and its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Wishes")]
pub struct Objective {
    /// The quantity to optimise.
    pub goal: Goal,
    /// Upper limit of the p99 latency; null if there is no limit.
    pub p99: Option<Duration>,
    /// Upper limit of the payload bytes in memory, counted as three batches: one being filled, one being processed
    /// and one being written. Null if there is no limit.
    pub memory_bytes: Option<u64>,
}
