//! Inspects topics, groups and client properties before a job starts. No group is joined, and nothing is written or
//! created.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::TopicPartitionListElem;

use crate::ids::LaneName;
use crate::kafka::context::Context;
use crate::kafka::ffi::admin;
use crate::kafka::ffi::admin::Operation;
use crate::kafka::offsets::{REQUEST_TIMEOUT, bounds};
use crate::kafka::produce::producer_config;
use crate::kafka::settings::{ClientSettings, Origin, masked};
use crate::kafka::{GroupOptions, KafkaError, hint};
use crate::waker::Waker;

/// Properties by name, with the origin of their values.
pub type Properties = BTreeMap<String, (String, Origin)>;

/// True if an operation is permitted; `None` if the brokers do not report permissions.
pub type May = Option<bool>;

/// The state of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    /// The name of the state, for example `Stable` or `Empty`; `None` if the group does not exist.
    pub state: Option<String>,
    /// The client id, host and instance id of each member. The instance id is `None` without static membership.
    pub members: Vec<(String, String, Option<String>)>,
    /// True if the user may join the group and commit offsets.
    pub may_read: May,
}

/// The state of a partition and the group's progress in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionState {
    /// The number of the partition.
    pub partition: i32,
    /// The offset of the oldest record.
    pub low: i64,
    /// The offset after the newest record.
    pub high: i64,
    /// The committed offset of the group, if it has one.
    pub committed: Option<i64>,
}

/// A client with the properties of a group member that does not join the group.
pub struct Inspector {
    consumer: BaseConsumer<Context>,
    /// Like `consumer`, but does not wait for transactions that have not ended: if a process has died, its transaction
    /// may stay open for a minute.
    impatient: BaseConsumer<Context>,
    names: Vec<String>,
    topic: String,
    group: String,
}

impl Inspector {
    /// Creates a client with the properties of a member of the group.
    ///
    /// # Errors
    /// If the client's properties are invalid.
    pub fn connect(settings: &ClientSettings, options: &GroupOptions) -> Result<Self, KafkaError> {
        let mut config = options.config(settings)?;
        let context = || Context::new(Waker::default()).0;
        let names = config.config_map().keys().map(|name| (*name).to_owned()).collect();
        let consumer = config.create_with_context(context())?;
        config.set("isolation.level", "read_uncommitted");
        Ok(Self {
            consumer,
            impatient: config.create_with_context(context())?,
            names,
            topic: options.topic.clone(),
            group: options.group_id.clone(),
        })
    }

    /// Returns whether the user may read and whether the user may write a topic.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn may_read_and_write(&self, topic: &str) -> Result<(May, May), KafkaError> {
        match admin::topic_operations(&self.consumer, topic, REQUEST_TIMEOUT) {
            Ok(operations) => Ok((may(&operations, Operation::Read), may(&operations, Operation::Write))),
            Err(code) => Err(failed(&format!("topic '{topic}'"), code)),
        }
    }

    /// Returns the state of the group and its members.
    ///
    /// # Errors
    /// If the brokers do not answer, or the user is not authorized to describe the group.
    pub fn group(&self) -> Result<GroupState, KafkaError> {
        match admin::describe_group(&self.consumer, &self.group, REQUEST_TIMEOUT) {
            Ok(admin::Described { state, members, operations }) => {
                // Brokers before 4.0 describe a group that does not exist as one that is dead.
                let exists = state != "Dead" || !members.is_empty();
                let may_read = may(&operations, Operation::Read);
                Ok(GroupState { state: exists.then_some(state), members, may_read })
            }
            Err(RDKafkaErrorCode::GroupIdNotFound) => {
                Ok(GroupState { state: None, members: Vec::new(), may_read: None })
            }
            Err(code) => Err(failed(&format!("group '{}'", self.group), code)),
        }
    }

    /// Returns the first `count` partitions of the topic with the group's progress.
    ///
    /// # Errors
    /// If the brokers do not answer, or the user is not authorized.
    pub fn partitions(&self, count: usize) -> Result<Vec<PartitionState>, KafkaError> {
        let committed = self.committed_offsets(count)?;
        let elements = committed.elements();
        let name = |element: &TopicPartitionListElem<'_>| LaneName {
            topic: self.topic.as_str().into(),
            partition: element.partition(),
        };
        let names: Vec<_> = elements.iter().map(name).collect();
        let bounds = bounds(&self.consumer, &names, REQUEST_TIMEOUT)?;
        let state = |(element, (low, high)): (&TopicPartitionListElem<'_>, _)| {
            let committed = element.offset().to_raw().filter(|offset| *offset >= 0);
            PartitionState { partition: element.partition(), low, high, committed }
        };
        Ok(elements.iter().zip(bounds).map(state).collect())
    }

    /// Returns the group's committed offset of each of the first `count` partitions, if there is one.
    ///
    /// # Errors
    /// If the brokers do not answer, or the user is not authorized.
    pub fn committed(&self, count: usize) -> Result<Vec<Option<i64>>, KafkaError> {
        let committed = self.committed_offsets(count)?;
        let offset =
            |element: &TopicPartitionListElem<'_>| element.offset().to_raw().filter(|offset| *offset >= 0);
        Ok(committed.elements().iter().map(offset).collect())
    }

    fn committed_offsets(&self, count: usize) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
            list.add_partition(&self.topic, partition);
        }
        let committed = self.impatient.committed_offsets(list, REQUEST_TIMEOUT);
        committed.map_err(|error| KafkaError::during("reading the group's committed offsets", &error))
    }

    /// Returns all properties of the client with their origins. Secrets are masked.
    #[must_use]
    pub fn properties(&self, settings: &ClientSettings) -> Properties {
        with_origins(admin::configuration(self.consumer.client().native_ptr()), &self.names, settings)
    }
}

/// Returns all properties of a job's producer with their origins. `max_message_bytes` are the record limits of the
/// target topics. Secrets are masked.
///
/// # Errors
/// If the client's properties are invalid.
pub fn producer_properties(
    settings: &ClientSettings,
    linger: Duration,
    queue_bytes: u64,
    max_message_bytes: &[u64],
    transactional_id: Option<&str>,
) -> Result<Properties, KafkaError> {
    let config =
        producer_config(settings, (linger, queue_bytes), max_message_bytes.iter().copied(), transactional_id);
    let names: Vec<_> = config.config_map().keys().map(|name| (*name).to_owned()).collect();
    let producer: BaseProducer = config.create()?;
    Ok(with_origins(admin::configuration(producer.client().native_ptr()), &names, settings))
}

fn with_origins(all: Vec<(String, String)>, set: &[String], settings: &ClientSettings) -> Properties {
    let with_origin = |(name, value): (String, String)| {
        let origin = if set.contains(&name) { settings.origin(&name) } else { Origin::Default };
        (name, (value, origin))
    };
    masked(all).into_iter().map(with_origin).collect()
}

/// Returns whether an operation is permitted; `None` for an empty list, with which brokers answer that do not report
/// permissions.
fn may(operations: &[Operation], wanted: Operation) -> May {
    (!operations.is_empty()).then(|| operations.contains(&wanted))
}

fn failed(what: &str, code: RDKafkaErrorCode) -> KafkaError {
    KafkaError::new(format!("{what}: {code}{}", hint(Some(code), "")))
}
