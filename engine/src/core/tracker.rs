//! One lane's delivered records: which are settled, and how far it may be committed.
//!
//! Commits follow the settled prefix in the order of delivery, not in the arithmetic of offsets:
//! offsets have gaps (compaction, transaction markers) that nobody will ever settle.

use std::collections::VecDeque;
use std::ops::Range;

/// What has been delivered of one lane and is not yet committed.
#[derive(Debug)]
pub struct Tracker {
    /// Offsets of delivered records from the first unsettled one on, and whether each is settled.
    window: VecDeque<(i64, bool)>,
    /// The sequence number, counting deliveries from 0, of the window's first record.
    base: u64,
    /// How many records of the window are not settled.
    unsettled: u64,
    /// The offset that may be committed: that of the next record to settle.
    watermark: i64,
    /// The offset after the last delivered record.
    next: i64,
    /// Offsets at which there was no record.
    gaps: u64,
}

impl Tracker {
    /// A lane that reads from `position`.
    #[must_use]
    pub fn new(position: i64) -> Self {
        Self { window: VecDeque::new(), base: 0, unsettled: 0, watermark: position, next: position, gaps: 0 }
    }

    /// Takes delivered records in; returns the sequence number of the first.
    ///
    /// # Errors
    /// Returns the first offset that was delivered before, and takes nothing in: a watermark that moved
    /// back would commit records that nobody has read.
    pub fn deliver(&mut self, offsets: &[i64]) -> Result<u64, i64> {
        let mut next = self.next;
        for &offset in offsets {
            if offset < next {
                return Err(offset);
            }
            next = offset + 1;
        }
        let first = self.base + self.window.len() as u64;
        for &offset in offsets {
            self.gaps += u64::try_from(offset - self.next).unwrap_or(0);
            self.next = offset + 1;
            self.window.push_back((offset, false));
        }
        self.unsettled += offsets.len() as u64;
        Ok(first)
    }

    /// The offset after the last delivered record.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Settles records by sequence number. Settling one twice is a bug of the caller.
    ///
    /// # Panics
    /// Where a record of the range was never delivered.
    pub fn settle(&mut self, sequence: Range<u64>) {
        for number in sequence {
            let index = usize::try_from(number.wrapping_sub(self.base)).unwrap_or(usize::MAX);
            let record = self.window.get_mut(index).expect("only delivered, unsettled records settle");
            debug_assert!(!record.1, "a record settles once");
            record.1 = true;
            self.unsettled -= 1;
        }
        while let Some(&(offset, true)) = self.window.front() {
            self.window.pop_front();
            self.base += 1;
            self.watermark = offset + 1;
        }
        self.catch_up();
        debug_assert!(self.window.front().is_none_or(|(offset, _)| *offset >= self.watermark));
    }

    /// There is no record before `position` that is not delivered: what lies in between are gaps.
    pub fn pass(&mut self, position: i64) {
        self.gaps += self.move_to(position);
    }

    /// The records before `position` that are not delivered never will be; how many offsets that are.
    pub fn lose(&mut self, position: i64) -> u64 {
        self.move_to(position)
    }

    fn move_to(&mut self, position: i64) -> u64 {
        let passed = u64::try_from(position - self.next).unwrap_or(0);
        self.next = self.next.max(position);
        self.catch_up();
        passed
    }

    /// Where nothing is in flight, all offsets before the next one may be committed: transaction
    /// markers at the end of a partition would look like lag for ever.
    fn catch_up(&mut self) {
        if self.window.is_empty() {
            self.watermark = self.next;
        }
    }

    /// The offset that may be committed: no delivered record before it is unsettled.
    #[must_use]
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    /// The offset that may be committed once all records before a sequence number are settled.
    #[must_use]
    pub fn watermark_at(&self, sequence: u64) -> i64 {
        let settled = usize::try_from(sequence.saturating_sub(self.base)).unwrap_or(usize::MAX);
        match settled.checked_sub(1) {
            None => self.watermark,
            Some(_) if settled >= self.window.len() => self.next,
            Some(last) => self.window[last].0 + 1,
        }
    }

    /// How many delivered records are not settled.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        self.unsettled
    }

    /// How many records of a range of sequence numbers are not settled.
    #[must_use]
    pub fn unsettled_in(&self, sequence: Range<u64>) -> u32 {
        let index = |number: u64| usize::try_from(number.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let end = index(sequence.end).min(self.window.len());
        let start = index(sequence.start).min(end);
        self.window.range(start..end).map(|(_, settled)| u32::from(!settled)).sum()
    }

    /// How many offsets held no record.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_watermark_stops_before_the_first_unsettled_record() {
        let mut tracker = Tracker::new(10);
        assert_eq!(tracker.deliver(&[10, 11, 15]), Ok(0));
        tracker.settle(1..3);
        assert_eq!((tracker.watermark(), tracker.unsettled()), (10, 1));
        tracker.settle(0..1);
        assert_eq!((tracker.watermark(), tracker.unsettled(), tracker.gaps()), (16, 0, 3));
    }

    #[test]
    fn what_holds_no_record_may_be_committed_once_nothing_is_in_flight() {
        let mut tracker = Tracker::new(0);
        assert_eq!(tracker.deliver(&[0, 1]), Ok(0));
        tracker.pass(3);
        assert_eq!((tracker.watermark(), tracker.gaps()), (0, 1));
        tracker.settle(0..2);
        assert_eq!(tracker.watermark(), 3);
        assert_eq!((tracker.lose(10), tracker.lose(9)), (7, 0), "it never goes back");
        assert_eq!((tracker.watermark(), tracker.gaps()), (10, 1));
    }

    #[test]
    fn what_was_delivered_before_is_refused_and_moves_nothing() {
        let mut tracker = Tracker::new(10);
        assert_eq!(tracker.deliver(&[10, 12]), Ok(0));
        assert_eq!(tracker.deliver(&[13, 12]), Err(12));
        assert_eq!(tracker.deliver(&[11]), Err(11));
        assert_eq!((tracker.next(), tracker.unsettled(), tracker.gaps()), (13, 2, 1));
        assert_eq!(tracker.deliver(&[13]), Ok(2));
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
            let mut tracker = Tracker::new(100);
            prop_assert_eq!(tracker.deliver(&offsets), Ok(0));
            let mut settled = vec![false; offsets.len()];
            for round in 0..rounds.min(offsets.len()) {
                let open: Vec<_> = (0..offsets.len()).filter(|i| !settled[*i]).collect();
                let pick = open[(order.index(offsets.len()) * (round + 7)) % open.len()];
                settled[pick] = true;
                tracker.settle(pick as u64..pick as u64 + 1);
                let prefix = settled.iter().take_while(|s| **s).count();
                let expected = prefix.checked_sub(1).map_or(100, |last| offsets[last] + 1);
                prop_assert_eq!(tracker.watermark(), expected);
            }
        }
    }
}
