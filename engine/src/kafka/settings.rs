//! The user's part of a client configuration: broker addresses and librdkafka properties. Properties that the engine
//! sets are rejected.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use serde::Serialize;

/// The properties that the engine sets, and why the user cannot set them.
const OWNED: &[(&str, &str)] = &[
    ("auto.commit.interval.ms", "velo commits offsets once their records are settled"),
    (
        "auto.offset.reset",
        "a lost offset fails the job instead of skipping records; set the start with --from",
    ),
    ("bootstrap.servers", "use --bootstrap-servers"),
    ("enable.auto.commit", "velo commits offsets once their records are settled"),
    ("enable.auto.offset.store", "velo commits offsets once their records are settled"),
    ("enable.partition.eof", "velo requires it to detect the end of a partition"),
    ("group.id", "use --group-id"),
    ("group.instance.id", "use --group-instance-id"),
    (
        "log.connection.close",
        "transactions need to know of every broken connection; --log-level selects what is logged",
    ),
    ("max.poll.records", "librdkafka has no such property; the poll size is derived from the batch strategy"),
    ("acks", "a record is settled only when all in-sync replicas have it"),
    ("request.required.acks", "a record is settled only when all in-sync replicas have it"),
    ("enable.idempotence", "without idempotence a retry can duplicate or reorder records"),
    ("message.timeout.ms", "records wait for the end of an outage and are never dropped"),
    ("delivery.timeout.ms", "records wait for the end of an outage and are never dropped"),
    ("retries", "records wait for the end of an outage and are never dropped"),
    ("message.send.max.retries", "records wait for the end of an outage and are never dropped"),
    ("delivery.report.only.error", "a record is settled by its delivery report"),
    ("metadata.broker.list", "use --bootstrap-servers"),
    ("transactional.id", "use --transactional-id with --exactly-once"),
    ("partitioner", "keys are partitioned as by the Java client (murmur2)"),
];

/// Aliases of properties and their canonical names. A client in which both are set uses either of them.
const ALIASES: &[(&str, &str)] = &[
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("compression.codec", "compression.type"),
    ("retries", "message.send.max.retries"),
    ("request.required.acks", "acks"),
];

/// Returns the canonical name of a property.
#[must_use]
pub fn canonical_name(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name)
}

/// Words in the names of properties whose values are secret.
const SECRET: &[&str] = &["password", "passphrase", "secret", "key.pem", "sasl.oauthbearer.config", "jaas"];

/// The origin of the value of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The default of the client.
    Default,
    /// Derived by the engine from the plan and the memory limit. The user can override the value.
    Derived,
    /// Set by the engine. The user cannot override the value.
    Engine,
    /// An environment variable.
    Environment,
    /// The properties file.
    File,
    /// A command line argument.
    Argument,
}

/// A property that the user cannot set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("property '{name}' cannot be set: {reason}")]
pub struct PropertyError {
    /// The name of the property.
    pub name: String,
    /// Why the property cannot be set.
    pub reason: &'static str,
}

/// The user's part of a client configuration.
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
    /// Creates settings from the addresses of the brokers and librdkafka properties.
    ///
    /// # Errors
    /// If the engine sets one of the properties.
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

    /// Sets the origins of these properties.
    #[must_use]
    pub fn with_origins(mut self, origins: BTreeMap<String, Origin>) -> Self {
        self.origins.extend(origins);
        self
    }

    /// Returns the origin of a property that is set in the client configuration.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        match self.origins.get(name) {
            _ if OWNED.iter().any(|(owned, _)| *owned == name) => Origin::Engine,
            Some(origin) => *origin,
            None => Origin::Derived,
        }
    }

    /// Returns the addresses of the brokers.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Removes these properties. Returns the remaining settings and the names of the removed properties that were set.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> (Self, Vec<String>) {
        let set = names.iter().filter(|name| self.properties.remove(**name).is_some());
        let set = set.map(|name| (*name).to_owned()).collect();
        (self, set)
    }

    /// Returns true if a property has this value, in any case: the client compares words so.
    #[must_use]
    pub fn is_set_to(&self, name: &str, value: &str) -> bool {
        self.property(name).is_some_and(|set| set.eq_ignore_ascii_case(value))
    }

    /// Returns the user's value of a property, if the user has set it.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// Creates a client configuration. Later values override earlier ones: `defaults`, the user's properties, `owned`.
    pub(super) fn client(&self, defaults: &[(&str, String)], owned: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        // What `debug=cgrp` and the like ask for is logged at this level only.
        if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
            config.set_log_level(RDKafkaLogLevel::Debug);
        }
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

/// Returns a configuration with masked secrets.
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
