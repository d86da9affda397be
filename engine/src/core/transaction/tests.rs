//! The machine against a log that takes outputs and offsets together: whatever fails and whoever takes
//! partitions away, what is visible is exactly what is committed.
#![allow(clippy::single_range_in_vec_init, reason = "lists of ranges")]

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proptest::prelude::*;
use velo_schema::{Config, FailureStrategy, OnExhausted, Tier};

use super::TransactionRule;
use crate::core::batcher::SealRule;
use crate::core::failure::{ByStage, Policy, RowError, Stage};
use crate::core::{Action, Core, CoreConfig, Event, Fate, Revoke, Verdict};
use crate::ids::Tick;
use crate::ids::{BatchId, LaneId};

/// A record: its partition and offset.
type Row = (u32, i64);

struct World {
    core: Core,
    now: Tick,
    actions: Vec<Action>,
    open: Vec<(LaneId, Row)>,
    sealed: HashMap<BatchId, Vec<(LaneId, Row)>>,
    /// The partition of each lane, and the lane of each partition that is ours.
    partitions: HashMap<LaneId, u32>,
    lanes: BTreeMap<u32, LaneId>,
    position: BTreeMap<u32, i64>,
    /// What is written and not visible.
    written: Vec<Row>,
    visible: Vec<Row>,
    committed: BTreeMap<u32, i64>,
    next_lane: u32,
    /// Whether bad records are left out; else they are dead letters.
    skips: bool,
}

fn core(max_batches: u64, skips: bool) -> Core {
    let strategy = if skips { FailureStrategy::LogAndContinue } else { FailureStrategy::SendToDLQ };
    let mut failure = Config::default().failure;
    failure.strategy = strategy;
    // What the dead letter queue refuses, too, is left out.
    failure.on_exhausted = OnExhausted::LogAndContinue;
    let policy = Policy::of(&failure);
    Core::new(CoreConfig {
        seal: SealRule::of_records(3, Duration::from_millis(2)),
        regroup: None,
        transaction: Some(TransactionRule { max_batches, wait: Duration::from_millis(20) }),
        tier: Tier::Buffered,
        failure: ByStage { decode: policy.clone(), process: policy.clone(), write: policy },
        workers: 2,
        seed: 0,
        commit_interval: Duration::from_millis(5),
        drain_timeout: Duration::from_millis(30),
        max_unsettled_records: 50,
        max_unsettled_bytes: u64::MAX,
        max_batch_time: Duration::from_mins(5),
    })
}

fn error(row: u32) -> RowError {
    RowError { row, stage: Stage::Process, message: "bad".into(), retriable: false }
}

impl World {
    fn new(max_batches: u64, skips: bool, partitions: u32) -> Self {
        let mut world = Self {
            core: core(max_batches, skips),
            skips,
            now: Tick::default(),
            actions: Vec::new(),
            open: Vec::new(),
            sealed: HashMap::new(),
            partitions: HashMap::new(),
            lanes: BTreeMap::new(),
            position: BTreeMap::new(),
            written: Vec::new(),
            visible: Vec::new(),
            committed: BTreeMap::new(),
            next_lane: 0,
        };
        (0..partitions).for_each(|partition| world.assign(partition));
        world
    }

    fn assign(&mut self, partition: u32) {
        let lane = LaneId(self.next_lane);
        self.next_lane += 1;
        let position = self.committed.get(&partition).copied().unwrap_or(0);
        self.partitions.insert(lane, partition);
        self.lanes.insert(partition, lane);
        self.position.insert(partition, position);
        self.step(Event::Assigned(lane, position));
    }

    fn step(&mut self, event: Event<'_>) {
        let mut actions = Vec::new();
        self.core.step(self.now, event, &mut actions);
        for action in &actions {
            if let Action::Seal(id, _) = action {
                self.sealed.insert(*id, std::mem::take(&mut self.open));
            }
        }
        self.actions.extend(actions);
    }

    fn deliver(&mut self, partition: u32) {
        let Some(lane) = self.lanes.get(&partition).copied() else { return };
        if self.core.capacity().records == 0 || !self.core.takes_from(lane) {
            return;
        }
        let offset = self.position[&partition];
        self.position.insert(partition, offset + 1);
        self.open.push((lane, (partition, offset)));
        self.step(Event::Rows(lane, &[offset..offset + 1], 1));
    }

    /// Performs an action; what fails, and how, is up to `luck`.
    fn perform(&mut self, luck: u8) {
        if self.actions.is_empty() {
            return;
        }
        match self.actions.remove(0) {
            Action::Run(id, _) => {
                let rows = (0..).zip(&self.sealed[&id]).filter(|(_, (_, row))| is_bad(*row));
                let rows = rows.map(|(row, _)| error(row)).collect();
                self.step(Event::Finished(id, &Verdict { rows, ..Verdict::default() }));
            }
            Action::Write(_, _) if luck.is_multiple_of(7) => self.step(Event::TransactionFailed),
            Action::Write(id, rows) => {
                // A record that is refused takes the transaction down, before or after that is said.
                let of = |row: u32| self.sealed[&id][row as usize].1;
                let refused: Vec<_> = rows.clone().filter(|row| is_refused(of(*row))).collect();
                if !refused.is_empty() && luck.is_multiple_of(2) {
                    self.step(Event::TransactionFailed);
                }
                for row in rows {
                    if refused.contains(&row) {
                        self.step(Event::Refused(id, row, Stage::Write, "too large"));
                    } else {
                        self.written.push(self.sealed[&id][row as usize].1);
                        self.step(Event::Acked(id, row..row + 1, Fate::Ok));
                    }
                }
                if !refused.is_empty() {
                    self.step(Event::TransactionFailed);
                }
            }
            Action::DeadLetter(id, errors, _) => {
                for RowError { row, .. } in errors {
                    let place = self.sealed[&id][row as usize].1;
                    if is_refused_by_the_queue(place) {
                        self.step(Event::Refused(id, row, Stage::DeadLetter, "too large"));
                        self.step(Event::TransactionFailed);
                    } else {
                        self.written.push(place);
                        self.step(Event::Acked(id, row..row + 1, Fate::Dlq));
                    }
                }
            }
            // It could arrive late, after a newer one of a transaction.
            Action::Commit(offsets) => panic!("{offsets:?} are committed outside of a transaction"),
            Action::CommitTransaction(offsets) => {
                // The group lets nobody commit what somebody else has.
                let ours = |(lane, _): &(LaneId, i64)| self.lanes.get(&self.partitions[lane]) == Some(lane);
                let ok = !luck.is_multiple_of(5) && offsets.iter().all(ours);
                let written = std::mem::take(&mut self.written);
                if ok {
                    self.visible.extend(written);
                    self.commit(&offsets);
                }
                self.step(Event::TransactionEnded(ok));
            }
            Action::AbortTransaction => {
                self.written.clear();
                self.step(Event::TransactionEnded(false));
            }
            Action::Release(lanes) => {
                let offsets = lanes.iter().filter_map(|(lane, offset)| Some((*lane, (*offset)?)));
                self.commit(&offsets.collect::<Vec<_>>());
                for (lane, _) in lanes {
                    let partition = self.partitions[&lane];
                    if self.lanes.get(&partition) == Some(&lane) {
                        self.lanes.remove(&partition);
                        self.assign(partition);
                    }
                }
            }
            Action::Fail(_, error) => panic!("{error}"),
            _ => {}
        }
        self.check();
    }

    fn commit(&mut self, offsets: &[(LaneId, i64)]) {
        for (lane, offset) in offsets {
            self.committed.insert(self.partitions[lane], *offset);
        }
    }

    /// What is visible is what is committed, once.
    fn check(&self) {
        let mut visible = self.visible.clone();
        visible.sort_unstable();
        let committed = self.committed.iter().flat_map(|(partition, end)| {
            (0..*end).map(|offset| (*partition, offset)).filter(|row| !self.is_left_out(*row))
        });
        assert!(committed.eq(visible.iter().copied()), "{:?} {visible:?}", self.committed);
    }

    /// Whether a record is in neither topic.
    fn is_left_out(&self, row: Row) -> bool {
        (is_bad(row) || is_refused(row)) && (self.skips || is_refused_by_the_queue(row))
    }

    fn lose(&mut self, partition: u32, how: Revoke) {
        let Some(lane) = self.lanes.get(&partition).copied() else { return };
        self.step(Event::Revoked(lane, how));
        if how == Revoke::Lost {
            self.lanes.remove(&partition);
            self.assign(partition);
        }
    }
}

fn is_bad((partition, offset): Row) -> bool {
    (offset + i64::from(partition)) % 5 == 4
}

/// Whether the sink refuses a record for good.
fn is_refused((partition, offset): Row) -> bool {
    !is_bad((partition, offset)) && (offset + i64::from(partition)) % 7 == 6
}

/// Whether the dead letter queue does.
fn is_refused_by_the_queue((partition, offset): Row) -> bool {
    (offset + i64::from(partition)) % 3 == 2
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn what_is_visible_is_exactly_what_is_committed(
        steps in prop::collection::vec((0_u8..12, 0_u32..3, any::<u8>()), 1..400),
        max_batches in 1_u64..4,
        skips in any::<bool>(),
    ) {
        let mut world = World::new(max_batches, skips, 3);
        for (what, partition, luck) in steps {
            match what {
                0..=4 => world.deliver(partition),
                5..=8 => world.perform(luck),
                9 => {
                    world.now = world.now + Duration::from_millis(3);
                    world.step(Event::Tick);
                }
                10 if luck < 40 => world.lose(partition, Revoke::Lost),
                11 if luck < 40 => world.lose(partition, Revoke::Drain),
                _ => {}
            }
        }
        // Without further trouble everything that was delivered becomes visible.
        for _ in 0..2000 {
            if world.actions.is_empty() {
                world.now = world.core.deadline().unwrap_or(world.now).max(world.now);
                world.step(Event::Tick);
            }
            world.perform(1);
        }
        prop_assert_eq!(&world.committed, &world.position);
        prop_assert!(world.core.ledger().is_balanced());
        // And nothing is left that would keep the job from ending.
        world.step(Event::Stop);
        prop_assert!(world.core.is_done());
    }
}
