//! Commits whose end has not been heard of: offsets in, whose end a result is out. Results may change places, since
//! the client tries some of them again; so they are told apart by their offsets, not by their order.

use crate::kafka::offsets::Offsets;

/// Whose commit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    /// The job's own: it hears of it as an event.
    Job,
    /// A call that waits for it, by its number.
    Call(u64),
}

/// Commits in flight.
#[derive(Debug, Default)]
pub(super) struct Commits {
    in_flight: Vec<(Offsets, Waiter)>,
}

impl Commits {
    /// A commit has begun.
    pub fn begun(&mut self, offsets: Offsets, waiter: Waiter) {
        self.in_flight.push((sorted(offsets), waiter));
    }

    /// A commit of these offsets has ended; returns whose it was.
    pub fn ended(&mut self, offsets: Offsets) -> Option<Waiter> {
        let offsets = sorted(offsets);
        let index = self.in_flight.iter().position(|(begun, _)| *begun == offsets)?;
        Some(self.in_flight.remove(index).1)
    }

    /// True if every commit has ended. One that begins beside another may be overtaken by it.
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
        assert_eq!(commits.ended(at(&[(0, 8)])), None, "nobody has begun that one");
        assert_eq!(commits.ended(at(&[(1, 7), (0, 5)])), Some(Waiter::Job));
        assert!(commits.is_empty());
    }
}
