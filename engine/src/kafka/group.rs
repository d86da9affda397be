//! The source of `velo run`: a member of a consumer group that commits what is settled.
#![allow(clippy::disallowed_methods, reason = "a commit that is waited for has a time-out")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use velo_schema::Tier;

use super::KafkaError;
use super::context::{ClientEvent, Context, Inbox, give_up, is_cooperative, take_over};
use super::data_loss::{OnDataLoss, Resume, resume};
use super::ffi::{commit_async, is_member, known_end, waiting_events};
use super::lanes::{Lanes, Start, offsets_of, start_offset, watermarks};
use super::settings::{ClientSettings, readable};
use super::transaction::is_unauthorized;
use crate::columns::{BatchBuilder, LaneId, LaneName};
use crate::core::batcher::Room;
use crate::core::{Revoke, Tick};
use crate::memory::MemoryBudget;
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
    /// How many partitions the topic has.
    pub partitions: usize,
    /// What may be fetched ahead.
    pub memory: MemoryBudget,
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
            memory: MemoryBudget::unlimited(partitions),
        }
    }
}

impl GroupOptions {
    /// The properties of a member's client.
    pub(super) fn config(&self, settings: &ClientSettings) -> ClientConfig {
        let memory = &self.memory;
        let queued = (4 * self.max_poll_records).max(10_000).min(memory.partition_records);
        let mut defaults = vec![
            ("queued.min.messages", queued.to_string()),
            ("queued.max.messages.kbytes", memory.queue_kbytes().to_string()),
            ("fetch.message.max.bytes", memory.partition_fetch_bytes.to_string()),
            ("fetch.max.bytes", memory.fetch_bytes.to_string()),
            // They say whether a quota slows it down.
            ("statistics.interval.ms", "5000".to_owned()),
            // The default pauses fetching for a second whenever the queue is full.
            ("fetch.queue.backoff.ms", "10".to_owned()),
        ];
        // In the newer protocol the brokers assign, and the client must not say how.
        if settings.property("group.protocol") != Some("consumer") {
            defaults.push(("partition.assignment.strategy", "cooperative-sticky".to_owned()));
        }
        let mut owned = vec![
            ("group.id", self.group_id.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            // The end of a partition is news even where the job does not end there: behind the last
            // record there may be markers of transactions, which are to be committed, too.
            ("enable.partition.eof", "true"),
        ];
        owned.extend(self.instance_id.as_deref().map(|id| ("group.instance.id", id)));
        owned.extend(self.exactly_once.then_some(("isolation.level", "read_committed")));
        settings.client(&defaults, &owned)
    }
}

/// How long a group waits for a member that is silent, unless it is told otherwise.
const SESSION: Duration = Duration::from_secs(45);
/// How long the last commit, or that of a revoked partition, may take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a member that leaves waits for a rebalance to end.
const FAREWELL: Duration = Duration::from_secs(15);

/// How long the brokers may take to say where partitions are to be read from, before it is tried again.
const ASSIGN_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// Commits whose end has not been heard of, in their order: the job's own, or one that is waited for, by
    /// its number.
    commits: VecDeque<Option<u64>>,
    /// How many were waited for.
    waits: u64,
    /// How the job's own commits have ended, where it does not know yet.
    ended: Vec<Result<(), ClientError>>,
    /// Whether it was said that an assignment has to wait.
    waits_for_brokers: bool,
    /// Members of the classic protocol do before they go, but for static ones, and for those that have waited for an
    /// answer in vain a moment ago.
    says_goodbye: bool,
    /// Lanes that are read anew once they are drained, and from where: their offsets mean other records
    /// by now, so nothing of them is committed.
    renewed: Vec<(LaneId, i64)>,
    /// Those that are drained by now.
    drained: Vec<(LaneName, i64)>,
    /// How far each lane is committed, as far as that was asked for; where it began, before.
    committed: BTreeMap<LaneId, i64>,
    /// When it was polled last, and how long the group waits for a member that is silent.
    polled: Option<Tick>,
    session: Duration,
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
        let config = options.config(settings);
        let lanes = Lanes::new(&options.memory);
        let session = settings.property("session.timeout.ms").and_then(|ms| ms.parse().ok());
        let session = session.map_or(SESSION, Duration::from_millis);
        let is_classic = settings.property("group.protocol") != Some("consumer");
        let is_static = options.instance_id.is_some() || settings.property("group.instance.id").is_some();
        let (context, inbox) = Context::new(waker.clone());
        let mut consumer: BaseConsumer<Context> = config.create_with_context(context)?;
        let wake = waker.clone();
        consumer.set_nonempty_callback(move || wake.wake());
        consumer
            .subscribe(&[&options.topic])
            .map_err(|error| KafkaError::during(format!("topic '{}'", options.topic), &error))?;
        Ok(Self {
            options,
            lanes,
            consumer: Arc::new(consumer),
            inbox,
            waker,
            properties: readable(&config),
            leaving: Vec::new(),
            commits: VecDeque::new(),
            waits: 0,
            ended: Vec::new(),
            waits_for_brokers: false,
            says_goodbye: is_classic && !is_static,
            renewed: Vec::new(),
            drained: Vec::new(),
            committed: BTreeMap::new(),
            polled: None,
            session,
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
        partitions: &TopicPartitionList,
        events: &mut Vec<SourceEvent>,
    ) -> Result<(), Unassigned> {
        // Everything that has to be asked for is, before anything begins.
        let committed = self
            .consumer
            .committed_offsets(partitions.clone(), ASSIGN_TIMEOUT)
            .map_err(|error| Unassigned::of("the group's committed offsets", &error))?;
        let mut found = Vec::new();
        for element in committed.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            element.error().map_err(|error| {
                Unassigned::of(format!("the group's committed offset of {topic}[{partition}]"), &error)
            })?;
            let bounds = self.consumer.fetch_watermarks(topic, partition, ASSIGN_TIMEOUT);
            let bounds = bounds
                .map_err(|error| Unassigned::of(format!("the offsets of {topic}[{partition}]"), &error))?;
            found.push((LaneName { topic: topic.into(), partition }, element.offset(), bounds));
        }
        let mut positions = Vec::new();
        for (name, offset, bounds) in found {
            let position = match offset {
                Offset::Offset(offset) => self.go_on(&name, offset, bounds, events)?,
                _ => self.set_out(&name, bounds, events)?,
            };
            tracing::info!(topic = &*name.topic, partition = name.partition, position, "partition assigned");
            positions.push((name, position));
        }
        take_over(&self.consumer, &offsets_of(positions)?)
            .map_err(|error| KafkaError::during("the assignment", &error))?;
        events.push(SourceEvent::Joined);
        // A member without partitions is one too many for now: it waits for others to leave.
        if self.options.until_end && !self.lanes.is_empty() {
            events.push(SourceEvent::EndOfInput(true));
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
        let lane = self.lanes.begin(&self.consumer, name, (position, end), &self.waker, events)?;
        self.committed.insert(lane, position);
        Ok(lane)
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

    /// Answers to rebalances of one who reads and drains no more.
    fn answer(&self, events: Vec<ClientEvent>) {
        for event in events {
            match event {
                ClientEvent::Assign(partitions) => drop(take_over(&self.consumer, &partitions)),
                ClientEvent::Revoke { partitions, .. } => drop(give_up(&self.consumer, &partitions)),
                ClientEvent::Committed(_) | ClientEvent::Throttled(_) | ClientEvent::Error(..) => {}
            }
        }
    }

    /// Leaves the group, so that it need not miss this member for a whole session before others get its partitions.
    ///
    /// Closing the client does not always do so. It says nothing for a member that has no partitions; and what it says
    /// while the group is rebalancing waits behind the join, which the brokers answer when everybody has joined.
    fn say_goodbye(&self) {
        if !self.says_goodbye {
            return;
        }
        self.consumer.unsubscribe();
        let deadline = Instant::now() + FAREWELL;
        while is_member(&self.consumer) && Instant::now() < deadline {
            drop(self.consumer.poll(Duration::from_millis(20)));
            self.answer(self.inbox.take());
        }
    }

    fn revoke(&mut self, partitions: TopicPartitionList, lost: bool, events: &mut Vec<SourceEvent>) {
        self.drained.retain(|(name, _)| partitions.find_partition(&name.topic, name.partition).is_none());
        for element in partitions.elements() {
            tracing::info!(
                topic = element.topic(),
                partition = element.partition(),
                lost,
                "partition revoked"
            );
        }
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
        self.committed.remove(&lane);
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

    /// Commits, and waits for the end of that. Returns what else has happened, whatever came of it.
    ///
    /// The client's own call waits for ever where no broker answers.
    fn commit_and_wait(
        &mut self,
        offsets: &[(LaneId, i64)],
        deadline: Instant,
    ) -> (Result<(), Uncommitted>, Vec<ClientEvent>) {
        let mut aside = Vec::new();
        let begun = self.offsets(offsets).map_err(Uncommitted::Impossible).and_then(|offsets| {
            let is_any = offsets.count() > 0;
            let begun = if is_any { commit_async(&self.consumer, &offsets) } else { Ok(()) };
            begun.map(|()| is_any).map_err(|code| Uncommitted::Refused(ClientError::ConsumerCommit(code)))
        });
        match begun {
            Ok(true) => {}
            Ok(false) => return (Ok(()), aside),
            Err(error) => return (Err(error), aside),
        }
        self.waits += 1;
        let ours = Some(self.waits);
        self.commits.push_back(ours);
        let mut result = None;
        while result.is_none() && Instant::now() < deadline {
            drop(self.consumer.poll(Duration::from_millis(20)));
            for event in self.inbox.take() {
                match event {
                    // Commits end in their order.
                    ClientEvent::Committed(ended) => match self.commits.pop_front().flatten() {
                        None => self.ended.push(ended),
                        number if number == ours => result = Some(ended),
                        // Nobody waits for it any more.
                        Some(_) => {}
                    },
                    other => aside.push(other),
                }
            }
        }
        self.says_goodbye &= result.is_some();
        (result.map_or(Err(Uncommitted::Unanswered), |result| result.map_err(Uncommitted::Refused)), aside)
    }

    /// A process that was stopped for longer than its session does not know that the group has given its
    /// partitions to others. It asks before anything is written: the group takes commits of members only.
    fn ask_after_absence(&mut self, now: Tick, events: &mut Vec<SourceEvent>) {
        let was_away = now.since(self.polled.replace(now).unwrap_or(now)) >= self.session;
        // Transactions are refused by themselves, and know offsets that are not known here.
        if !was_away || self.lanes.is_empty() || self.options.exactly_once {
            return;
        }
        tracing::warn!("the process was stopped for longer than its session");
        let known: Vec<_> = self.committed.iter().map(|(lane, offset)| (*lane, *offset)).collect();
        let (result, aside) = self.commit_and_wait(&known, Instant::now() + COMMIT_TIMEOUT);
        self.inbox.put_back(aside);
        let is_member = !matches!(&result, Err(Uncommitted::Refused(error)) if is_expelled(error));
        if !is_member {
            let lanes = self.lanes.ids();
            events.push(SourceEvent::Notice(
                "the process was stopped for longer than its session; others have its partitions".to_owned(),
            ));
            for lane in lanes {
                events.push(SourceEvent::Revoked(lane, Revoke::Lost));
                self.end(lane);
            }
        }
    }

    fn offsets(&self, offsets: &[(LaneId, i64)]) -> Result<TopicPartitionList, KafkaError> {
        let is_renewed = |lane: LaneId| self.renewed.iter().any(|(renewed, _)| *renewed == lane);
        let named = |(lane, offset): &(LaneId, i64)| Some((self.lanes.name(*lane)?.clone(), *offset));
        offsets_of(offsets.iter().filter(|(lane, _)| !is_renewed(*lane)).filter_map(named))
    }
}

/// Why partitions are not taken over.
enum Unassigned {
    /// The brokers do not answer, or not yet.
    NotYet(KafkaError),
    /// They never will.
    Never(KafkaError),
}

impl Unassigned {
    fn of(what: impl std::fmt::Display, error: &ClientError) -> Self {
        use RDKafkaErrorCode as Code;
        let told = KafkaError::during(what, error);
        let passes = matches!(
            error.rdkafka_error_code(),
            Some(
                Code::OperationTimedOut
                    | Code::RequestTimedOut
                    | Code::UnstableOffsetCommit
                    | Code::BrokerTransportFailure
                    | Code::AllBrokersDown
                    | Code::Resolve
                    | Code::CoordinatorLoadInProgress
                    | Code::CoordinatorNotAvailable
                    | Code::NotCoordinator
                    | Code::WaitingForCoordinator
                    | Code::NotLeaderForPartition
                    | Code::LeaderNotAvailable
            )
        );
        if passes { Self::NotYet(told) } else { Self::Never(told) }
    }
}

impl From<KafkaError> for Unassigned {
    fn from(error: KafkaError) -> Self {
        Self::Never(error)
    }
}

/// Why a commit that was waited for is none.
enum Uncommitted {
    /// The group says no.
    Refused(ClientError),
    /// Nobody has answered.
    Unanswered,
    /// It cannot be said.
    Impossible(KafkaError),
}

impl From<Uncommitted> for KafkaError {
    fn from(error: Uncommitted) -> Self {
        match error {
            Uncommitted::Refused(error) => Self::during("an offset commit", &error),
            Uncommitted::Unanswered => {
                Self::new(format!("no broker took the offset commit within {COMMIT_TIMEOUT:?}"))
            }
            Uncommitted::Impossible(error) => error,
        }
    }
}

fn told(result: Result<(), ClientError>) -> Result<(), String> {
    result.map_err(|error| KafkaError::from(error).to_string())
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

fn is_expelled(error: &ClientError) -> bool {
    use RDKafkaErrorCode::{FencedInstanceId, FencedMemberEpoch, IllegalGeneration, UnknownMemberId};
    matches!(
        error.rdkafka_error_code(),
        Some(FencedInstanceId | FencedMemberEpoch | IllegalGeneration | UnknownMemberId)
    )
}

fn is_rebalancing(error: &ClientError) -> bool {
    use RDKafkaErrorCode::{IllegalGeneration, RebalanceInProgress, StaleMemberEpoch};
    matches!(error.rdkafka_error_code(), Some(IllegalGeneration | RebalanceInProgress | StaleMemberEpoch))
}

impl Source for GroupSource {
    fn poll(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        self.lanes.set_clock(now);
        self.ask_after_absence(now, events);
        for _ in 0..waiting_events(&self.consumer).max(1) {
            let Some(Err(error)) = self.consumer.poll(Duration::ZERO) else { continue };
            if let Some((_, reason)) = self.consumer.client().fatal_error() {
                return Err(SourceError(format!("the consumer cannot go on: {reason}")));
            }
            let is_permanent = |code| match code {
                // It may come back.
                RDKafkaErrorCode::UnknownTopicOrPartition => self.options.on_data_loss == OnDataLoss::Fail,
                code => is_permanent(code),
            };
            if error.rdkafka_error_code().is_some_and(is_permanent) {
                let what = format!("the member of group '{}' cannot go on", self.options.group_id);
                return Err(KafkaError::during(what, &error).into());
            }
            events.push(SourceEvent::Notice(error.to_string()));
        }
        for result in std::mem::take(&mut self.ended) {
            events.push(SourceEvent::CommitEnded(told(result)));
        }
        let mut news: VecDeque<_> = self.inbox.take().into();
        while let Some(event) = news.pop_front() {
            match event {
                ClientEvent::Assign(partitions) => match self.assign(&partitions, events) {
                    Ok(()) => self.waits_for_brokers = false,
                    Err(Unassigned::Never(error)) => {
                        self.inbox.put_back(news);
                        return Err(error.into());
                    }
                    // It is tried again with the next poll; what came behind it has to wait.
                    Err(Unassigned::NotYet(error)) => {
                        if !std::mem::replace(&mut self.waits_for_brokers, true) {
                            events
                                .push(SourceEvent::Notice(format!("partitions cannot be read yet: {error}")));
                        }
                        news.push_front(ClientEvent::Assign(partitions));
                        self.inbox.put_back(news);
                        break;
                    }
                },
                ClientEvent::Revoke { partitions, lost } => self.revoke(partitions, lost, events),
                ClientEvent::Committed(result) => {
                    // One that was waited for is over for those who did.
                    if self.commits.pop_front().flatten().is_none() {
                        events.push(SourceEvent::CommitEnded(told(result)));
                    }
                }
                ClientEvent::Throttled(delay) => events.push(SourceEvent::Throttled(delay)),
                ClientEvent::Error(_, error) => events.push(SourceEvent::Notice(error)),
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

    fn end_offset(&self, lane: LaneId) -> Option<i64> {
        known_end(&self.consumer, self.lanes.name(lane)?)
    }

    fn committer(&mut self) -> Option<&mut dyn Commit> {
        Some(self)
    }
}

impl Commit for GroupSource {
    fn commit(&mut self, offsets: &[(LaneId, i64)]) {
        self.committed.extend(offsets.iter().copied());
        let begun = match self.offsets(offsets) {
            Ok(offsets) => commit_async(&self.consumer, &offsets),
            Err(_) => Err(RDKafkaErrorCode::InvalidArgument),
        };
        match begun {
            Ok(()) => self.commits.push_back(None),
            // An error comes back as the end of the commit.
            Err(code) => self.ended.push(Err(ClientError::ConsumerCommit(code))),
        }
    }

    fn commit_sync(&mut self, offsets: &[(LaneId, i64)]) -> Result<(), SourceError> {
        let (result, aside) = self.commit_and_wait(offsets, Instant::now() + COMMIT_TIMEOUT);
        self.inbox.put_back(aside);
        result.map_err(|error| KafkaError::from(error).into())
    }

    fn commit_last(&mut self, offsets: &[(LaneId, i64)]) -> Result<(), SourceError> {
        let deadline = Instant::now() + COMMIT_TIMEOUT;
        let mut offsets = offsets.to_vec();
        loop {
            let (result, aside) = self.commit_and_wait(&offsets, deadline);
            // What somebody else has from now on is theirs to commit.
            for event in &aside {
                if let ClientEvent::Revoke { partitions, .. } = event {
                    let is_revoked = |LaneName { topic, partition }: &LaneName| {
                        partitions.find_partition(topic, *partition).is_some()
                    };
                    offsets.retain(|(lane, _)| !self.lanes.name(*lane).is_some_and(is_revoked));
                }
            }
            // Nobody drains or reads any more: rebalances are answered at once, or the group would wait.
            self.answer(aside);
            match result {
                Ok(()) => return Ok(()),
                // The group has a new generation that this member has not heard of yet.
                Err(Uncommitted::Refused(error)) if is_rebalancing(&error) && Instant::now() < deadline => {}
                Err(error) => return Err(KafkaError::from(error).into()),
            }
        }
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
        self.lanes.clear();
        // The group does not let go of a member that owes it an answer. An answer fails only if the group
        // has taken the partitions already.
        for (partitions, _) in std::mem::take(&mut self.leaving) {
            let _ = give_up(&self.consumer, &partitions);
        }
        let owed = self.inbox.take();
        self.answer(owed);
        self.say_goodbye();
        self.inbox.close();
    }
}
