//! Whether a document or a clause is ours at all, decided as lint decides it: most files that say
//! `batch`, `source` or `timeout` belong to somebody else, and about those the schema says nothing.

use serde_json::{Map, Value as Json, json};

use super::facts::{Facts, all, any, at, not, scalar, settings, some_name};
use super::{PREFIXES, Shape, edits, names, pattern, takes};
use crate::keys::{KEYS, Key};
use crate::neighbours::{COMMON_BATCH_KEYS, FOREIGN_CLAUSE, FOREIGN_ROOT, SCHEMA_KEY};
use crate::strategy::{FailureStrategy, StrategyKind, Words};

/// A clause of dotted keys that no other system's key marks.
pub(super) fn clause() -> Json {
    let letters = |name: &str| {
        name.chars().map(|c| if c == '.' { "\\.".into() } else { pattern::any_case(c) }).collect()
    };
    let foreign: Vec<String> = FOREIGN_CLAUSE.iter().map(|name| letters(name)).collect();
    not(&some_name(&format!("^(?:{})$", foreign.join("|"))))
}

/// The clause has a key of ours: beside it a near miss means something.
pub(super) fn has_a_key(facts: Facts) -> Json {
    any(settings().map(|(prefix, def)| facts.has(prefix, def.key)))
}

/// The definition `ours` of a document, and those it is made of.
pub(super) fn document(facts: Facts) -> Map<String, Json> {
    let word = |pattern: String| json!({"type": "string", "pattern": pattern});
    Map::from_iter([
        ("near-failure-strategy".to_owned(), word(near::<FailureStrategy>())),
        ("near-strategy".to_owned(), word(near::<StrategyKind>())),
        ("stranger".to_owned(), json!({"pattern": names::stranger()})),
        ("ours".to_owned(), is_ours(facts)),
    ])
}

fn is_ours(facts: Facts) -> Json {
    let batch_keys = settings().filter(|(_, def)| def.name.starts_with("batch."));
    let likely = all([
        any(batch_keys.map(|(prefix, def)| facts.has(prefix, def.key))),
        not(&any(strangers(facts))),
        not(&any(names::SIDES.map(|side| at(facts.shape, &format!("{side}.type"), &scalar())))),
        any([facts.reference("values"), not(&company())]),
    ]);
    let is_ours = any(surely(facts).chain([likely]));
    json!({"type": "object", "allOf": [not(&any(foreign(facts))), is_ours]})
}

/// There is more than our words.
fn company() -> Json {
    let other = format!("^(?!(?:{}|\\$schema)(?:\\.|$))", names::first_parts());
    json!({"type": "object", "not": {"patternProperties": {other: {"type": "object", "maxProperties": 0}}}})
}

/// What only our documents have.
fn surely(facts: Facts) -> impl Iterator<Item = Json> {
    let (key, ours) = SCHEMA_KEY;
    let by_schema = at(Shape::With, key, &json!({"type": "string", "pattern": ours}));
    let words = PREFIXES.iter().flat_map(move |prefix| {
        let near = |name: &str| all([facts.reference(name)]);
        [
            facts.is(prefix, Key::FailureStrategy, &near("near-failure-strategy")),
            facts.is(prefix, Key::BatchStrategy, &near("near-strategy")),
        ]
    });
    let is_telling = |key: Key| key.name().starts_with("batch.") && !COMMON_BATCH_KEYS.contains(&key);
    let keys = settings().filter(move |(_, def)| is_telling(def.key));
    words.chain(keys.map(move |(prefix, def)| facts.has(prefix, def.key))).chain([by_schema])
}

/// One of our words, or nearly one.
fn near<W: Words>() -> String {
    let nearly: Vec<_> = W::ALL.iter().map(|word| edits::two(word.word(), "[\\s\\S]")).collect();
    format!("^(?:\\s*(?:{})\\s*|{})$", pattern::words::<W>(), nearly.join("|"))
}

/// Mappings that call a key of `batch` by a name that is not even nearly one of ours.
fn strangers(facts: Facts) -> Vec<Json> {
    let some = |prefix: &str| {
        let stranger = json!({"allOf": [{"pattern": format!("^{prefix}")}, facts.reference("stranger")]});
        let by_name = json!({"type": "object", "not": {"propertyNames": not(&stranger)}});
        any([by_name, names::mapping_below_batch(prefix)])
    };
    let groups = PREFIXES.iter().map(|prefix| at(facts.shape, &format!("{prefix}batch"), &some("")));
    let in_sides = names::SIDES.map(|side| at(facts.shape, side, &some("batch\\.")));
    groups.chain(in_sides).chain([some("(?:(?:source|sink)\\.)?batch\\.")]).collect()
}

/// What only documents of others have.
fn foreign(facts: Facts) -> Vec<Json> {
    let at = |path: &str, leaf: &Json| at(facts.shape, path, leaf);
    let no_mapping = json!({"type": ["string", "number", "boolean", "array"]});
    let mut found: Vec<_> = names::SIDES.iter().map(|side| at(side, &no_mapping)).collect();
    let marks = FOREIGN_CLAUSE.iter().filter(|mark| **mark != "type" && !mark.contains('.'));
    for mark in marks {
        found.extend(PREFIXES.iter().map(|prefix| at(&format!("{prefix}{mark}"), &scalar())));
    }
    found.extend(FOREIGN_ROOT.iter().map(|key| at(key, &scalar())));
    found.push(at("spring", &json!({"type": "object", "minProperties": 1})));
    found.push(some_name("^spring\\."));
    for prefix in PREFIXES {
        let has = |below: &str| {
            let keys = KEYS.iter().filter(|def| takes(def, prefix) && def.name.starts_with(below));
            any(keys.map(|def| facts.has(prefix, def.key)))
        };
        for group in ["", "batch.", "dlq.", "transaction."] {
            if KEYS.iter().any(|def| takes(def, prefix) && def.name.starts_with(group)) {
                found.push(all([at(&format!("{prefix}{group}type"), &scalar()), has(group)]));
            }
        }
    }
    found
}
