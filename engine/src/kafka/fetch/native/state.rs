//! What is fetched from which broker: lanes, leaders and answers in; the partitions of the next request out. Pure: the
//! threads of a fetcher share it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::ids::LaneId;
use crate::kafka::connection::Address;
use crate::kafka::fetch::lane::Broken;
use crate::protocol::fetch::{Topic, Wanted};
use crate::protocol::metadata::TopicMetadata;
use crate::protocol::records::{Amount, Segment};

/// The time after which a partition is fetched again if the fetch has failed.
const RETRY: Duration = Duration::from_millis(100);
/// The time for which fetches may fail before the lane is told: leaders move, and brokers are restarted.
const QUIET: Duration = Duration::from_secs(3);

/// How the last fetch of a partition went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// It succeeded, or there was none.
    Good,
    /// It failed with a temporary error and is repeated.
    Failing(String),
    /// There are no records at the position.
    Broken(Broken),
    /// The partition cannot be read.
    Failed(String),
}

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
    /// The replica that the leader wants to be asked instead.
    replica: Option<i32>,
    /// True if no more records are wanted.
    is_finished: bool,
    /// True if a request for the partition is not answered yet.
    is_asked: bool,
    /// The broker whose answer is being decoded.
    decoding: Option<i32>,
    queue: VecDeque<Segment>,
    /// The records that are queued, being read or being decoded.
    queued: Amount,
    retry_at: Option<Instant>,
    health: Health,
    failing_since: Option<Instant>,
    /// True if the lane was told that fetches fail.
    is_told: bool,
    /// True if the lane is to be told of `health`.
    is_news: bool,
    high_watermark: Option<i64>,
    last_stable_offset: Option<i64>,
}

/// A partition of a request, with the version of its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub lane: LaneId,
    pub version: u64,
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
    pub is_closing: bool,
    /// The longest time by which a broker has throttled a request since it was last reported.
    pub throttled: Option<Duration>,
    /// The lane that comes first in the next request.
    first: LaneId,
    /// The last version of a position.
    version: u64,
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
            is_closing: false,
            throttled: None,
            first: LaneId(0),
            version: 0,
            most_partition_bytes,
            most_queued,
        }
    }

    /// Adds a partition that is fetched from `position` on.
    pub(super) fn start(&mut self, lane: LaneId, number: i32, position: i64) {
        let leader = self.partitions.values().find(|partition| partition.number == number);
        let leader = leader.and_then(|partition| partition.leader);
        self.wants_leaders |= leader.is_none();
        self.version += 1;
        self.partitions.insert(
            lane,
            Partition {
                number,
                version: self.version,
                position,
                last_epoch: -1,
                leader,
                replica: None,
                is_finished: false,
                is_asked: false,
                decoding: None,
                queue: VecDeque::new(),
                queued: Amount::default(),
                retry_at: None,
                health: Health::Good,
                failing_since: None,
                is_told: false,
                is_news: false,
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
        partition.is_asked = false;
        partition.decoding = None;
        partition.queue.clear();
        partition.queued = Amount::default();
        partition.health = Health::Good;
        partition.failing_since = None;
        partition.is_told = false;
        partition.is_news = false;
        partition.retry_at = None;
    }

    /// Returns what to ask a broker for.
    pub(super) fn choose(&mut self, broker: i32, now: Instant) -> Choice {
        let mut choice = Choice::default();
        let first = self.first;
        let (before, after): (Vec<_>, Vec<_>) =
            self.partitions.iter_mut().partition(|(lane, _)| **lane < first);
        for (lane, partition) in after.into_iter().chain(before) {
            let Some((_, epoch)) = partition.leader else { continue };
            let can_be_read = matches!(partition.health, Health::Good | Health::Failing(_));
            if !partition.is_at(broker) || !can_be_read || partition.is_finished {
                continue;
            }
            let waits = partition.retry_at.is_some_and(|at| at > now);
            if waits {
                choice.again_at = choice.again_at.into_iter().chain(partition.retry_at).min();
            }
            let is_full = partition.queued.reaches(self.most_queued);
            let is_elsewhere = partition.decoding.is_some_and(|decoding| decoding != broker);
            if waits || is_full || is_elsewhere || partition.is_asked {
                choice.is_partial = true;
                continue;
            }
            partition.is_asked = true;
            let wanted = Wanted {
                partition: partition.number,
                leader_epoch: epoch,
                position: partition.position,
                last_epoch: partition.last_epoch,
                most_bytes: self.most_partition_bytes,
            };
            choice.asked.push(Asked { lane: *lane, version: partition.version, wanted });
        }
        // A broker fills its answer in this order, so every partition is the first one in turn.
        if let Some(asked) = choice.asked.get(1) {
            self.first = asked.lane;
        }
        choice
    }

    /// Notes that a request was answered, or will not be.
    pub(super) fn answered(&mut self, asked: &[Asked]) {
        for asked in asked {
            if let Some(partition) = self.current(asked) {
                partition.is_asked = false;
            }
        }
    }

    /// Returns the partition of a request, if its position is still that of the request.
    fn current(&mut self, asked: &Asked) -> Option<&mut Partition> {
        self.partitions.get_mut(&asked.lane).filter(|partition| partition.version == asked.version)
    }

    /// Notes the offsets up to which a partition can be read. Returns true if that is news for the lane.
    pub(super) fn bounds(&mut self, asked: &Asked, high_watermark: i64, last_stable_offset: i64) -> bool {
        let Some(partition) = self.current(asked) else { return false };
        partition.high_watermark = Some(high_watermark).filter(|offset| *offset >= 0);
        partition.last_stable_offset = Some(last_stable_offset).filter(|offset| *offset >= 0);
        partition.retry_at = None;
        partition.is_good();
        partition.is_news
    }

    /// Moves a partition past records that will be decoded. Returns false if nobody wants them any more.
    pub(super) fn advance(&mut self, broker: i32, asked: &Asked, next: (i64, i32), amount: Amount) -> bool {
        let Some(partition) = self.current(asked) else { return false };
        (partition.position, partition.last_epoch) = next;
        partition.decoding = Some(broker);
        partition.queued = partition.queued.with(amount);
        true
    }

    /// Queues records that were decoded. Returns true if the lane has them.
    pub(super) fn decoded(&mut self, asked: &Asked, segment: Segment, amount: Amount) -> bool {
        let Some(partition) = self.current(asked) else { return false };
        partition.decoding = None;
        partition.queued = partition.queued.without(amount).with(segment.amount());
        if !partition.is_finished {
            partition.queue.push_back(segment);
        }
        true
    }

    /// Notes that the fetch of a partition has failed. It is fetched again at the position of the request. `amount` is
    /// what was being decoded. Returns true if the lane is to be told.
    pub(super) fn failed(&mut self, asked: &Asked, amount: Amount, health: Health, now: Instant) -> bool {
        self.version += 1;
        let version = self.version;
        let Some(partition) = self.current(asked) else { return false };
        if partition.decoding.take().is_some() {
            // Whatever is fetched meanwhile comes after the records that are missing.
            partition.queued = partition.queued.without(amount);
            partition.position = asked.wanted.position;
            partition.last_epoch = asked.wanted.last_epoch;
            partition.version = version;
            partition.is_asked = false;
        }
        partition.is_bad(health, now);
        partition.is_news
    }

    /// Asks for another leader of a partition.
    pub(super) fn leader_has_moved(&mut self, asked: &Asked) {
        if let Some(partition) = self.current(asked) {
            (partition.leader, partition.replica) = (None, None);
            self.wants_leaders = true;
        }
    }

    /// Fetches a partition from another replica, if its address is known. Returns true if that is so.
    pub(super) fn prefer(&mut self, asked: &Asked, replica: i32) -> bool {
        let is_known = self.addresses.contains_key(&replica);
        let partition = self.current(asked).filter(|_| is_known);
        let is_preferred = partition.map(|partition| partition.replica = Some(replica)).is_some();
        // The replica may not have been asked for anything yet.
        self.wants_leaders |= is_preferred;
        is_preferred
    }

    /// Returns true if a partition is fetched from a replica that is not its leader.
    pub(super) fn is_follower(&mut self, asked: &Asked, broker: i32) -> bool {
        self.current(asked).is_some_and(|partition| partition.replica == Some(broker))
    }

    /// Gives up all partitions of a broker that cannot be reached. Returns their lanes.
    pub(super) fn unreachable(&mut self, broker: i32, reason: &str, now: Instant) -> Vec<LaneId> {
        let mut lanes = Vec::new();
        for (lane, partition) in &mut self.partitions {
            if partition.is_at(broker) {
                (partition.leader, partition.replica) = (None, None);
                partition.is_bad(Health::Failing(reason.to_owned()), now);
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
        let broken = Broken { reason, is_replaced: true };
        for partition in self.partitions.values_mut() {
            self.version += 1;
            partition.version = self.version;
            (partition.is_asked, partition.decoding) = (false, None);
            partition.is_bad(Health::Broken(broken.clone()), now);
        }
        self.partitions.keys().copied().collect()
    }

    /// Takes the leaders of partitions from metadata. Returns the lanes that still have none, and those of a topic that
    /// was replaced.
    pub(super) fn leaders(&mut self, metadata: &TopicMetadata, now: Instant) -> (Vec<LaneId>, Vec<LaneId>) {
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
        for (lane, partition) in &mut self.partitions {
            let found =
                leaders.get(&partition.number).filter(|leader| self.addresses.contains_key(&leader.broker));
            match found {
                // Answers of a broker that lags behind may name a leader of the past.
                Some(leader) if partition.leader.is_none_or(|(_, epoch)| leader.epoch >= epoch) => {
                    if partition.leader.is_none_or(|(broker, _)| broker != leader.broker) {
                        partition.replica = None;
                    }
                    partition.leader = Some((leader.broker, leader.epoch));
                }
                Some(_) => {}
                None => {
                    partition.leader = None;
                    without.push(*lane);
                }
            }
        }
        self.wants_leaders = !without.is_empty();
        (without, replaced)
    }

    /// Returns the brokers that are asked.
    pub(super) fn asked_brokers(&self) -> Vec<i32> {
        let asked = |partition: &Partition| partition.replica.or_else(|| Some(partition.leader?.0));
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
        let is_told = segment.is_none() && std::mem::take(&mut partition.is_news);
        let health = is_told.then(|| partition.health.clone());
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
        self.leader.is_some_and(|(leader, _)| self.replica.unwrap_or(leader) == broker)
    }

    /// Notes that a fetch has succeeded.
    fn is_good(&mut self) {
        self.failing_since = None;
        self.is_news |= std::mem::take(&mut self.is_told);
        self.health = Health::Good;
    }

    /// Notes that a fetch has failed. A lane hears of each failure after a while: one that hears of none takes the
    /// fetches for good again.
    fn is_bad(&mut self, health: Health, now: Instant) {
        let since = *self.failing_since.get_or_insert(now);
        self.retry_at = Some(now + RETRY);
        self.is_news = !matches!(health, Health::Failing(_)) || now.duration_since(since) >= QUIET;
        self.is_told |= self.is_news;
        self.health = health;
    }
}
