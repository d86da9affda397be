//! The member against a group, brokers and a job that do whatever they may, in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::state::{ASK_AGAIN, COMMIT_TIMEOUT, Member, REJECTED_TIMEOUT, Rules};
use crate::core::Revoke;
use crate::ids::{LaneId, LaneName, Tick};
use crate::kafka::KafkaError;
use crate::kafka::error::Class;
use crate::kafka::fetch::Broken;
use crate::kafka::group::end_of_input::EndOfInput;
use crate::kafka::group::order::{Answer, Fact, Order, Position, Question};
use crate::kafka::group::reset::OnDataLoss;
use crate::kafka::offsets::{Bounds, Offsets};
use crate::source::SourceEvent;

const PARTITIONS: i32 = 4;
/// No job comes so far.
const END: i64 = 1_000_000;

fn name(partition: i32) -> LaneName {
    LaneName { topic: "orders".into(), partition }
}

fn rules(end: Option<EndOfInput>) -> Rules {
    Rules {
        topic: "orders".to_owned(),
        partitions: 2,
        on_data_loss: OnDataLoss::Continue,
        exactly_once: false,
        end,
    }
}

fn passing() -> KafkaError {
    KafkaError::of_class("the brokers do not answer", Class::Passing)
}

/// The group, the brokers and the job around a member.
struct World {
    member: Member,
    now: Tick,
    /// Partitions whose assignment the member has accepted, and those that the group is giving or taking.
    accepted: BTreeSet<i32>,
    giving: BTreeSet<i32>,
    taking: BTreeSet<i32>,
    generation: i32,
    /// True if the client has revoked partitions and has yet to say which ones are assigned in the same generation.
    is_unfinished: bool,
    /// Lanes that are fetched, and the offset that the job has come to.
    started: BTreeMap<LaneId, (i32, i64)>,
    /// Lanes that the job knows, and those that it is to drain.
    known: BTreeSet<LaneId>,
    draining: BTreeSet<LaneId>,
    question: Option<Question>,
    in_flight: Vec<Offsets>,
    /// Commits in flight of partitions that were given up.
    over: Vec<Offsets>,
    /// True while a commit of the job is in flight.
    commits: bool,
    committed: BTreeMap<i32, i64>,
    bounds: BTreeMap<i32, Bounds>,
    recreated: BTreeSet<i32>,
    counts: Counts,
}

/// What has happened, so that a test can tell that it has.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    assigned: u32,
    revoked: u32,
    lost: u32,
    released: u32,
    replaced: u32,
    refused: u32,
    late: u32,
    verified: u32,
    /// The client has joined again before a rebalance had ended, and this often before a revocation was answered.
    rejoined: u32,
    rejoined_early: u32,
}

impl World {
    fn new() -> Self {
        Self {
            member: Member::new(rules(None)),
            now: Tick::default(),
            accepted: BTreeSet::new(),
            giving: BTreeSet::new(),
            taking: BTreeSet::new(),
            generation: 0,
            is_unfinished: false,
            started: BTreeMap::new(),
            known: BTreeSet::new(),
            draining: BTreeSet::new(),
            question: None,
            in_flight: Vec::new(),
            over: Vec::new(),
            commits: false,
            committed: BTreeMap::new(),
            bounds: (0..PARTITIONS).map(|partition| (partition, (0, END))).collect(),
            recreated: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    fn step(&mut self, fact: Fact) {
        let mut orders = Vec::new();
        self.member.step(self.now, fact, &mut orders);
        for order in orders {
            self.carry_out(order);
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Ask(question) => {
                assert!(self.question.is_none(), "one question at a time");
                self.question = Some(question);
            }
            Order::Start(lane, LaneName { partition, .. }, position, _) => {
                assert!(!self.is_read(partition), "partition {partition} is read twice");
                // The offsets of a topic that was made again mean other records.
                if self.recreated.remove(&partition) {
                    let is_of_it =
                        |offsets: &Offsets| offsets.iter().any(|(name, _)| name.partition == partition);
                    assert!(!self.in_flight.iter().any(is_of_it), "an old commit may land last");
                    self.committed.remove(&partition);
                    // It has been written to since.
                    self.bounds.insert(partition, (0, END));
                }
                self.started.insert(lane, (partition, position));
            }
            Order::Move(lane, position) | Order::Seek(lane, _, position) => {
                let is_seek = matches!(order, Order::Seek(..));
                assert!(
                    !is_seek || self.giving.is_empty() && self.taking.is_empty(),
                    "the client takes a seek for the answer to a rebalance"
                );
                self.started.get_mut(&lane).expect("a lane that is fetched").1 = position;
            }
            Order::Stop(lane) => assert!(self.started.remove(&lane).is_some(), "{lane:?} is stopped twice"),
            Order::Assign(partitions) => {
                for (LaneName { partition, .. }, position) in partitions {
                    assert!(self.giving.remove(&partition), "partition {partition} was not given");
                    assert!(self.is_read(partition) && position.is_some());
                    assert!(self.accepted.insert(partition), "partition {partition} is assigned twice");
                    self.counts.assigned += 1;
                }
            }
            Order::Unassign(partitions) => {
                for LaneName { partition, .. } in partitions {
                    assert!(self.taking.remove(&partition), "partition {partition} was not taken");
                    assert!(!self.is_read(partition), "partition {partition} is given up and read");
                    self.accepted.remove(&partition);
                    self.counts.released += 1;
                    // What the group hears of it from now on is of a generation that is over.
                    let is_of_it =
                        |offsets: &Offsets| offsets.iter().any(|(name, _)| name.partition == partition);
                    let (over, rest): (Vec<_>, _) =
                        std::mem::take(&mut self.in_flight).into_iter().partition(is_of_it);
                    self.in_flight = rest;
                    self.over.extend(over);
                }
            }
            Order::Commit(offsets) => {
                for (LaneName { partition, .. }, _) in &offsets {
                    assert!(
                        self.accepted.contains(partition),
                        "partition {partition} is committed by a stranger"
                    );
                    let mut others = self.in_flight.iter().flatten();
                    let is_same = |(other, _): &(LaneName, i64)| other.partition == *partition;
                    assert!(
                        !others.any(is_same),
                        "two commits of partition {partition} may overtake each other"
                    );
                }
                self.in_flight.push(offsets);
            }
            Order::StartOver(_) => {
                assert!(self.started.is_empty(), "a lane has no client");
                self.accepted.clear();
                self.giving.clear();
                self.taking.clear();
                self.is_unfinished = false;
                self.question = None;
                // Nobody reports how they end.
                self.in_flight.clear();
                self.over.clear();
            }
            Order::Report(event) => self.hear(&event),
            Order::Fail(error) => panic!("{error}"),
            Order::AskGroup(_) => {}
        }
    }

    fn is_read(&self, partition: i32) -> bool {
        self.started.values().any(|(read, _)| *read == partition)
    }

    /// The job hears of something.
    fn hear(&mut self, event: &SourceEvent) {
        match *event {
            SourceEvent::Assigned(lane, ..) => assert!(self.known.insert(lane)),
            SourceEvent::Revoked(lane, Revoke::Drain) => {
                self.draining.extend(self.known.get(&lane));
            }
            SourceEvent::Revoked(lane, Revoke::Lost) => {
                self.known.remove(&lane);
                self.draining.remove(&lane);
            }
            SourceEvent::CommitEnded(_) => self.commits = false,
            _ => {}
        }
    }

    /// The client reports what a generation gives.
    fn assign(&mut self, generation: i32, partition: Option<i32>) {
        self.giving.extend(partition);
        self.step(Fact::Generation(generation));
        self.step(Fact::Assigned(partition.into_iter().map(name).collect()));
    }

    /// The client reports what the next generation takes away.
    fn revoke(&mut self, partition: i32) {
        self.generation += 1;
        self.is_unfinished = true;
        self.taking.insert(partition);
        self.step(Fact::Generation(self.generation));
        self.step(Fact::Revoked(vec![name(partition)], false));
    }

    /// True if the group begins a rebalance: the client has ended the last one.
    fn is_quiet(&mut self) -> bool {
        if self.giving.is_empty() && self.taking.is_empty() && std::mem::take(&mut self.is_unfinished) {
            self.assign(self.generation, None);
        }
        self.giving.is_empty() && self.taking.is_empty()
    }

    fn give(&mut self, partition: i32) {
        if self.is_quiet() && !self.accepted.contains(&partition) {
            self.generation += 1;
            self.assign(self.generation, Some(partition));
        }
    }

    fn take(&mut self, partition: i32) {
        if self.is_quiet() && self.accepted.contains(&partition) {
            self.counts.revoked += 1;
            self.revoke(partition);
        }
    }

    /// The client joins its group again before the rebalance that revokes partitions has ended. It gets a partition
    /// that is revoked, or another one, or loses one more.
    fn rejoin(&mut self, partition: i32) {
        if !self.giving.is_empty() || !self.is_unfinished {
            return;
        }
        self.counts.rejoined += 1;
        self.counts.rejoined_early += u32::from(!self.taking.is_empty());
        if self.accepted.contains(&partition) && !self.taking.contains(&partition) {
            self.revoke(partition);
        } else {
            self.generation += 1;
            self.assign(self.generation, Some(partition));
        }
        assert!(self.accepted.is_empty() && self.known.is_empty(), "the client follows its group no more");
    }

    /// All partitions are somebody else's from one moment to the next.
    fn lose(&mut self) {
        if self.is_quiet() && !self.accepted.is_empty() {
            self.counts.lost += 1;
            self.taking.clone_from(&self.accepted);
            let all: Vec<_> = self.accepted.iter().copied().map(name).collect();
            self.step(Fact::Revoked(all, true));
        }
    }

    fn answer(&mut self, is_answered: bool) {
        let Some(question) = self.question.take() else { return };
        let answer = match question {
            _ if !is_answered => Err(passing()),
            Question::Bounds(names) => {
                Ok(Answer::Bounds(names.iter().map(|name| self.bounds[&name.partition]).collect()))
            }
            Question::Positions(names) => {
                let position = |name: &LaneName| {
                    let bounds = self.bounds[&name.partition];
                    Position { committed: self.committed.get(&name.partition).copied(), bounds, start: 1000 }
                };
                Ok(Answer::Positions(names.iter().map(position).collect()))
            }
        };
        self.step(Fact::Answered(answer));
    }

    /// One of the commits in flight ends, whichever.
    fn end_commit(&mut self, luck: usize) {
        if let Some(offsets) = self.over.pop() {
            let refused = Err(KafkaError::of_class("another generation", Class::Expelled));
            return self.step(Fact::CommitEnded(offsets, refused));
        }
        if self.in_flight.is_empty() {
            return;
        }
        let offsets = self.in_flight.remove(luck % self.in_flight.len());
        let result = if luck.is_multiple_of(5) {
            self.counts.refused += 1;
            Err(KafkaError::of_class("the group rebalances", Class::Rebalancing))
        } else {
            for (LaneName { partition, .. }, offset) in &offsets {
                let before = self.committed.insert(*partition, *offset);
                assert!(before.is_none_or(|before| before <= *offset), "a commit moves back");
            }
            Ok(())
        };
        self.step(Fact::CommitEnded(offsets, result));
    }

    /// The job goes on by a few records, and commits.
    fn commit(&mut self, luck: usize) {
        if self.commits || self.member.is_verifying() {
            return;
        }
        let known = self.started.iter_mut().filter(|(lane, _)| self.known.contains(lane));
        let mut offsets = Vec::new();
        for (lane, (_, offset)) in known {
            // Nothing is read of a lane whose next record is not there.
            let read = if self.member.is_reading(*lane) { luck % 3 } else { 0 };
            *offset += i64::try_from(read).expect("small");
            offsets.push((*lane, *offset));
        }
        self.commits = !offsets.is_empty();
        if self.commits {
            self.step(Fact::Commit(offsets));
        }
    }

    /// The job has drained what it was to drain.
    fn release(&mut self, luck: usize) {
        if self.draining.is_empty() || self.member.is_verifying() {
            return;
        }
        let lanes: Vec<_> = std::mem::take(&mut self.draining).into_iter().collect();
        let offset = |lane: LaneId| {
            self.started.get(&lane).map(|(_, offset)| *offset).filter(|_| !luck.is_multiple_of(4))
        };
        let lanes: Vec<_> = lanes.into_iter().map(|lane| (lane, offset(lane))).collect();
        for (lane, _) in &lanes {
            self.known.remove(lane);
        }
        self.step(Fact::Released(lanes));
    }

    /// A topic is made again with fewer records, or its oldest records are deleted.
    fn spoil(&mut self, luck: usize) {
        let Some((lane, (partition, position))) = self.started.iter().nth(luck % 4).map(|(l, at)| (*l, *at))
        else {
            return;
        };
        if !self.known.contains(&lane) || self.draining.contains(&lane) || !self.member.is_reading(lane) {
            return;
        }
        let is_recreated = luck.is_multiple_of(2) && position > 0;
        let bounds = if is_recreated { (0, position - 1) } else { (position + 5, END) };
        self.bounds.insert(partition, bounds);
        if is_recreated {
            self.counts.replaced += 1;
            self.recreated.insert(partition);
        }
        self.step(Fact::Broken(lane, position, Broken::new("offset out of range")));
    }

    fn pass_time(&mut self, time: Duration) {
        self.now = self.now + time;
        if time >= COMMIT_TIMEOUT {
            self.counts.late += 1;
            // What nobody has answered for so long has not been taken.
            self.over.append(&mut self.in_flight);
        }
        self.step(Fact::Tick);
    }

    /// Goes on until every rebalance is answered and nothing is in flight.
    fn settle(&mut self) {
        for round in 0..200 {
            self.answer(true);
            self.end_commit(5 * round + 1);
            self.release(1);
            self.pass_time(ASK_AGAIN);
        }
        assert!(self.giving.is_empty() && self.taking.is_empty(), "a rebalance is not answered");
        assert!(self.in_flight.is_empty() && self.question.is_none() && !self.member.is_verifying());
        let read: BTreeSet<_> = self.started.values().map(|(partition, _)| *partition).collect();
        assert_eq!(read, self.accepted, "a partition is read if it is assigned and not released");
        let lanes: BTreeSet<_> = self.started.keys().copied().collect();
        assert_eq!(lanes, self.known, "the job knows the lanes that are read");
    }

    fn play(&mut self, steps: &[(u8, i32, usize)]) {
        for (what, partition, luck) in steps {
            match what {
                0..=2 => self.give(*partition),
                3 | 4 => self.take(*partition),
                5 if luck % 4 == 0 => self.lose(),
                5 => self.rejoin(*partition),
                6..=8 => self.answer(luck % 4 > 0),
                9..=11 => self.end_commit(*luck),
                12 | 13 => self.commit(*luck),
                14 | 15 => self.release(*luck),
                16 => self.spoil(*luck),
                17 => self.pass_time(Duration::from_millis(300)),
                18 if luck % 6 == 0 => self.pass_time(COMMIT_TIMEOUT),
                19 if luck % 4 == 0 && !self.commits => {
                    self.counts.verified += 1;
                    self.step(Fact::WasAway);
                }
                _ => {}
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, i32, usize)>> {
    prop::collection::vec((0_u8..20, 0..PARTITIONS, 0_usize..10_000), 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    /// Whatever happens: a partition has at most one lane, is read from its assignment to its release, is committed
    /// by nobody else, and no commit can land behind a newer one. Every rebalance is answered in the end.
    #[test]
    fn a_partition_is_read_if_it_is_assigned_and_not_released(steps in steps()) {
        let mut world = World::new();
        world.play(&steps);
        world.settle();
    }

    /// A job that ends commits what it has, and answers every rebalance at once.
    #[test]
    fn a_job_that_ends_answers_whatever_comes(steps in steps(), rest in steps()) {
        let mut world = World::new();
        world.play(&steps);
        let lanes = world.started.iter().filter(|(lane, _)| world.known.contains(lane));
        let offsets = lanes.map(|(lane, (_, offset))| (*lane, *offset)).collect();
        let mut orders = Vec::new();
        world.member.step(world.now, Fact::Finish(offsets), &mut orders);
        for (what, partition, luck) in rest {
            if world.member.finish.as_ref().is_none_or(|finish| finish.result.is_some()) {
                break;
            }
            let fact = match what {
                0..=4 => Fact::Assigned(vec![name(partition)]),
                5..=9 => Fact::Revoked(vec![name(partition)], luck % 2 == 0),
                10..=13 => {
                    let commits: Vec<_> = orders.iter().filter_map(|order| match order {
                        Order::Commit(offsets) => Some(offsets.clone()),
                        _ => None,
                    }).chain(world.in_flight.drain(..)).collect();
                    orders.retain(|order| !matches!(order, Order::Commit(_)));
                    for offsets in commits {
                        world.member.step(world.now, Fact::CommitEnded(offsets, Ok(())), &mut orders);
                    }
                    Fact::Tick
                }
                _ => {
                    world.now = world.now + Duration::from_secs(1);
                    Fact::Tick
                }
            };
            let is_rebalance = matches!(fact, Fact::Assigned(_) | Fact::Revoked(..));
            let before = orders.len();
            world.member.step(world.now, fact, &mut orders);
            let is_answer = |order: &Order| matches!(order, Order::Assign(_) | Order::Unassign(_));
            prop_assert!(!is_rebalance || orders[before..].iter().any(is_answer), "{:?}", orders);
        }
        for _ in 0..40 {
            world.now = world.now + Duration::from_secs(1);
            world.member.step(world.now, Fact::Tick, &mut orders);
        }
        prop_assert!(world.member.finished().is_some(), "the last commit has a time-out");
    }
}

#[test]
fn the_trouble_that_is_made_happens() {
    #[cfg(feature = "failpoints")]
    let _armed = std::env::var_os("FAILPOINTS").map(|_| crate::failpoint::arm());
    let mut random = fastrand::Rng::with_seed(5);
    let mut world = World::new();
    let steps: Vec<_> =
        (0..20_000).map(|_| (random.u8(0..20), random.i32(0..PARTITIONS), random.usize(0..10_000))).collect();
    world.play(&steps);
    world.settle();
    #[rustfmt::skip]
    let Counts { assigned, revoked, lost, released, replaced, refused, late, verified, rejoined, rejoined_early } =
        world.counts;
    let late_joins = rejoined - rejoined_early;
    let all =
        [assigned, revoked, lost, released, replaced, refused, late, verified, rejoined_early, late_joins];
    assert!(all.iter().all(|count| *count > 10), "{:?}", world.counts);
}

/// No job shows this mutant, because a job has only one commit in flight. The member does not rely on that.
#[cfg(feature = "failpoints")]
#[test]
fn swapped_results_of_commits_are_found() {
    use crate::failpoint::Mutant;

    let run = |failpoints: &str| {
        let mut test = std::process::Command::new(std::env::current_exe().expect("this test"));
        test.args(["--exact", "kafka::group::member::tests::the_trouble_that_is_made_happens"]);
        test.env("FAILPOINTS", failpoints).output().expect("it runs").status.success()
    };
    assert!(run(""));
    assert!(!run(&format!("{}=return", Mutant::CommitResultsSwapped.name())));
}

#[test]
fn two_hundred_partitions_are_revoked_with_one_commit() {
    let mut world = World::new();
    world.bounds = (0..200).map(|partition| (partition, (0, END))).collect();
    world.giving = (0..200).collect();
    world.step(Fact::Assigned((0..200).map(name).collect()));
    assert!(matches!(&world.question, Some(Question::Positions(names)) if names.len() == 200));
    world.answer(true);
    world.taking = (0..200).collect();
    world.step(Fact::Revoked((0..200).map(name).collect(), false));
    world.release(1);
    assert_eq!((world.in_flight.len(), world.in_flight[0].len()), (1, 200));
    world.end_commit(1);
    assert!(world.taking.is_empty() && world.started.is_empty());
}

#[test]
fn a_partition_that_appears_is_read_from_its_first_record_on() {
    let mut world = World::new();
    // Of the two partitions that there were, one has no committed offset: it starts where the job does.
    for (partition, start) in [(0, 1000), (3, 0)] {
        world.give(partition);
        world.answer(true);
        let position =
            world.started.values().find(|(read, _)| *read == partition).map(|(_, position)| *position);
        assert_eq!(position, Some(start), "partition {partition}");
    }
}

/// Steps a member, and returns what it reports about the end of the input.
fn reached(member: &mut Member, fact: Fact) -> Option<bool> {
    let mut orders = Vec::new();
    member.step(Tick::default(), fact, &mut orders);
    let end = |order: &Order| match order {
        Order::Report(SourceEvent::EndOfInput(is_reached)) => Some(*is_reached),
        _ => None,
    };
    orders.iter().find_map(end)
}

/// Returns a member of a topic with 10 records in partition 0 and 20 in partition 1, to which these are assigned.
fn reader_to_the_end(partitions: std::ops::Range<i32>) -> Member {
    let end = EndOfInput::new([(0, (0, 10)), (1, (0, 20))]);
    let mut member = Member::new(rules(Some(end)));
    assert_eq!(reached(&mut member, Fact::Tick), None, "it has not joined yet");
    reached(&mut member, Fact::Assigned(partitions.clone().map(name).collect()));
    let position = Position { committed: None, bounds: (0, 10), start: 0 };
    let answer = Answer::Positions(partitions.map(|_| position).collect());
    assert_eq!(reached(&mut member, Fact::Answered(Ok(answer))), None);
    member
}

/// The scenario that finds this mutant in a job needs luck; this does not.
#[cfg(feature = "failpoints")]
#[test]
fn an_end_that_is_reached_without_the_others_is_found() {
    use crate::failpoint::Mutant;

    let run = |failpoints: &str| {
        let mut test = std::process::Command::new(std::env::current_exe().expect("this test"));
        let name = "the_end_of_the_input_is_reached_with_what_others_have_committed";
        test.args(["--exact", &format!("kafka::group::member::tests::{name}")]);
        test.env("FAILPOINTS", failpoints).output().expect("it runs").status.success()
    };
    assert!(run(""));
    assert!(!run(&format!("{}=return", Mutant::DoneWithoutLanes.name())));
}

#[test]
fn the_end_of_the_input_is_reached_with_what_others_have_committed() {
    #[cfg(feature = "failpoints")]
    let _armed = std::env::var_os("FAILPOINTS").map(|_| crate::failpoint::arm());
    let mut member = reader_to_the_end(0..1);
    assert_eq!(reached(&mut member, Fact::Ended(LaneId(0))), None, "partition 1 is somebody else's");
    assert_eq!(reached(&mut member, Fact::GroupCommitted(Ok(vec![(1, 19)]))), None);
    assert_eq!(reached(&mut member, Fact::GroupCommitted(Ok(vec![(1, 20)]))), Some(true));
    // Before its last commit the lane is lost: the next report has to come from the group.
    reached(&mut member, Fact::Revoked(vec![name(0)], true));
    assert_eq!(reached(&mut member, Fact::GroupCommitted(Ok(vec![(0, 10)]))), Some(true));
}

#[test]
fn a_lane_whose_records_were_given_up_is_not_read_to_the_end() {
    let mut member = reader_to_the_end(0..2);
    reached(&mut member, Fact::Ended(LaneId(0)));
    assert_eq!(reached(&mut member, Fact::Ended(LaneId(1))), Some(true));
    reached(&mut member, Fact::Revoked(vec![name(0), name(1)], false));
    // The job has given up records of the first one: its input is not read to the end, whatever becomes of the commit.
    assert_eq!(reached(&mut member, Fact::Released(vec![(LaneId(0), Some(4))])), Some(false));
    assert_eq!(reached(&mut member, Fact::Released(vec![(LaneId(1), Some(20))])), None);
    assert_eq!(reached(&mut member, Fact::CommitEnded(vec![(name(1), 20)], Ok(()))), None);
    assert_eq!(reached(&mut member, Fact::CommitEnded(vec![(name(0), 4)], Ok(()))), None);
    assert_eq!(reached(&mut member, Fact::GroupCommitted(Ok(vec![(0, 4), (1, 20)]))), None);
    assert_eq!(reached(&mut member, Fact::GroupCommitted(Ok(vec![(0, 10)]))), Some(true));
}

#[test]
fn a_lost_lane_ends_although_an_older_rebalance_has_no_answer() {
    let mut world = World::new();
    world.give(0);
    world.answer(true);
    world.giving.insert(1);
    world.step(Fact::Assigned(vec![name(1)]));
    world.taking.insert(0);
    world.step(Fact::Revoked(vec![name(0)], true));
    assert!(world.started.is_empty() && world.known.is_empty());
    assert!(world.taking.contains(&0), "the group hears of it in its turn");
}

#[test]
fn a_member_that_is_dropped_owes_an_answer_to_every_rebalance() {
    let mut world = World::new();
    world.give(0);
    world.answer(true);
    world.giving.insert(1);
    world.step(Fact::Assigned(vec![name(1)]));
    world.taking.insert(0);
    world.step(Fact::Revoked(vec![name(0)], false));
    let owed = [Order::Assign(vec![(name(1), None)]), Order::Unassign(vec![name(0)])];
    assert_eq!(world.member.owed(), owed);
}

#[test]
fn a_client_that_is_interrupted_in_a_rebalance_is_replaced() {
    for is_answered in [false, true] {
        let mut world = World::new();
        world.give(0);
        world.answer(true);
        world.take(0);
        if is_answered {
            world.release(1);
            world.end_commit(1);
        }
        assert_eq!(world.taking.is_empty(), is_answered);
        world.rejoin(0);
        assert!(world.known.is_empty() && world.draining.is_empty() && world.giving.is_empty());
        // The new client joins the group, too.
        world.give(0);
        world.answer(true);
        assert!(world.accepted.contains(&0) && world.known.contains(&LaneId(1)));
    }
}

fn expelled() -> KafkaError {
    KafkaError::of_class("unknown member", Class::Expelled)
}

/// Ends the commit of the job as that of a stranger.
fn reject(world: &mut World) {
    let offsets = world.in_flight.remove(0);
    world.step(Fact::CommitEnded(offsets, Err(expelled())));
}

#[test]
fn a_member_whose_verification_fails_has_its_partitions_assigned_again() {
    for answer in [None, Some(Class::Permanent), Some(Class::Expelled)] {
        let mut world = World::new();
        world.give(0);
        world.answer(true);
        world.step(Fact::WasAway);
        assert!(world.member.is_verifying());
        match answer {
            None => world.pass_time(COMMIT_TIMEOUT),
            Some(class) => {
                let offsets = world.in_flight.remove(0);
                world.step(Fact::CommitEnded(offsets, Err(KafkaError::of_class("no", class))));
            }
        }
        assert!(!world.member.is_verifying() && world.known.is_empty(), "{answer:?}");
        assert!(world.accepted.is_empty(), "the group would never take away what nobody reads: {answer:?}");
        world.give(0);
        world.answer(true);
        assert!(world.known.contains(&LaneId(1)));
    }
}

#[test]
fn a_member_that_may_not_commit_any_more_says_so() {
    let mut world = World::new();
    world.give(0);
    world.answer(true);
    world.step(Fact::WasAway);
    let offsets = world.in_flight.remove(0);
    let mut orders = Vec::new();
    let refused = Err(KafkaError::of_class("no permission", Class::Unauthorized));
    world.member.step(world.now, Fact::CommitEnded(offsets, refused), &mut orders);
    assert!(orders.iter().any(|order| matches!(order, Order::Fail(_))), "{orders:?}");
}

#[test]
fn a_job_that_ends_while_its_membership_is_verified_commits_once() {
    let mut world = World::new();
    world.give(0);
    world.answer(true);
    world.step(Fact::WasAway);
    world.step(Fact::Finish(vec![(LaneId(0), 1001)]));
    assert!(!world.member.is_verifying());
    assert_eq!(world.in_flight.len(), 1, "the one that verifies");
    world.end_commit(1);
    assert_eq!(world.in_flight.len(), 1, "the last one");
    world.end_commit(1);
    world.pass_time(COMMIT_TIMEOUT);
    assert!(world.in_flight.is_empty() && world.member.finished().is_some_and(|result| result.is_ok()));
}

#[test]
fn a_client_that_does_not_notice_that_it_was_removed_is_replaced() {
    let mut world = World::new();
    world.give(0);
    world.answer(true);
    world.commit(1);
    reject(&mut world);
    world.pass_time(REJECTED_TIMEOUT / 2);
    assert!(world.accepted.contains(&0) && world.known.contains(&LaneId(0)), "the client may notice");
    world.commit(1);
    reject(&mut world);
    world.pass_time(REJECTED_TIMEOUT / 2);
    assert!(world.accepted.is_empty() && world.known.is_empty() && !world.commits);
}

#[test]
fn a_commit_that_a_rebalance_has_overtaken_says_nothing_about_the_present_generation() {
    let mut world = World::new();
    world.give(0);
    world.answer(true);
    world.commit(1);
    world.give(1);
    world.answer(true);
    reject(&mut world);
    world.pass_time(2 * REJECTED_TIMEOUT);
    assert_eq!(world.accepted.len(), 2);
    // Later ones do.
    world.commit(1);
    reject(&mut world);
    world.step(Fact::Rejected);
    world.pass_time(REJECTED_TIMEOUT);
    assert!(world.accepted.is_empty());
}

#[test]
fn an_assignment_that_does_not_wait_for_a_revocation_ends_what_was_there() {
    let mut member = Member::new(rules(None));
    let mut step = |fact| {
        let mut orders = Vec::new();
        member.step(Tick::default(), fact, &mut orders);
        orders
    };
    let positions = |count| {
        let position = Position { committed: Some(0), bounds: (0, END), start: 0 };
        Fact::Answered(Ok(Answer::Positions(vec![position; count])))
    };
    step(Fact::AssignedAnew(vec![name(0), name(1)]));
    step(positions(2));
    step(Fact::Revoked(vec![name(0), name(1)], false));
    let (zero, one) = (LaneId(0), LaneId(1));
    let drained = step(Fact::Released(vec![(zero, None)]));
    assert!(!drained.iter().any(|order| matches!(order, Order::Unassign(_))), "{drained:?}");

    let orders = step(Fact::AssignedAnew(vec![name(0), name(2)]));
    assert!(orders.contains(&Order::Report(SourceEvent::Revoked(one, Revoke::Lost))), "{orders:?}");
    assert!(orders.contains(&Order::Ask(Question::Positions(vec![name(0), name(2)]))), "{orders:?}");
    let orders = step(positions(2));
    assert!(matches!(orders.last(), Some(Order::Report(SourceEvent::Joined))), "{orders:?}");
    // What the job still reports about the old lane has no effect on the new ones.
    let late = step(Fact::Released(vec![(one, Some(7))]));
    assert_eq!(late, []);
}
