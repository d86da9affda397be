//! What holds under a condition: which keys a strategy ignores, and which other keys a key needs.

use serde_json::{Map, Value as Json, json};

use super::{PREFIXES, takes};
use crate::keys::{KEYS, Key, KeyDef, Relevance, RequiredWhen};
use crate::strategy::{StrategyKind, Words};

/// The conditions on dotted keys.
pub(super) fn flat() -> Vec<Json> {
    let mut conditions = Vec::new();
    for prefix in PREFIXES {
        let at = |key: Key| vec![format!("{prefix}{key}")];
        for strategy in StrategyKind::ALL {
            let chosen = set(&at(Key::BatchStrategy), Some(strategy.word()));
            let ignored = ignored_by(*strategy).map(|def| (format!("{prefix}{}", def.name), mark(*strategy)));
            conditions.push(json!({"if": chosen, "then": {"properties": ignored.collect::<Map<_, _>>()}}));
        }
        conditions.extend(requirements(prefix, at));
    }
    conditions
}

/// The conditions that span mappings.
pub(super) fn nested() -> Vec<Json> {
    let of_prefix = |prefix: &&str| {
        let at = |key: Key| format!("{prefix}{key}").split('.').map(str::to_owned).collect::<Vec<_>>();
        requirements(prefix, at)
    };
    PREFIXES.iter().flat_map(of_prefix).collect()
}

/// Which keys of a `batch` mapping its strategy ignores.
pub(super) fn ignored_in_batch() -> Vec<Json> {
    let of_strategy = |strategy: &StrategyKind| {
        let chosen = set(&["strategy".to_owned()], Some(strategy.word()));
        let name = |def: &KeyDef| def.name.strip_prefix("batch.").unwrap_or(def.name).to_owned();
        let ignored = ignored_by(*strategy).map(|def| (name(def), mark(*strategy)));
        json!({"if": chosen, "then": {"properties": ignored.collect::<Map<_, _>>()}})
    };
    StrategyKind::ALL.iter().map(of_strategy).collect()
}

fn ignored_by(strategy: StrategyKind) -> impl Iterator<Item = &'static KeyDef> {
    KEYS.iter().filter(move |def| !def.applies_to(strategy))
}

fn mark(strategy: StrategyKind) -> Json {
    json!({"deprecated": true, "deprecationMessage": format!("Has no effect under {strategy}.")})
}

/// The keys that a key of this scope needs, here or in the job.
fn requirements(prefix: &str, at: impl Fn(Key) -> Vec<String>) -> Vec<Json> {
    let needs = |when: RequiredWhen, asks: &dyn Fn(&KeyDef) -> bool| {
        let needed = KEYS.iter().find(|def| def.required_when == Some(when))?;
        let asking = KEYS.iter().filter(|def| takes(def, prefix) && asks(def));
        let any_asks: Vec<_> = asking.map(|def| set(&at(def.key), None)).collect();
        let of_job = || needed.name.split('.').map(str::to_owned).collect::<Vec<_>>();
        let is_flat = at(needed.key).len() == 1;
        let job = if is_flat { vec![needed.name.to_owned()] } else { of_job() };
        let mut places = vec![set(&at(needed.key), None)];
        if !prefix.is_empty() {
            places.push(set(&job, None));
        }
        Some(json!({"if": {"anyOf": any_asks}, "then": {"anyOf": places}}))
    };
    let of_other_strategies = |def: &KeyDef| !def.applies_to(StrategyKind::FixedSize);
    let of_retries = |def: &KeyDef| def.relevance == Relevance::Retries;
    [needs(RequiredWhen::StrategyKeySet, &of_other_strategies), needs(RequiredWhen::RetryKeySet, &of_retries)]
        .into_iter()
        .flatten()
        .collect()
}

/// That there is something at a path, and that it is `value` if one is given.
fn set(path: &[String], value: Option<&str>) -> Json {
    let [name, rest @ ..] = path else { return json!({}) };
    let mut schema = json!({"required": [name]});
    if !rest.is_empty() {
        schema["properties"] = json!({name: set(rest, value)});
    } else if let Some(value) = value {
        schema["properties"] = json!({name: {"const": value}});
    }
    schema
}
