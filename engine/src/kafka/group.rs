//! The source of `velo run`: a member of a consumer group that commits what is settled.
#![allow(clippy::disallowed_methods, reason = "a commit that is waited for has a time-out")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use velo_schema::Tier;

use super::KafkaError;
use super::context::{ClientEvent, Context, Inbox, give_up, take_over};
use super::ffi::commit_async;
use super::lanes::{Lanes, REQUEST_TIMEOUT, Start, offsets_of, start_offset, watermarks};
use super::settings::{ClientSettings, readable};
use crate::columns::{BatchBuilder, LaneId};
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
    /// Records a poll at most; sizes the prefetch.
    pub max_poll_records: u64,
    /// How many partitions the topic has; they share the prefetch.
    pub partitions: usize,
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
        let config = settings.client(
            &defaults,
            &[
                ("group.id", &options.group_id),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("enable.partition.eof", if options.until_end { "true" } else { "false" }),
            ],
        );
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
        })
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
            let (topic, partition) = (element.topic(), element.partition());
            element.error().map_err(|error| {
                KafkaError::during(format!("the group's committed offset of {topic}[{partition}]"), &error)
            })?;
            let (low, high) = watermarks(&self.consumer, topic, partition)?;
            let position = match element.offset() {
                Offset::Offset(offset) => in_range(topic, partition, offset, (low, high))?,
                _ => start_offset(&self.consumer, (topic, partition), self.options.start, (low, high))?,
            };
            let end = self.options.until_end.then_some(high);
            let lane = (topic, partition);
            let name = self.lanes.begin(&self.consumer, lane, (position, end), &self.waker, events)?;
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

    fn revoke(&mut self, partitions: TopicPartitionList, lost: bool, events: &mut Vec<SourceEvent>) {
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
                self.lanes.end(lane);
            }
            self.leaving.push((partitions, Vec::new()));
        } else {
            self.leaving.push((partitions, lanes));
        }
        self.leave();
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
        let named = |(lane, offset): &(LaneId, i64)| Some((self.lanes.name(*lane)?.clone(), *offset));
        offsets_of(offsets.iter().filter_map(named))
    }
}

/// Errors that the client tries to get over for ever, and never does.
fn is_permanent(error: RDKafkaErrorCode) -> bool {
    matches!(
        error,
        RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::InconsistentGroupProtocol
            | RDKafkaErrorCode::UnknownTopicOrPartition
    )
}

fn in_range(topic: &str, partition: i32, offset: i64, (low, high): (i64, i64)) -> Result<i64, KafkaError> {
    if offset < low {
        return Err(KafkaError::new(format!(
            "records were deleted before they were read: the group is at offset {offset} of {topic}[{partition}], \
             and the oldest record there is {low}"
        )));
    }
    if offset > high {
        return Err(KafkaError::new(format!(
            "the group is at offset {offset} of {topic}[{partition}], which ends at {high}: the topic was recreated \
             or truncated, or the offset was committed by a reader of uncommitted transactions"
        )));
    }
    Ok(offset)
}

impl Source for GroupSource {
    fn poll(&mut self, now: Tick, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        self.lanes.set_clock(now);
        if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
            if let Some((_, reason)) = self.consumer.client().fatal_error() {
                return Err(SourceError(format!("the consumer cannot go on: {reason}")));
            }
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
        self.lanes.report_ended(events);
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
        self.lanes.end(lane);
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
