//! Whose key it is: a key as written in, ours (scope and key), a mistake of ours, or somebody else's out.
//!
//! Dozens of systems write options as `WITH ('name' = 'value')`, and several spell names exactly as
//! we do and mean something else. A linter that goes by names alone cries wolf on all of them; the
//! rules here keep silent wherever a name is not surely ours.

use velo_schema::keys::{KEYS, Key, Scopes};
use velo_schema::neighbours::{FOREIGN_CLAUSE, FOREIGN_KEYS as KNOWN_FOREIGN};
use velo_schema::strategy::Words;
use velo_schema::{FailureStrategy, Scope};

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};

use crate::scan::{Clause, Form, Name, RawValue};

/// The key that names a configuration file.
pub const CONFIG_FILE: &str = "config_file";

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

/// The names that a statement's keys may begin with. Identifiers are the same in any case; of names that
/// differ in nothing else, the one spelled alike is meant.
#[derive(Debug, Clone, Default)]
pub struct Names {
    exact: HashMap<String, String>,
    any_case: HashMap<String, String>,
    /// The most dots in any of them.
    dots: usize,
}

impl Names {
    /// The names of a statement. The last part of a dotted name stands for it unless another name has it, too.
    #[must_use]
    pub fn new(names: &[Name]) -> Self {
        let mut known = Self::default();
        let mut short = HashMap::<&str, &str>::default();
        let mut ambiguous = HashSet::default();
        for name in names {
            known.add(&name.text, &name.text);
            if let Some(last) = &name.short
                && short.insert(last, &name.text).is_some_and(|other| other != name.text)
            {
                ambiguous.insert(last.as_str());
            }
        }
        for (last, name) in short.into_iter().filter(|(last, _)| !ambiguous.contains(last)) {
            known.add(last, name);
        }
        known
    }

    fn add(&mut self, written: &str, name: &str) {
        self.dots = self.dots.max(written.matches('.').count());
        self.exact.entry(written.to_owned()).or_insert_with(|| name.to_owned());
        self.any_case.entry(written.to_lowercase()).or_insert_with(|| name.to_owned());
    }

    fn get(&self, written: &str) -> Option<&String> {
        self.exact.get(written).or_else(|| self.any_case.get(&written.to_lowercase()))
    }

    /// Splits a scope off `key`: `source`, `sink` or a name, which may have dots. Of several ways to split it,
    /// the one that leaves a key which `is_known`, otherwise the longest name.
    pub(crate) fn split<'k>(&self, key: &'k str, is_known: impl Fn(&str) -> bool) -> (Scope, &'k str) {
        // Kafka's limit for the name of a topic.
        const LONGEST: usize = 249;
        let dots = key.match_indices('.').map(|(at, _)| at);
        let dots = dots.take_while(|at| *at <= LONGEST).take(self.dots.saturating_add(1));
        let mut first = None;
        for (number, at) in dots.collect::<Vec<_>>().into_iter().enumerate().rev() {
            let (prefix, rest) = (&key[..at], &key[at + 1..]);
            let scope = match prefix {
                "source" if number == 0 => Some(Scope::Source),
                "sink" if number == 0 => Some(Scope::Sink),
                _ => self.get(prefix).map(|name| Scope::Named(name.clone())),
            };
            let Some(scope) = scope else { continue };
            if is_known(rest) {
                return (scope, rest);
            }
            first = first.or(Some((scope, rest)));
        }
        first.unwrap_or((Scope::Job, key))
    }

    /// The name that `written` is most probably a slip of.
    fn slip(&self, written: &str) -> Option<&String> {
        // Every name is compared; a statement with more has them from a program, which does not slip.
        const MOST: usize = 32;
        let written = written.to_lowercase();
        let names = self.any_case.iter().filter(|_| self.any_case.len() <= MOST);
        let near = names.filter(|(name, _)| name.len() > 3 && is_slip(&written, name));
        near.map(|(_, name)| name).min()
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
    let (scope, rest) = names.split(key, is_key);
    if let Some(known) = Key::from_name(rest) {
        return match known.def().scopes {
            Scopes::JobOnly if scope != Scope::Job => Owner::WrongScope(scope, known),
            Scopes::JobOnly | Scopes::Every => Owner::Ours(scope, known),
        };
    }
    if KNOWN_FOREIGN.contains(&key) || KNOWN_FOREIGN.contains(&rest) {
        return Owner::Foreign;
    }
    if !matches!(scope, Scope::Named(_)) && rest.starts_with("batch.") {
        return Owner::Unknown(nearest(rest, 3).map(|near| scope.qualify(near)));
    }
    near_miss(key, &scope, rest)
        .map(|near| scope.qualify(near))
        .or_else(|| misspelt_scope(key, names, near_key))
        .map_or(Owner::Foreign, Owner::NearMiss)
}

fn is_key(rest: &str) -> bool {
    Key::from_name(rest).is_some()
}

/// Whether a key says what becomes of records that fail. A setting of this kind that has no effect loses records.
#[must_use]
pub fn is_failure_key(key: Key) -> bool {
    !key.name().starts_with("batch.") && key != Key::TransactionBatches
}

/// How grave a near miss is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// A setting of batches keeps its default.
    Batches,
    /// Records that fail meet with another fate than the one that was meant, or a whole side does.
    Failures,
}

/// How grave it is that `key` was written where `near` was meant.
#[must_use]
pub fn weight(key: &str, near: &str) -> Weight {
    let of_failures = KEYS.iter().any(|def| is_failure_key(def.key) && is_key_of(near, def.name));
    // Of a misspelt scope the rest is right.
    let rest = near.split_once('.').map_or("", |(_, rest)| rest);
    let is_misspelt_scope = key.split_once('.').is_some_and(|(_, written)| written == rest && is_key(rest));
    if of_failures || is_misspelt_scope { Weight::Failures } else { Weight::Batches }
}

fn is_key_of(qualified: &str, name: &str) -> bool {
    qualified.strip_suffix(name).is_some_and(|scope| scope.is_empty() || scope.ends_with('.'))
}

/// Whether a near miss counts without any key of ours beside it: `failure_strategy` with one of its values, or
/// a side misspelt before a key that is right.
pub(crate) fn counts_alone(key: &str, near: &str, value: Option<&str>) -> bool {
    let is_strategy = |value: &str| {
        let words = FailureStrategy::ALL.iter().map(|word| word.word());
        FailureStrategy::from_text(value.trim()).is_some()
            || velo_schema::meant(value.trim(), words).is_some()
    };
    let of_side = near.starts_with("source.") || near.starts_with("sink.");
    let rest = near.split_once('.').map_or("", |(_, rest)| rest);
    let is_side = of_side && is_key(rest) && key.split_once('.').is_some_and(|(_, written)| written == rest);
    is_side || (is_key_of(near, Key::FailureStrategy.name()) && value.is_some_and(is_strategy))
}

/// The failure key that `key` most probably is, in a clause that is surely ours: no name of another system is
/// spared. A key that nobody else has counts under any prefix.
#[must_use]
pub fn near_failure_key(key: &str, names: &Names) -> Option<NearFailureKey> {
    let (scope, rest) = names.split(key, is_key);
    if Key::from_name(rest).is_some() {
        return None;
    }
    let near =
        near_miss(key, &scope, rest).filter(|near| is_failure_key(*near)).map(|near| scope.qualify(near));
    let of_failures = |rest: &str| near_key(rest).filter(|near| is_failure_key(*near));
    let other_form = || other_form_of_failure_key(rest).map(|near| scope.qualify(near));
    if let Some(near) = near.or_else(|| misspelt_scope(key, names, of_failures)).or_else(other_form) {
        return Some(NearFailureKey::Misspelt(near));
    }
    let only_ours = [Key::FailureStrategy, Key::OnExhausted, Key::DlqTopic];
    let (_, prefix) = only_ours.iter().find_map(|known| Some((known, key.strip_suffix(known.name())?)))?;
    prefix.strip_suffix('.').map(|prefix| NearFailureKey::UnknownScope(prefix.to_owned()))
}

/// What is wrong with a key that is nearly one for failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NearFailureKey {
    /// It is misspelt; this is the key.
    Misspelt(String),
    /// It has a prefix that is neither a side nor a name of the statement.
    UnknownScope(String),
}

/// The scope of `config_file` in `key`: `orders.config_file` holds the settings of `orders`.
#[must_use]
pub fn config_file_scope(key: &str, names: &Names) -> Option<Scope> {
    let (scope, rest) = names.split(key, |rest| rest == CONFIG_FILE);
    (rest == CONFIG_FILE).then_some(scope)
}

/// `SOURCE.batch.size`, `soruce.batch.size`, `sink_batch.size`, `ordrs.batch.size`: a scope in another spelling
/// before what `read` takes for a key.
pub(crate) fn misspelt_scope(key: &str, names: &Names, read: impl Fn(&str) -> Option<Key>) -> Option<String> {
    if let Some((prefix, rest)) = key.split_once(['.', ':', '/'])
        && let (Some(scope), Some(near)) = (slip_of_side(prefix), read(rest))
    {
        return Some(scope.qualify(near));
    }
    for (name, scope) in [("source", Scope::Source), ("sink", Scope::Sink)] {
        let glued = key.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name));
        let rest = glued.and_then(|_| key[name.len()..].strip_prefix(['_', '-']));
        if let Some(near) = rest.and_then(&read) {
            return Some(scope.qualify(near));
        }
    }
    // A name may have dots itself; what is behind it is a key as it stands.
    let dots = key.match_indices('.').take(names.dots.saturating_add(1));
    let mut splits = dots.map(|(at, _)| (&key[..at], &key[at + 1..]));
    splits.find_map(|(prefix, rest)| {
        let known = Key::from_name(rest).filter(|key| read(key.name()).is_some())?;
        Some(Scope::Named(names.slip(prefix)?.clone()).qualify(known))
    })
}

/// The key that `rest` is, or is another spelling of, or has two edits more or less than.
fn near_key(rest: &str) -> Option<Key> {
    Key::from_name(rest).or_else(|| near_miss(rest, &Scope::Job, rest))
}

/// The side that is most probably meant: another case, a slip, an abbreviation.
fn slip_of_side(written: &str) -> Option<Scope> {
    let lower = written.to_lowercase();
    if lower == "source" || lower == "src" || is_slip(&lower, "source") {
        Some(Scope::Source)
    } else if lower == "sink" || lower == "snk" || is_slip(&lower, "sink") {
        Some(Scope::Sink)
    } else {
        None
    }
}

/// Whether `written` is `meant` with a slip of the pen: up to two edits of a word of six letters or more, one of
/// a shorter one. A number more is another name, and so is another first letter.
fn is_slip(written: &str, meant: &str) -> bool {
    let bare = |word: &str| word.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    let edits = if meant.len() < 6 { 1 } else { 2 };
    written.chars().next() == meant.chars().next()
        && bare(written) != bare(meant)
        && written.len().abs_diff(meant.len()) <= edits
        && strsim::osa_distance(written, meant) <= edits
}

/// A near miss over the whole key: another spelling of the same letters, or at most two edits.
fn near_miss(key: &str, scope: &Scope, rest: &str) -> Option<Key> {
    let same_letters = KEYS.iter().find(|def| fold(def.name).eq(fold(rest))).map(|def| def.key);
    // Two edits of a short word make any other short word.
    let edits = if rest.len() < 8 { 1 } else { 2 };
    same_letters.or_else(|| {
        let other_prefix = *scope == Scope::Job && key.contains('.');
        let near = nearest(rest, edits)?;
        (!other_prefix || near.name().split('.').count() == key.split('.').count()).then_some(near)
    })
}

/// The failure key that has the words of `rest` in other forms: `fail_strategy`, `max_retry`, `dead_letter_topic`.
fn other_form_of_failure_key(rest: &str) -> Option<Key> {
    let rest = rest.to_lowercase().replace(['.', '-'], "_");
    let queue = ["dead_letter_queue", "dead_letters", "dead_letter", "deadletter", "dlq"];
    let of_queue = queue.iter().find_map(|name| rest.strip_prefix(name));
    if of_queue.is_some_and(|rest| matches!(rest, "" | "_topic" | "_name" | "_topic_name" | "_queue")) {
        return Some(Key::DlqTopic);
    }
    let words: Vec<_> = rest.split('_').collect();
    let keys = KEYS.iter().filter(|def| is_failure_key(def.key));
    keys.map(|def| (def.key, def.name.split(['_', '.']).collect::<Vec<_>>()))
        .find(|(_, known)| known.len() == words.len() && known.iter().zip(&words).all(|(a, b)| is_form(a, b)))
        .map(|(key, _)| key)
}

/// True if both words begin with the same three letters or more, and at most three are left of either.
fn is_form(one: &str, other: &str) -> bool {
    let common = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    one == other || (common >= 3 && one.len().max(other.len()) - common <= 3)
}

fn fold(key: &str) -> impl Iterator<Item = char> {
    key.chars().filter(|c| !matches!(c, '-' | '.' | '_')).flat_map(char::to_lowercase)
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
        owner(key, &RawValue::Unknown, &named(&["orders"]))
    }

    fn named(names: &[&str]) -> Names {
        let name = |text: &&str| Name { text: (*text).to_owned(), ..Name::default() };
        Names::new(&names.iter().map(name).collect::<Vec<_>>())
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

    #[test]
    fn a_name_may_have_dots_and_stand_in_any_case() {
        let of = |key: &str, names: &Names| owner(key, &RawValue::Unknown, names);
        let ours = |name: &str| Owner::Ours(Scope::Named(name.into()), Key::BatchSize);
        let names = named(&["prod.orders", "prod", "Prod", "source.eu", "a.batch"]);
        assert_eq!(of("prod.orders.batch.size", &names), ours("prod.orders"));
        assert_eq!(of("PROD.Orders.batch.size", &names), ours("prod.orders"));
        assert_eq!(of("prod.batch.size", &names), ours("prod"));
        assert_eq!(of("Prod.batch.size", &names), ours("Prod"));
        assert_eq!(of("PROD.batch.size", &names), ours("prod"));
        assert_eq!(of("source.eu.batch.size", &names), ours("source.eu"));
        assert_eq!(of("source.batch.size", &names), Owner::Ours(Scope::Source, Key::BatchSize));
        assert_eq!(of("a.batch.batch.size", &names), ours("a.batch"));
        assert_eq!(of("prod.orders.batch.sise", &names), Owner::NearMiss("prod.orders.batch.size".into()));
        let dotted = |text: &str, short: &str| Name {
            text: text.to_owned(),
            short: Some(short.to_owned()),
            ..Name::default()
        };
        let names = Names::new(&[
            dotted("prod.orders", "orders"),
            dotted("eu.clicks", "clicks"),
            dotted("us.clicks", "clicks"),
        ]);
        assert_eq!(of("orders.batch.size", &names), ours("prod.orders"));
        assert_eq!(of("clicks.batch.size", &names), Owner::Foreign, "of which?");
    }

    #[test]
    fn a_misspelt_scope_is_a_near_miss() {
        for (key, meant) in [
            ("soruce.failure_strategy", "source.failure_strategy"),
            ("snk.batch.size", "sink.batch.size"),
            ("sinks.batch.size", "sink.batch.size"),
            ("src.dlq.topic", "source.dlq.topic"),
            ("Source.failure_stratgy", "source.failure_strategy"),
            ("sink_failure_strategy", "sink.failure_strategy"),
            ("ordrs.batch.size", "orders.batch.size"),
            ("Odrers.failure_strategy", "orders.failure_strategy"),
        ] {
            assert_eq!(owner_in(key), Owner::NearMiss(meant.into()), "{key}");
            assert_eq!(weight(key, meant), Weight::Failures, "{key}");
        }
        for foreign in
            ["link.batch.size", "sync.batch.size", "source2.batch.size", "orders2.batch.size", "soruce.topic"]
        {
            assert_eq!(owner_in(foreign), Owner::Foreign, "{foreign}");
        }
        assert_eq!(weight("Batch.Size", "batch.size"), Weight::Batches);
        assert_eq!(weight("max_retrys", "max_retries"), Weight::Failures);
    }

    #[test]
    fn in_a_clause_of_ours_every_near_failure_key_counts() {
        let names = named(&["orders"]);
        let near = |key: &str| near_failure_key(key, &names);
        for (key, meant) in [
            ("failure_stratgy", "failure_strategy"),
            ("dlq_topic", "dlq.topic"),
            ("DLQ.Topic", "dlq.topic"),
            ("max_retrys", "max_retries"),
            ("max.retries", "max_retries"),
            ("orders.dlq_topic", "orders.dlq.topic"),
            ("snk.max_retries", "sink.max_retries"),
            ("on_exausted", "on_exhausted"),
            ("fail_strategy", "failure_strategy"),
            ("orders.max_retry", "orders.max_retries"),
            ("dlq.name", "dlq.topic"),
            ("dead_letter_topic", "dlq.topic"),
            ("sink.dlq", "sink.dlq.topic"),
        ] {
            assert_eq!(near(key), Some(NearFailureKey::Misspelt(meant.into())), "{key}");
        }
        assert_eq!(near("clicks.dlq.topic"), Some(NearFailureKey::UnknownScope("clicks".into())));
        for other in [
            "failure_strategy",
            "orders.dlq.topic",
            "batch.sise",
            "topic",
            "retry.backoff.ms",
            "client.id",
            "max_rows",
            "retry_time",
        ] {
            assert_eq!(near(other), None, "{other}");
        }
    }
}
