//! Entries that a run does not use: a statement and a route in; each such entry, its place and the reason out.
//!
//! Every entry of a clause is either in force somewhere on the route, or it is here.

use std::fmt;

use velo_schema::keys::{Key, Relevance};
use velo_schema::{Config, FailureStrategy, Origin, Scope, Settings, Side, StrategyKind};

use crate::ownership::{Owner, config_file_scope, owner};
use crate::route::Route;
use crate::scan::RawValue;
use crate::span::Span;
use crate::unit::{Item, Unit};

/// An entry that a run does not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// The key as written.
    pub key: String,
    /// Where it stands.
    pub span: Span,
    /// Why it is not used.
    pub why: Reason,
}

/// Why an entry is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Another entry of the same key in the same scope is in force.
    Repeated,
    /// Narrower scopes set it everywhere.
    Overridden,
    /// The scope is a name that is neither the source nor the sink.
    OtherName(String),
    /// Batching is disabled.
    Disabled,
    /// The batch strategy in force reads other keys.
    Strategy(StrategyKind),
    /// The processing stage has no batches of its own, or the sink takes the source's.
    NoBatches,
    /// The failure strategy in force does not retry.
    NoRetries(FailureStrategy),
    /// The failure strategy in force sends nothing to a dead letter queue.
    NoDeadLetters(FailureStrategy),
    /// There are no transactions without `--exactly-once`.
    NoTransactions,
    /// With `--exactly-once`, a transaction is written together.
    Transactions,
    /// It is misspelt; this is the key.
    Misspelt(String),
    /// A more specific key names the topic.
    OtherTopicKey(String),
    /// It belongs to another system.
    Foreign,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated => f.write_str("another entry in the same scope is in force"),
            Self::Overridden => f.write_str("narrower scopes override it"),
            Self::OtherName(name) => write!(f, "'{name}' is neither the source nor the sink"),
            Self::Disabled => f.write_str("batch.enable is false"),
            Self::Strategy(strategy) => write!(f, "{strategy} does not read it"),
            Self::NoBatches => f.write_str("nothing in its scope reads it"),
            Self::NoRetries(strategy) => write!(f, "{strategy} does not retry"),
            Self::NoDeadLetters(strategy) => write!(f, "{strategy} sends nothing to a dead letter queue"),
            Self::NoTransactions => f.write_str("only --exactly-once has transactions"),
            Self::Transactions => f.write_str("with --exactly-once, a transaction is written together"),
            Self::Misspelt(near) => write!(f, "did you mean '{near}'?"),
            Self::OtherTopicKey(key) => write!(f, "'{key}' overrides it"),
            Self::Foreign => f.write_str("it belongs to another system"),
        }
    }
}

/// The entries that a run along `route` does not use, those of ours first.
#[must_use]
pub fn unused(unit: &Unit<'_>, route: &Route, exactly_once: bool) -> Vec<Unused> {
    let sides = [(Side::Source, &route.at_source), (Side::Job, &route.in_job), (Side::Sink, &route.at_sink)];
    let sides = sides.map(|(side, settings)| At { side, settings, config: settings.config(), exactly_once });
    let of_items = unit.items.iter().filter_map(|item| {
        let why = why_unused(unit, route, &sides, item)?;
        Some(Unused { key: item.qualified(), span: item.key_span.clone(), why })
    });
    let of_strangers = unit.strangers.iter().map(|stranger| {
        let why = match &stranger.owner {
            Owner::NearMiss(near) => Reason::Misspelt(near.clone()),
            _ => Reason::Foreign,
        };
        Unused { key: stranger.key.to_owned(), span: stranger.span.clone(), why }
    });
    of_items.chain(of_strangers).chain(of_others(unit, route)).collect()
}

/// The settings of other systems, but for those that name a topic or a file.
fn of_others(unit: &Unit<'_>, route: &Route) -> Vec<Unused> {
    let topics: Vec<_> = route.endpoints().map(|endpoint| &endpoint.topic).collect();
    let scopes: Vec<_> = [Scope::Source, Scope::Sink]
        .into_iter()
        .chain(route.endpoints().map(|endpoint| Scope::Named(endpoint.name.clone())))
        .collect();
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for (index, foreign) in unit.foreign.iter().enumerate() {
        let why = if unit.topic_keys.has(index, &scopes) {
            let in_force = topics.iter().filter_map(|topic| topic.key.as_deref());
            let is_used = in_force.clone().any(|key| key == foreign.key) && !seen.contains(&foreign.key);
            seen.push(foreign.key);
            let overrides = topics.iter().find(|topic| topic.overrode.iter().any(|key| key == foreign.key));
            match overrides.and_then(|topic| topic.key.clone()) {
                _ if is_used => continue,
                Some(key) => Reason::OtherTopicKey(key),
                None => Reason::Foreign,
            }
        } else if config_file_scope(foreign.key, &unit.names).is_some() && !foreign.of_foreign_clause {
            continue;
        } else {
            match owner(foreign.key, &RawValue::Unknown, &unit.names) {
                Owner::NearMiss(near) if !foreign.of_foreign_clause => Reason::Misspelt(near),
                _ => Reason::Foreign,
            }
        };
        found.push(Unused { key: foreign.key.to_owned(), span: foreign.span.clone(), why });
    }
    found
}

/// What holds at one side, and what of it is read there.
struct At<'r> {
    side: Side,
    settings: &'r Settings,
    config: Config,
    exactly_once: bool,
}

impl At<'_> {
    fn has(&self, item: &Item<'_>) -> bool {
        self.settings.get(item.key).origin == Origin::Set(item.scope.clone())
    }

    /// Why the value of a key that is in force here is not read; `None` if it is.
    fn why_not_read(&self, key: Key) -> Option<Reason> {
        let failure = &self.config.failure;
        let of_batches = key.name().starts_with("batch.");
        let of_processing = matches!(key, Key::BatchParallel | Key::BatchReuseBuffer);
        let why = match key.def().relevance {
            _ if key == Key::TransactionBatches => (!self.exactly_once).then_some(Reason::NoTransactions),
            _ if of_batches && self.side == Side::Job => Some(Reason::NoBatches),
            _ if of_batches && self.side == Side::Sink && of_processing => Some(Reason::NoBatches),
            _ if of_batches && self.side == Side::Sink && self.exactly_once => Some(Reason::Transactions),
            _ if of_batches && key != Key::BatchEnable && !self.config.enabled => Some(Reason::Disabled),
            Relevance::Always => None,
            Relevance::Strategies(strategies) => {
                let kind = self.config.strategy.kind();
                (!strategies.contains(&kind)).then_some(Reason::Strategy(kind))
            }
            Relevance::Retries => (failure.strategy != FailureStrategy::RetryWithBackoff)
                .then_some(Reason::NoRetries(failure.strategy)),
            Relevance::DeadLetters => {
                (!failure.uses_dlq()).then_some(Reason::NoDeadLetters(failure.strategy))
            }
        };
        // Without retries there is no delay between two of them.
        let delays = matches!(key, Key::RetryBackoff | Key::RetryBackoffMax);
        why.or_else(|| (delays && failure.max_retries == 0).then_some(Reason::NoRetries(failure.strategy)))
    }
}

fn why_unused(unit: &Unit<'_>, route: &Route, sides: &[At<'_>], item: &Item<'_>) -> Option<Reason> {
    let in_force = unit.set_in(&item.scope, item.key);
    if !in_force.is_some_and(|in_force| std::ptr::eq(in_force, item)) {
        return Some(Reason::Repeated);
    }
    let mut reasons = Vec::new();
    for at in sides.iter().filter(|at| at.has(item)) {
        reasons.push(at.why_not_read(item.key)?);
    }
    let of_another = |name: &String| route.endpoints().all(|endpoint| endpoint.name != *name);
    let nowhere = || match &item.scope {
        Scope::Named(name) if of_another(name) => Reason::OtherName(name.clone()),
        _ => Reason::Overridden,
    };
    // The processing stage inherits the keys of batches from nobody and for nobody: another reason says more.
    let telling = reasons.iter().position(|reason| *reason != Reason::NoBatches);
    Some(match telling {
        Some(index) => reasons.swap_remove(index),
        None if item.scope == Scope::Job || reasons.is_empty() => nowhere(),
        None => Reason::NoBatches,
    })
}
