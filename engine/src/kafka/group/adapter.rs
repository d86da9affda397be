//! The source of `velo run`: a member of a consumer group that commits settled offsets.
//!
//! This is the only code that polls the client of the member. Reports of the client become facts for the [`Member`],
//! and orders of the member become calls of the client, which answers later. The adapter waits for an answer in two
//! cases:
//!
//! - The process was suspended. Nothing is written until it is known whether the group still has the member.
//! - The job ends. The adapter waits for the last commit.
#![allow(clippy::disallowed_methods, reason = "the clock shows whether the process was suspended")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use velo_schema::Tier;

use super::closing::Closing;
use super::end_of_input::EndOfInput;
use super::group_offsets::GroupOffsets;
use super::member::{Member, Rules};
use super::options::GroupOptions;
use super::order::{Fact, Order};
use super::questions::Questions;
use super::reset::OnDataLoss;
use crate::batch::BatchBuilder;
use crate::core::Revoke;
use crate::core::batcher::Capacity;
use crate::failpoint::{Edge, reach};
use crate::ids::{LaneId, LaneName, Tick};
use crate::kafka::context::{ClientEvent, Context, Inbox, assign, is_cooperative, unassign};
use crate::kafka::error::{Class, class};
use crate::kafka::fetch::{Fetcher, Fetching, Lane, NativeFetcher, QueueFetcher};
use crate::kafka::ffi::{PartitionQueue, commit_async, is_member, waiting_events};
use crate::kafka::membership::Membership;
use crate::kafka::offsets::{REQUEST_TIMEOUT, bounds, offsets_of};
use crate::kafka::settings::{ClientSettings, readable};
use crate::kafka::{KafkaError, hint};
use crate::source::{Commit, Filled, Source, SourceError, SourceEvent};
use crate::waker::Waker;

/// The default session time-out of the client.
const SESSION: Duration = Duration::from_secs(45);

/// The maximum time to wait until the group has removed a member that leaves.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(15);

/// The maximum time between two polls of the client.
const SERVE_INTERVAL: Duration = Duration::from_millis(100);

/// The duration of one poll while the adapter waits.
const POLL: Duration = Duration::from_millis(20);

/// A source that reads as a member of a consumer group.
pub struct GroupSource {
    group_id: String,
    on_data_loss: OnDataLoss,
    member: Member,
    fetcher: Box<dyn Fetcher + Send>,
    consumer: Arc<BaseConsumer<Context>>,
    membership: Membership,
    /// True if the queue of the client has received an event since the last poll.
    called: Arc<AtomicBool>,
    /// The time of the last poll of the client.
    served: Tick,
    inbox: Inbox,
    waker: Waker,
    questions: Questions,
    /// The requests for committed offsets of other members, if the job ends at the end of the input.
    group: Option<GroupOffsets>,
    properties: BTreeMap<String, String>,
    /// The facts that were not reported to the member yet.
    facts: VecDeque<Fact>,
    /// The events for the job since the last poll of the source.
    news: Vec<SourceEvent>,
    /// The first error that ends the job.
    error: Option<KafkaError>,
    /// The time of the last poll of the source, by all clocks.
    polled: Option<(Tick, Instant, SystemTime)>,
    /// The session time-out.
    session: Duration,
    /// True if a cooperative client has reported a rebalance that the member has not heard of.
    has_rebalanced: bool,
    /// True if the member leaves the group explicitly: a dynamic member of the classic protocol.
    leaves_explicitly: bool,
    /// True if records of open transactions are not read. This is the default and required for exactly-once jobs.
    reads_committed: bool,
    /// The last field, so that the client is closed after everything that uses it.
    _closing: Closing,
}

impl GroupSource {
    /// Joins the group. The first polls assign partitions.
    ///
    /// # Errors
    /// If the properties of the client are invalid, or the end offsets of the topic are required and cannot be read.
    pub fn join(settings: &ClientSettings, options: GroupOptions, waker: Waker) -> Result<Self, KafkaError> {
        let config = options.config(settings)?;
        // The resolved configuration has the effective value.
        let session = config.get("session.timeout.ms").and_then(|ms| ms.parse().ok());
        let session = session.map_or(SESSION, Duration::from_millis);
        let is_classic = !settings.is_set_to("group.protocol", "consumer");
        let is_static = options.instance_id.is_some() || settings.property("group.instance.id").is_some();
        let (context, inbox) = Context::new(waker.clone());
        let mut consumer: BaseConsumer<Context> = config.create_with_context(context)?;
        let (wake, called) = (waker.clone(), Arc::new(AtomicBool::new(true)));
        let calls = Arc::clone(&called);
        consumer.set_nonempty_callback(move || {
            calls.store(true, Ordering::Release);
            wake.wake();
        });
        let end = options.until_end.then(|| end_of_input(&consumer, &options)).transpose()?;
        let group = || GroupOffsets::start(config.clone(), options.topic.clone(), waker.clone());
        let group = options.until_end.then(group);
        consumer
            .subscribe(&[&options.topic])
            .map_err(|error| KafkaError::during(format!("topic '{}'", options.topic), &error))?;
        let consumer = Arc::new(consumer);
        let fetcher = fetcher(&consumer, &inbox, &config, &options, &waker)?;
        let rules = Rules {
            topic: options.topic,
            partitions: options.partitions,
            on_data_loss: options.on_data_loss,
            exactly_once: options.exactly_once,
            end,
        };
        Ok(Self {
            group_id: options.group_id,
            on_data_loss: options.on_data_loss,
            member: Member::new(rules),
            fetcher,
            questions: Questions::start(&consumer, options.start, waker.clone()),
            membership: Membership::of(&consumer, is_classic),
            _closing: Closing::of(&consumer),
            consumer,
            called,
            served: Tick::default(),
            inbox,
            waker,
            group,
            properties: readable(&config),
            facts: VecDeque::new(),
            news: Vec::new(),
            error: None,
            polled: None,
            session,
            has_rebalanced: false,
            leaves_explicitly: is_classic && !is_static,
            reads_committed: !settings.is_set_to("isolation.level", "read_uncommitted"),
        })
    }

    /// Returns the membership, for transactions that commit this member's offsets.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.membership.clone()
    }

    /// Returns the effective client properties with masked secrets.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// Returns the time on the engine's clock.
    fn now(&self) -> Tick {
        self.polled.map_or(Tick::default(), |(now, at, _)| now + at.elapsed())
    }

    /// Reports all facts to the member and carries out its orders.
    fn step(&mut self, now: Tick) {
        let mut orders = Vec::new();
        while let Some(fact) = self.facts.pop_front() {
            self.member.step(now, fact, &mut orders);
            for order in orders.drain(..) {
                if let Err(error) = self.carry_out(order) {
                    self.error.get_or_insert(error);
                }
            }
        }
        // Only now: the partitions that the generation takes away are lost.
        if std::mem::take(&mut self.has_rebalanced) {
            self.membership.joined();
        }
    }

    fn carry_out(&mut self, order: Order) -> Result<(), KafkaError> {
        match order {
            Order::Ask(question) => self.questions.ask(question),
            Order::AskGroup(partitions) => {
                if let Some(group) = &mut self.group {
                    group.ask(partitions);
                }
            }
            Order::Start(lane, name, position, end) => {
                self.fetcher.start(lane, &name, (position, end))?;
                self.membership.owns(&name);
            }
            Order::Move(lane, position) => self.fetcher.seek(lane, position),
            Order::Seek(lane, name, position) => self.seek(lane, &name, position)?,
            Order::Stop(lane) => self.fetcher.stop(lane),
            Order::Assign(partitions) => {
                for (LaneName { topic, partition }, position) in &partitions {
                    tracing::info!(topic = &**topic, partition, position, "partition assigned");
                }
                let list = list(partitions.iter().map(|(name, position)| (name, *position)))?;
                let failed = |error| KafkaError::during("assigning partitions", &error);
                // Before they are assigned, so that the client sends no request. It knows a partition that has a queue.
                let mut queues = Vec::new();
                if !self.fetcher.uses_client() {
                    queues.extend(partitions.iter().map(|(LaneName { topic, partition }, _)| {
                        PartitionQueue::split(&self.consumer, topic, *partition, || {})
                    }));
                    self.consumer.pause(&list).map_err(failed)?;
                }
                assign(&self.consumer, &list).map_err(failed)?;
                drop(queues);
                // A cooperative client has reported the generation itself.
                if !is_cooperative(&self.consumer) {
                    self.membership.joined();
                }
                reach(Edge::MemberAssigned);
            }
            Order::Unassign(partitions) => {
                self.membership.lost(partitions.iter().cloned());
                // This fails only if the partitions were already unassigned.
                let _ = unassign(&self.consumer, &list(partitions.iter().map(|name| (name, None)))?);
                reach(Edge::MemberReleased);
            }
            Order::Commit(offsets) => {
                let begun = match offsets_of(offsets.iter().cloned()) {
                    Ok(list) => commit_async(&self.consumer, &list),
                    Err(_) => Err(RDKafkaErrorCode::InvalidArgument),
                };
                if let Err(code) = begun {
                    let error = commit_error(&ClientError::ConsumerCommit(code));
                    self.facts.push_back(Fact::CommitEnded(offsets, Err(error)));
                }
                reach(Edge::CommitBegun);
            }
            Order::Report(event) => {
                if let SourceEvent::Revoked(lane, Revoke::Lost) = event {
                    self.membership.lost(self.fetcher.lanes().get(lane).map(|lane| lane.name.clone()));
                }
                self.news.push(event);
            }
            Order::Fail(error) => return Err(error),
        }
        Ok(())
    }

    /// Continues a lane at another offset. The client stops a partition at an offset that does not exist. A stopped
    /// partition cannot seek, so it is assigned again.
    fn seek(&mut self, lane: LaneId, name: &LaneName, position: i64) -> Result<(), KafkaError> {
        if !self.fetcher.uses_client() {
            // A lane that replaces another one is read from its position on as soon as it is started, and never moves
            // back.
            let moves = |lane: &Lane| lane.is_broken() && lane.position <= position;
            if self.fetcher.lanes().get(lane).is_some_and(moves) {
                self.fetcher.seek(lane, position);
            }
            return Ok(());
        }
        self.fetcher.seek(lane, position);
        let failed = |error| KafkaError::during(format!("resuming partition {name}"), &error);
        if is_cooperative(&self.consumer) {
            let partition = offsets_of([(name.clone(), position)])?;
            self.consumer.incremental_unassign(&partition).map_err(failed)?;
            return self.consumer.incremental_assign(&partition).map_err(failed);
        }
        // Only all partitions can be assigned together. Records that were fetched and not taken are fetched again.
        self.consumer.assign(&offsets_of(self.fetcher.refetch())?).map_err(failed)
    }

    /// Polls the client, which then reports rebalances, results of commits and errors.
    ///
    /// A poll is the most expensive step of the poll thread. The client is polled only if its queue has received an
    /// event or [`SERVE_INTERVAL`] has passed. Without polls, the client would leave the group.
    fn serve(&mut self, now: Tick, wait: Duration) -> Result<(), KafkaError> {
        let was_called = self.called.swap(false, Ordering::AcqRel);
        if wait.is_zero() && !was_called && now.since(self.served) < SERVE_INTERVAL {
            return Ok(());
        }
        self.served = now;
        loop {
            let polled = self.consumer.poll(wait);
            if let Some((code, reason)) = self.consumer.client().fatal_error() {
                let hint = hint(Some(code), &reason);
                return Err(KafkaError::new(format!("the consumer cannot continue: {reason}{hint}")));
            }
            if let Some(Err(error)) = polled {
                self.client_error(&error)?;
            }
            // The queue calls back only when it stops being empty, so it must be emptied.
            if waiting_events(&self.consumer) == 0 {
                break;
            }
        }
        self.take_events();
        Ok(())
    }

    fn client_error(&mut self, error: &ClientError) -> Result<(), KafkaError> {
        let is_permanent = |code| match code {
            // The topic may be created again.
            RDKafkaErrorCode::UnknownTopicOrPartition => self.on_data_loss == OnDataLoss::Fail,
            code => is_permanent(code),
        };
        if error.rdkafka_error_code().is_some_and(is_permanent) {
            let what = format!("the member of group '{}' cannot continue", self.group_id);
            return Err(KafkaError::during(what, error));
        }
        self.news.push(SourceEvent::Notice(error.to_string()));
        Ok(())
    }

    /// Converts the reports of the client to facts, in the same order.
    fn take_events(&mut self) {
        for event in self.inbox.take() {
            let is_rebalance =
                matches!(event, ClientEvent::Assign(_) | ClientEvent::Revoke { lost: false, .. });
            self.has_rebalanced |= is_rebalance && is_cooperative(&self.consumer);
            self.facts.push_back(match event {
                ClientEvent::Assign(partitions) if is_cooperative(&self.consumer) => {
                    Fact::Assigned(names_of(&partitions))
                }
                ClientEvent::Assign(partitions) => Fact::AssignedAnew(names_of(&partitions)),
                ClientEvent::Revoke { partitions, lost } => {
                    for element in partitions.elements() {
                        let (topic, partition) = (element.topic(), element.partition());
                        tracing::info!(topic, partition, lost, "partition revoked");
                    }
                    reach(Edge::MemberRevoked);
                    Fact::Revoked(names_of(&partitions), lost)
                }
                ClientEvent::Committed(result, offsets) => {
                    reach(Edge::CommitEnded);
                    Fact::CommitEnded(offsets, result.map_err(|error| commit_error(&error)))
                }
                ClientEvent::Throttled(delay) => {
                    self.news.push(SourceEvent::Throttled(delay));
                    continue;
                }
                ClientEvent::Error(_, error) => {
                    self.news.push(SourceEvent::Notice(error));
                    continue;
                }
            });
        }
    }

    /// Converts answers and reports of the fetcher to facts.
    fn take_answers(&mut self) -> Result<(), SourceError> {
        self.facts.extend(std::iter::from_fn(|| self.questions.answer()).map(Fact::Answered));
        if let Some(group) = &mut self.group {
            self.facts.extend(group.answer().map(Fact::GroupCommitted));
        }
        let known = self.news.len();
        self.fetcher.report(&mut self.news)?;
        for event in &self.news[known..] {
            if let SourceEvent::Ended(lane) = event {
                self.facts.push_back(Fact::Ended(*lane));
            }
        }
        let broken = self.fetcher.lanes().broken().filter(|(lane, _)| self.member.is_reading(lane.id));
        self.facts.extend(broken.map(|(lane, why)| Fact::Broken(lane.id, lane.position, why.clone())));
        Ok(())
    }

    /// Notes the time of a poll. Returns true if the time since the last poll is at least the session time-out, because
    /// the process was suspended.
    fn was_away(&mut self, now: Tick) -> bool {
        // Only the wall clock advances while the machine is suspended. If it is set forward, the membership is verified
        // once more than necessary.
        let wall = SystemTime::now();
        let (polled, _, polled_wall) =
            self.polled.replace((now, Instant::now(), wall)).unwrap_or((now, Instant::now(), wall));
        let by_wall = wall.duration_since(polled_wall).unwrap_or_default();
        now.since(polled).max(by_wall) >= self.session && !self.member.is_idle()
    }

    /// Polls until `check` returns a value. The member has a time-out for every state that it waits in.
    fn wait_until<T>(&mut self, mut check: impl FnMut(&mut Member) -> Option<T>) -> Result<T, KafkaError> {
        loop {
            self.facts.push_back(Fact::Tick);
            self.step(self.now());
            if let Some(result) = check(&mut self.member) {
                return Ok(result);
            }
            self.serve(self.now(), POLL)?;
        }
    }

    /// Leaves the group, so that other members get the partitions before the session time-out.
    ///
    /// Closing the client is not sufficient. It sends no request for a member without partitions. A request that is
    /// sent during a rebalance is answered only after all members have joined.
    fn leave_group(&mut self) {
        if !self.leaves_explicitly || self.member.was_unanswered() {
            return;
        }
        self.consumer.unsubscribe();
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        while is_member(&self.consumer) && Instant::now() < deadline {
            drop(self.consumer.poll(POLL));
            self.answer_rebalances();
        }
    }

    /// Answers rebalances without reading or draining partitions.
    fn answer_rebalances(&self) {
        for event in self.inbox.take() {
            match event {
                ClientEvent::Assign(partitions) => drop(assign(&self.consumer, &partitions)),
                ClientEvent::Revoke { partitions, .. } => drop(unassign(&self.consumer, &partitions)),
                ClientEvent::Committed(..) | ClientEvent::Throttled(_) | ClientEvent::Error(..) => {}
            }
        }
    }
}

impl Source for GroupSource {
    fn poll(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        self.fetcher.set_clock(now);
        if self.was_away(now) {
            tracing::warn!("the process was suspended for longer than session.timeout.ms");
            self.facts.push_back(Fact::WasAway);
            self.wait_until(|member| (!member.is_verifying()).then_some(()))?;
        }
        let served = self.serve(now, Duration::ZERO);
        let answered = self.take_answers();
        self.facts.push_back(Fact::Tick);
        self.step(now);
        events.append(&mut self.news);
        served?;
        answered?;
        self.error.take().map_or(Ok(()), |error| Err(error.into()))
    }

    fn fill(
        &mut self,
        _: Tick,
        lane: LaneId,
        tier: Tier,
        room: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        self.fetcher.take(lane, tier, room, batch)
    }

    fn ready(&mut self, lanes: &mut Vec<LaneId>) -> bool {
        self.fetcher.ready(lanes);
        true
    }

    fn end_offset(&self, lane: LaneId) -> Option<i64> {
        self.fetcher.end_offset(lane)
    }

    fn position(&self, lane: LaneId) -> Option<i64> {
        self.fetcher.lanes().get(lane).map(|lane| lane.position)
    }

    fn stable_end(&self, lane: LaneId) -> Option<i64> {
        self.fetcher.stable_end(lane).filter(|_| self.reads_committed)
    }

    fn committer(&mut self) -> Option<&mut dyn Commit> {
        Some(self)
    }
}

impl Commit for GroupSource {
    fn commit(&mut self, offsets: &[(LaneId, i64)]) {
        self.facts.push_back(Fact::Commit(offsets.to_vec()));
        self.step(self.now());
        self.waker.wake();
    }

    fn release(&mut self, lanes: &[(LaneId, Option<i64>)]) {
        self.facts.push_back(Fact::Released(lanes.to_vec()));
        self.step(self.now());
        self.waker.wake();
    }

    fn finish(&mut self, offsets: &[(LaneId, i64)]) -> Result<(), SourceError> {
        self.facts.push_back(Fact::Finish(offsets.to_vec()));
        self.wait_until(Member::finished)??;
        Ok(())
    }
}

impl Drop for GroupSource {
    fn drop(&mut self) {
        reach(Edge::MemberLeaving);
        self.fetcher.clear();
        // The client cannot leave the group before every revocation is answered. An answer fails only if the partitions
        // were already unassigned.
        for order in self.member.owed() {
            let _ = self.carry_out(order);
        }
        self.answer_rebalances();
        self.leave_group();
        reach(Edge::MemberLeft);
        self.inbox.close();
    }
}

/// Returns the fetcher of a member.
fn fetcher(
    consumer: &Arc<BaseConsumer<Context>>,
    inbox: &Inbox,
    config: &ClientConfig,
    options: &GroupOptions,
    waker: &Waker,
) -> Result<Box<dyn Fetcher + Send>, KafkaError> {
    let (memory, waker) = (&options.memory, waker.clone());
    Ok(match options.fetching {
        Fetching::Librdkafka => {
            Box::new(QueueFetcher::new(Arc::clone(consumer), inbox.meter().clone(), memory, waker))
        }
        Fetching::Native => Box::new(NativeFetcher::start(config, &options.topic, memory, waker)?),
    })
}

/// Returns the current ends of the partitions of the topic.
fn end_of_input(consumer: &BaseConsumer<Context>, options: &GroupOptions) -> Result<EndOfInput, KafkaError> {
    let topic: Arc<str> = options.topic.as_str().into();
    let partitions = 0..i32::try_from(options.partitions).unwrap_or(i32::MAX);
    let name = |partition| LaneName { topic: Arc::clone(&topic), partition };
    let names: Vec<_> = partitions.clone().map(name).collect();
    Ok(EndOfInput::new(partitions.zip(bounds(consumer, &names, REQUEST_TIMEOUT)?)))
}

fn names_of(partitions: &TopicPartitionList) -> Vec<LaneName> {
    let name = |element: &TopicPartitionListElem<'_>| LaneName {
        topic: element.topic().into(),
        partition: element.partition(),
    };
    partitions.elements().iter().map(name).collect()
}

fn list<'a>(
    partitions: impl Iterator<Item = (&'a LaneName, Option<i64>)>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (LaneName { topic, partition }, position) in partitions {
        match position {
            Some(position) => list.add_partition_offset(topic, *partition, Offset::Offset(position))?,
            None => drop(list.add_partition(topic, *partition)),
        }
    }
    Ok(list)
}

fn commit_error(error: &ClientError) -> KafkaError {
    KafkaError::during("committing offsets", error)
}

/// Returns true for errors that the client retries although they persist.
fn is_permanent(code: RDKafkaErrorCode) -> bool {
    class(code) == Class::Unauthorized || code == RDKafkaErrorCode::InconsistentGroupProtocol
}
