//! Facts about a document, as schemas that it matches: which settings it has, in which spelling.
//!
//! A nested setting may join any of its mappings with dots: `source.batch.size`, `source.batch: {size}`,
//! `source: {batch.size}` and `source: {batch: {size}}` are one setting.

use serde_json::{Map, Value as Json, json};

use super::{PREFIXES, Shape, takes};
use crate::keys::{KEYS, Key, KeyDef};

/// All of these hold.
pub(super) fn all(of: impl IntoIterator<Item = Json>) -> Json {
    json!({"allOf": of.into_iter().collect::<Vec<_>>()})
}

/// Any of these holds.
pub(super) fn any(of: impl IntoIterator<Item = Json>) -> Json {
    json!({"anyOf": of.into_iter().collect::<Vec<_>>()})
}

/// This does not hold.
pub(super) fn not(of: &Json) -> Json {
    json!({"not": of})
}

/// The mapping has a name that matches `pattern`.
pub(super) fn some_name(pattern: &str) -> Json {
    json!({"type": "object", "not": {"propertyNames": {"not": {"pattern": pattern}}}})
}

/// What is no mapping.
pub(super) fn scalar() -> Json {
    json!({"type": ["string", "number", "boolean", "array", "null"]})
}

/// There is a value at the dotted `path`, and it matches `leaf`.
pub(super) fn at(shape: Shape, path: &str, leaf: &Json) -> Json {
    match shape {
        Shape::With => here(path, leaf.clone()),
        Shape::Yaml => nested(&path.split('.').collect::<Vec<_>>(), leaf),
    }
}

fn here(name: &str, mut value: Json) -> Json {
    if let Json::Object(value) = &mut value {
        // Some editors would offer what a condition names.
        value.insert("doNotSuggest".to_owned(), json!(true));
    }
    json!({"type": "object", "required": [name], "properties": {name: value}})
}

/// Any of these holds, without `anyOf`: within a mapping, editors would show that instead of its page.
fn either(of: impl IntoIterator<Item = Json>) -> Json {
    not(&all(of.into_iter().map(|one| not(&one))))
}

fn nested(parts: &[&str], leaf: &Json) -> Json {
    if parts.len() == 1 {
        spelled(parts, 1, leaf)
    } else {
        either((1..=parts.len()).map(|joined| spelled(parts, joined, leaf)))
    }
}

/// The value at a path whose first `joined` parts are one dotted name.
fn spelled(parts: &[&str], joined: usize, leaf: &Json) -> Json {
    let rest = &parts[joined..];
    here(&parts[..joined].join("."), if rest.is_empty() { leaf.clone() } else { nested(rest, leaf) })
}

/// The name of the definition that says that a setting is there.
fn name(path: &str) -> String {
    format!("has-{path}")
}

/// The settings with each prefix that is known beforehand, as dotted paths.
pub(super) fn settings() -> impl Iterator<Item = (&'static str, &'static KeyDef)> {
    PREFIXES
        .iter()
        .flat_map(|prefix| KEYS.iter().filter(move |def| takes(def, prefix)).map(move |def| (*prefix, def)))
}

/// One definition a setting: that it is there. Those of a side are made of the job's.
pub(super) fn definitions(facts: Facts) -> Map<String, Json> {
    let of_setting = |(prefix, def): (&str, &KeyDef)| {
        let path = format!("{prefix}{}", def.name);
        let schema = match (facts.shape, prefix.strip_suffix('.')) {
            (Shape::Yaml, Some(side)) => {
                let parts: Vec<_> = path.split('.').collect();
                let in_side = here(side, all([facts.has("", def.key)]));
                either(
                    [in_side]
                        .into_iter()
                        .chain((2..=parts.len()).map(|joined| spelled(&parts, joined, &json!(true)))),
                )
            }
            _ => at(facts.shape, &path, &json!(true)),
        };
        (name(&path), schema)
    };
    settings().map(of_setting).collect()
}

/// Refers to the definitions.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    /// How settings are written.
    pub shape: Shape,
    /// The name under which definitions stand.
    pub definitions: &'static str,
}

impl Facts {
    /// The definition of this name.
    pub(super) fn reference(self, name: &str) -> Json {
        json!({"$ref": format!("#/{}/{name}", self.definitions)})
    }

    /// The setting is there.
    pub(super) fn has(self, prefix: &str, key: Key) -> Json {
        self.reference(&name(&format!("{prefix}{key}")))
    }

    /// The setting is there and matches `leaf`.
    pub(super) fn is(self, prefix: &str, key: Key, leaf: &Json) -> Json {
        at(self.shape, &format!("{prefix}{key}"), leaf)
    }
}
