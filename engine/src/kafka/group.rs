//! The source of `velo run`: a member of a consumer group that commits what is settled.
#![allow(clippy::disallowed_methods, reason = "a commit that is waited for has a time-out")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use velo_schema::Tier;

use super::KafkaError;
use super::context::{ClientEvent, Context, Inbox, give_up, is_cooperative, take_over};
use super::data_loss::{OnDataLoss, Resume, resume};
use super::ffi::commit_async;
use super::lanes::{Lanes, REQUEST_TIMEOUT, Start, offsets_of, start_offset, watermarks};
use super::settings::{ClientSettings, readable};
use super::transaction::is_unauthorized;
use crate::columns::{BatchBuilder, LaneId, LaneName};
use crate::core::batcher::Room;
use crate::core::{Revoke, Tick};
use crate::source::{Commit, Filled, Source, SourceError, SourceEvent};
use crate::waker::Waker;

/// What a member of a group wants.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The group.
    pub group_id: String,
    /// The topic.
    pub topic: String,
    /// Where to start without a committed offset.
    pub start: Start,
    /// Whether to end behind the newest record as of the assignment.
    pub until_end: bool,
    /// What follows when records are gone before they were read.
    pub on_data_loss: OnDataLoss,
    /// Whether its offsets are committed in transactions; then it reads what is committed, too.
    pub exactly_once: bool,
    /// The member's name where it is to keep its partitions while it restarts: static membership.
    pub instance_id: Option<String>,
    /// Records a poll at most; sizes the prefetch.
    pub max_poll_records: u64,
    /// How many partitions the topic has; they share the prefetch.
    pub partitions: usize,
}

impl GroupOptions {
    /// A member of `group_id` that reads `topic`, which has this many partitions, for ever.
    #[must_use]
    pub fn new(group_id: impl Into<String>, topic: impl Into<String>, partitions: usize) -> Self {
        Self {
            group_id: group_id.into(),
            topic: topic.into(),
            start: Start::default(),
            until_end: false,
            on_data_loss: OnDataLoss::default(),
            exactly_once: false,
            instance_id: None,
            max_poll_records: 500,
            partitions,
        }
    }
}

/// Value bytes that the client fetches ahead, over all partitions; each has a part of it.
const PREFETCH_KBYTES: usize = 256 << 10;
/// How long the last commit, or that of a revoked partition, may take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
const MIN_PREFETCH_KBYTES: usize = 1 << 10;

/// A member of a group.
pub struct GroupSource {
    options: GroupOptions,
    lanes: Lanes,
    consumer: Arc<BaseConsumer<Context>>,
    inbox: Inbox,
    waker: Waker,
    properties: BTreeMap<String, String>,
    /// Revoked partitions whose lanes are not all released yet, and those lanes.
    leaving: Vec<(TopicPartitionList, Vec<LaneId>)>,
    /// Commits whose end has not been heard of.
    commits_in_flight: usize,
    /// Lanes that are read anew once they are drained, and from where: their offsets mean other records
    /// by now, so nothing of them is committed.
    renewed: Vec<(LaneId, i64)>,
    /// Those that are drained by now.
    drained: Vec<(LaneName, i64)>,
    /// Partitions that were begun without a committed offset.
    started: BTreeSet<i32>,
    /// A lane could not be read on; what was read before is still to be settled.
    failed: bool,
}

/// A member of a group, as those know it who commit its offsets in their transactions.
#[derive(Clone)]
pub struct Membership(Weak<BaseConsumer<Context>>);

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Membership")
    }
}

impl Membership {
    /// The member, until it has left.
    pub(super) fn consumer(&self) -> Option<Arc<BaseConsumer<Context>>> {
        self.0.upgrade()
    }
}

impl GroupSource {
    /// Joins the group. Partitions come with the first polls.
    ///
    /// # Errors
    /// Where the client's properties are wrong.
    pub fn join(settings: &ClientSettings, options: GroupOptions, waker: Waker) -> Result<Self, KafkaError> {
        let kbytes = (PREFETCH_KBYTES / options.partitions.max(1)).max(MIN_PREFETCH_KBYTES);
        let queued = (4 * options.max_poll_records).clamp(10_000, 1_000_000);
        let mut defaults = vec![
            ("queued.min.messages", queued.to_string()),
            ("queued.max.messages.kbytes", kbytes.to_string()),
            // The default pauses fetching for a second whenever the queue is full.
            ("fetch.queue.backoff.ms", "10".to_owned()),
        ];
        // In the newer protocol the brokers assign, and the client must not say how.
        if settings.property("group.protocol") != Some("consumer") {
            defaults.push(("partition.assignment.strategy", "cooperative-sticky".to_owned()));
        }
        let mut owned = vec![
            ("group.id", options.group_id.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            // The end of a partition is news even where the job does not end there: behind the last
            // record there may be markers of transactions, which are to be committed, too.
            ("enable.partition.eof", "true"),
        ];
        owned.extend(options.instance_id.as_deref().map(|id| ("group.instance.id", id)));
        owned.extend(options.exactly_once.then_some(("isolation.level", "read_committed")));
        let config = settings.client(&defaults, &owned);
        let (context, inbox) = Context::new(waker.clone());
        let mut consumer: BaseConsumer<Context> = config.create_with_context(context)?;
        let wake = waker.clone();
        consumer.set_nonempty_callback(move || wake.wake());
        consumer
            .subscribe(&[&options.topic])
            .map_err(|error| KafkaError::during(format!("topic '{}'", options.topic), &error))?;
        Ok(Self {
            options,
            lanes: Lanes::new(),
            consumer: Arc::new(consumer),
            inbox,
            waker,
            properties: readable(&config),
            leaving: Vec::new(),
            commits_in_flight: 0,
            renewed: Vec::new(),
            drained: Vec::new(),
            started: BTreeSet::new(),
            failed: false,
        })
    }

    /// For transactions that commit this member's offsets.
    #[must_use]
    pub fn membership(&self) -> Membership {
        Membership(Arc::downgrade(&self.consumer))
    }

    /// The client's properties, secrets masked.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    fn assign(
        &mut self,
        partitions: TopicPartitionList,
        events: &mut Vec<SourceEvent>,
    ) -> Result<(), KafkaError> {
        let committed = self
            .consumer
            .committed_offsets(partitions, REQUEST_TIMEOUT)
            .map_err(|error| KafkaError::during("the group's committed offsets", &error))?;
        let mut positions = Vec::new();
        for element in committed.elements() {
            let name = LaneName { topic: element.topic().into(), partition: element.partition() };
            let LaneName { topic, partition } = &name;
            element.error().map_err(|error| {
                KafkaError::during(format!("the group's committed offset of {topic}[{partition}]"), &error)
            })?;
            let bounds = watermarks(&self.consumer, &name)?;
            let position = match element.offset() {
                Offset::Offset(offset) => self.go_on(&name, offset, bounds, events)?,
                _ => self.set_out(&name, bounds, events)?,
            };
            positions.push((name, position));
        }
        take_over(&self.consumer, &offsets_of(positions)?)
            .map_err(|error| KafkaError::during("the assignment", &error))?;
        // A member without partitions is one too many for now: it waits for others to leave.
        if self.options.until_end && !self.lanes.is_empty() {
            events.push(SourceEvent::AssignmentComplete);
        }
        Ok(())
    }

    /// Where to start on a partition without a committed offset: one that appears while the job runs, or
    /// comes back after its topic was deleted, is read from its first record on.
    fn start(&mut self, partition: i32) -> Start {
        let was_there = usize::try_from(partition).is_ok_and(|partition| partition < self.options.partitions);
        let is_first = self.started.insert(partition);
        if was_there && is_first { self.options.start } else { Start::Earliest }
    }

    /// Begins a lane without a committed offset; returns where.
    fn set_out(
        &mut self,
        name: &LaneName,
        bounds: (i64, i64),
        events: &mut Vec<SourceEvent>,
    ) -> Result<i64, KafkaError> {
        let start = self.start(name.partition);
        let position = start_offset(&self.consumer, name, start, bounds)?;
        self.begin(name, position, bounds, events)?;
        Ok(position)
    }

    /// Begins a lane at a committed offset, or where it can be read on; returns where.
    fn go_on(
        &mut self,
        name: &LaneName,
        committed: i64,
        bounds: (i64, i64),
        events: &mut Vec<SourceEvent>,
    ) -> Result<i64, KafkaError> {
        match resume(name, committed, bounds, self.options.on_data_loss)? {
            Resume::Here => self.begin(name, committed, bounds, events).map(|_| committed),
            Resume::Behind(position) => {
                let lane = self.begin(name, committed, bounds, events)?;
                self.lanes.resume(lane, position);
                events.push(lost(name, committed, position));
                events.push(SourceEvent::Lost(lane, position));
                Ok(position)
            }
            Resume::Anew(position) => {
                events.push(anew(name, committed, position));
                self.begin(name, position, bounds, events).map(|_| position)
            }
        }
    }

    fn begin(
        &mut self,
        name: &LaneName,
        position: i64,
        (_, high): (i64, i64),
        events: &mut Vec<SourceEvent>,
    ) -> Result<LaneId, KafkaError> {
        let end = self.options.until_end.then_some(high);
        self.lanes.begin(&self.consumer, name, (position, end), &self.waker, events)
    }

    /// Goes on with lanes whose next record is not there any more, as far as that is wanted.
    fn mend(&mut self, events: &mut Vec<SourceEvent>) -> Result<(), KafkaError> {
        let broken: Vec<_> = self
            .lanes
            .broken()
            .filter(|(lane, _)| !self.renewed.iter().any(|(renewed, _)| *renewed == lane.id))
            .map(|(lane, reason)| (lane.id, lane.name.clone(), lane.position, reason.to_owned()))
            .collect();
        for (lane, name, position, reason) in broken {
            let bounds = watermarks(&self.consumer, &name)?;
            match resume(&name, position, bounds, self.options.on_data_loss)? {
                // The offset is there again: a broker that lagged behind.
                Resume::Here => {
                    events.push(SourceEvent::Notice(format!(
                        "{}[{}] is read again from offset {position}: {reason}",
                        name.topic, name.partition
                    )));
                    self.seek(lane, &name, position)?;
                }
                Resume::Behind(low) => {
                    events.push(lost(&name, position, low));
                    events.push(SourceEvent::Lost(lane, low));
                    self.seek(lane, &name, low)?;
                }
                Resume::Anew(low) => {
                    events.push(anew(&name, position, low));
                    events.push(SourceEvent::Revoked(lane, Revoke::Drain));
                    self.renewed.push((lane, low));
                }
            }
        }
        Ok(())
    }

    /// Reads a lane from another offset. The client stops a partition at an offset that is not there,
    /// and what is stopped cannot seek: it is assigned again.
    fn seek(&mut self, lane: LaneId, name: &LaneName, position: i64) -> Result<(), KafkaError> {
        self.lanes.resume(lane, position);
        let failed = |error| {
            let LaneName { topic, partition } = name;
            KafkaError::during(format!("going on with {topic}[{partition}]"), &error)
        };
        if is_cooperative(&self.consumer) {
            let partition = offsets_of([(name.clone(), position)])?;
            self.consumer.incremental_unassign(&partition).map_err(failed)?;
            return self.consumer.incremental_assign(&partition).map_err(failed);
        }
        // Only all partitions at once can be assigned; what the client had fetched of them is fetched
        // again.
        self.consumer.assign(&offsets_of(self.lanes.refetch())?).map_err(failed)
    }

    fn revoke(&mut self, partitions: TopicPartitionList, lost: bool, events: &mut Vec<SourceEvent>) {
        self.drained.retain(|(name, _)| partitions.find_partition(&name.topic, name.partition).is_none());
        let how = if lost { Revoke::Lost } else { Revoke::Drain };
        let lanes: Vec<_> = partitions
            .elements()
            .iter()
            .filter_map(|element| self.lanes.find(element.topic(), element.partition()))
            .map(|lane| lane.id)
            .collect();
        events.extend(lanes.iter().map(|lane| SourceEvent::Revoked(*lane, how)));
        if lost {
            for lane in lanes {
                self.end(lane);
            }
            self.leaving.push((partitions, Vec::new()));
        } else {
            self.leaving.push((partitions, lanes));
        }
        self.leave();
    }

    fn end(&mut self, lane: LaneId) {
        self.lanes.end(lane);
        self.renewed.retain(|(renewed, _)| *renewed != lane);
    }

    /// Reads lanes anew that are drained.
    fn renew(&mut self, events: &mut Vec<SourceEvent>) -> Result<(), KafkaError> {
        for (name, position) in std::mem::take(&mut self.drained) {
            let bounds = watermarks(&self.consumer, &name)?;
            let lane = self.begin(&name, position, bounds, events)?;
            self.seek(lane, &name, position)?;
        }
        Ok(())
    }

    /// Gives up whatever has no lane left to drain.
    fn leave(&mut self) {
        let (done, waiting) = std::mem::take(&mut self.leaving).into_iter().partition(|(_, l)| l.is_empty());
        self.leaving = waiting;
        for (partitions, _) in done {
            // It fails only if the group has taken them already.
            let _ = give_up(&self.consumer, &partitions);
        }
    }

    fn offsets(&self, offsets: &[(LaneId, i64)]) -> Result<TopicPartitionList, KafkaError> {
        let is_renewed = |lane: LaneId| self.renewed.iter().any(|(renewed, _)| *renewed == lane);
        let named = |(lane, offset): &(LaneId, i64)| Some((self.lanes.name(*lane)?.clone(), *offset));
        offsets_of(offsets.iter().filter(|(lane, _)| !is_renewed(*lane)).filter_map(named))
    }
}

fn lost(LaneName { topic, partition }: &LaneName, from: i64, to: i64) -> SourceEvent {
    SourceEvent::Notice(format!(
        "data loss: offsets {from} to {} of {topic}[{partition}] were deleted before they were read",
        to - 1
    ))
}

fn anew(LaneName { topic, partition }: &LaneName, from: i64, to: i64) -> SourceEvent {
    SourceEvent::Notice(format!(
        "data loss: {topic}[{partition}] was recreated or truncated before offset {from}; it is read anew from {to}"
    ))
}

/// Errors that the client tries to get over for ever, and never does.
fn is_permanent(error: RDKafkaErrorCode) -> bool {
    is_unauthorized(error) || error == RDKafkaErrorCode::InconsistentGroupProtocol
}

impl Source for GroupSource {
    fn poll(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        self.lanes.set_clock(now);
        if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
            if let Some((_, reason)) = self.consumer.client().fatal_error() {
                return Err(SourceError(format!("the consumer cannot go on: {reason}")));
            }
            let is_permanent = |code| match code {
                // It may come back.
                RDKafkaErrorCode::UnknownTopicOrPartition => self.options.on_data_loss == OnDataLoss::Fail,
                code => is_permanent(code),
            };
            if error.rdkafka_error_code().is_some_and(is_permanent) {
                return Err(KafkaError::during("the consumer cannot go on", &error).into());
            }
            events.push(SourceEvent::Notice(error.to_string()));
        }
        for event in self.inbox.take() {
            match event {
                ClientEvent::Assign(partitions) => self.assign(partitions, events)?,
                ClientEvent::Revoke { partitions, lost } => self.revoke(partitions, lost, events),
                ClientEvent::Committed(result) => {
                    self.commits_in_flight = self.commits_in_flight.saturating_sub(1);
                    events.push(SourceEvent::CommitEnded(result));
                }
                ClientEvent::Error(error) => events.push(SourceEvent::Notice(error)),
            }
        }
        self.lanes.report(events);
        if !self.failed {
            let mended = self.mend(events).and_then(|()| self.renew(events));
            self.failed = mended.is_err();
            mended?;
        }
        Ok(())
    }

    fn fill(
        &mut self,
        _: Tick,
        lane: LaneId,
        tier: Tier,
        room: Room,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        self.lanes.fill(lane, tier, room, batch)
    }

    fn committer(&mut self) -> Option<&mut dyn Commit> {
        Some(self)
    }
}

impl Commit for GroupSource {
    fn commit(&mut self, offsets: &[(LaneId, i64)]) {
        // An error comes back as the end of the commit.
        let result = self.offsets(offsets).and_then(|offsets| {
            commit_async(&self.consumer, &offsets)
                .map_err(|error| KafkaError::new(format!("an offset commit: {error}")))
        });
        self.commits_in_flight += 1;
        if let Err(error) = result {
            self.inbox.push(ClientEvent::Committed(Err(error.to_string())));
        }
    }

    fn commit_sync(&mut self, offsets: &[(LaneId, i64)]) -> Result<(), SourceError> {
        let offsets = self.offsets(offsets)?;
        if offsets.count() == 0 {
            return Ok(());
        }
        commit_async(&self.consumer, &offsets)
            .map_err(|error| KafkaError::new(format!("an offset commit: {error}")))?;
        // The client's own call waits for ever where no broker answers. Commits end in their order;
        // what is not ours is left for the next poll.
        let (mut earlier, mut aside) = (self.commits_in_flight, Vec::new());
        let started = Instant::now();
        let mut ours = None;
        while ours.is_none() && started.elapsed() < COMMIT_TIMEOUT {
            drop(self.consumer.poll(Duration::from_millis(20)));
            for event in self.inbox.take() {
                match event {
                    ClientEvent::Committed(result) if earlier == 0 && ours.is_none() => ours = Some(result),
                    ClientEvent::Committed(result) => {
                        earlier = earlier.saturating_sub(1);
                        aside.push(ClientEvent::Committed(result));
                    }
                    other => aside.push(other),
                }
            }
        }
        for event in aside {
            self.inbox.push(event);
        }
        if let Some(result) = ours {
            return result.map_err(SourceError);
        }
        Err(SourceError(format!("no broker took the offset commit within {COMMIT_TIMEOUT:?}")))
    }

    fn release(&mut self, lane: LaneId) {
        let is_leaving = self.leaving.iter().any(|(_, lanes)| lanes.contains(&lane));
        if let Some((_, position)) = self.renewed.iter().find(|(renewed, _)| *renewed == lane)
            && let Some(name) = self.lanes.name(lane).filter(|_| !is_leaving)
        {
            self.drained.push((name.clone(), *position));
        }
        self.end(lane);
        for (_, lanes) in &mut self.leaving {
            lanes.retain(|other| *other != lane);
        }
        self.leave();
    }
}

impl Drop for GroupSource {
    fn drop(&mut self) {
        self.inbox.close();
        self.lanes.clear();
        // The group does not let go of a member that owes it an answer.
        let owed = self.inbox.take().into_iter().filter_map(|event| match event {
            ClientEvent::Revoke { partitions, .. } => Some(partitions),
            _ => None,
        });
        let leaving = std::mem::take(&mut self.leaving).into_iter().map(|(partitions, _)| partitions);
        for partitions in leaving.chain(owed) {
            // It fails only if the group has taken them already.
            let _ = give_up(&self.consumer, &partitions);
        }
    }
}
