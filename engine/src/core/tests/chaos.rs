//! The machine under everything that a group, a source and a sink can do to it, in any order: revocations with
//! and without notice, refused records, retries, a source that fails after some rows.
//!
//! The oracle is the brokers' view: where each partition is committed, and which records have been settled by
//! whoever owned it at the time.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use proptest::prelude::*;
use velo_schema::{Config, FailureStrategy, OnExhausted};

use crate::core::batcher::SealRule;
use crate::core::failure::{self, ByStage, RowError, Stage};
use crate::core::{Action, Core, CoreConfig, Event, Fate, Revoke, Verdict, Weight};
use crate::ids::{BatchId, LaneId, Tick};
use std::time::Duration;
use velo_schema::Tier;

/// A partition and an offset.
type Place = (u32, i64);

struct World {
    core: Core,
    now: Tick,
    /// What is to be done and has not been; writes are done in their order, all else in any.
    todo: VecDeque<Action>,
    /// Rows that were written and not acknowledged.
    unacknowledged: VecDeque<(BatchId, u32, Fate)>,
    open: Vec<(LaneId, i64)>,
    sealed: HashMap<BatchId, Vec<(LaneId, i64)>>,
    partitions: HashMap<LaneId, u32>,
    lanes: BTreeMap<u32, LaneId>,
    position: BTreeMap<u32, i64>,
    committed: BTreeMap<u32, i64>,
    settled: BTreeSet<Place>,
    next_lane: u32,
    counts: Counts,
}

/// What has happened, so that a test can tell that it has.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    lost: u32,
    drained: u32,
    refused: u32,
    retried: u32,
}

const PARTITIONS: u32 = 3;

fn core(strategy: FailureStrategy, workers: usize, regroup: bool) -> Core {
    let mut failure = Config::default().failure;
    failure.strategy = strategy;
    failure.max_retries = 2;
    failure.backoff = Duration::from_millis(4);
    failure.on_exhausted = OnExhausted::SendToDLQ;
    let policy = failure::Policy::of(&failure);
    Core::new(CoreConfig {
        seal: SealRule::of_records(4, Duration::from_millis(4)),
        regroup: regroup.then(|| SealRule::of_records(6, Duration::from_millis(3))),
        transaction: None,
        tier: Tier::Buffered,
        failure: ByStage { decode: policy.clone(), process: policy.clone(), write: policy },
        workers,
        seed: 7,
        commit_interval: Duration::from_millis(5),
        drain_timeout: Duration::from_millis(20),
        max_unsettled_records: 40,
        max_unsettled_bytes: u64::MAX,
        max_batch_time: Duration::from_mins(5),
    })
}

impl World {
    fn new(core: Core) -> Self {
        let mut world = Self {
            core,
            now: Tick::default(),
            todo: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            open: Vec::new(),
            sealed: HashMap::new(),
            partitions: HashMap::new(),
            lanes: BTreeMap::new(),
            position: BTreeMap::new(),
            committed: BTreeMap::new(),
            settled: BTreeSet::new(),
            next_lane: 0,
            counts: Counts::default(),
        };
        (0..PARTITIONS).for_each(|partition| world.assign(partition));
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
        for action in actions {
            match action {
                Action::Seal(id, _) => {
                    self.sealed.insert(id, std::mem::take(&mut self.open));
                }
                Action::Skip(id, errors) => {
                    let places = errors.iter().map(|error| self.place(id, error.row));
                    self.settled.extend(places.collect::<Vec<_>>());
                }
                action => self.todo.push_back(action),
            }
        }
        assert_eq!(
            self.open.len(),
            self.core.open_batch_rows() as usize,
            "the builder's rows are the core's"
        );
    }

    /// Delivers up to `count` records.
    fn deliver(&mut self, partition: u32, count: u64) {
        let Some(lane) = self.lanes.get(&partition).copied() else { return };
        let room = self.core.capacity().records;
        if room == 0 || !self.core.takes_from(lane) {
            return;
        }
        let mut offsets = Vec::new();
        for _ in 0..room.min(count) {
            let position = self.position[&partition];
            let offset = position + i64::from(!holds_record(position));
            offsets.push(offset);
            self.position.insert(partition, offset + 1);
        }
        self.open.extend(offsets.iter().map(|offset| (lane, *offset)));
        self.step(Event::Rows(lane, &super::ranges(&offsets), offsets.len() as u64));
    }

    fn place(&self, id: BatchId, row: u32) -> Place {
        let (lane, offset) = self.sealed[&id][row as usize];
        (self.partitions[&lane], offset)
    }

    /// Does one of the things that are to be done, any of them but for the order of writes.
    fn perform(&mut self, luck: usize) {
        if self.todo.is_empty() {
            return;
        }
        let mut index = luck % self.todo.len();
        let is_write = |action: &Action| matches!(action, Action::Write(..) | Action::DeadLetter(..));
        if is_write(&self.todo[index]) {
            index = self.todo.iter().position(is_write).unwrap_or(index);
        }
        let Some(action) = self.todo.remove(index) else { return };
        match action {
            Action::Run(id, attempt) => self.run(id, attempt, luck),
            Action::Write(id, rows) => self.unacknowledged.extend(rows.map(|row| (id, row, Fate::Ok))),
            Action::DeadLetter(id, errors, _) => {
                self.unacknowledged.extend(errors.iter().map(|error| (id, error.row, Fate::Dlq)));
            }
            Action::Commit(offsets) => {
                let ok = !luck.is_multiple_of(4);
                if ok {
                    self.commit(&offsets);
                }
                self.step(Event::CommitEnded(ok));
            }
            Action::Release(lanes) => {
                for (lane, offset) in lanes {
                    self.commit(&offset.map(|offset| (lane, offset)).into_iter().collect::<Vec<_>>());
                    self.counts.drained += 1;
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
    }

    fn run(&mut self, id: BatchId, attempt: u32, luck: usize) {
        let bad = |(partition, offset): Place| (offset + i64::from(partition)) % 5 == 1;
        let rows = (0..).zip(&self.sealed[&id]);
        let rows: Vec<_> = rows.filter(|(_, (lane, offset))| bad((self.partitions[lane], *offset))).collect();
        let error = |row: u32| RowError {
            row,
            stage: Stage::Process,
            message: "bad".into(),
            retriable: row.is_multiple_of(2),
        };
        let errors: Vec<_> = rows.into_iter().map(|(row, _)| error(row)).collect();
        let good =
            (0_u32..).take(self.sealed[&id].len()).filter(|row| errors.iter().all(|error| error.row != *row));
        let weights = good.map(|row| Weight { row, records: 1 + row % 2, bytes: 1 }).collect();
        self.counts.retried += u32::from(attempt > 0);
        let system = luck.is_multiple_of(6).then(|| "down".to_owned());
        self.step(Event::Finished(id, &Verdict { rows: errors, system, weights, ..Verdict::default() }));
    }

    /// Hears of one record that was written, whichever.
    fn acknowledge(&mut self, luck: usize) {
        if self.unacknowledged.is_empty() {
            return;
        }
        let index = luck % self.unacknowledged.len();
        let Some((id, row, fate)) = self.unacknowledged.remove(index) else { return };
        let place = self.place(id, row);
        let is_refused = fate == Fate::Ok && (place.1 + i64::from(place.0)) % 11 == 3;
        if is_refused {
            self.counts.refused += 1;
            return self.step(Event::Refused(id, row, Stage::Write, "too large"));
        }
        // A record of a lane that is gone is in the topic all the same, and will be there twice.
        self.settled.insert(place);
        self.step(Event::Acked(id, row..row + 1, fate));
    }

    fn commit(&mut self, offsets: &[(LaneId, i64)]) {
        for (lane, offset) in offsets {
            let partition = self.partitions[lane];
            // The group refuses commits of partitions that others have.
            if self.lanes.get(&partition) != Some(lane) {
                continue;
            }
            let before = self.committed.insert(partition, *offset);
            assert!(before.is_none_or(|before| before <= *offset), "a commit moves back");
            for offset in (0..*offset).filter(|offset| holds_record(*offset)) {
                assert!(self.settled.contains(&(partition, offset)), "committed past {partition}@{offset}");
            }
        }
    }

    fn lose(&mut self, partition: u32, how: Revoke) {
        let Some(lane) = self.lanes.get(&partition).copied() else { return };
        self.step(Event::Revoked(lane, how));
        if how == Revoke::Lost {
            self.counts.lost += 1;
            self.lanes.remove(&partition);
            self.assign(partition);
        }
    }

    /// Goes on until nothing is left to do. At the end of the input the source says so again after it has lost lanes.
    fn settle(&mut self, is_at_end: bool) {
        for round in 1_usize.. {
            if self.core.is_done() && self.todo.is_empty() && self.unacknowledged.is_empty() {
                return;
            }
            assert!(round < 20_000, "the job does not end: {:#?}", self.core);
            if is_at_end {
                self.step(Event::EndOfInput(true));
            }
            if self.todo.is_empty() && self.unacknowledged.is_empty() {
                self.now = self.core.deadline().unwrap_or(self.now).max(self.now);
                self.step(Event::Tick);
            }
            // Neither a failed commit nor an outage any more.
            self.perform(6 * round + 1);
            self.acknowledge(round);
        }
    }
}

/// True if there is a record at an offset: there are gaps, as compaction leaves them.
fn holds_record(offset: i64) -> bool {
    offset % 4 != 3
}

/// What happens next, to which partition, with which luck.
fn steps() -> impl Strategy<Value = Vec<(u8, u32, usize)>> {
    prop::collection::vec((0_u8..16, 0..PARTITIONS, 0_usize..10_000), 1..300)
}

fn play(world: &mut World, steps: &[(u8, u32, usize)]) {
    for (what, partition, luck) in steps {
        match what {
            0..=4 => world.deliver(*partition, 1 + *luck as u64 % 5),
            5..=8 => world.perform(*luck),
            9..=11 => world.acknowledge(*luck),
            12 => {
                world.now = world.now + Duration::from_millis(3);
                world.step(Event::Tick);
            }
            13 => world.step(Event::Idle),
            14 if luck % 5 == 0 => world.lose(*partition, Revoke::Lost),
            15 if luck % 5 == 0 => world.lose(*partition, Revoke::Drain),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    /// Whatever happens: builder and core agree on the open rows, nothing is committed before it is settled, no
    /// commit moves back, a lane that is not assigned is neither written nor committed, the books add up (the
    /// last two are asserted by every step). Once the trouble is over, all of it is settled and committed.
    #[test]
    fn nothing_is_lost_whatever_happens(
        steps in steps(),
        workers in 1_usize..4,
        regroup in any::<bool>(),
        strategy in prop::sample::select(vec![
            FailureStrategy::LogAndContinue, FailureStrategy::SendToDLQ, FailureStrategy::RetryWithBackoff,
        ]),
    ) {
        let mut world = World::new(core(strategy, workers, regroup));
        play(&mut world, &steps);
        world.settle(true);
        prop_assert!(world.core.ledger().is_balanced());
        for (partition, position) in &world.position {
            prop_assert_eq!(world.committed.get(partition), Some(position), "partition {}", partition);
        }
    }

    /// A source that fails after some rows: what was delivered is settled, nothing else is committed.
    #[test]
    fn a_source_that_fails_leaves_what_it_delivered(steps in steps(), workers in 1_usize..3) {
        let mut world = World::new(core(FailureStrategy::LogAndContinue, workers, false));
        play(&mut world, &steps);
        world.deliver(0, 3);
        world.step(Event::Stop);
        world.settle(false);
        let offsets = world.core.committable();
        world.commit(&offsets);
        prop_assert!(world.core.ledger().is_balanced());
        for (partition, lane) in &world.lanes {
            let is_ours = world.core.watermarks().any(|(ours, _)| ours == *lane);
            let end = is_ours.then_some(&world.position[partition]);
            prop_assert!(end.is_none_or(|end| world.committed.get(partition) == Some(end)), "partition {}", partition);
        }
    }
}

#[test]
fn the_trouble_that_is_made_happens() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut world = World::new(core(FailureStrategy::RetryWithBackoff, 2, false));
    let steps: Vec<_> =
        (0..3000).map(|_| (random.u8(0..16), random.u32(0..PARTITIONS), random.usize(0..10_000))).collect();
    play(&mut world, &steps);
    let Counts { lost, drained, refused, retried } = world.counts;
    assert!(lost > 10 && drained > 10 && refused > 10 && retried > 10, "{:?}", world.counts);
}
