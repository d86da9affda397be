//! The source of `velo run`: a member of a consumer group that commits what is settled.
#![allow(clippy::disallowed_methods, reason = "a commit that is waited for has a time-out")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use velo_schema::Tier;

mod commits;
mod end_of_input;
mod group_offsets;
mod options;
mod reset;

pub use options::GroupOptions;
pub use reset::OnDataLoss;

use super::KafkaError;
use super::context::{ClientEvent, Context, Inbox, give_up, is_cooperative, take_over};
use super::error::{Class, class};
use super::fetch::{Fetcher, QueueFetcher};
use super::ffi::{commit_async, is_member, waiting_events};
use super::membership::Membership;
use super::offsets::{Bounds, REQUEST_TIMEOUT, bounds, offsets_of, starts};
use super::settings::{ClientSettings, readable};
use commits::{Commits, Waiter};
use end_of_input::{EndOfInput, Missing};
use group_offsets::GroupOffsets;
use reset::{Resume, resume};

use crate::batch::BatchBuilder;
use crate::core::Revoke;
use crate::core::batcher::Room;
use crate::ids::Tick;
use crate::ids::{LaneId, LaneName};
use crate::source::{Commit, Filled, Source, SourceError, SourceEvent};
use crate::waker::Waker;

/// How long a group waits for a member that is silent, unless it is told otherwise.
const SESSION: Duration = Duration::from_secs(45);
/// How long the last commit, or that of a revoked partition, may take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a member that leaves waits for a rebalance to end.
const FAREWELL: Duration = Duration::from_secs(15);

/// How long the brokers may take to say where partitions are to be read from, before it is tried again.
const ASSIGN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after a question that could not be answered it is asked again, and how often the group is asked how far
/// it has committed what others read.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// After how long it is said what is waited for.
const SAY_WAITING: Duration = Duration::from_secs(5);

/// A member of a group.
#[allow(clippy::struct_excessive_bools, reason = "what has happened to a member is not one state")]
pub struct GroupSource {
    options: GroupOptions,
    lanes: QueueFetcher,
    consumer: Arc<BaseConsumer<Context>>,
    inbox: Inbox,
    properties: BTreeMap<String, String>,
    /// Revoked partitions whose lanes are not all released yet, and those lanes.
    leaving: Vec<(TopicPartitionList, Vec<LaneId>)>,
    /// Commits whose end has not been heard of.
    commits: Commits,
    /// How many were waited for.
    waits: u64,
    /// How the job's own commits have ended, where it does not know yet.
    ended: Vec<Result<(), ClientError>>,
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
    polled: Option<(Tick, SystemTime)>,
    session: Duration,
    /// Partitions that were begun without a committed offset.
    started: BTreeSet<i32>,
    /// A lane could not be read on; what was read before is still to be settled.
    failed: bool,
    /// Before this no question is asked again that could not be answered.
    ask_again_at: Tick,
    /// Whether it was said that the brokers do not answer.
    is_unanswered: bool,
    /// Whether the group has decided which partitions are this member's.
    has_joined: bool,
    /// Since when this member waits for others to read to the end; whether that was said.
    waiting: Option<(Tick, bool)>,
    /// True if records of open transactions are not read: the default, and always so with transactions of its own.
    reads_committed: bool,
    until: Option<Until>,
}

/// A member that ends once everything is read.
struct Until {
    end: EndOfInput,
    /// How far the group has committed what others read.
    group: GroupOffsets,
    ask_at: Tick,
    /// What the job was told last.
    is_reached: bool,
}

impl GroupSource {
    /// Joins the group. Partitions come with the first polls.
    ///
    /// # Errors
    /// Where the client's properties are wrong.
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
        let until =
            options.until_end.then(|| Until::begin(&consumer, &config, &options, &waker)).transpose()?;
        consumer
            .subscribe(&[&options.topic])
            .map_err(|error| KafkaError::during(format!("topic '{}'", options.topic), &error))?;
        let consumer = Arc::new(consumer);
        let lanes = QueueFetcher::new(Arc::clone(&consumer), &options.memory, waker);
        Ok(Self {
            options,
            lanes,
            consumer,
            inbox,
            properties: readable(&config),
            leaving: Vec::new(),
            commits: Commits::default(),
            waits: 0,
            ended: Vec::new(),
            says_goodbye: is_classic && !is_static,
            renewed: Vec::new(),
            drained: Vec::new(),
            committed: BTreeMap::new(),
            polled: None,
            session,
            started: BTreeSet::new(),
            failed: false,
            ask_again_at: Tick::default(),
            is_unanswered: false,
            has_joined: false,
            waiting: None,
            reads_committed: settings.property("isolation.level") != Some("read_uncommitted"),
            until,
        })
    }

    /// For transactions that commit this member's offsets.
    #[must_use]
    pub fn membership(&self) -> Membership {
        Membership::of(&self.consumer)
    }

    /// The client's properties, secrets masked.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// Begins the lanes of partitions that the group gives to this member. Everything that has to be asked for is
    /// asked before anything begins.
    fn assign(
        &mut self,
        partitions: &TopicPartitionList,
        events: &mut Vec<SourceEvent>,
    ) -> Result<(), KafkaError> {
        let committed = self
            .consumer
            .committed_offsets(partitions.clone(), ASSIGN_TIMEOUT)
            .map_err(|error| KafkaError::during("the group's committed offsets", &error))?;
        let mut found = Vec::new();
        for element in committed.elements() {
            let name = name_of(&element);
            element.error().map_err(|error| {
                KafkaError::during(format!("the group's committed offset of {name}"), &error)
            })?;
            found.push((name, element.offset()));
        }
        let names: Vec<_> = found.iter().map(|(name, _)| name.clone()).collect();
        let bounds = bounds(&self.consumer, &names, ASSIGN_TIMEOUT)?;
        let (known, new): (Vec<_>, Vec<_>) =
            found.into_iter().zip(bounds).partition(|((_, offset), _)| matches!(offset, Offset::Offset(_)));
        let new: Vec<_> = new.into_iter().map(|((name, _), bounds)| (name, bounds)).collect();
        let starts = self.starts(&new)?;
        let mut positions = Vec::new();
        for ((name, offset), bounds) in known {
            let position = self.go_on(&name, offset.to_raw().unwrap_or(0), bounds, events)?;
            positions.push((name, position));
        }
        for ((name, _), position) in new.into_iter().zip(starts) {
            self.started.insert(name.partition);
            self.begin(&name, position, events)?;
            positions.push((name, position));
        }
        for (LaneName { topic, partition }, position) in &positions {
            tracing::info!(topic = &**topic, partition, position, "partition assigned");
        }
        take_over(&self.consumer, &offsets_of(positions)?)
            .map_err(|error| KafkaError::during("the assignment", &error))?;
        self.has_joined = true;
        events.push(SourceEvent::Joined);
        Ok(())
    }

    /// Where each partition without a committed offset begins.
    fn starts(&self, partitions: &[(LaneName, Bounds)]) -> Result<Vec<i64>, KafkaError> {
        let chosen = starts(&self.consumer, partitions, self.options.start, ASSIGN_TIMEOUT)?;
        let start = |((name, (low, _)), chosen): (&(LaneName, Bounds), i64)| {
            if self.is_new(name.partition) { *low } else { chosen }
        };
        Ok(partitions.iter().zip(chosen).map(start).collect())
    }

    /// True of a partition that appeared while the job runs, or came back after its topic was deleted: it is read
    /// from its first record on, wherever the job started.
    fn is_new(&self, partition: i32) -> bool {
        let was_there = usize::try_from(partition).is_ok_and(|partition| partition < self.options.partitions);
        !was_there || self.started.contains(&partition)
    }

    /// Begins a lane at a committed offset, or where it can be read on; returns where.
    fn go_on(
        &mut self,
        name: &LaneName,
        committed: i64,
        bounds: Bounds,
        events: &mut Vec<SourceEvent>,
    ) -> Result<i64, KafkaError> {
        match resume(name, committed, bounds, self.options.on_data_loss)? {
            Resume::Here => self.begin(name, committed, events).map(|_| committed),
            Resume::Behind(position) => {
                let lane = self.begin(name, committed, events)?;
                self.lanes.seek(lane, position);
                events.push(lost(name, committed, position));
                events.push(SourceEvent::Lost(lane, position));
                Ok(position)
            }
            Resume::Anew(position) => {
                events.push(anew(name, committed, position));
                self.restart(name, bounds);
                self.begin(name, position, events).map(|_| position)
            }
        }
    }

    fn begin(
        &mut self,
        name: &LaneName,
        position: i64,
        events: &mut Vec<SourceEvent>,
    ) -> Result<LaneId, KafkaError> {
        let end = self.until.as_ref().map(|until| until.end.of(name.partition));
        let lane = self.lanes.start(name, (position, end), events)?;
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
        let names: Vec<_> = broken.iter().map(|(_, name, ..)| name.clone()).collect();
        let bounds = bounds(&self.consumer, &names, ASSIGN_TIMEOUT)?;
        for ((lane, name, position, reason), bounds) in broken.into_iter().zip(bounds) {
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
                    self.restart(&name, bounds);
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
        self.lanes.seek(lane, position);
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
                ClientEvent::Committed(..) | ClientEvent::Throttled(_) | ClientEvent::Error(..) => {}
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
            .filter_map(|element| self.lanes.find(&name_of(element)))
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
        // The core forgets the end of the input with a lane.
        if let Some(until) = &mut self.until {
            until.is_reached = false;
        }
        self.lanes.stop(lane);
        self.committed.remove(&lane);
        self.renewed.retain(|(renewed, _)| *renewed != lane);
    }

    /// Reads lanes anew that are drained.
    fn renew(&mut self, events: &mut Vec<SourceEvent>) -> Result<(), KafkaError> {
        for (name, position) in std::mem::take(&mut self.drained) {
            let lane = self.begin(&name, position, events)?;
            self.seek(lane, &name, position)?;
        }
        Ok(())
    }

    /// A partition holds other records from now on.
    fn restart(&mut self, name: &LaneName, bounds: Bounds) {
        if let Some(until) = &mut self.until {
            until.end.restart(name.partition, bounds);
        }
    }

    /// Tells the job whether everything is read that was there when it started, and asks the group how far others
    /// are with what this member has not read.
    fn report_end(&mut self, now: Tick, events: &mut Vec<SourceEvent>) {
        let Some(until) = &mut self.until else { return };
        match until.group.answer() {
            Some(Ok(committed)) => {
                for (partition, offset) in committed {
                    until.end.committed(partition, offset);
                }
            }
            Some(Err(error)) if !error.is_passing() => events.push(SourceEvent::Notice(error.to_string())),
            _ => {}
        }
        let is_read_here = self.lanes.all_ended() && self.drained.is_empty() && self.renewed.is_empty();
        let topic: Arc<str> = self.options.topic.as_str().into();
        let has_ended = |partition| self.lanes.has_ended(&LaneName { topic: Arc::clone(&topic), partition });
        let missing = if is_read_here { until.end.missing(has_ended) } else { Vec::new() };
        let is_reached = self.has_joined && is_read_here && missing.is_empty();
        if is_reached != until.is_reached {
            until.is_reached = is_reached;
            events.push(SourceEvent::EndOfInput(is_reached));
        }
        let waits = self.has_joined && is_read_here && !is_reached;
        if waits && now >= until.ask_at {
            until.ask_at = now + ASK_AGAIN;
            until.group.ask(missing.iter().map(|missing| missing.partition).collect());
        }
        let waits_for = waits.then(|| others(&self.options.topic, &missing));
        self.say_waiting(now, waits_for, events);
    }

    /// Says what other members have to read yet, once that has lasted for a while.
    fn say_waiting(&mut self, now: Tick, for_others: Option<String>, events: &mut Vec<SourceEvent>) {
        let Some(what) = for_others else {
            self.waiting = None;
            return;
        };
        let (since, was_said) = self.waiting.get_or_insert((now, false));
        if !*was_said && now.since(*since) >= SAY_WAITING {
            *was_said = true;
            events.push(SourceEvent::Notice(what));
        }
    }

    /// Says once that brokers do not answer; true if the same is to be asked again.
    fn asks_again(&mut self, now: Tick, error: &KafkaError, events: &mut Vec<SourceEvent>) -> bool {
        if error.is_passing() {
            self.ask_again_at = now + ASK_AGAIN;
            if !std::mem::replace(&mut self.is_unanswered, true) {
                events.push(SourceEvent::Notice(format!("partitions cannot be read yet: {error}")));
            }
        }
        error.is_passing()
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

    /// Commits, and waits for the end of that, after the ends of all commits that have begun before: an older one
    /// that the client tries again must not land last. Returns what else has happened, whatever came of it.
    ///
    /// The client's own call waits for ever where no broker answers.
    fn commit_and_wait(
        &mut self,
        offsets: &[(LaneId, i64)],
        deadline: Instant,
    ) -> (Result<(), Uncommitted>, Vec<ClientEvent>) {
        let mut aside = Vec::new();
        while !self.commits.is_empty() && Instant::now() < deadline {
            if let Err(error) = self.wait_for_commits(&mut aside, None) {
                return (Err(error), aside);
            }
        }
        let named = self.named(offsets);
        if named.is_empty() {
            return (Ok(()), aside);
        }
        let begun = offsets_of(named.iter().cloned()).map_err(Uncommitted::Impossible).and_then(|list| {
            let begun = commit_async(&self.consumer, &list);
            begun.map_err(|code| Uncommitted::Refused(ClientError::ConsumerCommit(code)))
        });
        if let Err(error) = begun {
            return (Err(error), aside);
        }
        self.waits += 1;
        self.commits.begun(named, Waiter::Call(self.waits));
        let mut result = None;
        while result.is_none() && Instant::now() < deadline {
            match self.wait_for_commits(&mut aside, Some(self.waits)) {
                Ok(ended) => result = ended,
                Err(error) => return (Err(error), aside),
            }
        }
        self.says_goodbye &= result.is_some();
        (result.map_or(Err(Uncommitted::Unanswered), |result| result.map_err(Uncommitted::Refused)), aside)
    }

    /// Polls once; returns how the commit of a call has ended, if it has, and keeps everything else.
    fn wait_for_commits(
        &mut self,
        aside: &mut Vec<ClientEvent>,
        call: Option<u64>,
    ) -> Result<Option<Result<(), ClientError>>, Uncommitted> {
        drop(self.consumer.poll(Duration::from_millis(20)));
        if let Some(error) = self.fatal_error() {
            return Err(Uncommitted::Impossible(error));
        }
        let mut result = None;
        for event in self.inbox.take() {
            match event {
                ClientEvent::Committed(ended, offsets) => match self.commits.ended(offsets) {
                    Some(Waiter::Call(number)) if Some(number) == call => result = Some(ended),
                    // Nobody waits for it any more.
                    Some(Waiter::Call(_)) => {}
                    Some(Waiter::Job) | None => self.ended.push(ended),
                },
                other => aside.push(other),
            }
        }
        Ok(result)
    }

    /// Why the client cannot go on, if it cannot: it says so once, to whoever polls it then.
    fn fatal_error(&self) -> Option<KafkaError> {
        let (_, reason) = self.consumer.client().fatal_error()?;
        Some(KafkaError::new(format!("the consumer cannot go on: {reason}")))
    }

    /// A process that was stopped for longer than its session does not know that the group has given its
    /// partitions to others. It asks before anything is written: the group takes commits of members only.
    fn ask_after_absence(&mut self, now: Tick, events: &mut Vec<SourceEvent>) {
        // The clock of the wall goes on while a machine is suspended. If it is set forward, one question more is asked.
        let wall = SystemTime::now();
        let (polled, polled_wall) = self.polled.replace((now, wall)).unwrap_or((now, wall));
        let by_wall = wall.duration_since(polled_wall).unwrap_or_default();
        let was_away = now.since(polled).max(by_wall) >= self.session;
        // Transactions are refused by themselves, and know offsets that are not known here.
        if !was_away || self.lanes.is_empty() || self.options.exactly_once {
            return;
        }
        tracing::warn!("the process was stopped for longer than its session");
        let known: Vec<_> = self.committed.iter().map(|(lane, offset)| (*lane, *offset)).collect();
        let (result, aside) = self.commit_and_wait(&known, Instant::now() + COMMIT_TIMEOUT);
        self.inbox.put_back(aside);
        let is_member =
            !matches!(&result, Err(Uncommitted::Refused(error)) if is_of(error, &[Class::Expelled]));
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

    /// What is committed of these offsets: nothing of lanes that are read anew.
    fn named(&self, offsets: &[(LaneId, i64)]) -> Vec<(LaneName, i64)> {
        let is_renewed = |lane: LaneId| self.renewed.iter().any(|(renewed, _)| *renewed == lane);
        let named = |(lane, offset): &(LaneId, i64)| Some((self.lanes.name(*lane)?.clone(), *offset));
        offsets.iter().filter(|(lane, _)| !is_renewed(*lane)).filter_map(named).collect()
    }
}

impl Until {
    /// Where the topic's partitions end now.
    fn begin(
        consumer: &BaseConsumer<Context>,
        config: &ClientConfig,
        options: &GroupOptions,
        waker: &Waker,
    ) -> Result<Self, KafkaError> {
        let topic: Arc<str> = options.topic.as_str().into();
        let partitions = 0..i32::try_from(options.partitions).unwrap_or(i32::MAX);
        let names: Vec<_> =
            partitions.clone().map(|partition| LaneName { topic: Arc::clone(&topic), partition }).collect();
        let bounds = bounds(consumer, &names, REQUEST_TIMEOUT)?;
        Ok(Self {
            end: EndOfInput::new(partitions.zip(bounds)),
            group: GroupOffsets::start(config.clone(), options.topic.clone(), waker.clone()),
            ask_at: Tick::default(),
            is_reached: false,
        })
    }
}

fn name_of(element: &TopicPartitionListElem<'_>) -> LaneName {
    LaneName { topic: element.topic().into(), partition: element.partition() }
}

/// What other members of the group have to read yet.
fn others(topic: &str, missing: &[Missing]) -> String {
    const NAMED: usize = 5;
    let one = |Missing { partition, committed, end }: &Missing| {
        let committed =
            committed.map_or("not committed".to_owned(), |offset| format!("committed up to {offset}"));
        format!("{topic}[{partition}] ({committed} of {end})")
    };
    let named: Vec<_> = missing.iter().take(NAMED).map(one).collect();
    let more = missing.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("waiting for other members of the group to read to the end: {}{more}", named.join(", "))
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
fn is_permanent(code: RDKafkaErrorCode) -> bool {
    class(code) == Class::Unauthorized || code == RDKafkaErrorCode::InconsistentGroupProtocol
}

fn is_of(error: &ClientError, classes: &[Class]) -> bool {
    error.rdkafka_error_code().is_some_and(|code| classes.contains(&class(code)))
}

/// Fails if a commit was refused for good: it would be refused for ever.
fn told(result: Result<(), ClientError>) -> Result<Result<(), String>, KafkaError> {
    let Err(error) = result else { return Ok(Ok(())) };
    let is_final = is_of(&error, &[Class::Unauthorized]);
    let error = KafkaError::during("an offset commit", &error);
    if is_final { Err(error) } else { Ok(Err(error.to_string())) }
}

impl Source for GroupSource {
    fn poll(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        self.lanes.set_clock(now);
        self.ask_after_absence(now, events);
        self.serve(events)?;
        for result in std::mem::take(&mut self.ended) {
            events.push(SourceEvent::CommitEnded(told(result)?));
        }
        self.take_news(now, events)?;
        self.lanes.report(events)?;
        if !self.failed && now >= self.ask_again_at {
            match self.mend(events).and_then(|()| self.renew(events)) {
                Ok(()) => {}
                Err(error) if self.asks_again(now, &error, events) => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error.into());
                }
            }
        }
        self.report_end(now, events);
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
        self.lanes.take(lane, tier, room, batch)
    }

    fn end_offset(&self, lane: LaneId) -> Option<i64> {
        self.lanes.end_offset(lane)
    }

    fn ready(&mut self, lanes: &mut Vec<LaneId>) -> bool {
        self.lanes.ready(lanes);
        true
    }

    fn stable_end(&self, lane: LaneId) -> Option<i64> {
        self.inbox.meter().stable_end(self.lanes.name(lane)?).filter(|_| self.reads_committed)
    }

    fn committer(&mut self) -> Option<&mut dyn Commit> {
        Some(self)
    }
}

impl GroupSource {
    /// Has the client serve what waits for it: rebalances, ends of commits, errors.
    fn serve(&mut self, events: &mut Vec<SourceEvent>) -> Result<(), KafkaError> {
        for _ in 0..waiting_events(&self.consumer).max(1) {
            let polled = self.consumer.poll(Duration::ZERO);
            if let Some(error) = self.fatal_error() {
                return Err(error);
            }
            let Some(Err(error)) = polled else { continue };
            let is_permanent = |code| match code {
                // It may come back.
                RDKafkaErrorCode::UnknownTopicOrPartition => self.options.on_data_loss == OnDataLoss::Fail,
                code => is_permanent(code),
            };
            if error.rdkafka_error_code().is_some_and(is_permanent) {
                let what = format!("the member of group '{}' cannot go on", self.options.group_id);
                return Err(KafkaError::during(what, &error));
            }
            events.push(SourceEvent::Notice(error.to_string()));
        }
        Ok(())
    }

    /// Carries out what the client has reported, in its order.
    fn take_news(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), KafkaError> {
        let mut news: VecDeque<_> = self.inbox.take().into();
        while let Some(event) = news.pop_front() {
            match event {
                // It is tried again later; what came after it has to wait.
                ClientEvent::Assign(partitions) if now < self.ask_again_at => {
                    news.push_front(ClientEvent::Assign(partitions));
                    self.inbox.put_back(news);
                    break;
                }
                ClientEvent::Assign(partitions) => match self.assign(&partitions, events) {
                    Ok(()) => self.is_unanswered = false,
                    Err(error) if self.asks_again(now, &error, events) => {
                        news.push_front(ClientEvent::Assign(partitions));
                        self.inbox.put_back(news);
                        break;
                    }
                    Err(error) => {
                        self.inbox.put_back(news);
                        return Err(error);
                    }
                },
                ClientEvent::Revoke { partitions, lost } => self.revoke(partitions, lost, events),
                ClientEvent::Committed(result, offsets) => {
                    // One that was waited for is over for those who did.
                    if !matches!(self.commits.ended(offsets), Some(Waiter::Call(_))) {
                        events.push(SourceEvent::CommitEnded(told(result)?));
                    }
                }
                ClientEvent::Throttled(delay) => events.push(SourceEvent::Throttled(delay)),
                ClientEvent::Error(_, error) => events.push(SourceEvent::Notice(error)),
            }
        }
        Ok(())
    }
}

impl Commit for GroupSource {
    fn commit(&mut self, offsets: &[(LaneId, i64)]) {
        self.committed.extend(offsets.iter().copied());
        let named = self.named(offsets);
        if named.is_empty() {
            return self.ended.push(Ok(()));
        }
        let begun = match offsets_of(named.iter().cloned()) {
            Ok(list) => commit_async(&self.consumer, &list),
            Err(_) => Err(RDKafkaErrorCode::InvalidArgument),
        };
        match begun {
            Ok(()) => self.commits.begun(named, Waiter::Job),
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
                Err(Uncommitted::Refused(error))
                    if is_of(&error, &[Class::Rebalancing, Class::Expelled]) && Instant::now() < deadline => {
                }
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
