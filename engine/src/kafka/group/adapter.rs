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
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use velo_schema::Tier;

use super::client::Client;
use super::end_of_input::EndOfInput;
use super::group_offsets::GroupOffsets;
use super::member::{Member, Rules};
use super::options::GroupOptions;
use super::order::{Fact, Order};
use super::reset::OnDataLoss;
use crate::batch::BatchBuilder;
use crate::core::Revoke;
use crate::core::batcher::Capacity;
use crate::failpoint::{Edge, reach};
use crate::ids::{LaneId, LaneName, Tick};
use crate::kafka::context::{ClientEvent, Context, Generation, assign, is_cooperative, unassign};
use crate::kafka::error::{Class, class};
use crate::kafka::fetch::Lane;
use crate::kafka::ffi::{PartitionQueue, commit_async, is_member, waiting_events};
use crate::kafka::membership::Membership;
use crate::kafka::offsets::{REQUEST_TIMEOUT, bounds, offsets_of};
use crate::kafka::settings::{ClientSettings, readable};
use crate::kafka::{KafkaError, hint};
use crate::source::{Commit, Filled, Source, SourceError, SourceEvent};
use crate::waker::Waker;

/// The default session time-out of the client.
const SESSION: Duration = Duration::from_secs(45);

/// The maximum time between two polls of the client.
const SERVE_INTERVAL: Duration = Duration::from_millis(100);

/// The interval at which the client is asked for its member id.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The duration of one poll while the adapter waits.
const POLL: Duration = Duration::from_millis(20);

/// A source that reads as a member of a consumer group.
pub struct GroupSource {
    options: GroupOptions,
    config: ClientConfig,
    member: Member,
    client: Client,
    /// Former clients of the member that have not left the group yet.
    retired: Vec<JoinHandle<()>>,
    membership: Membership,
    /// The time of the last poll of the client.
    served: Tick,
    waker: Waker,
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
    /// The time at which the client was last asked for its member id, once it has joined the group (classic protocol).
    looked: Option<Tick>,
    /// The generation of the last rebalance, until the rebalance is carried out.
    joined: Option<Generation>,
    /// True if clients assign partitions, and generations begin with rebalances.
    is_classic: bool,
    is_static: bool,
    /// True if records of open transactions are not read. This is the default and required for exactly-once jobs.
    reads_committed: bool,
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
        let client = Client::create(&config, &options, &waker)?;
        let end = options.until_end.then(|| end_of_input(&client.consumer, &options)).transpose()?;
        let group = || GroupOffsets::start(config.clone(), options.topic.clone(), waker.clone());
        let group = options.until_end.then(group);
        client.join(&options.topic)?;
        let rules = Rules {
            topic: options.topic.clone(),
            partitions: options.partitions,
            on_data_loss: options.on_data_loss,
            exactly_once: options.exactly_once,
            end,
        };
        Ok(Self {
            member: Member::new(rules),
            membership: Membership::of(&client.consumer, is_classic),
            client,
            retired: Vec::new(),
            served: Tick::default(),
            waker,
            group,
            properties: readable(&config),
            config,
            facts: VecDeque::new(),
            news: Vec::new(),
            error: None,
            polled: None,
            session,
            looked: None,
            joined: None,
            is_classic,
            is_static: options.instance_id.is_some() || settings.property("group.instance.id").is_some(),
            reads_committed: !settings.is_set_to("isolation.level", "read_uncommitted"),
            options,
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
        if is_cooperative(&self.client.consumer) {
            self.note_generation();
        }
    }

    fn note_generation(&mut self) {
        if let Some(Generation { member, .. }) = self.joined.take() {
            self.membership.joined(member);
        }
    }

    fn carry_out(&mut self, order: Order) -> Result<(), KafkaError> {
        match order {
            Order::Ask(question) => self.client.questions.ask(question),
            Order::AskGroup(partitions) => {
                if let Some(group) = &mut self.group {
                    group.ask(partitions);
                }
            }
            Order::Start(lane, name, position, end) => {
                self.client.fetcher.start(lane, &name, (position, end))?;
                self.membership.owns(&name);
            }
            Order::Move(lane, position) => self.client.fetcher.seek(lane, position),
            Order::Seek(lane, name, position) => self.seek(lane, &name, position)?,
            Order::Stop(lane) => self.client.fetcher.stop(lane),
            Order::Assign(partitions) => {
                for (LaneName { topic, partition }, position) in &partitions {
                    tracing::info!(topic = &**topic, partition, position, "partition assigned");
                }
                let list = list(partitions.iter().map(|(name, position)| (name, *position)))?;
                let failed = |error| KafkaError::during("assigning partitions", &error);
                // Before they are assigned, so that the client sends no request. It knows a partition that has a queue.
                let mut queues = Vec::new();
                if !self.client.fetcher.uses_client() {
                    queues.extend(partitions.iter().map(|(LaneName { topic, partition }, _)| {
                        PartitionQueue::split(&self.client.consumer, topic, *partition, || {})
                    }));
                    self.client.consumer.pause(&list).map_err(failed)?;
                }
                assign(&self.client.consumer, &list).map_err(failed)?;
                drop(queues);
                // With the eager protocol, offsets of the former generation are committed until then.
                self.note_generation();
                reach(Edge::MemberAssigned);
            }
            Order::Unassign(partitions) => {
                self.membership.lost(partitions.iter().cloned());
                // This fails only if the partitions were already unassigned.
                let _ = unassign(&self.client.consumer, &list(partitions.iter().map(|name| (name, None)))?);
                reach(Edge::MemberReleased);
            }
            Order::Commit(offsets) => {
                let begun = match offsets_of(offsets.iter().cloned()) {
                    Ok(list) => commit_async(&self.client.consumer, &list),
                    Err(_) => Err(RDKafkaErrorCode::InvalidArgument),
                };
                if let Err(code) = begun {
                    let error = commit_error(&ClientError::ConsumerCommit(code));
                    self.facts.push_back(Fact::CommitEnded(offsets, Err(error)));
                }
                reach(Edge::CommitBegun);
            }
            Order::StartOver(others) => {
                self.membership.lost(others);
                self.start_over()?;
            }
            Order::Report(event) => {
                if let SourceEvent::Revoked(lane, Revoke::Lost) = event {
                    self.membership.lost(self.client.fetcher.lanes().get(lane).map(|lane| lane.name.clone()));
                }
                self.news.push(event);
            }
            Order::Fail(error) => return Err(error),
        }
        Ok(())
    }

    /// Joins the group with a new client. The former one leaves it.
    fn start_over(&mut self) -> Result<(), KafkaError> {
        let client = Client::create(&self.config, &self.options, &self.waker)?;
        client.join(&self.options.topic)?;
        self.membership.replace(&client.consumer);
        self.retired.push(std::mem::replace(&mut self.client, client).retire());
        // What the former client has reported means nothing to the new one.
        self.facts.retain(Fact::is_of_job);
        self.joined = None;
        self.looked = None;
        Ok(())
    }

    /// Continues a lane at another offset. The client stops a partition at an offset that does not exist. A stopped
    /// partition cannot seek, so it is assigned again.
    fn seek(&mut self, lane: LaneId, name: &LaneName, position: i64) -> Result<(), KafkaError> {
        if !self.client.fetcher.uses_client() {
            // A lane that replaces another one is read from its position on as soon as it is started, and never moves
            // back.
            let moves = |lane: &Lane| lane.is_broken() && lane.position <= position;
            if self.client.fetcher.lanes().get(lane).is_some_and(moves) {
                self.client.fetcher.seek(lane, position);
            }
            return Ok(());
        }
        self.client.fetcher.seek(lane, position);
        let failed = |error| KafkaError::during(format!("resuming partition {name}"), &error);
        if is_cooperative(&self.client.consumer) {
            let partition = offsets_of([(name.clone(), position)])?;
            self.client.consumer.incremental_unassign(&partition).map_err(failed)?;
            return self.client.consumer.incremental_assign(&partition).map_err(failed);
        }
        // Only all partitions can be assigned together. Records that were fetched and not taken are fetched again.
        self.client.consumer.assign(&offsets_of(self.client.fetcher.refetch())?).map_err(failed)
    }

    /// Polls the client, which then reports rebalances, results of commits and errors.
    ///
    /// A poll is the most expensive step of the poll thread. The client is polled only if its queue has received an
    /// event or [`SERVE_INTERVAL`] has passed. Without polls, the client would leave the group.
    fn serve(&mut self, now: Tick, wait: Duration) -> Result<(), KafkaError> {
        let was_called = self.client.called.swap(false, Ordering::AcqRel);
        if wait.is_zero() && !was_called && now.since(self.served) < SERVE_INTERVAL {
            return Ok(());
        }
        self.served = now;
        loop {
            let polled = self.client.consumer.poll(wait);
            if let Some((code, reason)) = self.client.consumer.client().fatal_error() {
                let hint = hint(Some(code), &reason);
                return Err(KafkaError::new(format!("the consumer cannot continue: {reason}{hint}")));
            }
            if let Some(Err(error)) = polled {
                self.client_error(&error)?;
            }
            // The queue calls back only when it stops being empty, so it must be emptied.
            if waiting_events(&self.client.consumer) == 0 {
                break;
            }
        }
        self.take_events();
        if self.membership.is_rejected() || self.is_forgotten(now) {
            self.facts.push_back(Fact::Rejected);
        }
        Ok(())
    }

    /// Returns true if the client has joined the group and has no member id any more: it has heard that the group has
    /// removed it. It joins again at once, unless it waits for a rebalance that never ends.
    fn is_forgotten(&mut self, now: Tick) -> bool {
        if self.looked.is_none_or(|looked| now.since(looked) < LOOK_INTERVAL) {
            return false;
        }
        self.looked = Some(now);
        !is_member(&self.client.consumer)
    }

    fn client_error(&mut self, error: &ClientError) -> Result<(), KafkaError> {
        let is_permanent = |code| match code {
            // The topic may be created again.
            RDKafkaErrorCode::UnknownTopicOrPartition => self.options.on_data_loss == OnDataLoss::Fail,
            code => is_permanent(code),
        };
        if error.rdkafka_error_code().is_some_and(is_permanent) {
            let what = format!("the member of group '{}' cannot continue", self.options.group_id);
            return Err(KafkaError::during(what, error));
        }
        self.news.push(SourceEvent::Notice(error.to_string()));
        Ok(())
    }

    /// Converts the reports of the client to facts, in the same order.
    fn take_events(&mut self) {
        for event in self.client.inbox.take() {
            match event {
                ClientEvent::Assign(partitions, generation) => {
                    self.looked = self.looked.or(self.is_classic.then_some(self.served));
                    let is_cooperative = self.take_generation(generation, true);
                    let partitions = names_of(&partitions);
                    self.facts.push_back(if is_cooperative {
                        Fact::Assigned(partitions)
                    } else {
                        Fact::AssignedAnew(partitions)
                    });
                }
                ClientEvent::Revoke(partitions, generation) => {
                    self.take_generation(generation, false);
                    self.take_revocation(&partitions, false);
                }
                ClientEvent::Lost(partitions) => self.take_revocation(&partitions, true),
                ClientEvent::Committed(result, offsets) => {
                    reach(Edge::CommitEnded);
                    let result = result.map_err(|error| commit_error(&error));
                    self.facts.push_back(Fact::CommitEnded(offsets, result));
                }
                ClientEvent::Throttled(delay) => self.news.push(SourceEvent::Throttled(delay)),
                ClientEvent::Error(_, error) => self.news.push(SourceEvent::Notice(error)),
            }
        }
    }

    /// Notes the generation of a rebalance. Returns true if the protocol is cooperative.
    fn take_generation(&mut self, generation: Generation, assigns: bool) -> bool {
        self.membership.heard();
        let is_cooperative = is_cooperative(&self.client.consumer);
        if is_cooperative && self.is_classic {
            self.facts.push_back(Fact::Generation(generation.id));
        }
        // With the eager protocol, a generation ends with a revocation and begins with an assignment. A negative one is
        // none: the group has removed the member since.
        if (is_cooperative || assigns) && generation.id >= 0 {
            self.joined = Some(generation);
        }
        is_cooperative
    }

    fn take_revocation(&mut self, partitions: &TopicPartitionList, lost: bool) {
        self.membership.heard();
        for element in partitions.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            tracing::info!(topic, partition, lost, "partition revoked");
        }
        reach(Edge::MemberRevoked);
        self.facts.push_back(Fact::Revoked(names_of(partitions), lost));
    }

    /// Converts answers and reports of the fetcher to facts.
    fn take_answers(&mut self) -> Result<(), SourceError> {
        self.facts.extend(std::iter::from_fn(|| self.client.questions.answer()).map(Fact::Answered));
        if let Some(group) = &mut self.group {
            self.facts.extend(group.answer().map(Fact::GroupCommitted));
        }
        let known = self.news.len();
        self.client.fetcher.report(&mut self.news)?;
        for event in &self.news[known..] {
            if let SourceEvent::Ended(lane) = event {
                self.facts.push_back(Fact::Ended(*lane));
            }
        }
        let broken = self.client.fetcher.lanes().broken().filter(|(lane, _)| self.member.is_reading(lane.id));
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
}

impl Source for GroupSource {
    fn poll(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        self.client.fetcher.set_clock(now);
        if self.was_away(now) {
            tracing::warn!("the process was suspended for longer than session.timeout.ms");
            self.facts.push_back(Fact::WasAway);
            self.step(now);
        }
        // An earlier poll may have ended with an error before the membership was verified.
        if self.member.is_verifying() {
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
        self.client.fetcher.take(lane, tier, room, batch)
    }

    fn ready(&mut self, lanes: &mut Vec<LaneId>) -> bool {
        self.client.fetcher.ready(lanes);
        true
    }

    fn end_offset(&self, lane: LaneId) -> Option<i64> {
        self.client.fetcher.end_offset(lane)
    }

    fn position(&self, lane: LaneId) -> Option<i64> {
        self.client.fetcher.lanes().get(lane).map(|lane| lane.position)
    }

    fn stable_end(&self, lane: LaneId) -> Option<i64> {
        self.client.fetcher.stable_end(lane).filter(|_| self.reads_committed)
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
        self.client.fetcher.clear();
        // The client cannot leave the group before every revocation is answered. An answer fails only if the partitions
        // were already unassigned.
        for order in self.member.owed() {
            let _ = self.carry_out(order);
        }
        self.client.answer_rebalances();
        // A dynamic member of the classic protocol leaves explicitly.
        if self.is_classic && !self.is_static && !self.member.was_unanswered() {
            self.client.leave();
        }
        reach(Edge::MemberLeft);
        self.client.inbox.close();
        for client in self.retired.drain(..) {
            // It panics only with a bug, and there is nothing left to do.
            let _ = client.join();
        }
    }
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
