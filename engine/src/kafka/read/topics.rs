//! Target topics of a job: finds them, or creates them with the settings of the source topic.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;

use crate::dead_letter::ADDED_BYTES;
use crate::kafka::offsets::REQUEST_TIMEOUT;
use crate::kafka::{ClientSettings, KafkaError, TopicReader};

/// The result of [`ensure_topic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// The topic existed, with this many partitions.
    Existed(usize),
    /// The topic was created, with this many partitions.
    Created(usize),
}

impl Ensured {
    /// Returns the number of partitions of the topic.
    #[must_use]
    pub fn partitions(self) -> usize {
        match self {
            Self::Existed(count) | Self::Created(count) => count,
        }
    }
}

/// Creates a topic if it does not exist, with `partitions` partitions, the brokers' default replication factor and
/// these settings.
///
/// # Errors
/// If the topic does not exist and cannot be created.
pub fn ensure_topic(
    settings: &ClientSettings,
    reader: &TopicReader,
    topic: &str,
    partitions: usize,
    settings_of_new: &[(String, String)],
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

/// The settings of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicSettings {
    /// True if the settings are known, or the brokers have none; false if the user has no `DescribeConfigs` permission.
    pub is_known: bool,
    /// The maximum size of a record batch, in bytes: `max.message.bytes`.
    pub max_message_bytes: Option<u64>,
    /// The retention time in milliseconds, -1 for no limit: `retention.ms`. It has no effect with compaction alone.
    pub retention_ms: Option<i64>,
    /// True if the topic is compacted: `cleanup.policy`. A compacted topic rejects records without a key.
    pub is_compacted: bool,
    /// True if records are deleted by their own timestamps: `cleanup.policy` and `message.timestamp.type`.
    pub deletes: bool,
    /// All settings by name.
    all: BTreeMap<String, String>,
    /// The names of the settings that were set for this topic and do not come from the brokers' defaults.
    own: Vec<String>,
}

/// The settings that a sink topic inherits from its source if velo creates the topic. They determine which records the
/// topic accepts and how long it keeps them.
const INHERITED: [&str; 6] = [
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "max.message.bytes",
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
];

impl TopicSettings {
    /// Creates settings from entries of the brokers: true if the entry was set for this topic, its name and its value.
    fn from_entries(entries: impl IntoIterator<Item = (bool, String, Option<String>)>) -> Self {
        let mut all = BTreeMap::new();
        let mut own = Vec::new();
        for (is_own, name, value) in entries {
            own.extend(is_own.then(|| name.clone()));
            all.extend(value.map(|value| (name, value)));
        }
        let value = |name: &str| all.get(name).map(String::as_str);
        let policy = value("cleanup.policy").unwrap_or_default();
        Self {
            is_known: true,
            max_message_bytes: value("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
            retention_ms: value("retention.ms").and_then(|ms| ms.parse().ok()),
            is_compacted: policy.contains("compact"),
            deletes: policy.contains("delete") && value("message.timestamp.type") != Some("LogAppendTime"),
            all,
            own,
        }
    }

    /// Returns the settings of a new sink topic for the records of this topic.
    #[must_use]
    pub fn for_sink(&self) -> Vec<(String, String)> {
        let own = INHERITED.iter().filter(|name| self.own.iter().any(|own| own == *name));
        own.filter_map(|name| Some(((*name).to_owned(), self.all.get(*name)?.clone()))).collect()
    }

    /// Returns the settings of a new dead letter queue for the records of this topic: no deletion by age or size, any
    /// timestamp, and a record limit that includes the headers that velo adds.
    #[must_use]
    pub fn for_dead_letters(&self) -> Vec<(String, String)> {
        let keeps_all = [("retention.ms", "-1"), ("retention.bytes", "-1"), ("cleanup.policy", "delete")];
        let mut settings: Vec<_> = keeps_all.map(|(name, value)| (name, value.to_owned())).into();
        if let Some(most) = self.max_message_bytes {
            settings.push(("max.message.bytes", (most + ADDED_BYTES).min(i32::MAX as u64).to_string()));
        }
        // Brokers before version 3.6 do not have these settings.
        for name in ["message.timestamp.before.max.ms", "message.timestamp.after.max.ms"] {
            settings.extend(self.all.contains_key(name).then(|| (name, i64::MAX.to_string())));
        }
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Returns how long records are kept, counted from their own timestamps; `None` if they are not deleted by age.
    #[must_use]
    pub fn keeps_for(&self) -> Option<Duration> {
        let ms = self.retention_ms.filter(|ms| *ms >= 0 && self.deletes)?;
        Some(Duration::from_millis(u64::try_from(ms).ok()?))
    }
}

/// Returns the settings of a topic. If they cannot be read, `is_known` is false.
#[must_use]
pub fn topic_settings(settings: &ClientSettings, reader: &TopicReader, topic: &str) -> TopicSettings {
    const ATTEMPTS: u32 = 3;
    const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);
    // The embedded broker has no topic settings and does not answer the request.
    if !reader.has_controller(topic) {
        return TopicSettings { is_known: true, ..TopicSettings::default() };
    }
    let ask = || {
        let admin: AdminClient<DefaultClientContext> = settings.client(&[], &[]).create().ok()?;
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        let resource = ResourceSpecifier::Topic(topic);
        let answers = pollster::block_on(admin.describe_configs([&resource], &options));
        match answers.map(|answers| answers.into_iter().next()) {
            Ok(Some(Ok(found))) => Some(found),
            other => {
                tracing::debug!(topic, ?other, "the topic's settings cannot be read");
                None
            }
        }
    };
    let asked = (0..ATTEMPTS).find_map(|attempt| {
        // The broker that gets the request may not know a new topic yet.
        reader.pause(ATTEMPT_PAUSE * attempt);
        ask()
    });
    let Some(found) = asked else { return TopicSettings::default() };
    let is_own = |source: &ConfigSource| *source == ConfigSource::DynamicTopic;
    TopicSettings::from_entries(found.entries.into_iter().map(|e| (is_own(&e.source), e.name, e.value)))
}

/// Waits until the brokers know a created topic, and returns the number of its partitions.
fn wait_until_known(reader: &TopicReader, topic: &str) -> Result<usize, KafkaError> {
    const ATTEMPTS: u32 = 100;
    for _ in 0..ATTEMPTS {
        if let Some(count) = reader.partition_count(topic)? {
            return Ok(count);
        }
        reader.pause(Duration::from_millis(50));
    }
    Err(KafkaError::new(format!("topic '{topic}' was created, but no broker lists it yet; try again")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> TopicSettings {
        let all = [
            ("cleanup.policy", "compact"),
            ("retention.ms", "-1"),
            ("max.message.bytes", "2000000"),
            ("message.timestamp.after.max.ms", "3600000"),
            ("segment.ms", "1000"),
        ];
        let own = ["cleanup.policy", "max.message.bytes", "segment.ms"];
        let entries = all.map(|(name, value)| (own.contains(&name), name.to_owned(), Some(value.to_owned())));
        TopicSettings::from_entries(entries)
    }

    #[test]
    fn records_are_deleted_by_their_own_time_unless_the_broker_sets_it() {
        let keeps_for = |settings: &[(&str, &str)]| {
            let entries =
                settings.iter().map(|(name, value)| (false, (*name).to_owned(), Some((*value).to_owned())));
            TopicSettings::from_entries(entries).keeps_for()
        };
        let week = ("retention.ms", "604800000");
        let (delete, compact) = (("cleanup.policy", "delete"), ("cleanup.policy", "compact"));
        let appended = ("message.timestamp.type", "LogAppendTime");
        assert_eq!(keeps_for(&[week, delete]), Some(Duration::from_hours(7 * 24)));
        assert_eq!(keeps_for(&[week, delete, appended]), None);
        assert_eq!(keeps_for(&[week, compact]), None);
        assert_eq!(keeps_for(&[("retention.ms", "-1"), delete]), None);
        assert!(!TopicSettings::default().is_known);
    }

    #[test]
    fn a_sink_takes_what_its_source_takes_and_keeps_it_as_long() {
        let settings = source().for_sink();
        let expected = [("cleanup.policy", "compact"), ("max.message.bytes", "2000000")];
        assert_eq!(settings, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(TopicSettings::default().for_sink().is_empty());
    }

    #[test]
    fn a_dead_letter_queue_takes_every_record_of_its_source() {
        let settings: BTreeMap<_, _> = source().for_dead_letters().into_iter().collect();
        assert_eq!(settings["max.message.bytes"], (2_000_000 + ADDED_BYTES).to_string());
        assert_eq!((&*settings["cleanup.policy"], &*settings["retention.ms"]), ("delete", "-1"));
        assert_eq!(settings["message.timestamp.after.max.ms"], i64::MAX.to_string());
        assert!(!settings.contains_key("message.timestamp.before.max.ms"), "the brokers do not know it");
    }

    #[test]
    fn only_deletion_by_age_ends_a_record() {
        let keeps = |deletes, retention_ms| TopicSettings { retention_ms, deletes, ..source() }.keeps_for();
        assert_eq!(keeps(true, Some(1000)), Some(Duration::from_secs(1)));
        assert_eq!((keeps(false, Some(1000)), keeps(true, Some(-1)), keeps(true, None)), (None, None, None));
    }
}
