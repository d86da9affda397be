//! Whose a document is: its entries in, whether they are settings of ours out. Most YAML files that say `batch`, `source`
//! or `timeout` belong to somebody else.

use rustc_hash::FxHashSet as HashSet;
use velo_schema::keys::{KEYS, Key};
use velo_schema::neighbours::{COMMON_BATCH_KEYS, FOREIGN_CLAUSE, FOREIGN_ROOT, SCHEMA_KEY};
use velo_schema::placeholder::{Placeholder, placeholder};
use velo_schema::strategy::Words;
use velo_schema::{FailureStrategy, StrategyKind};

use super::scalar::resolved;
use crate::ownership::{Names, Owner, owner};
use crate::scan::{RawEntry, RawValue};
use crate::template::has_tag;

/// Whether an entry is ours, or nearly, by its name alone.
pub(super) fn is_word_of_ours(text: &str, entry: &RawEntry, names: &Names) -> bool {
    let owner = owner(entry.name(text), &entry.value, names);
    matches!(owner, Owner::Ours(..) | Owner::Unknown(Some(_)) | Owner::WrongScope(..))
}

/// Whether the entries of a document are settings of ours.
pub(super) fn is_ours(text: &str, entries: &[RawEntry]) -> bool {
    let names = Names::default();
    let mut batch_keys = false;
    let mut surely = false;
    let (mut strangers, mut of_others, mut company) = (false, false, false);
    // The mappings that hold words of ours, and those that say which type of thing they describe.
    let (mut worded, mut typed) = (HashSet::default(), HashSet::default());
    for entry in entries {
        let path = entry.name(text);
        let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
        let is_side = |path: &str| matches!(path, "source" | "sink");
        // A file of nothing but our words is ours, whatever their values; beside others they may be theirs.
        let first = path.split('.').next().unwrap_or_default();
        company |= path != SCHEMA_KEY.0
            && !is_side(first)
            && !KEYS.iter().any(|def| def.name.split('.').next() == Some(first));
        let at_side = parent.is_empty() || is_side(parent);
        if (is_side(path) && entry.value != RawValue::Missing)
            || (at_side && last != "type" && FOREIGN_CLAUSE.contains(&last))
            || FOREIGN_ROOT.contains(&path)
            || path.starts_with("spring.")
        {
            return false;
        }
        if last == "type" {
            typed.insert(parent);
        }
        surely |= names_our_schema(text, entry);
        match owner(path, &entry.value, &names) {
            Owner::Ours(_, key) => {
                let bare = path.len() - key.name().len();
                worded.extend([parent, path[..bare].trim_end_matches('.')]);
                batch_keys |= key.name().starts_with("batch.");
                surely |= match key {
                    Key::FailureStrategy => is_near::<FailureStrategy>(text, &entry.value),
                    Key::BatchStrategy => is_near::<StrategyKind>(text, &entry.value),
                    _ => false,
                };
                of_others |= !could_be_meant(text, key, &entry.value);
                surely |= key.name().starts_with("batch.") && !COMMON_BATCH_KEYS.contains(&key);
            }
            // A slip of the pen is ours; another word is somebody else's.
            Owner::Unknown(near) => {
                strangers |= near.is_none_or(|near| strsim::osa_distance(&near, path) > 2);
            }
            Owner::WrongScope(..) | Owner::NearMiss(_) | Owner::Foreign => {}
        }
    }
    let is_typed = worded.iter().any(|mapping| typed.contains(mapping));
    let describes_others = typed.contains("source") || typed.contains("sink");
    let could_be_others = strangers || describes_others || (of_others && company);
    !is_typed && (surely || (batch_keys && !could_be_others))
}

/// Whether a text that cannot be parsed has a line that sets a strategy to one of our words.
pub(super) fn has_lines_of_ours(text: &str) -> bool {
    let is_of_mark = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '{' | '}' | ',');
    let is_ours = |entry: &str| {
        let (key, value) = entry.split_once(':')?;
        let (key, value) = (key.trim_matches(is_of_mark), value.trim_matches(is_of_mark));
        Some(match key.rsplit('.').next() {
            Some("failure_strategy") => FailureStrategy::from_text(value).is_some(),
            Some("strategy") => StrategyKind::from_text(value).is_some() && text.contains("batch"),
            _ => false,
        })
    };
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines
        .flat_map(|line| line.split(','))
        .any(|entry| is_ours(entry.trim_start_matches(['{', ' '])).unwrap_or(false))
        && !has_tag(text)
}

/// True if an entry declares its document to be ours by the schema that it names.
pub(crate) fn names_our_schema(text: &str, entry: &RawEntry) -> bool {
    let names_ours =
        matches!(&entry.value, RawValue::Text(name) if text[name.span.clone()].contains(SCHEMA_KEY.1));
    names_ours && entry.name(text) == SCHEMA_KEY.0
}

/// Whether a value is one of our words, or nearly one: the JSON Schema draws the same line.
fn is_near<W: Words>(text: &str, value: &RawValue) -> bool {
    let RawValue::Text(value) = value else { return false };
    let word = &text[value.span.clone()];
    // A list or a mapping is no word, however near it is to one.
    if word.starts_with(['[', '{']) {
        return false;
    }
    W::from_text(word).is_some() || W::ALL.iter().any(|known| strsim::osa_distance(word, known.word()) <= 2)
}

/// Whether a value is one of its key in our spelling, or not known: words that everybody uses hold all
/// sorts of things elsewhere.
fn could_be_meant(text: &str, key: Key, value: &RawValue) -> bool {
    let value = match value {
        RawValue::Text(value) => value,
        RawValue::Missing | RawValue::NotAnOption => return false,
        RawValue::Unknown => return true,
    };
    let written = &text[value.span.clone()];
    let is_value = |text: &str| key.def().parse(text).is_ok_and(|parsed| parsed.canonical.is_none());
    match placeholder(written) {
        Some(Placeholder::Unknown) => true,
        Some(Placeholder::Default(default, _)) => is_value(default),
        None if value.quoted => is_value(written),
        None => is_value(&resolved(written)),
    }
}
