//! The machine against a model that is a fold over the list of delivered records.

mod chaos;

use super::batcher::{SealReason, SealRule};
use super::failure::{ByStage, RowError, Stage};
use super::*;
use crate::ids::{BatchId, LaneId, Tick};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use velo_schema::Tier;
use velo_schema::{Config, FailureStrategy};

fn policy(strategy: FailureStrategy) -> failure::Policy {
    let mut failure = Config::default().failure;
    failure.strategy = strategy;
    failure::Policy::of(&failure)
}

fn config(max_records: u64, eager: bool, strategy: FailureStrategy) -> CoreConfig {
    let policy = policy(strategy);
    CoreConfig {
        seal: SealRule { eager, ..SealRule::of_records(max_records, Duration::from_millis(10)) },
        regroup: None,
        transaction: None,
        tier: Tier::Buffered,
        failure: ByStage { decode: policy.clone(), process: policy.clone(), write: policy },
        workers: 2,
        seed: 0,
        commit_interval: Duration::from_millis(5),
        drain_timeout: Duration::from_millis(50),
        max_unsettled_records: 100,
        max_unsettled_bytes: u64::MAX,
        max_batch_time: Duration::from_mins(5),
    }
}

/// Offsets as ranges.
fn ranges(offsets: &[i64]) -> Vec<std::ops::Range<i64>> {
    offsets.chunk_by(|one, next| one + 1 == *next).map(|run| run[0]..run[run.len() - 1] + 1).collect()
}

fn ms(n: u64) -> Tick {
    Tick(n * 1_000_000)
}

fn error(row: u32) -> RowError {
    RowError { row, stage: Stage::Process, message: "bad".into(), retriable: false }
}

/// A core and the world around it: batches with their rows, and whatever was done with them.
struct World {
    core: Core,
    now: Tick,
    open: Vec<(LaneId, i64)>,
    sealed: BTreeMap<BatchId, Vec<(LaneId, i64)>>,
    actions: Vec<Action>,
    committed: HashMap<LaneId, i64>,
    settled: Vec<(LaneId, i64)>,
    reasons: Vec<(SealReason, usize)>,
    /// Why groups were sealed, their records, and the most records of one row in them.
    groups: Vec<(SealReason, u64, u64)>,
}

/// How many records a row puts out, where that matters.
fn outputs(offset: i64) -> u64 {
    u64::try_from(offset % 4).unwrap()
}

impl World {
    fn new(config: CoreConfig, lanes: u32) -> Self {
        let mut world = Self {
            core: Core::new(config),
            now: Tick::default(),
            open: Vec::new(),
            sealed: BTreeMap::new(),
            actions: Vec::new(),
            committed: HashMap::new(),
            settled: Vec::new(),
            reasons: Vec::new(),
            groups: Vec::new(),
        };
        for lane in 0..lanes {
            world.step(Event::Assigned(LaneId(lane), 0));
        }
        world
    }

    fn step(&mut self, event: Event<'_>) {
        let before = self.actions.len();
        self.core.step(self.now, event, &mut self.actions);
        for action in &self.actions[before..] {
            match action {
                Action::Seal(id, reason) => {
                    self.reasons.push((*reason, self.open.len()));
                    self.sealed.insert(*id, std::mem::take(&mut self.open));
                }
                Action::Commit(offsets) => self.committed.extend(offsets.iter().copied()),
                Action::Group(reason, records) => self.groups.push((*reason, *records, 0)),
                Action::Write(id, rows) => {
                    let most = rows.clone().map(|row| outputs(self.sealed[id][row as usize].1)).max();
                    if let Some(group) = self.groups.last_mut() {
                        group.2 = group.2.max(most.unwrap_or(0));
                    }
                }
                _ => {}
            }
        }
    }

    fn deliver(&mut self, lane: u32, offsets: &[i64]) {
        self.open.extend(offsets.iter().map(|offset| (LaneId(lane), *offset)));
        self.step(Event::Rows(LaneId(lane), &ranges(offsets), offsets.len() as u64));
    }

    /// Performs whatever is to be done, oldest first, with these rows failing.
    fn work(&mut self, bad: impl Fn(LaneId, i64) -> bool) {
        while !self.actions.is_empty() {
            match self.actions.remove(0) {
                Action::Run(id, _) => {
                    let rows = self.sealed[&id].iter().zip(0..);
                    let rows =
                        rows.filter(|((lane, offset), _)| bad(*lane, *offset)).map(|(_, row)| error(row));
                    let rows: Vec<_> = rows.collect();
                    let weights = self.sealed[&id].iter().zip(0..).map(|((_, offset), row)| {
                        let records = outputs(*offset);
                        Weight { row, records: u32::try_from(records).unwrap(), bytes: records }
                    });
                    let good = |weight: &Weight| rows.iter().all(|error| error.row != weight.row);
                    let weights = weights.filter(good).collect();
                    let verdict = Verdict { rows, weights, ..Verdict::default() };
                    self.step(Event::Finished(id, &verdict));
                }
                Action::Write(id, rows) => {
                    self.settled.extend(rows.clone().map(|row| self.sealed[&id][row as usize]));
                    self.step(Event::Acked(id, rows, Fate::Ok));
                }
                Action::DeadLetter(id, errors, _) => {
                    for error in errors {
                        self.settled.push(self.sealed[&id][error.row as usize]);
                        self.step(Event::Acked(id, error.row..error.row + 1, Fate::Dlq));
                    }
                }
                Action::Skip(id, errors) => {
                    let rows = errors.iter().map(|error| self.sealed[&id][error.row as usize]);
                    self.settled.extend(rows);
                }
                Action::Commit(_) => self.step(Event::CommitEnded(true)),
                _ => {}
            }
        }
    }
}

#[test]
fn a_batch_with_a_bad_record_under_fail_batch_writes_nothing() {
    let mut world = World::new(config(3, false, FailureStrategy::FailBatch), 1);
    world.deliver(0, &[0, 1, 2]);
    world.work(|_, offset| offset == 1);
    assert!(world.settled.is_empty() && world.core.is_done());
    let ledger = world.core.ledger();
    assert_eq!((ledger.delivered, ledger.failed, ledger.uncommitted), (3, 3, 0));
    assert!(ledger.is_balanced());
}

#[test]
fn a_system_failure_holds_its_lanes_and_tries_the_batch_again() {
    let mut world = World::new(config(1, false, FailureStrategy::LogAndContinue), 2);
    world.deliver(0, &[0]);
    let verdict = Verdict { system: Some("sink down".into()), ..Verdict::default() };
    world.actions.clear();
    world.step(Event::Finished(BatchId(0), &verdict));
    assert!(!world.core.takes_from(LaneId(0)) && world.core.takes_from(LaneId(1)));
    // The lanes' starts are committed first, so that nobody begins elsewhere after a crash.
    world.now = world.core.deadline().unwrap();
    world.step(Event::Tick);
    world.step(Event::CommitEnded(true));
    assert_eq!(world.committed.len(), 2);
    let due = world.core.deadline().unwrap();
    assert!(due > ms(750) && due <= ms(1000), "{due:?}");
    world.actions.clear();
    world.now = due;
    world.step(Event::Tick);
    assert_eq!(world.actions, [Action::Run(BatchId(0), 1)]);
    world.work(|_, _| false);
    assert_eq!(world.core.ledger().ok, 1);
}

#[test]
fn a_lost_lane_commits_nothing_more_and_its_batch_goes_on_for_the_others() {
    let mut world = World::new(config(4, false, FailureStrategy::LogAndContinue), 2);
    world.deliver(0, &[0, 1]);
    world.deliver(1, &[0, 1]);
    world.step(Event::Revoked(LaneId(0), Revoke::Lost));
    world.work(|_, _| false);
    world.now = ms(20);
    world.step(Event::Tick);
    assert_eq!(world.settled, [(LaneId(1), 0), (LaneId(1), 1)]);
    assert_eq!(world.committed.get(&LaneId(0)), None);
    let ledger = world.core.ledger();
    assert_eq!((ledger.ok, ledger.uncommitted), (2, 2));
    assert!(ledger.is_balanced());
}

#[test]
fn a_group_that_is_being_written_may_lose_a_lane() {
    let target = controller::Target { min_records: 4, max_records: 4, latency: Duration::from_millis(100) };
    let rule = SealRule { adaptive: Some(target), ..SealRule::of_records(4, Duration::from_secs(1)) };
    let config = CoreConfig { regroup: Some(rule), ..config(4, false, FailureStrategy::LogAndContinue) };
    let mut world = World::new(config, 2);
    world.deliver(0, &[1, 5]);
    world.deliver(1, &[1, 5]);
    let weight = |row| Weight { row, records: 1, bytes: 1 };
    let verdict = Verdict { weights: (0..4).map(weight).collect(), ..Verdict::default() };
    world.step(Event::Finished(BatchId(0), &verdict));
    assert_eq!(world.groups.len(), 1);
    world.step(Event::Revoked(LaneId(0), Revoke::Lost));
    // The acknowledgement covers rows that are somebody else's now.
    world.step(Event::Acked(BatchId(0), 0..4, Fate::Ok));
    let ledger = world.core.ledger();
    assert_eq!((ledger.ok, ledger.uncommitted), (2, 2));
    // The group is settled: the next one may be written.
    world.deliver(1, &[9, 13, 17, 21]);
    world.step(Event::Finished(BatchId(1), &verdict));
    assert_eq!(world.groups.len(), 2);
}

#[test]
fn a_batch_that_waits_for_nobody_any_more_is_not_processed_again() {
    let mut world = World::new(config(2, false, FailureStrategy::LogAndContinue), 1);
    world.deliver(0, &[0, 1]);
    world.deliver(0, &[2, 3]);
    let verdict = Verdict { system: Some("down".into()), ..Verdict::default() };
    world.step(Event::Finished(BatchId(0), &verdict));
    world.step(Event::Revoked(LaneId(0), Revoke::Lost));
    world.step(Event::Assigned(LaneId(7), 0));
    // Both are gone, and there is room for the records of the new lane.
    assert_eq!(world.core.capacity().records, 2);
    world.actions.clear();
    world.now = ms(10_000);
    world.step(Event::Tick);
    assert!(!world.actions.iter().any(|action| matches!(action, Action::Run(..))), "{:?}", world.actions);
    assert_eq!(world.core.ledger().uncommitted, 4);
}

#[test]
fn a_job_that_has_failed_begins_nothing_more() {
    let config = CoreConfig { workers: 1, ..config(2, false, FailureStrategy::FailBatch) };
    let mut world = World::new(config, 1);
    world.deliver(0, &[0, 1]);
    world.deliver(0, &[2, 3]);
    world.actions.clear();
    world.step(Event::Finished(BatchId(0), &Verdict { rows: vec![error(1)], ..Verdict::default() }));
    assert!(matches!(world.actions[..], [Action::Fail(Some(BatchId(0)), _)]), "{:?}", world.actions);
}

#[test]
fn a_batch_that_fails_after_its_lanes_were_lost_is_not_processed_again() {
    let mut world = World::new(config(2, false, FailureStrategy::LogAndContinue), 1);
    world.deliver(0, &[0, 1]);
    world.step(Event::Revoked(LaneId(0), Revoke::Lost));
    let verdict = Verdict { system: Some("down".into()), ..Verdict::default() };
    world.step(Event::Finished(BatchId(0), &verdict));
    assert!(world.actions.contains(&Action::Drop(BatchId(0))), "{:?}", world.actions);
    assert!(!world.actions.iter().any(|action| matches!(action, Action::Hold(..))), "{:?}", world.actions);
}

#[test]
fn a_job_without_memory_to_fill_writes_its_group() {
    let rule = SealRule::of_records(100, Duration::from_hours(1));
    let config = CoreConfig { regroup: Some(rule), ..config(1, false, FailureStrategy::LogAndContinue) };
    let mut world = World::new(config, 1);
    world.deliver(0, &[1]);
    let weights = vec![Weight { row: 0, records: 1, bytes: 1 }];
    world.step(Event::Finished(BatchId(0), &Verdict { weights, ..Verdict::default() }));
    assert!(world.groups.is_empty());
    world.step(Event::OutOfBuffers(true));
    assert_eq!(world.groups.len(), 1);
    assert_eq!((world.groups[0].0, world.core.capacity().records), (SealReason::Memory, 0));
    world.step(Event::OutOfBuffers(false));
    assert_eq!(world.core.capacity().records, 1);
}

#[test]
fn a_revoked_lane_is_released_once_its_records_are_settled() {
    let mut world = World::new(config(10, false, FailureStrategy::LogAndContinue), 1);
    world.deliver(0, &[0, 1]);
    world.step(Event::Revoked(LaneId(0), Revoke::Drain));
    assert_eq!(world.reasons, [(SealReason::Drain, 2)]);
    assert!(!world.core.takes_from(LaneId(0)));
    let id = BatchId(0);
    world.step(Event::Finished(id, &Verdict::default()));
    world.step(Event::Acked(id, 0..2, Fate::Ok));
    assert!(world.actions.contains(&Action::Release(vec![(LaneId(0), Some(2))])));
}

#[test]
fn a_revoked_lane_is_released_at_its_deadline_with_what_is_settled() {
    let mut world = World::new(config(1, false, FailureStrategy::LogAndContinue), 1);
    world.deliver(0, &[0]);
    world.work(|_, _| false);
    world.deliver(0, &[1]);
    world.step(Event::Revoked(LaneId(0), Revoke::Drain));
    world.now = world.core.deadline().unwrap().max(ms(50));
    world.step(Event::Tick);
    assert!(world.actions.contains(&Action::Release(vec![(LaneId(0), Some(1))])), "{:?}", world.actions);
    assert_eq!(world.core.ledger().uncommitted, 1);
}

#[test]
fn lanes_that_are_drained_together_are_released_together() {
    let mut world = World::new(config(10, false, FailureStrategy::LogAndContinue), 3);
    (0..3).for_each(|lane| world.step(Event::Revoked(LaneId(lane), Revoke::Drain)));
    world.step(Event::Tick);
    let released: Vec<_> =
        world.actions.iter().filter(|action| matches!(action, Action::Release(_))).collect();
    assert!(released.len() <= 3, "{released:?}");
    let mut world = World::new(config(4, false, FailureStrategy::LogAndContinue), 2);
    world.deliver(0, &[0, 1]);
    world.deliver(1, &[0, 1]);
    world.actions.clear();
    (0..2).for_each(|lane| world.step(Event::Revoked(LaneId(lane), Revoke::Drain)));
    world.step(Event::Finished(BatchId(0), &Verdict::default()));
    world.actions.clear();
    world.step(Event::Acked(BatchId(0), 0..4, Fate::Ok));
    let both = vec![(LaneId(0), Some(2)), (LaneId(1), Some(2))];
    assert!(world.actions.contains(&Action::Release(both)), "{:?}", world.actions);
}

#[test]
fn to_have_no_lane_is_no_end() {
    let mut world = World::new(config(2, false, FailureStrategy::LogAndContinue), 1);
    world.deliver(0, &[0, 1]);
    world.work(|_, _| false);
    world.step(Event::Ended(LaneId(0)));
    assert!(!world.core.is_done(), "the source has not said that this was all");
    world.step(Event::Revoked(LaneId(0), Revoke::Lost));
    assert!(!world.core.is_done(), "all of no lanes have ended");
    world.step(Event::Assigned(LaneId(1), 2));
    world.step(Event::Ended(LaneId(1)));
    world.step(Event::EndOfInput(true));
    assert!(!world.core.is_done(), "the last commit is on its way");
    world.work(|_, _| false);
    assert!(world.core.is_done());
    assert_eq!(world.committed[&LaneId(1)], 2);
    world.step(Event::EndOfInput(false));
    assert!(!world.core.is_done(), "the source has taken it back");
}

#[test]
fn a_lane_that_is_given_up_before_it_is_settled_is_no_end() {
    for how in [Revoke::Drain, Revoke::Lost] {
        let mut world = World::new(config(2, false, FailureStrategy::LogAndContinue), 1);
        world.deliver(0, &[0, 1]);
        world.step(Event::Ended(LaneId(0)));
        world.step(Event::EndOfInput(true));
        world.step(Event::Revoked(LaneId(0), how));
        // What is in flight is not settled in time.
        world.now = world.now + Duration::from_hours(1);
        world.step(Event::Tick);
        assert_eq!((world.core.ledger().uncommitted, world.core.is_done()), (2, false), "{how:?}");
        world.step(Event::Finished(BatchId(0), &Verdict::default()));
        assert!(!world.core.is_done(), "{how:?}");
        world.step(Event::EndOfInput(true));
        assert!(world.core.is_done(), "others have read the rest");
    }
}

#[test]
fn a_last_commit_that_fails_is_tried_again_at_its_interval() {
    let mut world = World::new(config(1, false, FailureStrategy::LogAndContinue), 1);
    world.deliver(0, &[0]);
    world.step(Event::Ended(LaneId(0)));
    world.step(Event::EndOfInput(true));
    world.step(Event::Finished(BatchId(0), &Verdict::default()));
    world.actions.clear();
    world.step(Event::Acked(BatchId(0), 0..1, Fate::Ok));
    let commit = Action::Commit(vec![(LaneId(0), 1)]);
    assert!(world.actions.contains(&commit), "{:?}", world.actions);
    world.actions.clear();
    world.step(Event::CommitEnded(false));
    assert!(world.actions.is_empty() && !world.core.is_done(), "{:?}", world.actions);
    world.now = world.core.deadline().unwrap();
    world.step(Event::Tick);
    assert_eq!(world.actions, [commit]);
    world.step(Event::CommitEnded(true));
    assert!(world.core.is_done());
}

#[test]
fn a_record_that_is_delivered_again_ends_the_job_before_anything_moves_back() {
    let mut world = World::new(config(10, false, FailureStrategy::LogAndContinue), 1);
    world.deliver(0, &[0, 1, 2]);
    world.step(Event::Rows(LaneId(0), &ranges(&[1]), 1));
    let Some(Action::Fail(None, error)) = world.actions.last() else { panic!("{:?}", world.actions) };
    assert!(error.to_string().contains("offset 1 of a partition after offset 2"), "{error}");
}

#[test]
fn batches_of_one_lane_run_one_after_the_other() {
    let mut world = World::new(config(1, false, FailureStrategy::LogAndContinue), 2);
    world.deliver(0, &[0]);
    world.deliver(0, &[1]);
    world.deliver(1, &[0]);
    let runs: Vec<_> = world.actions.iter().filter(|action| matches!(action, Action::Run(..))).collect();
    assert_eq!(runs, [&Action::Run(BatchId(0), 0), &Action::Run(BatchId(2), 0)]);
}

#[test]
fn no_more_is_taken_than_may_be_unsettled() {
    let mut world = World::new(config(60, false, FailureStrategy::LogAndContinue), 1);
    let offsets: Vec<_> = (0..60).collect();
    world.deliver(0, &offsets);
    assert!(world.core.capacity().records > 0);
    let offsets: Vec<_> = (60..120).collect();
    world.deliver(0, &offsets);
    assert_eq!(world.core.capacity().records, 0);
    world.work(|_, _| false);
    assert_eq!(world.core.capacity().records, 60);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every record is in exactly one batch, in the order of its lane; seal reasons are true; batches
    /// are never empty nor above their size; everything settles once; commits never pass an
    /// unsettled record; the ledger agrees with a count of its own.
    #[test]
    fn nothing_is_lost_and_nothing_is_twice(
        arrivals in prop::collection::vec((0_u32..3, 1_u64..8, 0_u64..6, any::<bool>()), 1..60),
        max_records in 1_u64..12,
        eager in any::<bool>(),
        modulus in 2_i64..9,
        dead_letters in any::<bool>(),
        regroup in prop::option::of((1_u64..20, prop::option::of(1_u64..15))),
    ) {
        let strategy =
            if dead_letters { FailureStrategy::SendToDLQ } else { FailureStrategy::LogAndContinue };
        let group_rule = regroup.map(|(most, max_bytes)| {
            SealRule { max_bytes, ..SealRule::of_records(most, Duration::from_millis(7)) }
        });
        let config = CoreConfig { regroup: group_rule, ..config(max_records, eager, strategy) };
        let mut world = World::new(config, 3);
        let bad = |_: LaneId, offset: i64| offset % modulus == 0;
        let mut next = [0_i64; 3];
        let mut delivered = Vec::new();
        for (lane, count, pause_ms, work) in arrivals {
            world.now = world.now + Duration::from_millis(pause_ms);
            world.step(Event::Tick);
            let room = world.core.capacity().records.min(count);
            let first = next[lane as usize];
            // A gap behind every delivery, as compaction leaves them.
            next[lane as usize] += i64::try_from(room).unwrap() + 1;
            let offsets: Vec<_> = (first..first + i64::try_from(room).unwrap()).collect();
            delivered.extend(offsets.iter().map(|offset| (LaneId(lane), *offset)));
            if room > 0 {
                world.deliver(lane, &offsets);
            }
            if work {
                world.step(Event::Idle);
                world.work(bad);
            }
            for (lane, offset) in &world.committed {
                let settled = |o: &i64| world.settled.contains(&(*lane, *o));
                let before = delivered.iter().filter(|(l, o)| l == lane && o < offset).map(|(_, o)| o);
                prop_assert!(before.clone().all(settled), "committed {offset} of {lane:?}");
            }
        }
        world.step(Event::Stop);
        world.work(bad);
        prop_assert!(world.core.is_done());

        let mut batched: Vec<_> = world.sealed.values().flatten().copied().collect();
        for lane in 0..3 {
            let of_lane: Vec<_> = batched.iter().filter(|(l, _)| l.0 == lane).collect();
            prop_assert!(of_lane.is_sorted(), "the order of lane {}", lane);
        }
        batched.sort_unstable();
        delivered.sort_unstable();
        prop_assert_eq!(&batched, &delivered);
        world.settled.sort_unstable();
        prop_assert_eq!(&world.settled, &delivered);
        for (reason, records) in &world.reasons {
            prop_assert!(*records > 0 && *records as u64 <= max_records);
            prop_assert_eq!(*reason == SealReason::Count, *records as u64 == max_records);
            prop_assert!(eager || *reason != SealReason::Eager);
        }
        // What is written is grouped within its bounds, but for a row that is larger by itself.
        for (reason, records, most) in &world.groups {
            let (max_records, max_bytes) = regroup.unwrap();
            let bound = max_records.min(max_bytes.unwrap_or(u64::MAX));
            prop_assert!(*records > 0 && (*records <= bound || records == most), "{:?}", world.groups);
            prop_assert!(*reason != SealReason::Time || *records < max_records);
        }
        prop_assert!(regroup.is_some() || world.groups.is_empty());
        let ledger = world.core.ledger();
        let failed = delivered.iter().filter(|(lane, offset)| bad(*lane, *offset)).count() as u64;
        let expected = if dead_letters { (0, failed) } else { (failed, 0) };
        prop_assert_eq!((ledger.skipped, ledger.dlq), expected);
        prop_assert_eq!(ledger.delivered, delivered.len() as u64);
        prop_assert!(ledger.is_balanced());
    }
}
