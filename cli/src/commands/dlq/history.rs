//! Which letters of a queue were replayed, by its receipts: receipts in, answers out.

use std::collections::{BTreeMap, BTreeSet};

use super::receipt::Receipt;

/// Offsets, as ranges that do not touch: from, and up to but not including.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offsets(BTreeMap<i64, i64>);

impl Offsets {
    pub fn insert(&mut self, (mut from, mut to): (i64, i64)) {
        while let Some((start, end)) = self.0.range(..=to).next_back().map(|(start, end)| (*start, *end)) {
            if end < from {
                break;
            }
            self.0.remove(&start);
            (from, to) = (from.min(start), to.max(end));
        }
        if from < to {
            self.0.insert(from, to);
        }
    }

    pub fn contains(&self, offset: i64) -> bool {
        self.0.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end)
    }

    pub fn ranges(&self) -> Vec<(i64, i64)> {
        self.0.iter().map(|(from, to)| (*from, *to)).collect()
    }
}

/// A replay that began and has not noted its end: it goes on, or was cut off.
#[derive(Debug)]
struct Begun {
    target: String,
    ends: Vec<(i32, i64)>,
}

/// What the receipts of a queue say.
#[derive(Debug, Default)]
pub(super) struct History {
    wrote: BTreeMap<(String, i32), Offsets>,
    begun: BTreeMap<(String, String), Begun>,
    ended: BTreeSet<(String, String)>,
}

impl History {
    /// Takes a receipt of a partition of the queue.
    pub fn note(&mut self, partition: i32, receipt: Receipt) {
        match receipt {
            Receipt::Began { replay, target, ends } => {
                self.begun.insert((target.clone(), replay), Begun { target, ends });
            }
            Receipt::Wrote { target, offsets } => {
                let wrote = self.wrote.entry((target, partition)).or_default();
                for range in offsets {
                    wrote.insert(range);
                }
            }
            Receipt::Ended { replays, target } => {
                self.ended.extend(replays.into_iter().map(|replay| (target.clone(), replay)));
            }
        }
    }

    /// True if a letter is known to be in a topic.
    pub fn has(&self, target: &str, partition: i32, offset: i64) -> bool {
        let wrote = self.wrote.get(&(target.to_owned(), partition));
        wrote.is_some_and(|wrote| wrote.contains(offset))
    }

    /// Topics that replays have begun to write to, and whose receipts do not say how far they came.
    pub fn unsettled(&self) -> BTreeSet<&str> {
        self.open().map(|(_, begun)| begun.target.as_str()).collect()
    }

    /// Replays of a topic that have not noted their end, and the offsets of its partitions from which on their records
    /// lie.
    pub fn open_of(&self, target: &str) -> (Vec<String>, BTreeMap<i32, i64>) {
        let (mut replays, mut starts) = (Vec::new(), BTreeMap::<i32, i64>::new());
        for (replay, begun) in self.open().filter(|(_, begun)| begun.target == target) {
            replays.push(replay.to_owned());
            for (partition, end) in &begun.ends {
                starts.entry(*partition).and_modify(|start| *start = (*start).min(*end)).or_insert(*end);
            }
        }
        (replays, starts)
    }

    fn open(&self) -> impl Iterator<Item = (&str, &Begun)> {
        let open = self.begun.iter().filter(|(id, _)| !self.ended.contains(id));
        open.map(|((_, replay), begun)| (replay.as_str(), begun))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_offsets_grow_together() {
        let mut offsets = Offsets::default();
        for range in [(5, 6), (1, 2), (8, 10), (2, 3), (9, 12), (7, 7)] {
            offsets.insert(range);
        }
        assert_eq!(offsets.ranges(), [(1, 3), (5, 6), (8, 12)]);
        let inside: Vec<_> = (0..14).filter(|offset| offsets.contains(*offset)).collect();
        assert_eq!(inside, [1, 2, 5, 8, 9, 10, 11]);
        offsets.insert((0, 20));
        assert_eq!(offsets.ranges(), [(0, 20)]);
        // Whatever the order, what is in is what was put in.
        let mut seed = 7_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            i64::try_from(seed >> 58).expect("small")
        };
        for _ in 0..200 {
            let (mut offsets, mut all) = (Offsets::default(), BTreeSet::new());
            for _ in 0..12 {
                let (from, length) = (next(), next() / 8);
                offsets.insert((from, from + length));
                all.extend(from..from + length);
            }
            let found: BTreeSet<_> = (0..80).filter(|offset| offsets.contains(*offset)).collect();
            assert_eq!(found, all);
            assert!(offsets.ranges().windows(2).all(|pair| pair[0].1 < pair[1].0), "{offsets:?}");
        }
    }

    #[test]
    fn what_a_replay_that_was_cut_off_has_written_is_looked_for_until_somebody_has_noted_it() {
        let began = |replay: &str, end| Receipt::Began {
            replay: replay.to_owned(),
            target: "orders".to_owned(),
            ends: vec![(0, end), (1, 3)],
        };
        let ended = |replays: &[&str]| Receipt::Ended {
            replays: replays.iter().map(|replay| (*replay).to_owned()).collect(),
            target: "orders".to_owned(),
        };
        let mut history = History::default();
        history.note(0, began("a", 10));
        history.note(0, Receipt::Wrote { target: "orders".to_owned(), offsets: vec![(4, 6)] });
        history.note(0, began("b", 7));
        assert!(history.has("orders", 0, 5) && !history.has("orders", 1, 5) && !history.has("other", 0, 5));
        let open = history.open_of("orders");
        assert_eq!(open, (vec!["a".to_owned(), "b".to_owned()], BTreeMap::from([(0, 7), (1, 3)])));
        assert_eq!(history.unsettled(), BTreeSet::from(["orders"]));
        history.note(1, ended(&["b"]));
        assert_eq!(history.open_of("orders").0, ["a"]);
        history.note(0, ended(&["a"]));
        assert!(history.unsettled().is_empty() && history.open_of("orders").0.is_empty());
    }
}
