//! What is fetched from which broker: lanes, leaders and answers in; the partitions of the next request out. Pure: the
//! threads of a fetcher share it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::health::{Condition, Health};
use crate::ids::LaneId;
use crate::kafka::connection::Address;
use crate::kafka::fetch::lane::Broken;
use crate::protocol::fetch::{Topic, Wanted};
use crate::protocol::metadata::TopicMetadata;
use crate::protocol::records::{Amount, Segment};

/// The time after which a partition is fetched again if the fetch has failed.
const RETRY: Duration = Duration::from_millis(100);
/// The time after which the leader is asked again which replica to fetch from.
const REPLICA_AGE: Duration = Duration::from_mins(5);

/// A partition that is fetched.
#[derive(Debug)]
pub(super) struct Partition {
    number: i32,
    /// Changes whenever the position is set. An answer to a request before that is dropped.
    version: u64,
    /// The offset of the next record to fetch.
    position: i64,
    /// The leader epoch of the record before it; negative if it is unknown.
    last_epoch: i32,
    /// The leader and its epoch.
    leader: Option<(i32, i32)>,
    /// The newest epoch that is known; negative if none is.
    newest_epoch: i32,
    /// The replica that the leader wants to be asked instead, and since when.
    replica: Option<(i32, Instant)>,
    /// True if no more records are wanted.
    is_finished: bool,
    /// The broker that was asked for the partition and has not answered yet.
    asked: Option<i32>,
    /// Answers to requests before this one are dropped.
    least_request: u64,
    /// The broker whose answer is being decoded.
    decoding: Option<i32>,
    queue: VecDeque<Segment>,
    /// The records that are queued, being read or being decoded.
    queued: Amount,
    retry_at: Option<Instant>,
    condition: Condition,
    high_watermark: Option<i64>,
    last_stable_offset: Option<i64>,
}

/// A partition of a request, with the version of its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub lane: LaneId,
    pub version: u64,
    /// The number of the request.
    pub request: u64,
    pub wanted: Wanted,
}

/// What a broker is asked for next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub asked: Vec<Asked>,
    /// True if partitions of the broker are left out for now, so that the broker should not wait for long.
    pub is_partial: bool,
    /// The time at which partitions that were left out can be asked for.
    pub again_at: Option<Instant>,
}

/// What was fetched of a lane since it was last asked for.
#[derive(Debug)]
pub(super) struct News {
    pub segment: Option<Segment>,
    /// How fetches go, if that has changed. It applies once all segments were read.
    pub health: Option<Health>,
}

/// The state that the threads of a fetcher share.
#[derive(Debug)]
pub(super) struct State {
    pub topic: Topic,
    partitions: BTreeMap<LaneId, Partition>,
    pub addresses: BTreeMap<i32, Address>,
    /// True if the leaders of some partitions are not known.
    pub wants_leaders: bool,
    /// The ids of earlier topics of this name. A broker that lags behind may still know one.
    replaced_ids: BTreeSet<u128>,
    /// The reason if nothing can be read any more.
    failed: Option<String>,
    pub is_closing: bool,
    /// The longest time by which a broker has throttled a request since it was last reported.
    pub throttled: Option<Duration>,
    /// The lane that comes first in the next request to each broker.
    first: BTreeMap<i32, LaneId>,
    /// The last version of a position, and the last request.
    version: u64,
    request: u64,
    most_partition_bytes: i32,
    most_queued: Amount,
}

impl State {
    pub(super) fn new(topic: &str, most_partition_bytes: i32, most_queued: Amount) -> Self {
        Self {
            topic: Topic { name: topic.to_owned(), id: 0 },
            partitions: BTreeMap::new(),
            addresses: BTreeMap::new(),
            wants_leaders: false,
            replaced_ids: BTreeSet::new(),
            failed: None,
            is_closing: false,
            throttled: None,
            first: BTreeMap::new(),
            version: 0,
            request: 0,
            most_partition_bytes,
            most_queued,
        }
    }

    /// Adds a partition that is fetched from `position` on.
    pub(super) fn start(&mut self, lane: LaneId, number: i32, position: i64) {
        let leader = self.partitions.values().find(|partition| partition.number == number);
        let leader = leader.and_then(|partition| partition.leader);
        self.wants_leaders |= leader.is_none();
        let mut condition = Condition::default();
        if let Some(reason) = &self.failed {
            condition.is_failed(reason);
        }
        if self.partitions.is_empty() {
            // The topic may have been created again while nothing of it was read.
            self.topic.id = 0;
        }
        self.version += 1;
        self.partitions.insert(
            lane,
            Partition {
                number,
                version: self.version,
                position,
                last_epoch: -1,
                leader,
                newest_epoch: leader.map_or(-1, |(_, epoch)| epoch),
                replica: None,
                is_finished: false,
                asked: None,
                least_request: 0,
                decoding: None,
                queue: VecDeque::new(),
                queued: Amount::default(),
                retry_at: None,
                condition,
                high_watermark: None,
                last_stable_offset: None,
            },
        );
    }

    pub(super) fn stop(&mut self, lane: LaneId) {
        self.partitions.remove(&lane);
    }

    /// Stops fetching a partition that was read to its end.
    pub(super) fn finish(&mut self, lane: LaneId) {
        if let Some(partition) = self.partitions.get_mut(&lane) {
            partition.is_finished = true;
            partition.queue.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.partitions.clear();
    }

    /// Fetches a partition from another position on.
    pub(super) fn seek(&mut self, lane: LaneId, position: i64) {
        let Some(partition) = self.partitions.get_mut(&lane) else { return };
        self.version += 1;
        partition.version = self.version;
        partition.position = position;
        partition.last_epoch = -1;
        partition.is_finished = false;
        partition.asked = None;
        partition.decoding = None;
        partition.queue.clear();
        partition.queued = Amount::default();
        partition.replica = None;
        partition.condition = Condition::default();
        partition.retry_at = None;
    }

    /// Returns what to ask a broker for.
    pub(super) fn choose(&mut self, broker: i32, now: Instant) -> Choice {
        let mut choice = Choice::default();
        self.request += 1;
        let first = self.first.get(&broker).copied().unwrap_or(LaneId(0));
        let (before, after): (Vec<_>, Vec<_>) =
            self.partitions.iter_mut().partition(|(lane, _)| **lane < first);
        for (lane, partition) in after.into_iter().chain(before) {
            let Some((_, epoch)) = partition.leader else { continue };
            if !partition.is_at(broker) || !partition.condition.can_be_read() || partition.is_finished {
                continue;
            }
            let waits = partition.retry_at.is_some_and(|at| at > now);
            if waits {
                choice.again_at = choice.again_at.into_iter().chain(partition.retry_at).min();
            }
            let is_full = partition.queued.reaches(self.most_queued);
            let is_elsewhere = partition.decoding.is_some_and(|decoding| decoding != broker);
            if waits || is_full || is_elsewhere || partition.asked.is_some() {
                choice.is_partial = true;
                continue;
            }
            partition.asked = Some(broker);
            let wanted = Wanted {
                partition: partition.number,
                leader_epoch: epoch,
                position: partition.position,
                last_epoch: partition.last_epoch,
                most_bytes: self.most_partition_bytes,
            };
            let (version, request) = (partition.version, self.request);
            choice.asked.push(Asked { lane: *lane, version, request, wanted });
        }
        // A broker fills its answer in this order, so every partition is the first one in turn.
        if let Some(asked) = choice.asked.get(1) {
            self.first.insert(broker, asked.lane);
        }
        choice
    }

    /// Notes that a request was answered, or will not be.
    pub(super) fn answered(&mut self, asked: &[Asked], now: Instant) {
        for asked in asked {
            if let Some(partition) = self.awaiting(asked) {
                partition.asked = None;
                // The leader may have better advice by now.
                partition.replica.take_if(|(_, since)| now.duration_since(*since) >= REPLICA_AGE);
            }
        }
    }

    /// Returns the partition of a request, if its position is still that of the request.
    fn current(&mut self, asked: &Asked) -> Option<&mut Partition> {
        self.partitions.get_mut(&asked.lane).filter(|partition| partition.version == asked.version)
    }

    /// Like [`current`](Self::current), if the answer to the request is still wanted: the leader has not moved meanwhile.
    fn awaiting(&mut self, asked: &Asked) -> Option<&mut Partition> {
        self.current(asked).filter(|partition| partition.least_request <= asked.request)
    }

    /// Notes the offsets up to which a partition can be read. Whether what was fetched can be read is not known yet.
    pub(super) fn bounds(&mut self, asked: &Asked, high_watermark: i64, last_stable_offset: i64) {
        let Some(partition) = self.awaiting(asked) else { return };
        partition.high_watermark = Some(high_watermark).filter(|offset| *offset >= 0);
        partition.last_stable_offset = Some(last_stable_offset).filter(|offset| *offset >= 0);
        partition.retry_at = None;
    }

    /// Notes that there are no records yet. Returns true if that is news for the lane.
    pub(super) fn nothing(&mut self, asked: &Asked) -> bool {
        let Some(partition) = self.awaiting(asked) else { return false };
        partition.condition.is_good();
        partition.condition.is_news()
    }

    /// Moves a partition past records that will be decoded. Returns false if nobody wants them any more.
    pub(super) fn advance(&mut self, broker: i32, asked: &Asked, next: (i64, i32), amount: Amount) -> bool {
        let Some(partition) = self.awaiting(asked) else { return false };
        (partition.position, partition.last_epoch) = next;
        partition.decoding = Some(broker);
        partition.queued = partition.queued.with(amount);
        true
    }

    /// Queues records that were decoded. Returns true if the lane has them.
    pub(super) fn decoded(&mut self, asked: &Asked, segments: Vec<Segment>, amount: Amount) -> bool {
        let Some(partition) = self.current(asked) else { return false };
        partition.decoding = None;
        partition.condition.is_good();
        let decoded = segments.iter().map(Segment::amount).fold(Amount::default(), Amount::with);
        partition.queued = partition.queued.without(amount).with(decoded);
        if !partition.is_finished {
            partition.queue.extend(segments);
        }
        true
    }

    /// Notes that the fetch of a partition has failed. Returns true if the lane must be read to get the error.
    pub(super) fn failed(&mut self, asked: &Asked, health: Health, now: Instant) -> bool {
        let Some(partition) = self.awaiting(asked) else { return false };
        partition.is_bad(health, now);
        partition.condition.is_news()
    }

    /// Notes that records cannot be decoded. They are fetched again, and all that follow. `amount` is what was being
    /// decoded. Returns true if the lane must be read to get the error.
    pub(super) fn undecodable(
        &mut self,
        asked: &Asked,
        amount: Amount,
        health: Health,
        now: Instant,
    ) -> bool {
        self.version += 1;
        let version = self.version;
        let Some(partition) = self.current(asked) else { return false };
        partition.decoding = None;
        partition.queued = partition.queued.without(amount);
        partition.position = asked.wanted.position;
        partition.last_epoch = asked.wanted.last_epoch;
        partition.version = version;
        partition.asked = None;
        partition.is_bad(health, now);
        partition.condition.is_news()
    }

    /// Asks for another leader of a partition.
    pub(super) fn leader_has_moved(&mut self, asked: &Asked) {
        if let Some(partition) = self.awaiting(asked) {
            (partition.leader, partition.replica) = (None, None);
            self.wants_leaders = true;
        }
    }

    /// Fetches a partition from another replica. If its address is unknown, the brokers are asked for it first.
    pub(super) fn prefer(&mut self, asked: &Asked, replica: i32, now: Instant) {
        let is_known = self.addresses.contains_key(&replica);
        let Some(partition) = self.awaiting(asked) else { return };
        if is_known {
            partition.replica = Some((replica, now));
        } else {
            partition.retry_at = Some(now + RETRY);
        }
        // The replica may have no thread yet.
        self.wants_leaders = true;
    }

    /// Returns true if a partition is fetched from a replica that is not its leader.
    pub(super) fn is_follower(&mut self, asked: &Asked, broker: i32) -> bool {
        let replica = self.awaiting(asked).and_then(|partition| partition.replica);
        replica.is_some_and(|(replica, _)| replica == broker)
    }

    /// Gives up all partitions of a broker that cannot be reached. Returns their lanes.
    pub(super) fn unreachable(&mut self, broker: i32, health: &Health, now: Instant) -> Vec<LaneId> {
        let mut lanes = Vec::new();
        for (lane, partition) in &mut self.partitions {
            if partition.is_at(broker) {
                (partition.leader, partition.replica) = (None, None);
                partition.is_bad(health.clone(), now);
                lanes.push(*lane);
            }
        }
        self.wants_leaders |= !lanes.is_empty();
        lanes
    }

    /// Notes that the partitions of a broker cannot be read. Returns their lanes.
    pub(super) fn unreadable(&mut self, broker: i32, reason: &str, now: Instant) -> Vec<LaneId> {
        let mut lanes = Vec::new();
        for (lane, partition) in &mut self.partitions {
            if partition.is_at(broker) {
                partition.is_bad(Health::Failed(reason.to_owned()), now);
                lanes.push(*lane);
            }
        }
        lanes
    }

    /// Notes that nothing can be read any more. Returns all lanes.
    pub(super) fn all_failed(&mut self, reason: &str, now: Instant) -> Vec<LaneId> {
        self.failed = Some(reason.to_owned());
        for partition in self.partitions.values_mut() {
            partition.is_bad(Health::Failed(reason.to_owned()), now);
        }
        self.partitions.keys().copied().collect()
    }

    /// Notes that the search for leaders has failed. Returns the lanes that wait for one.
    pub(super) fn leaders_unknown(&mut self, health: &Health, now: Instant) -> Vec<LaneId> {
        let waiting = self.partitions.iter_mut().filter(|(_, partition)| partition.leader.is_none());
        let told = waiting.map(|(lane, partition)| {
            partition.is_bad(health.clone(), now);
            *lane
        });
        told.collect()
    }

    /// Notes that the topic is another one than before. Returns the lanes, whose positions mean nothing any more.
    fn replaced(&mut self, now: Instant) -> Vec<LaneId> {
        let reason = format!("topic '{}' was deleted and created again", self.topic.name);
        let broken = Broken { reason, differs_from: Some(0) };
        self.replaced_ids.insert(self.topic.id);
        for partition in self.partitions.values_mut() {
            self.version += 1;
            partition.version = self.version;
            (partition.asked, partition.decoding) = (None, None);
            (partition.leader, partition.newest_epoch) = (None, -1);
            partition.is_bad(Health::Broken(broken.clone()), now);
        }
        self.partitions.keys().copied().collect()
    }

    /// Takes the leaders of partitions from metadata. Returns the lanes that still have none, and those of a topic that
    /// was replaced.
    pub(super) fn leaders(&mut self, metadata: &TopicMetadata, now: Instant) -> (Vec<LaneId>, Vec<LaneId>) {
        if self.replaced_ids.contains(&metadata.id) {
            let waits = |(_, partition): &(&LaneId, &Partition)| partition.leader.is_none();
            let without: Vec<_> = self.partitions.iter().filter(waits).map(|(lane, _)| *lane).collect();
            self.wants_leaders = !without.is_empty();
            return (without, Vec::new());
        }
        let is_new = metadata.id != 0 && self.topic.id != 0 && metadata.id != self.topic.id;
        let replaced = if is_new { self.replaced(now) } else { Vec::new() };
        if metadata.id != 0 {
            self.topic.id = metadata.id;
        }
        let address = |broker: &crate::protocol::metadata::Broker| {
            (broker.id, Address { host: broker.host.clone(), port: broker.port })
        };
        self.addresses = metadata.brokers.iter().map(address).collect();
        let leaders: BTreeMap<_, _> =
            metadata.leaders.iter().map(|leader| (leader.partition, leader)).collect();
        let mut without = Vec::new();
        let request = self.request + 1;
        let has_epochs = self.topic.id != 0;
        for (lane, partition) in &mut self.partitions {
            let found =
                leaders.get(&partition.number).filter(|leader| self.addresses.contains_key(&leader.broker));
            // A broker that lags behind may name a leader of the past, or none.
            let found = found.filter(|leader| !has_epochs || leader.epoch >= partition.newest_epoch);
            if let Some(leader) = found {
                if partition.leader.is_none_or(|(broker, _)| broker != leader.broker) {
                    partition.replica = None;
                }
                partition.leader = Some((leader.broker, leader.epoch));
                partition.newest_epoch = leader.epoch;
                if partition.asked.is_some_and(|broker| !partition.is_at(broker)) {
                    // The broker that was asked may never answer.
                    (partition.asked, partition.least_request) = (None, request);
                }
            } else if partition.leader.is_none() {
                without.push(*lane);
            }
        }
        self.wants_leaders = !without.is_empty();
        (without, replaced)
    }

    /// Returns the brokers that are asked.
    pub(super) fn asked_brokers(&self) -> Vec<i32> {
        let asked = |partition: &Partition| {
            partition.replica.map(|(replica, _)| replica).or_else(|| Some(partition.leader?.0))
        };
        let mut brokers: Vec<_> = self.partitions.values().filter_map(asked).collect();
        brokers.sort_unstable();
        brokers.dedup();
        brokers
    }

    /// Takes the next records of a lane, after `read` of it was read. Returns true with them if the partition can
    /// be fetched again because of that.
    pub(super) fn take(&mut self, lane: LaneId, read: Amount) -> (News, bool) {
        let most_queued = self.most_queued;
        let Some(partition) = self.partitions.get_mut(&lane) else {
            return (News { segment: None, health: None }, false);
        };
        let was_full = partition.queued.reaches(most_queued);
        partition.queued = partition.queued.without(read);
        let is_open_again = was_full && !partition.queued.reaches(most_queued);
        let segment = partition.queue.pop_front();
        let health = if segment.is_none() { partition.condition.take_news() } else { None };
        (News { segment, health }, is_open_again)
    }

    /// Returns the offset after the newest record of a lane, and its last stable offset.
    pub(super) fn ends(&self, lane: LaneId) -> (Option<i64>, Option<i64>) {
        let partition = self.partitions.get(&lane);
        partition.map_or((None, None), |partition| (partition.high_watermark, partition.last_stable_offset))
    }
}

impl Partition {
    /// Returns true if the partition is fetched from this broker.
    fn is_at(&self, broker: i32) -> bool {
        let replica = self.replica.map(|(replica, _)| replica);
        self.leader.is_some_and(|(leader, _)| replica.unwrap_or(leader) == broker)
    }

    /// Notes that a fetch has failed. It is repeated after a while.
    fn is_bad(&mut self, health: Health, now: Instant) {
        self.retry_at = Some(now + RETRY);
        self.condition.is_bad(health, now);
    }
}
