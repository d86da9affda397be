//! The values of the keys, wherever they may stand: definitions that refuse wrong values and nothing else.

use serde_json::{Map, Value as Json, json};

use super::facts::{self, Facts};
use super::{Shape, takes, value};
use crate::keys::KEYS;

/// The definition `values`, and those it is made of.
pub(super) fn definitions(facts: Facts) -> Map<String, Json> {
    let mut definitions: Map<_, _> =
        KEYS.iter().map(|def| (name(def.name), checked(value::schema(def.kind)))).collect();
    match facts.shape {
        Shape::With => {
            let every = facts::settings();
            let keys = every
                .map(|(prefix, def)| (format!("{prefix}{}", def.name), facts.reference(&name(def.name))));
            definitions.insert("values".to_owned(), json!({"properties": keys.collect::<Map<_, _>>()}));
        }
        Shape::Yaml => {
            definitions.insert(name("side"), json!({"properties": scope(facts, "source.")}));
            let mut root = scope(facts, "");
            for side in super::names::SIDES {
                root.insert(side.to_owned(), facts.reference(&name("side")));
                let dotted = scope(facts, "source.");
                root.extend(dotted.into_iter().map(|(name, value)| (format!("{side}.{name}"), value)));
            }
            definitions.insert("values".to_owned(), json!({"properties": root}));
        }
    }
    definitions
}

fn name(of: &str) -> String {
    format!("value-{of}")
}

/// A check that editors do not offer as a key.
fn checked(mut schema: Json) -> Json {
    schema["doNotSuggest"] = json!(true);
    schema
}

/// The keys of the job or of a side, dotted and nested.
fn scope(facts: Facts, prefix: &str) -> Map<String, Json> {
    let mut properties = Map::new();
    for def in KEYS.iter().filter(|def| takes(def, prefix)) {
        properties.insert(def.name.to_owned(), facts.reference(&name(def.name)));
        if let Some((group, below)) = def.name.split_once('.') {
            let group =
                properties.entry(group).or_insert_with(|| json!({"properties": {}, "doNotSuggest": true}));
            group["properties"][below] = facts.reference(&name(def.name));
        }
    }
    properties
}
