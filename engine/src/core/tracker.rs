//! The delivered records of one lane: which of them are settled, and the offset to commit.
//!
//! Records are kept as ranges. A lane without gaps whose batches settle in order needs constant memory. The offset to
//! commit follows the settled prefix in the order of delivery, because offsets have gaps (compaction, transaction
//! markers) that are never settled.

use std::collections::VecDeque;
use std::ops::Range;

use crate::failpoint::{Mutant, is_on};

/// Consecutive deliveries at consecutive offsets. A span ends at the first sequence number of the next one.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// The sequence number of the first record.
    sequence: u64,
    /// The offset of the first record.
    offset: i64,
}

/// The delivered records of one lane that are not settled, and the offset to commit.
#[derive(Debug)]
pub struct CommitTracker {
    /// The delivered records from `base` on, in order.
    spans: VecDeque<Span>,
    /// The sequence number of the first record that is not settled. Deliveries are numbered from 0.
    base: u64,
    /// The sequence number of the next delivery.
    end: u64,
    /// The settled records after `base`, as ascending ranges that neither overlap nor touch.
    ahead: VecDeque<Range<u64>>,
    /// The number of delivered records that are not settled.
    unsettled: u64,
    /// The offset to commit: every delivered record before it is settled.
    watermark: i64,
    /// The offset after the last delivered record.
    next: i64,
    /// The number of offsets without a record.
    gaps: u64,
}

impl CommitTracker {
    /// Returns the tracker of a lane that reads from `position`.
    #[must_use]
    pub fn new(position: i64) -> Self {
        Self {
            spans: VecDeque::new(),
            base: 0,
            end: 0,
            ahead: VecDeque::new(),
            unsettled: 0,
            watermark: position,
            next: position,
            gaps: 0,
        }
    }

    /// Adds delivered records as ranges of offsets. Returns the sequence number of the first record.
    ///
    /// # Errors
    /// If an offset was delivered before. The error is the start of its range, and no record is added: a second
    /// delivery would commit offsets of records that were never read.
    pub fn deliver(&mut self, offsets: &[Range<i64>]) -> Result<u64, i64> {
        let mut next = self.next;
        for range in offsets {
            if range.start < next {
                return Err(range.start);
            }
            next = range.end;
        }
        let first = self.end;
        for range in offsets.iter().filter(|range| !range.is_empty()) {
            let end_of =
                |span: &Span| span.offset + i64::try_from(self.end - span.sequence).unwrap_or(i64::MAX);
            let continues = self.spans.back().is_some_and(|last| end_of(last) == range.start);
            self.gaps += distance(self.next, range.start);
            if !continues {
                self.spans.push_back(Span { sequence: self.end, offset: range.start });
            }
            let count = distance(range.start, range.end);
            self.end += count;
            self.unsettled += count;
            self.next = range.end;
        }
        Ok(first)
    }

    /// Returns the offset after the last delivered record.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Settles records by sequence number. The caller must settle each record only once.
    ///
    /// # Panics
    /// If a record of the range was not delivered.
    pub fn settle(&mut self, sequence: Range<u64>) {
        if sequence.is_empty() {
            return;
        }
        assert!(sequence.end <= self.end, "only delivered records settle");
        debug_assert_eq!(
            u64::from(self.unsettled_in(sequence.clone())),
            sequence.end - sequence.start,
            "a record settles once"
        );
        self.unsettled -= sequence.end - sequence.start;
        if sequence.start == self.base {
            self.base = sequence.end;
            if self.ahead.front().is_some_and(|range| range.start == sequence.end) {
                self.base = self.ahead.pop_front().map_or(sequence.end, |range| range.end);
            }
            self.advance();
        } else {
            if is_on(Mutant::CommitPastGap) {
                self.watermark = self.offset_after(sequence.end);
            }
            self.settle_ahead(sequence);
        }
    }

    /// Adds settled records that come after the first unsettled record.
    fn settle_ahead(&mut self, sequence: Range<u64>) {
        let index = self.ahead.partition_point(|range| range.end < sequence.start);
        let touches_before = self.ahead.get(index).is_some_and(|range| range.end == sequence.start);
        let next = index + usize::from(touches_before);
        let touches_after = self.ahead.get(next).is_some_and(|range| range.start == sequence.end);
        match (touches_before, touches_after) {
            (true, true) => {
                let end = self.ahead.remove(next).map_or(sequence.end, |range| range.end);
                self.ahead[index].end = end;
            }
            (true, false) => self.ahead[index].end = sequence.end,
            (false, true) => self.ahead[index].start = sequence.start,
            (false, false) => self.ahead.insert(index, sequence),
        }
    }

    /// Moves the watermark to the first unsettled record.
    fn advance(&mut self) {
        self.watermark = self.offset_after(self.base);
        while self.spans.get(1).is_some_and(|second| second.sequence <= self.base) {
            self.spans.pop_front();
        }
        self.catch_up();
    }

    /// Returns the offset after the record before `sequence`, which is one of `spans`.
    fn offset_after(&self, sequence: u64) -> i64 {
        let index = self.spans.partition_point(|span| span.sequence < sequence);
        let span = index.checked_sub(1).and_then(|index| self.spans.get(index));
        let count = |span: &Span| i64::try_from(sequence - span.sequence).unwrap_or(i64::MAX);
        span.map_or(self.watermark, |span| span.offset + count(span))
    }

    /// Notes that all records before `position` were delivered. The offsets that were skipped are gaps.
    pub fn pass(&mut self, position: i64) {
        self.gaps += self.move_to(position);
    }

    /// Notes that the undelivered records before `position` are lost. Returns the number of lost offsets.
    pub fn lose(&mut self, position: i64) -> u64 {
        self.move_to(position)
    }

    fn move_to(&mut self, position: i64) -> u64 {
        let passed = distance(self.next, position);
        self.next = self.next.max(position);
        self.catch_up();
        passed
    }

    /// Moves the watermark to the next offset if no record is in flight. Otherwise transaction markers at the end of a
    /// partition would count as lag permanently.
    fn catch_up(&mut self) {
        if self.base == self.end {
            self.spans.clear();
            self.watermark = self.next;
        }
    }

    /// Returns the offset to commit. Every delivered record before it is settled.
    #[must_use]
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    /// Returns the offset to commit once all records before a sequence number are settled.
    #[must_use]
    pub fn watermark_at(&self, sequence: u64) -> i64 {
        if sequence <= self.base {
            self.watermark
        } else if sequence >= self.end {
            self.next
        } else {
            self.offset_after(sequence)
        }
    }

    /// Returns the number of delivered records that are not settled.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        self.unsettled
    }

    /// Returns the number of unsettled records in a range of sequence numbers.
    #[must_use]
    pub fn unsettled_in(&self, sequence: Range<u64>) -> u32 {
        let (start, end) = (sequence.start.max(self.base), sequence.end.min(self.end));
        let first = self.ahead.partition_point(|range| range.end <= start);
        let inside = self.ahead.range(first..).take_while(|range| range.start < end);
        let settled: u64 = inside.map(|range| range.end.min(end) - range.start.max(start)).sum();
        u32::try_from(end.saturating_sub(start).saturating_sub(settled)).unwrap_or(u32::MAX)
    }

    /// Returns the number of offsets without a record.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps
    }
}

/// Returns the number of offsets from `from` up to, but not including, `to`; 0 if `to` is before `from`.
fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Offsets as ranges.
    fn ranges(offsets: &[i64]) -> Vec<Range<i64>> {
        offsets.chunk_by(|one, next| one + 1 == *next).map(|run| run[0]..run[run.len() - 1] + 1).collect()
    }

    #[test]
    fn the_watermark_stops_before_the_first_unsettled_record() {
        let mut tracker = CommitTracker::new(10);
        assert_eq!(tracker.deliver(&ranges(&[10, 11, 15])), Ok(0));
        tracker.settle(1..3);
        assert_eq!((tracker.watermark(), tracker.unsettled()), (10, 1));
        tracker.settle(0..1);
        assert_eq!((tracker.watermark(), tracker.unsettled(), tracker.gaps()), (16, 0, 3));
    }

    #[test]
    fn what_holds_no_record_may_be_committed_once_nothing_is_in_flight() {
        let mut tracker = CommitTracker::new(0);
        assert_eq!(tracker.deliver(&ranges(&[0, 1])), Ok(0));
        tracker.pass(3);
        assert_eq!((tracker.watermark(), tracker.gaps()), (0, 1));
        tracker.settle(0..2);
        assert_eq!(tracker.watermark(), 3);
        assert_eq!((tracker.lose(10), tracker.lose(9)), (7, 0), "it never goes back");
        assert_eq!((tracker.watermark(), tracker.gaps()), (10, 1));
    }

    #[test]
    fn what_was_delivered_before_is_refused_and_moves_nothing() {
        let mut tracker = CommitTracker::new(10);
        assert_eq!(tracker.deliver(&ranges(&[10, 12])), Ok(0));
        assert_eq!(tracker.deliver(&ranges(&[13, 12])), Err(12));
        assert_eq!(tracker.deliver(&ranges(&[11])), Err(11));
        assert_eq!((tracker.next(), tracker.unsettled(), tracker.gaps()), (13, 2, 1));
        assert_eq!(tracker.deliver(&ranges(&[13])), Ok(2));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The model: the offset after the longest prefix of the delivery list whose records are settled.
        #[test]
        fn the_watermark_is_the_settled_prefix_in_any_order(
            steps in prop::collection::vec(1_i64..5, 1..60),
            order in any::<prop::sample::Index>(),
            rounds in 1_usize..60,
        ) {
            let offsets: Vec<i64> = steps.iter().scan(100, |at, step| { *at += step; Some(*at) }).collect();
            let mut tracker = CommitTracker::new(100);
            prop_assert_eq!(tracker.deliver(&ranges(&offsets)), Ok(0));
            let mut settled = vec![false; offsets.len()];
            for round in 0..rounds.min(offsets.len()) {
                let open: Vec<_> = (0..offsets.len()).filter(|i| !settled[*i]).collect();
                let pick = open[(order.index(offsets.len()) * (round + 7)) % open.len()];
                settled[pick] = true;
                tracker.settle(pick as u64..pick as u64 + 1);
                let prefix = settled.iter().take_while(|s| **s).count();
                let expected = prefix.checked_sub(1).map_or(100, |last| offsets[last] + 1);
                prop_assert_eq!(tracker.watermark(), expected);
                let open = settled.iter().filter(|settled| !**settled).count();
                prop_assert_eq!(tracker.unsettled(), open as u64);
                let half = settled.len() / 2;
                let open = settled[half..].iter().filter(|settled| !**settled).count();
                prop_assert_eq!(tracker.unsettled_in(half as u64..settled.len() as u64) as usize, open);
                let at = offsets[half] + 1;
                let expected = if prefix > half { expected } else { at };
                prop_assert_eq!(tracker.watermark_at(half as u64 + 1), expected);
            }
        }
    }

    #[test]
    fn a_lane_without_gaps_is_one_span_however_long() {
        let mut tracker = CommitTracker::new(0);
        for batch in 0..1000 {
            assert!(tracker.deliver(&[batch * 500..(batch + 1) * 500]).is_ok());
        }
        assert_eq!(tracker.spans.len(), 1);
        for batch in (1..1000).rev() {
            tracker.settle(batch * 500..(batch + 1) * 500);
            assert_eq!(tracker.ahead.len(), 1, "settled neighbours are one range");
        }
        tracker.settle(0..500);
        assert_eq!((tracker.watermark(), tracker.ahead.len(), tracker.unsettled()), (500_000, 0, 0));
    }
}
