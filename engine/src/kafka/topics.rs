//! Topics that a job writes to: found, or created like its source.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;

use super::bounds::REQUEST_TIMEOUT;
use super::{ClientSettings, KafkaError, TopicReader};

/// What was found, or done, about a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// It was there, with this many partitions.
    Existed(usize),
    /// It was created, with this many partitions.
    Created(usize),
}

impl Ensured {
    /// How many partitions it has.
    #[must_use]
    pub fn partitions(self) -> usize {
        match self {
            Self::Existed(count) | Self::Created(count) => count,
        }
    }
}

/// Makes sure that a topic exists; where it does not, it is created with `partitions` partitions
/// the brokers' default replication, and these settings.
///
/// # Errors
/// Where it does not exist and may not be created.
pub fn ensure_topic(
    settings: &ClientSettings,
    reader: &TopicReader,
    topic: &str,
    partitions: usize,
    settings_of_new: &[(&str, &str)],
) -> Result<Ensured, KafkaError> {
    if let Some(count) = reader.partition_count(topic)? {
        return Ok(Ensured::Existed(count));
    }
    let failed = |reason: &dyn std::fmt::Display| {
        KafkaError::new(format!(
            "topic '{topic}' does not exist and could not be created: {reason}; create it with {partitions} partitions"
        ))
    };
    let admin: AdminClient<DefaultClientContext> = settings.client(&[], &[]).create()?;
    let count = i32::try_from(partitions).unwrap_or(i32::MAX);
    let new = NewTopic::new(topic, count, TopicReplication::Fixed(-1));
    let new = settings_of_new.iter().fold(new, |new, (name, value)| new.set(name, value));
    let options = AdminOptions::new().operation_timeout(Some(REQUEST_TIMEOUT));
    let results =
        pollster::block_on(admin.create_topics([&new], &options)).map_err(|error| failed(&error))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, error)) => return Err(failed(&error)),
        }
    }
    Ok(Ensured::Created(wait_until_known(reader, topic)?))
}

/// What the brokers say about a topic, where they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicSettings {
    /// The largest batch of records that it takes, in bytes: `max.message.bytes`.
    pub max_message_bytes: Option<u64>,
    /// How long it keeps records, in milliseconds, -1 for ever: `retention.ms`.
    pub retention_ms: Option<i64>,
}

/// The settings of a topic, as far as the brokers say and the user may know them.
#[must_use]
pub fn topic_settings(settings: &ClientSettings, reader: &TopicReader, topic: &str) -> TopicSettings {
    let ask = || {
        // The embedded broker has none, and would let us wait.
        if !reader.has_controller(topic) {
            return None;
        }
        let admin: AdminClient<DefaultClientContext> = settings.client(&[], &[]).create().ok()?;
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        let resource = ResourceSpecifier::Topic(topic);
        let answers = pollster::block_on(admin.describe_configs([&resource], &options)).ok()?;
        answers.into_iter().next()?.ok()
    };
    let Some(found) = ask() else { return TopicSettings::default() };
    let value = |name: &str| found.get(name).and_then(|entry| entry.value.as_ref());
    TopicSettings {
        max_message_bytes: value("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
        retention_ms: value("retention.ms").and_then(|ms| ms.parse().ok()),
    }
}

/// A created topic is known to all brokers a moment later.
fn wait_until_known(reader: &TopicReader, topic: &str) -> Result<usize, KafkaError> {
    const ATTEMPTS: u32 = 100;
    for _ in 0..ATTEMPTS {
        if let Some(count) = reader.partition_count(topic)? {
            return Ok(count);
        }
        reader.pause(Duration::from_millis(50));
    }
    Err(KafkaError::new(format!("topic '{topic}' was created, but no broker knows it yet; try again")))
}
