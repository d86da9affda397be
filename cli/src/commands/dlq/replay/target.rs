//! What a replay knows of a topic that it writes to, as plain data.

use std::collections::{HashMap, HashSet};

use crate::render::letters::Origin;

/// A topic that is written to.
#[derive(Default)]
pub(super) struct Target {
    /// The number of partitions; `None` if there is no such topic.
    pub partitions: Option<usize>,
    /// Records that earlier replays or this one have written to it.
    pub there: HashSet<Origin>,
    /// The newest records by key, if the topic is compacted.
    pub newest: Option<Newest>,
    /// True if this replay has written its `Began` receipt.
    pub has_begun: bool,
    pub sent: u64,
    pub skipped: u64,
    pub superseded: u64,
}

/// The newest records of a compacted topic, by key.
#[derive(Default)]
pub(super) struct Newest {
    /// Offsets in this topic; of a replayed record that of its original.
    pub offsets: HashMap<Vec<u8>, i64>,
    pub times_ms: HashMap<Vec<u8>, i64>,
}
