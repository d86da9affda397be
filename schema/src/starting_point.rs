//! What editors offer to begin with: a strategy in, a complete set of settings out.

use crate::keys::{KEYS, Key, KeyDef, KeyOrigin, Relevance};
use crate::strategy::{FailureStrategy, StrategyKind, Words};

/// Returns the strategy, its own keys with their examples, and a failure strategy that loses nothing.
#[must_use]
pub fn starting_point(strategy: StrategyKind) -> Vec<(Key, &'static str)> {
    let own = |def: &&KeyDef| {
        matches!(def.relevance, Relevance::Strategies(by) if by == [strategy])
            && def.origin == KeyOrigin::Guide
    };
    let mut settings = vec![(Key::BatchStrategy, strategy.word())];
    settings.extend(KEYS.iter().filter(own).map(|def| (def.key, def.example)));
    settings.push((Key::FailureStrategy, FailureStrategy::SendToDLQ.word()));
    settings
}
