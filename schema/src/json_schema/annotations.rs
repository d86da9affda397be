//! What an editor shows and offers for each key. None of it refuses anything, so that it is there in
//! every document, whatever else that holds.

use serde_json::{Map, Value as Json, json};

use super::facts::{self, Facts};
use super::{Shape, takes};
use crate::keys::{KEYS, KeyDef};
use crate::reference;
use crate::strategy::{FailureStrategy, OnExhausted, StrategyKind, Words};
use crate::value::Kind;

/// One definition a key, and in the nested shape one a mapping.
pub(super) fn definitions(facts: Facts) -> Map<String, Json> {
    let mut definitions: Map<_, _> =
        KEYS.iter().map(|def| (def.name.to_owned(), of_key(facts.shape, def))).collect();
    if facts.shape == Shape::Yaml {
        for (name, doc) in GROUPS {
            definitions.insert((*name).to_owned(), group(facts, name, doc));
        }
        for (name, doc) in SIDES {
            let side = json!({
                "title": name,
                "description": doc,
                "properties": scope(facts, "source."),
                "patternProperties": dotted(facts, ""),
            });
            definitions.insert((*name).to_owned(), side);
        }
    }
    definitions
}

/// The mappings that hold keys.
const GROUPS: &[(&str, &str)] = &[
    ("batch", "How records are grouped into batches."),
    ("dlq", "The dead letter queue."),
    ("transaction", "How batches share a Kafka transaction."),
];

/// The mappings that hold a side's settings.
const SIDES: &[(&str, &str)] = &[
    ("source", "Settings of the sources. A source inherits what is not set here from the job."),
    ("sink", "Settings of the sinks. A sink inherits what is not set here from the job."),
];

/// What an editor shows and offers in a document.
pub(super) fn root(facts: Facts) -> Map<String, Json> {
    let (properties, patterns) = match facts.shape {
        Shape::With => {
            let every = facts::settings().map(|(prefix, def)| (format!("{prefix}{}", def.name), def.name));
            (every.map(|(path, name)| (path, facts.reference(name))).collect(), Map::new())
        }
        Shape::Yaml => {
            let mut properties = scope(facts, "");
            properties.extend(SIDES.iter().map(|(side, _)| ((*side).to_owned(), facts.reference(side))));
            let mut patterns = dotted(facts, "(?:(?:source|sink)\\.)?");
            let groups = GROUPS.iter().filter(|(group, _)| has_keys(group, "source."));
            patterns.extend(
                groups.map(|(group, _)| (format!("^(?:source|sink)\\.{group}$"), facts.reference(group))),
            );
            (properties, patterns)
        }
    };
    let mut body = Map::from_iter([("properties".to_owned(), Json::Object(properties))]);
    if !patterns.is_empty() {
        body.insert("patternProperties".to_owned(), patterns.into());
    }
    body
}

/// Whether a mapping holds keys that a scope takes.
fn has_keys(group: &str, prefix: &str) -> bool {
    KEYS.iter().any(|def| takes(def, prefix) && below(def, group).is_some())
}

/// The name of a key in its mapping.
fn below(def: &'static KeyDef, group: &str) -> Option<&'static str> {
    def.name.strip_prefix(group)?.strip_prefix('.')
}

fn group(facts: Facts, group: &str, doc: &str) -> Json {
    let keys = KEYS.iter().filter_map(|def| Some((below(def, group)?.to_owned(), facts.reference(def.name))));
    json!({"title": group, "description": doc, "properties": keys.collect::<Map<_, _>>()})
}

/// The mappings and keys of the job or of a side.
fn scope(facts: Facts, prefix: &str) -> Map<String, Json> {
    let groups = GROUPS.iter().map(|(group, _)| *group).filter(|group| has_keys(group, prefix));
    let keys = KEYS.iter().filter(|def| takes(def, prefix) && !def.name.contains('.')).map(|def| def.name);
    groups.chain(keys).map(|name| (name.to_owned(), facts.reference(name))).collect()
}

/// Dotted keys, which are explained; only nested ones are offered.
fn dotted(facts: Facts, prefix: &str) -> Map<String, Json> {
    let is_offered = |def: &&KeyDef| prefix.is_empty() && !def.name.contains('.');
    let pattern = |def: &KeyDef| format!("^{prefix}{}$", def.name.replace('.', "\\."));
    KEYS.iter().filter(|def| !is_offered(def)).map(|def| (pattern(def), facts.reference(def.name))).collect()
}

fn of_key(shape: Shape, def: &KeyDef) -> Json {
    let mut schema = Map::new();
    let mut insert = |key: &str, value: Json| schema.insert(key.to_owned(), value);
    insert("title", json!(def.name));
    insert("description", json!(def.doc));
    insert("markdownDescription", json!(reference::hover(def, shape)));
    if let Some(default) = def.default {
        insert("default", written(shape, def.kind, default));
    }
    insert("defaultSnippets", values(shape, def).into());
    insert("x-velo-unit", json!(def.kind.unit()));
    insert("x-velo-origin", json!(def.origin.word()));
    schema.into()
}

/// A value as it is written in a shape: in a clause everything is text.
pub(super) fn written(shape: Shape, kind: Kind, text: &str) -> Json {
    match (shape, kind) {
        (Shape::Yaml, Kind::Integer { .. }) => text.parse::<u64>().map_or_else(|_| json!(text), |n| json!(n)),
        (Shape::Yaml, Kind::Boolean) => json!(text == "true"),
        _ => json!(text),
    }
}

/// The values that are offered: every word, else the example.
fn values(shape: Shape, def: &KeyDef) -> Vec<Json> {
    fn words<W: Words>() -> Vec<Json> {
        let offer = |word: &W| json!({"label": word.word(), "description": word.doc(), "body": word.word()});
        W::ALL.iter().map(offer).collect()
    }
    let offer = |text: &str| json!({"label": text, "body": written(shape, def.kind, text)});
    match def.kind {
        Kind::Strategy => words::<StrategyKind>(),
        Kind::FailureStrategy => words::<FailureStrategy>(),
        Kind::OnExhausted => words::<OnExhausted>(),
        Kind::Boolean => ["true", "false"].map(offer).to_vec(),
        Kind::Integer { .. } | Kind::Duration { .. } | Kind::Topic => vec![offer(def.example)],
    }
}
