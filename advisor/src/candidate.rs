//! Candidates: strategies with their settings, derived from the table of keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::keys::{KEYS, Key, KeyDef, Relevance};
use velo_schema::strategy::Words;
use velo_schema::{Config, Entry, Plan, Scope, Settings, Side, Strategy, StrategyKind};

/// A key and its value, as in a WITH clause.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Name of the key.
    pub key: String,
    /// Value of the key.
    pub value: String,
}

/// A configuration to evaluate. Keys without a setting have their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// The strategy.
    pub strategy: StrategyKind,
    /// Its settings, in the order of the table of keys.
    pub settings: Vec<Setting>,
}

/// Returns the keys that apply to this strategy but not to all strategies.
fn own_keys(strategy: StrategyKind) -> impl Iterator<Item = &'static KeyDef> {
    KEYS.iter()
        .filter(move |def| matches!(def.relevance, Relevance::Strategies(_)) && def.applies_to(strategy))
}

impl Candidate {
    /// Returns every candidate: all strategies, with all combinations of the search values in the table of keys.
    #[must_use]
    pub fn all() -> Vec<Self> {
        StrategyKind::ALL.iter().flat_map(|strategy| Self::of_strategy(*strategy)).collect()
    }

    fn of_strategy(strategy: StrategyKind) -> Vec<Self> {
        let start = vec![Self { strategy, settings: Vec::new() }];
        own_keys(strategy).filter(|def| !def.search.is_empty()).fold(start, |candidates, def| {
            let with = |candidate: &Self, value: &&str| {
                let setting = Setting { key: def.name.to_owned(), value: (*value).to_owned() };
                let settings = candidate.settings.iter().cloned().chain([setting]).collect();
                Self { strategy, settings }
            };
            let extend = |candidate| def.search.iter().map(move |value| with(candidate, value));
            candidates.iter().flat_map(extend).collect()
        })
    }

    /// Returns the candidate that corresponds to a configuration; `None` if its batches are disabled.
    #[must_use]
    pub fn of_settings(settings: &Settings) -> Option<Self> {
        let config = settings.config();
        if !config.enabled {
            return None;
        }
        let strategy = config.strategy.kind();
        let searched = |def: &&KeyDef| !def.search.is_empty();
        let set = |def: &KeyDef| settings.get(def.key).origin != velo_schema::Origin::Default;
        let named = own_keys(strategy).filter(|def| searched(def) || set(def));
        let value = |def: &KeyDef| {
            let value = settings.get(def.key).value.as_ref()?.to_string();
            Some(Setting { key: def.name.to_owned(), value })
        };
        Some(Self { strategy, settings: named.filter_map(value).collect() })
    }

    /// Returns the candidate of the default configuration.
    ///
    /// # Panics
    /// Never: batches are enabled by default.
    #[must_use]
    pub fn defaults() -> Self {
        let none = Settings::resolve(&[], Side::Job, None);
        Self::of_settings(&none).expect("batches are enabled by default")
    }

    /// Returns the strategy and its settings, as in a WITH clause.
    #[must_use]
    pub fn clause(&self) -> Vec<Setting> {
        let strategy =
            Setting { key: Key::BatchStrategy.name().to_owned(), value: self.strategy.to_string() };
        std::iter::once(strategy).chain(self.settings.iter().cloned()).collect()
    }

    /// Returns the entries of the clause, in the job's scope. Invalid settings, as in an edited trials file, are
    /// skipped.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |setting: Setting| {
            Key::from_name(&setting.key).and_then(|key| Entry::parse(Scope::Job, key, &setting.value).ok())
        };
        self.clause().into_iter().filter_map(entry).collect()
    }

    /// Returns the resolved configuration.
    #[must_use]
    pub fn config(&self) -> Config {
        Settings::resolve(&self.entries(), Side::Job, None).config()
    }

    /// Returns true if each batch is processed on several threads.
    #[must_use]
    pub fn is_parallel(&self) -> bool {
        matches!(self.config().strategy, Strategy::MegaBatch { parallel: true, .. })
    }

    /// Returns the plan for records of this size.
    #[must_use]
    pub fn plan(&self, record_bytes: Option<u64>) -> Plan {
        Plan::of(&self.config(), record_bytes)
    }

    /// Returns a sort key in which simpler candidates come first: by the number of settings that differ from the
    /// defaults, then by strategy.
    pub(crate) fn complexity(&self) -> (usize, &Self) {
        let is_default = |setting: &Setting| {
            let default = Key::from_name(&setting.key).and_then(|key| key.def().default_value());
            default.is_some_and(|default| default.to_string() == setting.value)
        };
        (self.settings.iter().filter(|setting| !is_default(setting)).count(), self)
    }
}

impl std::fmt::Display for Candidate {
    /// Formats the strategy and its values, such as `fixed_size 500, 50ms`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.strategy)?;
        for (index, setting) in self.settings.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { " " } else { ", " }, setting.value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_tried_and_every_candidate_is_what_it_says() {
        let all = Candidate::all();
        for strategy in StrategyKind::ALL {
            assert!(all.iter().filter(|candidate| candidate.strategy == *strategy).count() > 3, "{strategy}");
        }
        for candidate in all {
            assert_eq!(candidate.plan(None).strategy, Some(candidate.strategy));
            assert_eq!(candidate.entries().len(), candidate.settings.len() + 1, "{candidate}");
            let settings = Settings::resolve(&candidate.entries(), Side::Job, None);
            assert_eq!(Candidate::of_settings(&settings), Some(candidate));
        }
    }

    #[test]
    fn the_defaults_are_a_fixed_size() {
        assert_eq!(Candidate::defaults().to_string(), "fixed_size 100, 1s");
    }
}
