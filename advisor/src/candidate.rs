//! What is tried: a strategy and its size, from the table of keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use velo_schema::keys::Key;
use velo_schema::{Config, Entry, Scope, Settings, Side, StrategyKind};

/// A configuration to try; what it does not name has its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// The strategy.
    pub strategy: StrategyKind,
    /// Records per batch at most.
    pub records: u64,
}

/// The strategies that are tried.
const TRIED: &[StrategyKind] = &[StrategyKind::FixedSize, StrategyKind::LowLatency];

impl Candidate {
    /// Every candidate, from the simplest strategy and the smallest size on.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let of = |strategy: &StrategyKind| {
            let strategy = *strategy;
            let sizes = strategy.size_key().map_or(&[][..], |key| key.def().search);
            sizes.iter().map(move |records| Self { strategy, records: *records })
        };
        TRIED.iter().flat_map(of).collect()
    }

    /// The settings that make it, in the job's scope.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let size = self.strategy.size_key();
        let texts = std::iter::once((Key::BatchStrategy, self.strategy.to_string()))
            .chain(size.map(|key| (key, self.records.to_string())));
        texts.filter_map(|(key, text)| Entry::parse(Scope::Job, key, &text).ok()).collect()
    }

    /// The configuration that these settings make.
    #[must_use]
    pub fn config(&self) -> Config {
        Settings::resolve(&self.entries(), Side::Job, None).config()
    }
}

impl std::fmt::Display for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.strategy, self.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use velo_schema::Plan;

    #[test]
    fn every_candidate_is_what_it_says() {
        let all = Candidate::all();
        assert!(all.len() > 5);
        for candidate in all {
            let plan = Plan::of(&candidate.config(), None);
            assert_eq!(plan.strategy, Some(candidate.strategy));
            assert_eq!(plan.max_poll_records.max, candidate.records);
        }
    }
}
