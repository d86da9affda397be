//! The read state of one partition during sampling.

use std::ops::RangeInclusive;

use velo_engine::ids::LaneName;

/// A partition and its read position.
pub(super) struct Lane {
    pub name: LaneName,
    /// Offset of the next record.
    pub next: i64,
    /// Latest plausible record timestamp, in milliseconds since the epoch.
    pub reached_ms: Option<i64>,
    /// Number of records that existed before sampling started.
    past: u64,
    /// Number of past records with timestamps before the sample.
    older: u64,
    /// Number of past records with timestamps in the future.
    newer: u64,
    /// True if a record was read.
    pub has_begun: bool,
    /// True if offsets are missing between records, as on transactional or compacted topics.
    pub has_gaps: bool,
}

impl Lane {
    /// Returns a partition without records at an offset.
    pub(super) fn at(name: LaneName, next: i64) -> Self {
        Self { name, next, reached_ms: None, past: 0, older: 0, newer: 0, has_begun: false, has_gaps: false }
    }

    /// Counts a record of the partition.
    pub(super) fn keep(
        &mut self,
        offset: i64,
        time_ms: Option<i64>,
        window_ms: &RangeInclusive<i64>,
        is_past: bool,
    ) {
        const AHEAD_MS: i64 = 1000;
        self.has_gaps |= offset > self.next && self.has_begun;
        self.has_begun = true;
        self.next = offset + 1;
        if is_past {
            self.past += 1;
            self.older += u64::from(time_ms.is_some_and(|time| time < *window_ms.start()));
            self.newer += u64::from(time_ms.is_some_and(|time| time > *window_ms.end() + AHEAD_MS));
        }
        self.reached_ms = self.reached_ms.max(time_ms.filter(|time| window_ms.contains(time)));
    }

    /// Returns true if the offset lookup by timestamp did not find the start of the sample: either all past records
    /// are in the future, or most of them are outside the requested time.
    pub(super) fn is_odd(&self) -> bool {
        const ENOUGH: u64 = 50;
        let mostly = |count: u64| self.past >= ENOUGH && 2 * count > self.past;
        self.newer > 0 && self.newer == self.past || mostly(self.older) || mostly(self.newer)
    }
}
