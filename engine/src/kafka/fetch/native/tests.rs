//! Tests of the state: what is asked for, and what becomes of answers that come late, wrong or not at all.

use std::time::{Duration, Instant};

use super::health::Health;
use super::state::{Asked, News, State};
use crate::ids::LaneId;
use crate::kafka::fetch::Broken;
use crate::protocol::metadata::{Broker, Leader, TopicMetadata};
use crate::protocol::records::{Amount, Segment};

const NONE: Amount = Amount { bytes: 0, records: 0 };
const SOME: Amount = Amount { bytes: 100, records: 10 };

/// A state and a time that only the test moves.
struct World {
    state: State,
    now: Instant,
}

impl World {
    /// Partition `n` is lane `n`, read from offset 0 on; its leader is broker `n % 2`.
    fn new(partitions: i32) -> Self {
        let state = State::new("t", 1000, Amount { bytes: 250, records: 1000 });
        #[allow(clippy::disallowed_methods, reason = "any time will do")]
        let mut world = Self { state, now: Instant::now() };
        for partition in 0..partitions {
            world.state.start(lane(partition), partition, 0);
        }
        assert!(world.state.wants_leaders);
        world.metadata(1, partitions, 5);
        world
    }

    fn metadata(&mut self, id: u128, partitions: i32, epoch: i32) -> (Vec<LaneId>, Vec<LaneId>) {
        let broker = |id| Broker { id, host: "h".to_owned(), port: 1 };
        let leader = |partition| Leader { partition, error: 0, broker: partition % 2, epoch };
        let leaders = (0..partitions).map(leader).collect();
        let brokers = vec![broker(0), broker(1)];
        self.state.leaders(&TopicMetadata { brokers, error: 0, id, leaders }, self.now)
    }

    fn ask(&mut self, broker: i32) -> Vec<Asked> {
        self.state.choose(broker, self.now).asked
    }

    fn positions(&mut self, broker: i32) -> Vec<(i32, i64)> {
        let asked = self.ask(broker);
        self.state.answered(&asked, self.now);
        asked.iter().map(|asked| (asked.wanted.partition, asked.wanted.position)).collect()
    }

    fn health(&mut self, partition: i32) -> Option<Health> {
        self.take(partition, NONE).health
    }

    fn take(&mut self, partition: i32, read: Amount) -> News {
        self.state.take(lane(partition), read).0
    }
}

fn lane(partition: i32) -> LaneId {
    LaneId(u32::try_from(partition).expect("no negative partition"))
}

#[test]
fn every_partition_is_asked_for_at_its_leader_once_at_a_time_and_first_in_turn() {
    let mut world = World::new(5);
    assert_eq!(world.state.asked_brokers(), [0, 1]);
    assert_eq!(world.positions(0), [(0, 0), (2, 0), (4, 0)]);
    let asked = world.ask(0);
    assert_eq!(asked.iter().map(|asked| asked.wanted.partition).collect::<Vec<_>>(), [2, 4, 0]);
    let choice = world.state.choose(0, world.now);
    assert!(choice.asked.is_empty() && choice.is_partial, "they are asked for already");
    world.state.answered(&asked[..1], world.now);
    assert_eq!(world.positions(0), [(2, 0)]);
    assert_eq!(world.positions(1), [(1, 0), (3, 0)]);
    assert_eq!(world.positions(1), [(3, 0), (1, 0)], "whatever other brokers are asked for");
}

#[test]
fn a_partition_goes_on_before_its_records_are_decoded_but_not_at_another_broker() {
    let mut world = World::new(1);
    let asked = world.ask(0);
    world.state.answered(&asked, world.now);
    assert!(world.state.advance(0, &asked[0], (10, 5), SOME));
    assert_eq!(world.positions(0), [(0, 10)]);

    world.state.leader_has_moved(&asked[0]);
    let leaders = vec![Leader { partition: 0, error: 0, broker: 1, epoch: 6 }];
    let brokers = vec![Broker { id: 1, host: "h".to_owned(), port: 1 }];
    world.state.leaders(&TopicMetadata { brokers, error: 0, id: 1, leaders }, world.now);
    assert_eq!(world.positions(1), [], "its records would overtake those that are being decoded");
    assert!(world.state.decoded(&asked[0], vec![Segment::default()], SOME));
    assert_eq!(world.positions(1), [(0, 10)]);
}

#[test]
fn a_full_queue_is_not_fed_until_some_of_it_was_read() {
    let mut world = World::new(1);
    for next in [10, 20, 30] {
        let asked = world.ask(0);
        world.state.answered(&asked, world.now);
        world.state.advance(0, &asked[0], (next, 5), SOME);
    }
    let choice = world.state.choose(0, world.now);
    assert!(choice.asked.is_empty() && choice.is_partial);
    assert!(world.state.take(lane(0), SOME).1, "it can be fed again");
    assert!(!world.state.take(lane(0), SOME).1, "it could already");
    assert_eq!(world.positions(0), [(0, 30)]);
}

#[test]
fn answers_to_what_was_asked_before_a_seek_are_dropped() {
    let mut world = World::new(1);
    let asked = world.ask(0);
    world.state.seek(lane(0), 3);
    assert_eq!(world.positions(0), [(0, 3)]);
    world.state.bounds(&asked[0], 100, 100);
    assert_eq!(world.state.ends(lane(0)), (None, None));
    assert!(!world.state.advance(0, &asked[0], (50, 5), SOME));
    assert!(!world.state.decoded(&asked[0], vec![Segment::default()], SOME));
    assert!(!world.state.failed(&asked[0], Health::Failed("no".to_owned()), world.now));
    assert_eq!((world.positions(0), world.health(0)), (vec![(0, 3)], None));

    let asked = world.ask(0);
    world.state.stop(lane(0));
    world.state.start(lane(0), 0, 7);
    assert!(!world.state.advance(0, &asked[0], (50, 5), SOME), "another lane with the same id");
}

#[test]
fn records_that_cannot_be_decoded_are_fetched_again_with_all_that_follow() {
    let mut world = World::new(1);
    let first = world.ask(0);
    world.state.answered(&first, world.now);
    world.state.advance(0, &first[0], (10, 5), SOME);
    let second = world.ask(0);
    world.state.undecodable(&first[0], SOME, Health::refused("crc"), world.now);
    world.state.answered(&second, world.now);
    assert!(!world.state.advance(0, &second[0], (20, 5), SOME), "they would be taken for the first ones");
    assert_eq!(world.positions(0), [], "not at once");
    world.now += Duration::from_secs(1);
    assert_eq!(world.positions(0), [(0, 0)]);
}

#[test]
fn a_lane_hears_of_records_that_stay_unreadable() {
    let mut world = World::new(1);
    let heard = (0..50).filter(|_| {
        world.now += Duration::from_millis(100);
        let asked = world.ask(0);
        world.state.answered(&asked, world.now);
        world.state.bounds(&asked[0], 100, 100);
        world.state.advance(0, &asked[0], (10, 5), SOME);
        world.state.undecodable(&asked[0], SOME, Health::refused("crc"), world.now);
        world.health(0).is_some()
    });
    assert_eq!(heard.count(), 20, "after three of five seconds, each time");
}

#[test]
fn a_failure_right_after_success_does_not_hide_the_success_from_the_lane() {
    let mut world = World::new(1);
    for seconds in [1, 5] {
        world.now += Duration::from_secs(seconds);
        let asked = world.ask(0);
        world.state.answered(&asked, world.now);
        world.state.failed(&asked[0], Health::refused("no"), world.now);
    }
    assert!(world.health(0).is_some());
    world.now += Duration::from_secs(1);
    let asked = world.ask(0);
    world.state.answered(&asked, world.now);
    assert!(world.state.nothing(&asked[0]));
    assert!(
        world.state.failed(&asked[0], Health::refused("no"), world.now),
        "the lane does not know the success yet"
    );
}

#[test]
fn a_lane_hears_of_failures_that_last_and_of_their_end() {
    let mut world = World::new(1);
    let failing = || Health::unavailable("no leader");
    let fail = |world: &mut World| {
        world.now += Duration::from_secs(1);
        let asked = world.ask(0);
        world.state.answered(&asked, world.now);
        world.state.failed(&asked[0], failing(), world.now)
    };
    assert!((0..3).all(|_| !fail(&mut world)) && world.health(0).is_none(), "leaders move");
    assert!(fail(&mut world));
    assert_eq!((world.health(0), world.health(0)), (Some(failing()), None));
    assert!(fail(&mut world) && world.health(0).is_some(), "each failure counts from then on");
    world.now += Duration::from_secs(1);
    let asked = world.ask(0);
    world.state.bounds(&asked[0], 9, 7);
    assert_eq!((world.health(0), world.state.ends(lane(0))), (None, (Some(9), Some(7))), "is it readable?");
    assert!(world.state.nothing(&asked[0]));
    assert_eq!(world.health(0), Some(Health::Good));
    assert!(!world.state.nothing(&asked[0]), "no news");
}

#[test]
fn what_is_queued_is_read_before_the_lane_hears_that_nothing_follows() {
    let mut world = World::new(1);
    let asked = world.ask(0);
    world.state.answered(&asked, world.now);
    world.state.advance(0, &asked[0], (10, 5), SOME);
    world.state.decoded(&asked[0], vec![Segment::default()], SOME);
    let asked = world.ask(0);
    let broken = Health::Broken(Broken::new("out of range"));
    assert!(world.state.failed(&asked[0], broken.clone(), world.now));
    let news = world.take(0, NONE);
    assert!(news.segment.is_some() && news.health.is_none());
    assert_eq!(world.health(0), Some(broken));
    world.now += Duration::from_mins(1);
    assert_eq!(world.positions(0), [], "nobody knows where it goes on");
    world.state.seek(lane(0), 40);
    assert_eq!(world.positions(0), [(0, 40)]);
}

#[test]
fn a_broker_that_is_gone_makes_way_for_the_next_leader() {
    let mut world = World::new(2);
    assert_eq!(world.state.unreachable(1, &Health::unavailable("gone"), world.now), [lane(1)]);
    assert!(world.state.wants_leaders && world.positions(1).is_empty());
    assert_eq!(world.metadata(1, 1, 6), (vec![lane(1)], vec![]), "no broker knows a leader of the second");
    assert_eq!(world.metadata(1, 2, 4), (vec![lane(1)], vec![]), "a leader of the past");
    assert!(world.state.wants_leaders);
    assert_eq!(world.metadata(1, 2, 6), (vec![], vec![]));
    world.now += Duration::from_secs(1);
    assert_eq!((world.positions(1), world.state.wants_leaders), (vec![(1, 0)], false));
    assert_eq!(
        world.metadata(1, 0, 6),
        (vec![], vec![]),
        "what can be read is not given up for a broker that lags"
    );
    assert_eq!(world.positions(1), [(1, 0)]);
}

#[test]
fn a_broker_that_does_not_answer_does_not_keep_its_partitions() {
    let mut world = World::new(1);
    let late = world.ask(0);
    let leaders = vec![Leader { partition: 0, error: 0, broker: 1, epoch: 6 }];
    let brokers = vec![Broker { id: 1, host: "h".to_owned(), port: 1 }];
    world.state.leaders(&TopicMetadata { brokers, error: 0, id: 1, leaders }, world.now);
    let asked = world.ask(1);
    assert_eq!(asked.len(), 1);
    world.state.answered(&late, world.now);
    assert!(!world.state.advance(0, &late[0], (10, 5), SOME), "it has answered too late");
    assert!(world.ask(1).is_empty(), "the next one is still asked");
    world.state.answered(&asked, world.now);
    assert!(world.state.advance(1, &asked[0], (10, 6), SOME));
}

#[test]
fn what_is_worse_stays() {
    let mut world = World::new(2);
    let asked = world.ask(1);
    let broken = Health::Broken(Broken::new("out of range"));
    world.state.failed(&asked[0], broken.clone(), world.now);
    world.state.unreachable(1, &Health::unavailable("gone"), world.now);
    assert_eq!(world.health(1), Some(broken));
    // One answer says both: the topic is another one, and has no leaders yet.
    world.metadata(2, 0, 0);
    world.state.leaders_unknown(&Health::unavailable("no leader"), world.now);
    assert!(matches!(world.health(0), Some(Health::Broken(broken)) if broken.differs_from == Some(0)));
}

#[test]
fn a_replica_is_asked_if_the_leader_says_so_until_it_fails() {
    let mut world = World::new(1);
    let asked = world.ask(0);
    world.state.answered(&asked, world.now);
    world.state.prefer(&asked[0], 9, world.now);
    assert!(world.state.wants_leaders, "nobody knows its address");
    assert_eq!(world.positions(0), [], "the leader would say the same again");
    world.now += Duration::from_secs(1);
    let asked = world.ask(0);
    world.state.prefer(&asked[0], 1, world.now);
    world.state.answered(&asked, world.now);
    assert_eq!(world.state.asked_brokers(), [1]);
    let asked = world.ask(1);
    assert!(world.state.is_follower(&asked[0], 1) && !world.state.is_follower(&asked[0], 0));
    world.state.leader_has_moved(&asked[0]);
    world.metadata(1, 1, 5);
    world.state.answered(&asked, world.now);
    assert_eq!((world.positions(0), world.positions(1)), (vec![(0, 0)], vec![]));

    let asked = world.ask(0);
    world.state.prefer(&asked[0], 1, world.now);
    world.state.answered(&asked, world.now);
    world.now += Duration::from_secs(299);
    assert_eq!((world.positions(0), world.positions(1)), (vec![], vec![(0, 0)]));
    let asked = world.ask(1);
    world.now += Duration::from_secs(1);
    world.state.answered(&asked, world.now);
    assert_eq!((world.positions(0), world.positions(1)), (vec![(0, 0)], vec![]), "it may have better advice");
}

#[test]
fn a_topic_that_was_created_again_is_not_the_one_that_was_read() {
    let mut world = World::new(2);
    assert_eq!(world.metadata(2, 2, 0), (vec![], vec![lane(0), lane(1)]));
    let Some(Health::Broken(broken)) = world.health(0) else { panic!("it can be read") };
    assert_eq!(broken.differs_from, Some(0), "{broken:?}");
    assert_eq!(world.positions(0), []);
    assert_eq!(world.metadata(1, 2, 5), (vec![], vec![]), "a broker that lags behind");
    // Lanes that start when none was read know nothing of the topic of before.
    world.state.stop(lane(0));
    world.state.stop(lane(1));
    world.state.start(lane(2), 0, 50);
    assert_eq!(world.metadata(3, 1, 0), (vec![], vec![]));
    assert_eq!(world.positions(0), [(0, 50)]);
}
