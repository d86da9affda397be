//! From entries as written to what holds in one scope, with the origin of every value.

use std::time::Duration;

use crate::config::{Config, Failure, Strategy};
use crate::keys::{Key, Scopes};
use crate::strategy::{FailureStrategy, OnExhausted, StrategyKind};
use crate::value::{Value, ValueError};

/// The scope that an entry was written in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// No prefix.
    Job,
    /// `source.`
    Source,
    /// `sink.`
    Sink,
    /// `<name>.`, one source or sink of the statement.
    Named(String),
}

impl Scope {
    /// `key` as written in this scope: `source.batch.size`.
    #[must_use]
    pub fn qualify(&self, key: Key) -> String {
        match self {
            Self::Job => key.name().to_owned(),
            Self::Source => format!("source.{key}"),
            Self::Sink => format!("sink.{key}"),
            Self::Named(name) => format!("{name}.{key}"),
        }
    }
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Job => "job",
            Self::Source => "source",
            Self::Sink => "sink",
            Self::Named(name) => name,
        })
    }
}

/// The part of a job that a configuration is resolved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Processing.
    Job,
    /// Fetching and decoding.
    Source,
    /// Writing.
    Sink,
}

/// One setting as written: its scope, its key, its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it was written.
    pub scope: Scope,
    /// Which key.
    pub key: Key,
    /// Its value.
    pub value: Value,
}

impl Entry {
    /// An entry from text.
    ///
    /// # Errors
    /// Where `text` is no value of `key`.
    pub fn parse(scope: Scope, key: Key, text: &str) -> Result<Self, ValueError> {
        Ok(Self { scope, key, value: key.def().parse(text)?.value })
    }
}

/// Where a value in force comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table's default.
    Default,
    /// An entry in this scope.
    Set(Scope),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Set(scope) => scope.fmt(f),
        }
    }
}

/// One key's value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Which key.
    pub key: Key,
    /// Its value; `None` only for keys whose default is computed elsewhere (`dlq.topic`).
    pub value: Option<Value>,
    /// Where the value comes from.
    pub origin: Origin,
    /// What it overrode, most general first: entries of wider scopes.
    pub overrode: Vec<Entry>,
}

/// Every key's value in one scope, in the order of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    settings: Vec<Setting>,
}

impl Settings {
    /// What holds for `side`, and there for the source or sink called `name` if one is given.
    ///
    /// A side inherits each key from the job unless it sets it; a name beats its side. Of two
    /// entries of one key in one scope the later holds.
    #[must_use]
    pub fn resolve(entries: &[Entry], side: Side, name: Option<&str>) -> Self {
        let mut scopes = vec![Scope::Job];
        match side {
            Side::Job => {}
            Side::Source => scopes.push(Scope::Source),
            Side::Sink => scopes.push(Scope::Sink),
        }
        scopes.extend(name.map(|name| Scope::Named(name.to_owned())));
        let settings = Key::ALL.iter().map(|&key| resolve_key(entries, key, &scopes)).collect();
        Self { settings }
    }

    /// The value in force of one key, with its origin.
    #[must_use]
    pub fn get(&self, key: Key) -> &Setting {
        &self.settings[key as usize]
    }

    /// Every key, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter()
    }

    /// The typed configuration.
    #[must_use]
    pub fn config(&self) -> Config {
        Config {
            enabled: self.boolean(Key::BatchEnable),
            strategy: self.strategy(),
            max_batch_records: self.integer(Key::BatchMaxSize),
            failure: Failure {
                strategy: self.failure_strategy(),
                max_retries: self.integer(Key::MaxRetries),
                backoff: self.duration(Key::RetryBackoff),
                backoff_max: self.duration(Key::RetryBackoffMax),
                on_exhausted: self.on_exhausted(),
            },
            dlq_topic: match &self.get(Key::DlqTopic).value {
                Some(Value::Topic(topic)) => Some(topic.clone()),
                _ => None,
            },
            transaction_batches: self.integer(Key::TransactionBatches),
        }
    }

    fn strategy(&self) -> Strategy {
        let timeout = self.duration(Key::BatchTimeout);
        match self.strategy_kind() {
            StrategyKind::FixedSize => Strategy::FixedSize { records: self.integer(Key::BatchSize), timeout },
            StrategyKind::TimeWindow => Strategy::TimeWindow { window: self.duration(Key::BatchWindow) },
            StrategyKind::MemoryBased => {
                Strategy::MemoryBased { bytes: self.integer(Key::BatchMemorySize), timeout }
            }
            StrategyKind::AdaptiveSize => Strategy::AdaptiveSize {
                min_records: self.integer(Key::BatchMinSize),
                max_records: self.integer(Key::BatchAdaptiveMaxSize),
                target_latency: self.duration(Key::BatchTargetLatency),
                timeout,
            },
            StrategyKind::LowLatency => Strategy::LowLatency {
                max_records: self.integer(Key::BatchLowLatencyMaxSize),
                wait: self.duration(Key::BatchLowLatencyWait),
                eager: self.boolean(Key::BatchEagerProcessing),
            },
            StrategyKind::MegaBatch => Strategy::MegaBatch {
                records: self.integer(Key::BatchMegaBatchSize),
                parallel: self.boolean(Key::BatchParallel),
                reuse_buffer: self.boolean(Key::BatchReuseBuffer),
                timeout,
            },
        }
    }

    fn boolean(&self, key: Key) -> bool {
        match self.get(key).value {
            Some(Value::Boolean(value)) => value,
            ref other => mistyped(key, other.as_ref()),
        }
    }

    fn integer(&self, key: Key) -> u64 {
        match self.get(key).value {
            Some(Value::Integer(value)) => value,
            ref other => mistyped(key, other.as_ref()),
        }
    }

    fn duration(&self, key: Key) -> Duration {
        match self.get(key).value {
            Some(Value::Duration(value)) => value,
            ref other => mistyped(key, other.as_ref()),
        }
    }

    fn strategy_kind(&self) -> StrategyKind {
        match self.get(Key::BatchStrategy).value {
            Some(Value::Strategy(value)) => value,
            ref other => mistyped(Key::BatchStrategy, other.as_ref()),
        }
    }

    fn failure_strategy(&self) -> FailureStrategy {
        match self.get(Key::FailureStrategy).value {
            Some(Value::FailureStrategy(value)) => value,
            ref other => mistyped(Key::FailureStrategy, other.as_ref()),
        }
    }

    fn on_exhausted(&self) -> OnExhausted {
        match self.get(Key::OnExhausted).value {
            Some(Value::OnExhausted(value)) => value,
            ref other => mistyped(Key::OnExhausted, other.as_ref()),
        }
    }
}

/// Only an entry built by hand with a value of another key's type gets here.
fn mistyped(key: Key, value: Option<&Value>) -> ! {
    panic!("{key} holds a value of another type: {value:?}")
}

fn resolve_key(entries: &[Entry], key: Key, scopes: &[Scope]) -> Setting {
    let scopes = match key.def().scopes {
        Scopes::Every => scopes,
        Scopes::JobOnly => &scopes[..1],
    };
    let mut in_force =
        Setting { key, value: key.def().default_value(), origin: Origin::Default, overrode: Vec::new() };
    for scope in scopes {
        let last = entries.iter().rfind(|entry| entry.key == key && entry.scope == *scope);
        let Some(entry) = last else { continue };
        let before = in_force.value.replace(entry.value.clone());
        let origin = std::mem::replace(&mut in_force.origin, Origin::Set(scope.clone()));
        if let (Origin::Set(scope), Some(value)) = (origin, before) {
            in_force.overrode.push(Entry { scope, key, value });
        }
    }
    in_force
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(scope: Scope, key: Key, text: &str) -> Entry {
        Entry::parse(scope, key, text).unwrap()
    }

    #[test]
    fn a_name_beats_its_side_and_a_side_beats_the_job() {
        let entries = [
            entry(Scope::Job, Key::BatchSize, "10"),
            entry(Scope::Source, Key::BatchSize, "20"),
            entry(Scope::Named("orders".into()), Key::BatchSize, "30"),
            entry(Scope::Sink, Key::BatchSize, "40"),
        ];
        let size = |side, name| Settings::resolve(&entries, side, name).get(Key::BatchSize).value.clone();
        assert_eq!(size(Side::Job, None), Some(Value::Integer(10)));
        assert_eq!(size(Side::Source, None), Some(Value::Integer(20)));
        assert_eq!(size(Side::Source, Some("orders")), Some(Value::Integer(30)));
        assert_eq!(size(Side::Source, Some("clicks")), Some(Value::Integer(20)));
        assert_eq!(size(Side::Sink, None), Some(Value::Integer(40)));
        let named = Settings::resolve(&entries, Side::Source, Some("orders"));
        assert_eq!(named.get(Key::BatchSize).overrode.len(), 2);
        assert_eq!(named.get(Key::BatchSize).origin.to_string(), "orders");
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        let config = Config::default();
        assert_eq!(config.strategy, Strategy::FixedSize { records: 100, timeout: Duration::from_secs(1) });
        assert_eq!(config.failure.strategy, FailureStrategy::LogAndContinue);
        assert!(config.enabled);
        assert_eq!(config.max_batch_records, 100_000);
        assert_eq!(config.dlq_topic, None);
    }

    #[test]
    fn a_key_of_the_job_alone_is_not_taken_from_a_side() {
        let entries = [entry(Scope::Source, Key::TransactionBatches, "5")];
        let settings = Settings::resolve(&entries, Side::Source, None);
        assert_eq!(settings.config().transaction_batches, 1);
    }
}
