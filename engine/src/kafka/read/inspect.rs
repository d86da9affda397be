//! What a job would find: topics, groups and a client's properties in; nothing is joined, written or made.

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

/// Properties by name, and who says so.
pub type Properties = BTreeMap<String, (String, Origin)>;

/// Whether something may be done; `None` where the brokers do not say.
pub type May = Option<bool>;

/// A group as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    /// Stable, Empty and so on; `None` if there is no such group yet.
    pub state: Option<String>,
    /// Client id and host of each member, and its instance id where it has one.
    pub members: Vec<(String, String, Option<String>)>,
    /// Whether the user may join and commit.
    pub may_read: May,
}

/// A partition of a group's topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionState {
    /// Which.
    pub partition: i32,
    /// The oldest record, and behind the newest.
    pub low: i64,
    /// Behind the newest record.
    pub high: i64,
    /// What the group has committed, where it has.
    pub committed: Option<i64>,
}

/// A member's client that has not joined.
pub struct Inspector {
    consumer: BaseConsumer<Context>,
    names: Vec<String>,
    topic: String,
    group: String,
}

impl Inspector {
    /// A client as a member of that group would have it.
    ///
    /// # Errors
    /// Where the client's properties are wrong.
    pub fn connect(settings: &ClientSettings, options: &GroupOptions) -> Result<Self, KafkaError> {
        let config = options.config(settings)?;
        let (context, _) = Context::new(Waker::default());
        let names = config.config_map().keys().map(|name| (*name).to_owned()).collect();
        Ok(Self {
            consumer: config.create_with_context(context)?,
            names,
            topic: options.topic.clone(),
            group: options.group_id.clone(),
        })
    }

    /// Whether the user may read and write a topic.
    ///
    /// # Errors
    /// Where the brokers do not answer.
    pub fn may_read_and_write(&self, topic: &str) -> Result<(May, May), KafkaError> {
        match admin::topic_operations(&self.consumer, topic, REQUEST_TIMEOUT) {
            Ok(operations) => Ok((may(&operations, Operation::Read), may(&operations, Operation::Write))),
            Err(code) => Err(failed(&format!("topic '{topic}'"), code)),
        }
    }

    /// The group, with its members.
    ///
    /// # Errors
    /// Where the brokers do not answer, or the user may not know.
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

    /// The partitions of the topic, and how far the group has read them.
    ///
    /// # Errors
    /// Where the brokers do not answer, or the user may not know.
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

    /// The offset that the group has committed of each partition, if it has.
    ///
    /// # Errors
    /// If the brokers do not answer, or the user may not know.
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
        let committed = self.consumer.committed_offsets(list, REQUEST_TIMEOUT);
        committed.map_err(|error| KafkaError::during("the group's committed offsets", &error))
    }

    /// Every property of the client and who says so, secrets masked.
    #[must_use]
    pub fn properties(&self, settings: &ClientSettings) -> Properties {
        with_origins(admin::configuration(self.consumer.client().native_ptr()), &self.names, settings)
    }
}

/// Every property of a producer as a job would have it, for topics that take records of so many bytes, and
/// who says so, secrets masked.
///
/// # Errors
/// Where the client's properties are wrong.
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

/// No operations at all are what brokers answer that do not tell.
fn may(operations: &[Operation], wanted: Operation) -> May {
    (!operations.is_empty()).then(|| operations.contains(&wanted))
}

fn failed(what: &str, code: RDKafkaErrorCode) -> KafkaError {
    KafkaError::new(format!("{what}: {code}{}", hint(Some(code), "")))
}
