//! Commits in flight: offsets in, the waiter that a result belongs to out. Results may arrive out of order because
//! the client retries commits, so a result is matched with its commit by the offsets.

use crate::kafka::offsets::Offsets;

/// The caller that waits for the result of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    /// The job, which gets the result as an event.
    Job,
    /// A blocking call, by its number.
    Call(u64),
}

/// Commits in flight.
#[derive(Debug, Default)]
pub(super) struct Commits {
    in_flight: Vec<(Offsets, Waiter)>,
}

impl Commits {
    /// Adds a commit that has begun.
    pub fn begun(&mut self, offsets: Offsets, waiter: Waiter) {
        self.in_flight.push((sorted(offsets), waiter));
    }

    /// Removes the commit of these offsets and returns its waiter, if there is such a commit.
    pub fn ended(&mut self, offsets: Offsets) -> Option<Waiter> {
        let offsets = sorted(offsets);
        let index = self.in_flight.iter().position(|(begun, _)| *begun == offsets)?;
        Some(self.in_flight.remove(index).1)
    }

    /// Returns true if every commit has ended. Concurrent commits may be applied out of order.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
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

    fn at(offsets: &[(i32, i64)]) -> Offsets {
        let named = |(partition, offset): &(i32, i64)| {
            (LaneName { topic: "orders".into(), partition: *partition }, *offset)
        };
        offsets.iter().map(named).collect()
    }

    #[test]
    fn results_that_change_places_are_told_apart() {
        let mut commits = Commits::default();
        commits.begun(at(&[(0, 5), (1, 7)]), Waiter::Job);
        commits.begun(at(&[(0, 9)]), Waiter::Call(1));
        assert_eq!(commits.ended(at(&[(0, 9)])), Some(Waiter::Call(1)));
        assert!(!commits.is_empty());
        assert_eq!(commits.ended(at(&[(0, 8)])), None, "no such commit has begun");
        assert_eq!(commits.ended(at(&[(1, 7), (0, 5)])), Some(Waiter::Job));
        assert!(commits.is_empty());
    }
}
