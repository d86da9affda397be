//! Groups writes if the batch settings of the sink differ from those of the source: rows of processed batches in,
//! groups of rows to write out. A [`Batcher`] decides when a group is full.
//!
//! The output records of a row are in one group. Groups are written as soon as they are sealed. Under an adaptive
//! size they are written one at a time, because the wait for another group would count as service time.

use std::collections::VecDeque;
use std::ops::Range;

use super::batcher::{Batcher, SealReason, SealRule};
use super::event::Weight;
use crate::ids::BatchId;
use crate::ids::Tick;

/// Rows of a batch.
pub(super) type Part = (BatchId, Range<u32>);

/// A sealed group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub parts: Vec<Part>,
    pub reason: SealReason,
    pub records: u64,
    /// When the group began to be written.
    since: Tick,
    /// The number of rows that are not settled.
    open_rows: u64,
}

#[derive(Debug)]
pub(super) struct SinkBatcher {
    batcher: Batcher,
    parts: Vec<Part>,
    records: u64,
    one_at_a_time: bool,
    /// Sealed groups whose writing has not begun.
    sealed: VecDeque<Group>,
    /// The group that is being written, if groups are written one at a time.
    writing: Option<Group>,
}

impl SinkBatcher {
    pub(super) fn new(rule: SealRule) -> Self {
        Self {
            one_at_a_time: rule.adaptive.is_some(),
            batcher: Batcher::new(rule),
            parts: Vec::new(),
            records: 0,
            sealed: VecDeque::new(),
            writing: None,
        }
    }

    /// Adds the output of a row of a batch. If the output does not fit, the open group is sealed before that.
    pub(super) fn add(&mut self, now: Tick, batch: BatchId, weight: Weight) {
        let Weight { row, records, bytes } = weight;
        let room = self.batcher.capacity();
        let by_count = u64::from(records) <= room.records;
        let fits = room.is_empty || (by_count && room.fits(0, 0, bytes));
        if !fits {
            self.seal(if by_count { SealReason::Bytes } else { SealReason::Count });
        }
        match self.parts.last_mut() {
            Some((last, rows)) if *last == batch && rows.end == row => rows.end += 1,
            _ => self.parts.push((batch, row..row + 1)),
        }
        self.records += u64::from(records);
        self.batcher.add(now, u64::from(records), bytes);
        if let Some(reason @ (SealReason::Count | SealReason::Bytes)) = self.batcher.due(now, false) {
            self.seal(reason);
        }
    }

    /// Returns the reason to seal the open group at `now` under its seal rule, if there is one.
    pub(super) fn due(&self, now: Tick, idle: bool) -> Option<SealReason> {
        self.batcher.due(now, idle)
    }

    /// Returns true if the open group has no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns the latest time at which the open group is sealed; `None` if the group is empty.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.batcher.deadline()
    }

    pub(super) fn seal(&mut self, reason: SealReason) {
        let parts = std::mem::take(&mut self.parts);
        let records = std::mem::take(&mut self.records);
        self.sealed.push_back(Group { parts, reason, records, since: Tick::default(), open_rows: 0 });
        self.batcher.reset();
    }

    /// Returns the next group to write now. `open_rows` returns the number of rows of a part that are not settled.
    pub(super) fn next(&mut self, now: Tick, open_rows: impl Fn(&Part) -> u64) -> Option<Group> {
        if self.writing.is_some() {
            return None;
        }
        let group = self.sealed.pop_front()?;
        if self.one_at_a_time {
            let open_rows = group.parts.iter().map(open_rows).sum();
            self.writing = Some(Group { since: now, open_rows, ..group.clone() });
        }
        Some(group)
    }

    /// Counts rows of a batch that were settled.
    pub(super) fn settled(&mut self, now: Tick, batch: BatchId, rows: &Range<u32>) {
        let Some(group) = &mut self.writing else { return };
        for (_, part) in group.parts.iter().filter(|(id, _)| *id == batch) {
            let common = rows.end.min(part.end).saturating_sub(rows.start.max(part.start));
            group.open_rows -= u64::from(common);
        }
        self.written(now);
    }

    /// Counts the open rows again after rows may have been revoked.
    pub(super) fn recount(&mut self, now: Tick, open_rows: impl Fn(&Part) -> u64) {
        if let Some(group) = &mut self.writing {
            group.open_rows = group.parts.iter().map(open_rows).sum();
            self.written(now);
        }
    }

    /// Ends the group that is being written if it is settled, and adjusts the size to its service time.
    fn written(&mut self, now: Tick) {
        if let Some(group) = self.writing.take_if(|group| group.open_rows == 0) {
            let full = group.reason == SealReason::Count;
            self.batcher.observe(group.records, now.since(group.since), full);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const WAIT: Duration = Duration::from_millis(10);

    fn weight(row: u32, records: u32, bytes: u64) -> Weight {
        Weight { row, records, bytes }
    }

    /// All groups that can be written now.
    fn groups(regroup: &mut SinkBatcher) -> Vec<(Vec<Part>, SealReason, u64)> {
        let mut found = Vec::new();
        while let Some(group) = regroup.next(Tick::default(), |_| 1) {
            found.push((group.parts.clone(), group.reason, group.records));
        }
        found
    }

    #[test]
    fn rows_of_several_batches_make_a_group_and_a_rows_records_stay_together() {
        let mut regroup = SinkBatcher::new(SealRule::of_records(4, WAIT));
        for (batch, row, records) in [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 2, 3), (1, 3, 9), (2, 0, 1)] {
            regroup.add(Tick::default(), BatchId(batch), weight(row, records, 1));
        }
        let expected = [
            (vec![(BatchId(0), 0..2), (BatchId(1), 0..1)], SealReason::Count, 3),
            (vec![(BatchId(1), 2..3)], SealReason::Count, 3),
            (vec![(BatchId(1), 3..4)], SealReason::Count, 9),
        ];
        assert_eq!(groups(&mut regroup), expected);
        assert!(!regroup.is_empty());
        assert_eq!(regroup.due(Tick::default() + WAIT, false), Some(SealReason::Time));
    }

    #[test]
    fn bytes_are_checked_before_a_row_is_added() {
        let rule = SealRule { max_bytes: Some(10), ..SealRule::of_records(100, WAIT) };
        let mut regroup = SinkBatcher::new(rule);
        for (row, bytes) in [(0, 6), (1, 5), (2, 50), (3, 1)] {
            regroup.add(Tick::default(), BatchId(0), weight(row, 1, bytes));
        }
        let rows: Vec<_> =
            groups(&mut regroup).into_iter().map(|(parts, reason, _)| (parts, reason)).collect();
        let group = |rows| (vec![(BatchId(0), rows)], SealReason::Bytes);
        assert_eq!(rows, [group(0..1), group(1..2), group(2..3)]);
    }

    #[test]
    fn a_steered_size_follows_from_one_group_at_a_time() {
        let target = super::super::controller::Target {
            min_records: 2,
            max_records: 100,
            latency: Duration::from_millis(100),
        };
        let rule = SealRule { adaptive: Some(target), ..SealRule::of_records(100, WAIT) };
        let mut regroup = SinkBatcher::new(rule);
        for row in 0..4 {
            regroup.add(Tick::default(), BatchId(0), weight(row, 1, 1));
        }
        let rows = |(_, rows): &Part| u64::from(rows.end - rows.start);
        assert!(regroup.next(Tick::default(), rows).is_some());
        assert!(regroup.next(Tick::default(), rows).is_none(), "the first is not settled yet");
        let later = Tick::default() + Duration::from_millis(1);
        regroup.settled(later, BatchId(0), &(0..1));
        assert!(regroup.next(later, rows).is_none());
        regroup.settled(later, BatchId(0), &(1..2));
        assert!(regroup.next(later, rows).is_some());
        // Two records took 1 ms of the target of 100 ms: the next group is twice as large.
        for row in 4..7 {
            regroup.add(later, BatchId(0), weight(row, 1, 1));
        }
        assert!(!regroup.is_empty());
        regroup.add(later, BatchId(0), weight(7, 1, 1));
        assert!(regroup.is_empty());
    }
}
