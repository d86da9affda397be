//! The source of `velo run`: a member of a consumer group that commits what is settled.
//!
//! This is the only place that polls the member's client. What the client reports becomes facts for the [`Member`], and
//! what the member orders is handed to the client, which answers later. Two things are waited for here: after the
//! process was stopped for a while, whether the group still has it, so that nothing is written before that is known;
//! and the last commit of a job.
#![allow(clippy::disallowed_methods, reason = "an absence is noticed by the clock")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use velo_schema::Tier;

use super::end_of_input::EndOfInput;
use super::group_offsets::GroupOffsets;
use super::member::{Member, Rules};
use super::options::GroupOptions;
use super::order::{Fact, Order};
use super::questions::Questions;
use super::reset::OnDataLoss;
use crate::batch::BatchBuilder;
use crate::core::batcher::Room;
use crate::ids::{LaneId, LaneName, Tick};
use crate::kafka::KafkaError;
use crate::kafka::context::{ClientEvent, Context, Inbox, assign, is_cooperative, unassign};
use crate::kafka::error::{Class, class};
use crate::kafka::fetch::{Fetcher, QueueFetcher};
use crate::kafka::ffi::{commit_async, is_member, waiting_events};
use crate::kafka::membership::Membership;
use crate::kafka::offsets::{REQUEST_TIMEOUT, bounds, offsets_of};
use crate::kafka::settings::{ClientSettings, readable};
use crate::source::{Commit, Filled, Source, SourceError, SourceEvent};
use crate::waker::Waker;

/// The session time-out, unless it is set.
const SESSION: Duration = Duration::from_secs(45);

/// How long a member that leaves waits for a rebalance to end.
const FAREWELL: Duration = Duration::from_secs(15);

/// How long one poll waits if something is waited for.
const POLL: Duration = Duration::from_millis(20);

/// A member of a group.
pub struct GroupSource {
    group_id: String,
    on_data_loss: OnDataLoss,
    member: Member,
    fetcher: QueueFetcher,
    consumer: Arc<BaseConsumer<Context>>,
    inbox: Inbox,
    waker: Waker,
    questions: Questions,
    /// Asked for what other members have committed, if the job ends where the group has read everything.
    group: Option<GroupOffsets>,
    properties: BTreeMap<String, String>,
    /// Facts that the member has not learned yet.
    facts: VecDeque<Fact>,
    /// News for the job since it was polled last, and why the job has to end.
    news: Vec<SourceEvent>,
    error: Option<KafkaError>,
    /// When the source was polled last, by all clocks.
    polled: Option<(Tick, Instant, SystemTime)>,
    /// The session time-out.
    session: Duration,
    /// True if the group has to be told that the member leaves: members of the classic protocol, except static ones.
    says_goodbye: bool,
    /// True if records of open transactions are not read: the default, and always so with transactions of its own.
    reads_committed: bool,
}

impl GroupSource {
    /// Joins the group. Partitions come with the first polls.
    ///
    /// # Errors
    /// If the client's properties are wrong, or if no broker says where the topic ends.
    pub fn join(settings: &ClientSettings, options: GroupOptions, waker: Waker) -> Result<Self, KafkaError> {
        let config = options.config(settings)?;
        // As it was settled with the other limits.
        let session = config.get("session.timeout.ms").and_then(|ms| ms.parse().ok());
        let session = session.map_or(SESSION, Duration::from_millis);
        let is_classic = settings.property("group.protocol") != Some("consumer");
        let is_static = options.instance_id.is_some() || settings.property("group.instance.id").is_some();
        let (context, inbox) = Context::new(waker.clone());
        let mut consumer: BaseConsumer<Context> = config.create_with_context(context)?;
        let wake = waker.clone();
        consumer.set_nonempty_callback(move || wake.wake());
        let end = options.until_end.then(|| end_of_input(&consumer, &options)).transpose()?;
        let group = || GroupOffsets::start(config.clone(), options.topic.clone(), waker.clone());
        let group = options.until_end.then(group);
        consumer
            .subscribe(&[&options.topic])
            .map_err(|error| KafkaError::during(format!("topic '{}'", options.topic), &error))?;
        let consumer = Arc::new(consumer);
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
            fetcher: QueueFetcher::new(Arc::clone(&consumer), &options.memory, waker.clone()),
            questions: Questions::start(&consumer, options.start, waker.clone()),
            consumer,
            inbox,
            waker,
            group,
            properties: readable(&config),
            facts: VecDeque::new(),
            news: Vec::new(),
            error: None,
            polled: None,
            session,
            says_goodbye: is_classic && !is_static,
            reads_committed: settings.property("isolation.level") != Some("read_uncommitted"),
        })
    }

    /// Returns the membership, for transactions that commit this member's offsets.
    #[must_use]
    pub fn membership(&self) -> Membership {
        Membership::of(&self.consumer)
    }

    /// Returns the client's properties, secrets masked.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// Returns the time on the engine's clock.
    fn now(&self) -> Tick {
        self.polled.map_or(Tick::default(), |(now, at, _)| now + at.elapsed())
    }

    /// Has the member learn all facts, and carries its orders out.
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
    }

    fn carry_out(&mut self, order: Order) -> Result<(), KafkaError> {
        match order {
            Order::Ask(question) => self.questions.ask(question),
            Order::AskGroup(partitions) => {
                if let Some(group) = &mut self.group {
                    group.ask(partitions);
                }
            }
            Order::Start(lane, name, position, end) => self.fetcher.start(lane, &name, (position, end))?,
            Order::Move(lane, position) => self.fetcher.seek(lane, position),
            Order::Seek(lane, name, position) => self.seek(lane, &name, position)?,
            Order::Stop(lane) => self.fetcher.stop(lane),
            Order::Assign(partitions) => {
                for (LaneName { topic, partition }, position) in &partitions {
                    tracing::info!(topic = &**topic, partition, position, "partition assigned");
                }
                let list = list(partitions.iter().map(|(name, position)| (name, *position)))?;
                assign(&self.consumer, &list)
                    .map_err(|error| KafkaError::during("the assignment", &error))?;
            }
            Order::Unassign(partitions) => {
                // It fails only if the group has taken them already.
                let _ = unassign(&self.consumer, &list(partitions.iter().map(|name| (name, None)))?);
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
            }
            Order::Report(event) => self.news.push(event),
            Order::Fail(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads a lane from another offset. The client stops a partition at an offset that is not there, and a stopped
    /// partition cannot seek: it is assigned again.
    fn seek(&mut self, lane: LaneId, name: &LaneName, position: i64) -> Result<(), KafkaError> {
        self.fetcher.seek(lane, position);
        let failed = |error| KafkaError::during(format!("resuming {name}"), &error);
        if is_cooperative(&self.consumer) {
            let partition = offsets_of([(name.clone(), position)])?;
            self.consumer.incremental_unassign(&partition).map_err(failed)?;
            return self.consumer.incremental_assign(&partition).map_err(failed);
        }
        // Only all partitions at once can be assigned; what the client had fetched of them is fetched again.
        self.consumer.assign(&offsets_of(self.fetcher.refetch())?).map_err(failed)
    }

    /// Has the client serve what waits for it: rebalances, ends of commits, errors.
    fn serve(&mut self, wait: Duration) -> Result<(), KafkaError> {
        for _ in 0..waiting_events(&self.consumer).max(1) {
            let polled = self.consumer.poll(wait);
            if let Some((_, reason)) = self.consumer.client().fatal_error() {
                return Err(KafkaError::new(format!("the consumer cannot continue: {reason}")));
            }
            let Some(Err(error)) = polled else { continue };
            let is_permanent = |code| match code {
                // It may come back.
                RDKafkaErrorCode::UnknownTopicOrPartition => self.on_data_loss == OnDataLoss::Fail,
                code => is_permanent(code),
            };
            if error.rdkafka_error_code().is_some_and(is_permanent) {
                let what = format!("the member of group '{}' cannot continue", self.group_id);
                return Err(KafkaError::during(what, &error));
            }
            self.news.push(SourceEvent::Notice(error.to_string()));
        }
        self.take_events();
        Ok(())
    }

    /// Makes facts of what the client has reported, in its order.
    fn take_events(&mut self) {
        for event in self.inbox.take() {
            self.facts.push_back(match event {
                ClientEvent::Assign(partitions) => Fact::Assigned(names_of(&partitions)),
                ClientEvent::Revoke { partitions, lost } => {
                    for element in partitions.elements() {
                        let (topic, partition) = (element.topic(), element.partition());
                        tracing::info!(topic, partition, lost, "partition revoked");
                    }
                    Fact::Revoked(names_of(&partitions), lost)
                }
                ClientEvent::Committed(result, offsets) => {
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

    /// Makes facts of answers, and of what the fetcher has come across.
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
        let broken = self.fetcher.broken().filter(|(lane, _)| self.member.is_reading(lane.id));
        self.facts.extend(broken.map(|(lane, why)| Fact::Broken(lane.id, lane.position, why.to_owned())));
        Ok(())
    }

    /// True if the process was stopped for longer than its session since it was polled last.
    fn was_away(&mut self, now: Tick) -> bool {
        // The clock of the wall goes on while a machine is suspended. If it is set forward, one question more is asked.
        let wall = SystemTime::now();
        let (polled, _, polled_wall) =
            self.polled.replace((now, Instant::now(), wall)).unwrap_or((now, Instant::now(), wall));
        let by_wall = wall.duration_since(polled_wall).unwrap_or_default();
        now.since(polled).max(by_wall) >= self.session && !self.member.is_idle()
    }

    /// Polls until something has come true of the member, which has a time-out for everything.
    fn wait_until<T>(&mut self, mut check: impl FnMut(&mut Member) -> Option<T>) -> Result<T, KafkaError> {
        loop {
            self.facts.push_back(Fact::Tick);
            self.step(self.now());
            if let Some(result) = check(&mut self.member) {
                return Ok(result);
            }
            self.serve(POLL)?;
        }
    }

    /// Leaves the group, so that it does not wait for this member for a whole session before others get its partitions.
    ///
    /// Closing the client does not always do so. It sends nothing for a member that has no partitions; and a request
    /// that is sent while the group is rebalancing is answered after the join, when every member has joined.
    fn leave_group(&mut self) {
        if !self.says_goodbye || self.member.was_unanswered() {
            return;
        }
        self.consumer.unsubscribe();
        let deadline = Instant::now() + FAREWELL;
        while is_member(&self.consumer) && Instant::now() < deadline {
            drop(self.consumer.poll(POLL));
            self.answer_rebalances();
        }
    }

    /// Answers the rebalances of a member that reads and drains no more.
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
            tracing::warn!("the process was stopped for longer than its session");
            self.facts.push_back(Fact::WasAway);
            self.wait_until(|member| (!member.is_verifying()).then_some(()))?;
        }
        let served = self.serve(Duration::ZERO);
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
        room: Room,
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

    fn stable_end(&self, lane: LaneId) -> Option<i64> {
        self.inbox.meter().stable_end(self.fetcher.name(lane)?).filter(|_| self.reads_committed)
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
        self.fetcher.clear();
        // The group does not let go of a member that owes it an answer. An answer fails only if the group has taken the
        // partitions already.
        for partitions in self.member.owed() {
            if let Ok(list) = list(partitions.iter().map(|name| (name, None))) {
                let _ = unassign(&self.consumer, &list);
            }
        }
        self.answer_rebalances();
        self.leave_group();
        self.inbox.close();
    }
}

/// Returns where the topic's partitions end now.
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
    KafkaError::during("an offset commit", error)
}

/// True of errors that the client retries for ever, without a chance.
fn is_permanent(code: RDKafkaErrorCode) -> bool {
    class(code) == Class::Unauthorized || code == RDKafkaErrorCode::InconsistentGroupProtocol
}
