//! Tracks from a queue's receipts which of its dead letters were replayed, and which replays were cut off.

use std::collections::BTreeMap;

use super::receipt::Receipt;

/// A set of offsets, kept as disjoint ranges that are not adjacent (start included, end excluded).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offsets(BTreeMap<i64, i64>);

impl Offsets {
    pub(super) fn insert(&mut self, (mut from, mut to): (i64, i64)) {
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

    pub(super) fn contains(&self, offset: i64) -> bool {
        self.0.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end)
    }

    pub(super) fn ranges(&self) -> Vec<(i64, i64)> {
        self.0.iter().map(|(from, to)| (*from, *to)).collect()
    }
}

/// The receipts of a queue.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Queue offsets of replayed dead letters, by target and queue partition.
    wrote: BTreeMap<String, BTreeMap<i32, Offsets>>,
    /// End offsets of the target when a replay began, by target and replay.
    begun: BTreeMap<String, BTreeMap<String, Vec<(i32, i64)>>>,
}

impl History {
    /// Adds a receipt from a partition of the queue. Receipts of different partitions may come in any order.
    pub(super) fn note(&mut self, partition: i32, receipt: Receipt) {
        match receipt {
            Receipt::Began { replay, target, ends } => {
                self.begun.entry(target).or_default().entry(replay).or_insert(ends);
            }
            Receipt::Wrote { target, offsets } => {
                let wrote = self.wrote.entry(target).or_default().entry(partition).or_default();
                for range in offsets {
                    wrote.insert(range);
                }
            }
            Receipt::Ended { replays, target } => {
                let begun = self.begun.entry(target).or_default();
                begun.extend(replays.into_iter().map(|replay| (replay, Vec::new())));
            }
        }
    }

    /// True if a receipt covers the dead letter at this offset of the queue.
    pub(super) fn has(&self, target: &str, partition: i32, offset: i64) -> bool {
        let wrote = self.wrote.get(target).and_then(|partitions| partitions.get(&partition));
        wrote.is_some_and(|wrote| wrote.contains(offset))
    }

    /// Returns the replays to `target` that have not ended, and the lowest offsets of its partitions that their records
    /// can have.
    pub(super) fn open(&self, target: &str) -> (Vec<String>, BTreeMap<i32, i64>) {
        let (mut replays, mut starts) = (Vec::new(), BTreeMap::<i32, i64>::new());
        // An ended replay has no offsets; a topic has at least one partition.
        let open = self.begun.get(target).into_iter().flatten().filter(|(_, ends)| !ends.is_empty());
        for (replay, ends) in open {
            replays.push(replay.clone());
            for (partition, end) in ends {
                starts.entry(*partition).and_modify(|start| *start = (*start).min(*end)).or_insert(*end);
            }
        }
        (replays, starts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
        // In any order of insertion, the set contains exactly the inserted offsets.
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
    fn an_interrupted_replay_stays_open_until_an_ended_receipt_names_it() {
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
        let open = history.open("orders");
        assert_eq!(open, (vec!["a".to_owned(), "b".to_owned()], BTreeMap::from([(0, 7), (1, 3)])));
        assert_eq!(history.open("other"), (Vec::new(), BTreeMap::new()));
        history.note(1, ended(&["b"]));
        assert_eq!(history.open("orders").0, ["a"]);
        history.note(0, ended(&["a"]));
        assert_eq!(history.open("orders"), (Vec::new(), BTreeMap::new()));
        // The `Ended` receipt of another partition may be read before the `Began` receipt.
        history.note(1, ended(&["c"]));
        history.note(0, began("c", 1));
        assert_eq!(history.open("orders").0, [""; 0]);
    }
}
