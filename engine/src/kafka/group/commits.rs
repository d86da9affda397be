//! Commits in flight: offsets in, the waiter that a result belongs to out. Results may arrive out of order because
//! the client retries commits, so a result is matched with its commit by the offsets.

use crate::failpoint::{Mutant, is_on};
use crate::kafka::offsets::Offsets;

/// The purpose of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The job wants it.
    Job,
    /// The last one of revoked partitions, by the number of their release.
    Release(u64),
    /// It shows whether the group still has the member.
    Verify,
    /// The last one of the job.
    Finish,
}

/// Commits in flight, numbered in the order in which they begin.
#[derive(Debug, Default)]
pub(super) struct Commits {
    in_flight: Vec<(u64, Offsets, Purpose)>,
    next: u64,
}

impl Commits {
    /// Adds a commit that begins.
    pub(super) fn begin(&mut self, offsets: Offsets, purpose: Purpose) {
        self.in_flight.push((self.next, sorted(offsets), purpose));
        self.next += 1;
    }

    /// Removes the commit of these offsets and returns its purpose, if there is such a commit.
    pub(super) fn ended(&mut self, offsets: Offsets) -> Option<Purpose> {
        let offsets = sorted(offsets);
        let is_it = |begun: &Offsets| *begun == offsets || is_on(Mutant::CommitResultsSwapped);
        let index = self.in_flight.iter().position(|(_, begun, _)| is_it(begun))?;
        Some(self.in_flight.remove(index).2)
    }

    /// Removes all commits, because their results will never be reported. Returns their purposes.
    pub(super) fn forget(&mut self) -> Vec<Purpose> {
        self.in_flight.drain(..).map(|(.., purpose)| purpose).collect()
    }

    /// Returns the number of the next commit.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// True if every commit before the one with this number has ended. Concurrent commits may be applied out of order.
    pub(super) fn have_ended_before(&self, number: u64) -> bool {
        is_on(Mutant::CommitResultsSwapped) || self.in_flight.iter().all(|(begun, ..)| *begun >= number)
    }

    /// True if every commit has ended.
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// True if a commit with this purpose is in flight.
    pub(super) fn has(&self, purpose: Purpose) -> bool {
        self.in_flight.iter().any(|(.., of)| *of == purpose)
    }
}

fn sorted(mut offsets: Offsets) -> Offsets {
    offsets.sort_unstable_by(|(one, _), (other, _)| {
        (&one.topic, one.partition).cmp(&(&other.topic, other.partition))
    });
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LaneName;

    fn offsets(partitions: &[(i32, i64)]) -> Offsets {
        let named = |(partition, offset): &(i32, i64)| {
            (LaneName { topic: "orders".into(), partition: *partition }, *offset)
        };
        partitions.iter().map(named).collect()
    }

    #[test]
    fn results_are_told_apart_by_their_offsets() {
        let mut commits = Commits::default();
        commits.begin(offsets(&[(0, 5), (1, 7)]), Purpose::Job);
        let second = commits.next();
        commits.begin(offsets(&[(0, 9)]), Purpose::Release(1));
        assert!(commits.have_ended_before(0) && !commits.have_ended_before(second));
        assert_eq!(commits.ended(offsets(&[(0, 9)])), Some(Purpose::Release(1)));
        assert_eq!(commits.ended(offsets(&[(0, 9)])), None);
        assert_eq!(commits.ended(offsets(&[(1, 7), (0, 5)])), Some(Purpose::Job));
        assert!(commits.have_ended_before(second) && !commits.has(Purpose::Job));
    }
}
