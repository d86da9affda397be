//! Whose key it is: a key as written in, ours (scope and key), a mistake of ours, or somebody else's out.
//!
//! Dozens of systems write options as `WITH ('name' = 'value')`, and several spell names exactly as
//! we do and mean something else. A linter that goes by names alone cries wolf on all of them; the
//! rules here keep silent wherever a name is not surely ours.

use velo_schema::Scope;
use velo_schema::keys::{KEYS, Key, Scopes};

use crate::scan::{Clause, Name};

/// Keys that mark a clause as another system's, whatever else it holds.
const FOREIGN_CLAUSE: &[&str] =
    &["connector", "connector.class", "connector.type", "kafka_topic", "value_format"];

/// Names of other systems that are near to ours.
const KNOWN_FOREIGN: &[&str] = &[
    "batch-size",
    "batch.interval",
    "batch.max-size",
    "batch_size",
    "fetch-size",
    "fetch.size",
    "max-retries",
    "max.batch.size",
    "max.poll.records",
    "max.retries",
    "retry-backoff",
    "retry.backoff",
    "retry.backoff.ms",
    "retry.backoff.max.ms",
    "sink.batch-size",
    "sink.max-retries",
    "sink.parallelism",
    "source.parallelism",
];

/// Whose a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Ours.
    Ours(Scope, Key),
    /// Ours, but not in this scope.
    WrongScope(Scope, Key),
    /// Under one of our own prefixes and not a key; the nearest key as it would be written.
    Unknown(Option<String>),
    /// Most probably a misspelt key of ours, which is this one.
    NearMiss(String),
    /// Somebody else's.
    Foreign,
}

/// Whether the clause belongs to another system.
#[must_use]
pub fn is_foreign_clause(text: &str, clause: &Clause) -> bool {
    clause.entries.iter().any(|entry| {
        let key = &text[entry.key.span.clone()];
        FOREIGN_CLAUSE.iter().any(|foreign| key.eq_ignore_ascii_case(foreign))
    })
}

/// Whose `key` is, in a statement that names `names`.
#[must_use]
pub fn owner(key: &str, names: &[Name]) -> Owner {
    let (scope, rest) = split_scope(key, names);
    if let Some(known) = Key::from_name(rest) {
        return match known.def().scopes {
            Scopes::JobOnly if scope != Scope::Job => Owner::WrongScope(scope, known),
            Scopes::JobOnly | Scopes::Every => Owner::Ours(scope, known),
        };
    }
    if KNOWN_FOREIGN.contains(&key) || KNOWN_FOREIGN.contains(&rest) {
        return Owner::Foreign;
    }
    let ours_by_prefix = !matches!(scope, Scope::Named(_)) && rest.starts_with("batch.");
    if ours_by_prefix {
        return Owner::Unknown(nearest(rest, 3).map(|near| scope.qualify(near)));
    }
    near_miss(key, &scope, rest).map_or(Owner::Foreign, |near| Owner::NearMiss(scope.qualify(near)))
}

/// Splits one prefix off that is `source`, `sink` or a name of the statement.
fn split_scope<'k>(key: &'k str, names: &[Name]) -> (Scope, &'k str) {
    let Some((prefix, rest)) = key.split_once('.') else { return (Scope::Job, key) };
    match prefix {
        "source" => (Scope::Source, rest),
        "sink" => (Scope::Sink, rest),
        _ if names.iter().any(|name| name.text == prefix) => (Scope::Named(prefix.to_owned()), rest),
        _ => (Scope::Job, key),
    }
}

/// A near miss over the whole key: another spelling of the same letters, or at most two edits.
fn near_miss(key: &str, scope: &Scope, rest: &str) -> Option<Key> {
    let folded = fold(rest);
    let same_letters = KEYS.iter().find(|def| fold(def.name) == folded).map(|def| def.key);
    // Two edits of a short word make any other short word.
    let edits = if rest.len() < 8 { 1 } else { 2 };
    same_letters.or_else(|| {
        let other_prefix = *scope == Scope::Job && key.contains('.');
        let near = nearest(rest, edits)?;
        (!other_prefix || near.name().split('.').count() == key.split('.').count()).then_some(near)
    })
}

fn fold(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '-' | '.' | '_')).flat_map(char::to_lowercase).collect()
}

/// The key at the fewest edits, if there are at most `limit`.
fn nearest(key: &str, limit: usize) -> Option<Key> {
    KEYS.iter()
        .filter(|def| def.name.len().abs_diff(key.len()) <= limit)
        .map(|def| (strsim::osa_distance(key, def.name), def.key))
        .min()
        .filter(|(distance, _)| *distance <= limit)
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner_in(key: &str) -> Owner {
        owner(key, &[Name { span: 0..0, text: "orders".into() }])
    }

    #[test]
    fn a_key_is_ours_with_no_prefix_or_one_that_the_statement_knows() {
        assert_eq!(owner_in("batch.size"), Owner::Ours(Scope::Job, Key::BatchSize));
        assert_eq!(owner_in("sink.max_retries"), Owner::Ours(Scope::Sink, Key::MaxRetries));
        assert_eq!(owner_in("orders.batch.size"), Owner::Ours(Scope::Named("orders".into()), Key::BatchSize));
        for foreign in ["clicks.batch.size", "properties.batch.size", "sink.kafka.batch.size", "topic"] {
            assert_eq!(owner_in(foreign), Owner::Foreign, "{foreign}");
        }
    }

    #[test]
    fn under_our_prefix_an_unknown_key_is_a_mistake() {
        assert_eq!(owner_in("batch.sise"), Owner::Unknown(Some("batch.size".into())));
        assert_eq!(owner_in("source.batch.sise"), Owner::Unknown(Some("source.batch.size".into())));
        assert_eq!(owner_in("batch.colour_of_the_sky"), Owner::Unknown(None));
        assert_eq!(
            owner_in("source.transaction.batches"),
            Owner::WrongScope(Scope::Source, Key::TransactionBatches)
        );
    }

    #[test]
    fn elsewhere_only_a_near_miss_counts_and_never_a_name_of_others() {
        assert_eq!(owner_in("failure_stratgy"), Owner::NearMiss("failure_strategy".into()));
        assert_eq!(owner_in("failure.strategy"), Owner::NearMiss("failure_strategy".into()));
        assert_eq!(owner_in("Batch.Size"), Owner::NearMiss("batch.size".into()));
        for foreign in KNOWN_FOREIGN.iter().chain(&["retry.policy", "max_rows", "format", "linger.ms"]) {
            assert_eq!(owner_in(foreign), Owner::Foreign, "{foreign}");
        }
    }
}
