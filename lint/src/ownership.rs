//! Whose key it is: a key as written in, ours (scope and key), a mistake of ours, or somebody else's out.
//!
//! Dozens of systems write options as `WITH ('name' = 'value')`, and several spell names exactly as
//! we do and mean something else. A linter that goes by names alone cries wolf on all of them; the
//! rules here keep silent wherever a name is not surely ours.

use velo_schema::Scope;
use velo_schema::keys::{KEYS, Key, Scopes};

use std::collections::HashMap;

use crate::scan::{Clause, Form, Name, RawValue};

/// Keys that mark a clause as another system's, whatever else it holds.
pub(crate) const FOREIGN_CLAUSE: &[&str] =
    &["connector", "connector.class", "connector.type", "kafka_topic", "provider", "type", "value_format"];

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
    "retry_backoff_ms",
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
    // Whether a document of YAML is ours is decided where it is read.
    if clause.form == Form::Yaml {
        return false;
    }
    let key = |span: &std::ops::Range<usize>| &text[span.clone()];
    let is_marked = clause
        .entries
        .iter()
        .any(|entry| FOREIGN_CLAUSE.iter().any(|foreign| key(&entry.key.span).eq_ignore_ascii_case(foreign)));
    is_marked || has_only_words_of_everybody(text, clause)
}

/// Other systems retry, too: `WITH (max_retries = 3)` without quotes and without any key that
/// nobody else has is theirs.
fn has_only_words_of_everybody(text: &str, clause: &Clause) -> bool {
    let mut ours = clause
        .entries
        .iter()
        .filter(|entry| Key::from_name(&text[entry.key.span.clone()].to_ascii_lowercase()).is_some())
        .peekable();
    ours.peek().is_some()
        && ours.all(|entry| {
            let word = &text[entry.key.span.clone()];
            !entry.key.quoted
                && !word.contains('.')
                && !word.eq_ignore_ascii_case(Key::FailureStrategy.name())
        })
}

/// The names that a statement's keys may begin with. Identifiers are the same in any case.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// The names of a statement.
    #[must_use]
    pub fn new(names: &[Name]) -> Self {
        Self(names.iter().map(|name| (name.text.to_lowercase(), name.text.clone())).collect())
    }
}

/// Whose `key` is, in a statement that names `names`.
#[must_use]
pub fn owner(key: &str, value: &RawValue, names: &Names) -> Owner {
    if *value == RawValue::NotAnOption {
        return Owner::Foreign;
    }
    // A source may be called `batch` or `dlq`; the key is meant then, too.
    if let Some(known) = Key::from_name(key) {
        return Owner::Ours(Scope::Job, known);
    }
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
    near_miss(key, &scope, rest)
        .map(|near| scope.qualify(near))
        .or_else(|| other_case_of_side(key))
        .map_or(Owner::Foreign, Owner::NearMiss)
}

/// The scope of `config_file` in `key`: `orders.config_file` holds the settings of `orders`.
#[must_use]
pub fn config_file_scope(key: &str, names: &Names) -> Option<Scope> {
    let (scope, rest) = split_scope(key, names);
    (rest == "config_file").then_some(scope)
}

/// Splits one prefix off that is `source`, `sink` or a name of the statement.
fn split_scope<'k>(key: &'k str, names: &Names) -> (Scope, &'k str) {
    let Some((prefix, rest)) = key.split_once('.') else { return (Scope::Job, key) };
    match prefix {
        "source" => (Scope::Source, rest),
        "sink" => (Scope::Sink, rest),
        _ => names
            .0
            .get(&prefix.to_lowercase())
            .map_or((Scope::Job, key), |name| (Scope::Named(name.clone()), rest)),
    }
}

/// `SOURCE.batch.size`: a side in another case, before a key in any.
fn other_case_of_side(key: &str) -> Option<String> {
    let (prefix, rest) = key.split_once('.')?;
    let scope = match prefix.to_ascii_lowercase().as_str() {
        "source" => Scope::Source,
        "sink" => Scope::Sink,
        _ => return None,
    };
    let folded = fold(rest);
    KEYS.iter().find(|def| fold(def.name) == folded).map(|def| scope.qualify(def.key))
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
    let names = KEYS.iter().map(|def| def.name).filter(|name| name.len().abs_diff(key.len()) <= limit);
    let (_, name) = velo_schema::nearest(key, names).filter(|(edits, _)| *edits <= limit)?;
    Key::from_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner_in(key: &str) -> Owner {
        let names = Names::new(&[Name { span: 0..0, text: "orders".into(), is_sink: false }]);
        owner(key, &RawValue::Unknown, &names)
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
        assert_eq!(owner_in("SINK.Batch.Size"), Owner::NearMiss("sink.batch.size".into()));
        for foreign in KNOWN_FOREIGN.iter().chain(&["retry.policy", "max_rows", "format", "linger.ms"]) {
            assert_eq!(owner_in(foreign), Owner::Foreign, "{foreign}");
        }
    }
}
