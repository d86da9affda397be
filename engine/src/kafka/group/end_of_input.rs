//! Decides when all records have been read that existed when the job started: the end of each partition at the start,
//! the progress of this member and the committed offsets of its group in; the partitions that are not done out.

use std::collections::BTreeMap;

use crate::kafka::offsets::Bounds;

/// The end of each partition of a topic when the job started, and the offsets that the group has committed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndOfInput {
    /// The end of each partition that had records.
    ends: BTreeMap<i32, i64>,
    committed: BTreeMap<i32, i64>,
}

/// A partition that has not been read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    pub partition: i32,
    /// The committed offset of the group, if it is known.
    pub committed: Option<i64>,
    pub end: i64,
}

impl EndOfInput {
    /// Creates the end of input of partitions with these bounds.
    pub(super) fn new(partitions: impl IntoIterator<Item = (i32, Bounds)>) -> Self {
        let holds_records = |(_, (low, high)): &(i32, Bounds)| high > low;
        let ends =
            partitions.into_iter().filter(holds_records).map(|(partition, (_, high))| (partition, high));
        Self { ends: ends.collect(), committed: BTreeMap::new() }
    }

    /// Returns the offset up to which a partition is read.
    pub(super) fn of(&self, partition: i32) -> i64 {
        // A partition that was empty or did not exist at the start has no records to read.
        self.ends.get(&partition).copied().unwrap_or(0)
    }

    /// Replaces the end of a partition that was recreated or truncated by its current end.
    pub(super) fn restart(&mut self, partition: i32, bounds: Bounds) {
        self.committed.remove(&partition);
        self.ends.remove(&partition);
        self.ends.extend(Self::new([(partition, bounds)]).ends);
    }

    /// Notes that the group has committed `offset` of a partition.
    pub(super) fn committed(&mut self, partition: i32, offset: i64) {
        self.committed.insert(partition, offset);
    }

    /// Returns the partitions that neither this member has read to the end nor the group has committed to the end.
    pub(super) fn missing(&self, is_read: impl Fn(i32) -> bool) -> Vec<Missing> {
        let missing = |(partition, end): (&i32, &i64)| {
            let committed = self.committed.get(partition).copied();
            let is_done = is_read(*partition) || committed.is_some_and(|committed| committed >= *end);
            (!is_done).then_some(Missing { partition: *partition, committed, end: *end })
        };
        self.ends.iter().filter_map(missing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(end: &EndOfInput, read: &[i32]) -> Vec<i32> {
        end.missing(|partition| read.contains(&partition)).iter().map(|missing| missing.partition).collect()
    }

    #[test]
    fn every_partition_is_read_here_or_committed_by_the_group() {
        let mut end = EndOfInput::new([(0, (0, 10)), (1, (5, 20)), (2, (7, 7)), (3, (0, 1))]);
        assert_eq!(missing(&end, &[]), [0, 1, 3], "an empty partition is never missing");
        end.committed(1, 19);
        assert_eq!(missing(&end, &[0]), [1, 3]);
        end.committed(1, 20);
        end.committed(3, 4);
        assert_eq!(missing(&end, &[0]), [0; 0]);
        // A partition that was read here and then revoked counts only by its committed offset.
        assert_eq!(missing(&end, &[]), [0]);
        assert_eq!([end.of(0), end.of(2), end.of(9)], [10, 0, 0]);
    }

    #[test]
    fn a_partition_that_begins_anew_ends_where_it_ends_now() {
        let mut end = EndOfInput::new([(0, (0, 10)), (1, (0, 10))]);
        end.committed(0, 10);
        end.restart(0, (0, 3));
        end.restart(1, (0, 0));
        assert_eq!((missing(&end, &[]), end.of(0)), (vec![0], 3));
        end.committed(0, 3);
        assert!(missing(&end, &[]).is_empty());
    }
}
