//! The lanes of the rows of a batch: runs of rows by lane, each with the sequence number of its first row.

use std::ops::Range;

use crate::ids::LaneId;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    lane: LaneId,
    rows: Range<u32>,
    /// The sequence number of the first row among the deliveries of the lane.
    sequence: u64,
}

/// The runs of a batch.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    /// The lanes in ascending order, without duplicates.
    lanes: Vec<LaneId>,
}

/// Rows of one lane, and their sequence numbers among the deliveries of the lane.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub lane: LaneId,
    pub rows: Range<u32>,
    pub sequence: Range<u64>,
}

impl Runs {
    /// Adds `count` rows of a lane. `sequence` is the number of the first row.
    pub(super) fn push(&mut self, lane: LaneId, count: u64, sequence: u64) {
        let start = self.len();
        let end = start + u32::try_from(count).expect("a batch has fewer than 2^31 rows");
        match self.runs.last_mut() {
            // Deliveries of a lane are numbered without gaps.
            Some(last) if last.lane == lane => last.rows.end = end,
            _ => self.runs.push(Run { lane, rows: start..end, sequence }),
        }
        if let Err(index) = self.lanes.binary_search(&lane) {
            self.lanes.insert(index, lane);
        }
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> u32 {
        self.runs.last().map_or(0, |run| run.rows.end)
    }

    pub(super) fn has(&self, lane: LaneId) -> bool {
        self.lanes.binary_search(&lane).is_ok()
    }

    /// Returns true if a lane has rows in both batches.
    pub(super) fn shares_a_lane_with(&self, other: &Self) -> bool {
        let (small, large) = if self.lanes.len() < other.lanes.len() { (self, other) } else { (other, self) };
        small.lanes.iter().any(|lane| large.has(*lane))
    }

    pub(super) fn lane_of(&self, row: u32) -> Option<LaneId> {
        let index = self.runs.partition_point(|run| run.rows.end <= row);
        Some(self.runs.get(index)?.lane)
    }

    /// Splits these rows into spans by lane, in row order.
    pub(super) fn spans(&self, rows: &Range<u32>) -> impl Iterator<Item = Span> + use<'_> {
        let Range { start, end } = *rows;
        let first = self.runs.partition_point(|run| run.rows.end <= start);
        let inside = self.runs[first..].iter().take_while(move |run| run.rows.start < end);
        inside.map(move |run| {
            let rows = run.rows.start.max(start)..run.rows.end.min(end);
            let number = |row: u32| run.sequence + u64::from(row - run.rows.start);
            Span { lane: run.lane, sequence: number(rows.start)..number(rows.end), rows }
        })
    }

    /// Removes all rows and keeps the allocated memory.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.lanes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_again_by_lane_and_number() {
        let mut runs = Runs::default();
        for (lane, count, sequence) in [(1, 2, 10), (1, 3, 12), (2, 1, 0), (1, 4, 15)] {
            runs.push(LaneId(lane), count, sequence);
        }
        assert_eq!((runs.len(), runs.runs.len(), runs.lanes.len()), (10, 3, 2));
        assert_eq!(
            [4, 5, 6, 10].map(|row| runs.lane_of(row).map(|lane| lane.0)),
            [Some(1), Some(2), Some(1), None]
        );
        let span = |lane, rows, sequence| Span { lane: LaneId(lane), rows, sequence };
        let expected = [span(1, 3..5, 13..15), span(2, 5..6, 0..1), span(1, 6..7, 15..16)];
        assert!(runs.spans(&(3..7)).eq(expected));
        assert_eq!(runs.spans(&(5..5)).count(), 0);
        let mut other = Runs::default();
        other.push(LaneId(3), 1, 0);
        assert!(!runs.shares_a_lane_with(&other));
        other.push(LaneId(2), 1, 0);
        assert!(runs.shares_a_lane_with(&other) && other.has(LaneId(3)));
    }
}
