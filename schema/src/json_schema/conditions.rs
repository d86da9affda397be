//! What holds under a condition: which keys a strategy ignores, and which other keys a key needs.

use serde_json::{Map, Value as Json, json};

use super::facts::{Facts, all, any, not};
use super::{PREFIXES, Shape, takes, value};
use crate::keys::{KEYS, Key, KeyDef, Relevance, RequiredWhen};
use crate::strategy::{StrategyKind, Words};

/// What keys need: the key that must be there, the keys that ask for it, and whether only where batches are made.
fn needs() -> impl Iterator<Item = (Key, Vec<Key>, bool)> {
    let asking =
        |asks: &dyn Fn(&KeyDef) -> bool| KEYS.iter().filter(|def| asks(def)).map(|def| def.key).collect();
    KEYS.iter().filter_map(move |def| match def.required_when? {
        RequiredWhen::StrategyKeySet => {
            Some((def.key, asking(&|def| !def.applies_to(StrategyKind::FixedSize)), true))
        }
        RequiredWhen::RetryKeySet => {
            Some((def.key, asking(&|def| def.relevance == Relevance::Retries), false))
        }
    })
}

fn lacking(key: Key, prefix: &str) -> String {
    format!("lacks-{prefix}{key}")
}

fn ignored_by(strategy: StrategyKind) -> String {
    format!("ignored-by-{strategy}")
}

/// One definition a scope and needed key: that the scope lacks it. One a strategy: the mark of a key it ignores.
pub(super) fn definitions(facts: Facts) -> Map<String, Json> {
    let mut definitions = Map::new();
    for (needed, _, of_batches) in needs() {
        for prefix in PREFIXES {
            let mut lacks = vec![not(&facts.has(prefix, needed))];
            if of_batches {
                lacks.push(not(&off(facts, prefix)));
            }
            definitions.insert(lacking(needed, prefix), all(lacks));
        }
    }
    for strategy in StrategyKind::ALL {
        let message = format!("Has no effect under {strategy}.");
        let mark = json!({"deprecated": true, "deprecationMessage": message});
        definitions.insert(ignored_by(*strategy), mark);
        let below = |def: &KeyDef| {
            Some((def.name.strip_prefix("batch.")?.to_owned(), facts.reference(&ignored_by(*strategy))))
        };
        let keys: Map<_, _> = ignored_keys(*strategy).filter_map(below).collect();
        definitions
            .insert(ignored_by(*strategy) + "-in-batch", json!({"properties": keys, "doNotSuggest": true}));
    }
    definitions
}

fn ignored_keys(strategy: StrategyKind) -> impl Iterator<Item = &'static KeyDef> {
    KEYS.iter().filter(move |def| !def.applies_to(strategy))
}

/// The keys that keys need: a key of the job is in vain only if neither side has what it needs.
pub(super) fn requirements(facts: Facts) -> Vec<Json> {
    const SIDES: [&str; 2] = ["source.", "sink."];
    let mut conditions = Vec::new();
    for (needed, asking, _) in needs() {
        let lacks = |prefix: &str| facts.reference(&lacking(needed, prefix));
        let require = |prefix: &str| json!({"required": [format!("{prefix}{needed}")]});
        for key in &asking {
            // The job's value, unless a side uses it and has what it needs.
            let in_vain = SIDES.map(|side| any([facts.has(side, *key), lacks(side)]));
            let condition = [facts.has("", *key), lacks("")].into_iter().chain(in_vain);
            conditions.push(json!({"if": all(condition), "then": require("")}));
        }
        for side in SIDES {
            let asks = any(asking.iter().map(|key| facts.has(side, *key)));
            let of_job = not(&facts.has("", needed));
            conditions.push(json!({"if": all([asks, lacks(side), of_job]), "then": require(side)}));
        }
    }
    conditions
}

/// Batching is switched off in a scope.
fn off(facts: Facts, prefix: &str) -> Json {
    let is_off = |prefix: &str| facts.is(prefix, Key::BatchEnable, &value::no());
    if prefix.is_empty() {
        return is_off("");
    }
    let own = facts.is(prefix, Key::BatchEnable, &value::yes_or_no());
    any([is_off(prefix), all([not(&own), is_off("")])])
}

/// The keys that a strategy ignores are marked, as far as no other scope could use them.
pub(super) fn ignored(facts: Facts) -> Vec<Json> {
    let mut conditions = Vec::new();
    for strategy in StrategyKind::ALL {
        for prefix in PREFIXES {
            // A pattern, because editors would offer a constant.
            let word = json!({"type": "string", "pattern": format!("^\\s*{strategy}\\s*$")});
            let chosen = facts.is(prefix, Key::BatchStrategy, &word);
            let sides: &[&str] = if prefix.is_empty() { &["source.", "sink."] } else { &[] };
            let others = sides.iter().map(|side| not(&facts.has(side, Key::BatchStrategy)));
            let switches = PREFIXES.iter().map(|prefix| not(&facts.has(prefix, Key::BatchEnable)));
            let condition = all([chosen].into_iter().chain(others).chain(switches));
            conditions.push(json!({"if": condition, "then": marked(facts, prefix, *strategy)}));
        }
    }
    conditions
}

/// The keys of a scope with a mark, however they are written.
fn marked(facts: Facts, prefix: &str, strategy: StrategyKind) -> Json {
    let mark = || facts.reference(&ignored_by(strategy));
    let in_batch = || facts.reference(&(ignored_by(strategy) + "-in-batch"));
    let keys = || ignored_keys(strategy).filter(|def| takes(def, prefix));
    let mut properties: Map<_, _> = keys().map(|def| (format!("{prefix}{}", def.name), mark())).collect();
    if facts.shape == Shape::Yaml {
        properties.insert(format!("{prefix}batch"), in_batch());
        if let Some(side) = prefix.strip_suffix('.') {
            let mut of_side: Map<_, _> = keys().map(|def| (def.name.to_owned(), mark())).collect();
            of_side.insert("batch".to_owned(), in_batch());
            properties.insert(side.to_owned(), json!({"properties": of_side, "doNotSuggest": true}));
        }
    }
    json!({"properties": properties})
}
