//! Where the brokers are and what the user wants of the client; what the engine sets itself is refused.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use serde::Serialize;

/// Properties that the engine sets, and why nobody else may.
const OWNED: &[(&str, &str)] = &[
    ("auto.commit.interval.ms", "offsets are committed once their records are settled, by the engine"),
    (
        "auto.offset.reset",
        "a lost offset ends the job instead of skipping records; --from says where to start",
    ),
    ("bootstrap.servers", "it is the option --bootstrap-servers"),
    ("enable.auto.commit", "offsets are committed once their records are settled, by the engine"),
    ("enable.auto.offset.store", "offsets are committed once their records are settled, by the engine"),
    ("enable.partition.eof", "the engine asks for it where it needs it"),
    ("group.id", "it is the option --group-id"),
    ("group.instance.id", "it is the option --group-instance-id"),
    ("max.poll.records", "librdkafka has no such property; the poll size follows from the batch strategy"),
    ("acks", "a record is settled only when all replicas have it"),
    ("request.required.acks", "a record is settled only when all replicas have it"),
    ("enable.idempotence", "without it a retry can write a record twice or out of order"),
    ("message.timeout.ms", "an outage holds records, it never drops them"),
    ("delivery.timeout.ms", "an outage holds records, it never drops them"),
    ("retries", "an outage holds records, it never drops them"),
    ("message.send.max.retries", "an outage holds records, it never drops them"),
    ("delivery.report.only.error", "a record is settled by the report that it has arrived"),
    ("metadata.broker.list", "it is the option --bootstrap-servers"),
    ("transactional.id", "it is the option --transactional-id, with --exactly-once"),
    ("partitioner", "keys keep their partition as the Java client has it (murmur2)"),
];

/// Other names of properties, and the ones that are used here: a client that is told both takes either.
const ALIASES: &[(&str, &str)] = &[
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("compression.codec", "compression.type"),
    ("retries", "message.send.max.retries"),
    ("request.required.acks", "acks"),
];

/// The name that stands for a property and its aliases.
#[must_use]
pub fn canonical_name(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name)
}

/// Words in the name of a property whose value is nobody's business.
const SECRET: &[&str] = &["password", "passphrase", "secret", "key.pem", "sasl.oauthbearer.config", "jaas"];

/// Who says what a property is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nobody: it is the client's default.
    Default,
    /// The engine, from the plan and the memory limit, unless it is told otherwise.
    Derived,
    /// The engine, and nobody may say otherwise.
    Engine,
    /// A variable.
    Environment,
    /// The properties file.
    File,
    /// An argument.
    Argument,
}

/// A property that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the property '{name}' is set by the engine: {reason}")]
pub struct PropertyError {
    /// Which.
    pub name: String,
    /// Why.
    pub reason: &'static str,
}

/// The user's part of a client's configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSettings {
    bootstrap_servers: String,
    properties: BTreeMap<String, String>,
    origins: BTreeMap<String, Origin>,
}

impl std::fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &masked(&self.properties))
            .finish_non_exhaustive()
    }
}

impl ClientSettings {
    /// Settings from the brokers' addresses and librdkafka properties.
    ///
    /// # Errors
    /// Where a property is one that the engine sets.
    pub fn new(
        bootstrap_servers: impl Into<String>,
        properties: BTreeMap<String, String>,
    ) -> Result<Self, PropertyError> {
        let properties: BTreeMap<_, _> =
            properties.into_iter().map(|(name, value)| (canonical_name(&name).to_owned(), value)).collect();
        let owned = OWNED.iter().find(|(name, _)| properties.contains_key(*name));
        if let Some((name, reason)) = owned {
            return Err(PropertyError { name: (*name).to_owned(), reason });
        }
        let origins = properties.keys().map(|name| (name.clone(), Origin::Argument)).collect();
        Ok(Self { bootstrap_servers: bootstrap_servers.into(), properties, origins })
    }

    /// The same, where these properties were said elsewhere.
    #[must_use]
    pub fn with_origins(mut self, origins: BTreeMap<String, Origin>) -> Self {
        self.origins.extend(origins);
        self
    }

    /// Who says what a property of one of these clients is.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        match self.origins.get(name) {
            _ if OWNED.iter().any(|(owned, _)| *owned == name) => Origin::Engine,
            Some(origin) => *origin,
            None => Origin::Derived,
        }
    }

    /// Where the brokers are.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// The same without some properties, and those of them that were set.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> (Self, Vec<String>) {
        let set = names.iter().filter(|name| self.properties.remove(**name).is_some());
        let set = set.map(|name| (*name).to_owned()).collect();
        (self, set)
    }

    /// What the user wants a property to be.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// A client's configuration: first what may be overridden, then the user's, then what may not.
    pub(super) fn client(&self, defaults: &[(&str, String)], owned: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "velo");
        for (name, value) in defaults {
            config.set(*name, value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        for (name, value) in owned {
            config.set(*name, *value);
        }
        config
    }
}

/// A configuration for people to read: secrets masked.
pub(super) fn readable(config: &ClientConfig) -> BTreeMap<String, String> {
    masked(config.config_map())
}

pub(super) fn masked<K: AsRef<str>, V: AsRef<str>>(
    properties: impl IntoIterator<Item = (K, V)>,
) -> BTreeMap<String, String> {
    let mask = |(name, value): (K, V)| {
        let secret = SECRET.iter().any(|word| name.as_ref().contains(word));
        let value = if secret { "***" } else { value.as_ref() };
        (name.as_ref().to_owned(), value.to_owned())
    };
    properties.into_iter().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_the_engine_sets_is_refused_with_the_reason() {
        let error = ClientSettings::new("b:9092", properties(&[("max.poll.records", "5")])).unwrap_err();
        assert!(error.to_string().contains("librdkafka has no such property"));
    }

    #[test]
    fn the_users_properties_beat_the_defaults_and_secrets_are_masked() {
        let settings = ClientSettings::new(
            "b:9092",
            properties(&[("fetch.min.bytes", "7"), ("sasl.password", "hunter2")]),
        )
        .unwrap();
        let config = settings.client(&[("fetch.min.bytes", "1".to_owned())], &[("group.id", "g")]);
        let readable = readable(&config);
        assert_eq!(readable["fetch.min.bytes"], "7");
        assert_eq!(readable["sasl.password"], "***");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
