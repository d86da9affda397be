//! The JSON Schema of the settings, built from the table of keys, in two shapes and two drafts.
//!
//! [`Shape::With`] is the flat object of dotted keys that a `WITH (…)` clause is; [`Shape::Yaml`] the
//! nested one of a configuration file. It says what a schema can say: types, bounds, which keys a
//! strategy ignores, which it needs. That a smallest size is not above the largest, no draft can
//! say; lint does.

mod conditions;
mod pattern;
mod snippets;
mod value;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value as Json, json};

use crate::keys::{KEYS, KeyDef, Scopes};
use crate::reference;

/// A version of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draft {
    /// 2020-12.
    Draft2020_12,
    /// Draft 7, which many editors still read.
    Draft7,
}

impl Draft {
    /// Where definitions stand.
    fn definitions(self) -> &'static str {
        match self {
            Self::Draft2020_12 => "$defs",
            Self::Draft7 => "definitions",
        }
    }

    fn settings(self) -> SchemaSettings {
        match self {
            Self::Draft2020_12 => SchemaSettings::draft2020_12(),
            Self::Draft7 => SchemaSettings::draft07(),
        }
    }
}

/// How settings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Dotted keys in one flat object.
    With,
    /// Nested mappings.
    Yaml,
}

/// The schema of the settings; `lax` allows keys that are not ours.
#[must_use]
pub fn settings_schema(shape: Shape, draft: Draft, lax: bool) -> Schema {
    let builder = Builder { draft, lax };
    let (title, body) = match shape {
        Shape::With => ("Batch and failure settings of a WITH clause", builder.with_clause()),
        Shape::Yaml => ("Batch and failure settings of a configuration file", builder.yaml()),
    };
    let mut schema = Map::new();
    if let Some(meta) = draft.settings().meta_schema {
        schema.insert("$schema".to_owned(), json!(meta));
    }
    schema.insert("title".to_owned(), json!(title));
    schema.insert("type".to_owned(), json!("object"));
    schema.extend(body);
    schema.into()
}

/// The schema of any output type, in the given draft.
#[must_use]
pub fn root_schema<T: JsonSchema>(draft: Draft) -> Schema {
    draft.settings().into_generator().into_root_schema_for::<T>()
}

/// The scopes whose keys are known beforehand, as prefixes of dotted keys.
const PREFIXES: [&str; 3] = ["", "source.", "sink."];

fn takes(def: &KeyDef, prefix: &str) -> bool {
    prefix.is_empty() || def.scopes == Scopes::Every
}

#[derive(Clone, Copy)]
struct Builder {
    draft: Draft,
    lax: bool,
}

impl Builder {
    fn reference(self, name: &str) -> Json {
        json!({"$ref": format!("#/{}/{name}", self.draft.definitions())})
    }

    fn with_clause(self) -> Map<String, Json> {
        let mut properties = Map::new();
        let mut patterns = Map::new();
        for def in KEYS {
            for prefix in PREFIXES.iter().filter(|prefix| takes(def, prefix)) {
                properties.insert(format!("{prefix}{}", def.name), self.reference(def.name));
            }
            if def.scopes == Scopes::Every {
                // A source or sink by name: one prefix without a dot.
                patterns
                    .insert(format!("^[^.]+\\.{}$", def.name.replace('.', "\\.")), self.reference(def.name));
            }
        }
        let mut body = Map::new();
        body.insert("properties".to_owned(), properties.into());
        body.insert("patternProperties".to_owned(), patterns.into());
        body.insert("additionalProperties".to_owned(), json!(self.lax));
        body.insert("allOf".to_owned(), conditions::flat().into());
        body.insert("defaultSnippets".to_owned(), snippets::flat().into());
        body.insert(self.draft.definitions().to_owned(), keys().into());
        body
    }

    fn yaml(self) -> Map<String, Json> {
        let mut definitions = keys();
        definitions.insert("side".to_owned(), self.mapping("source."));
        let Json::Object(mut body) = self.mapping("") else { return Map::new() };
        if let Some(Json::Object(properties)) = body.get_mut("properties") {
            for side in ["source", "sink"] {
                properties.insert(side.to_owned(), self.reference("side"));
            }
        }
        // A source or sink by its name.
        let named = if self.lax { json!(true) } else { self.reference("side") };
        body.insert("additionalProperties".to_owned(), named);
        body.insert("allOf".to_owned(), conditions::nested().into());
        body.insert("defaultSnippets".to_owned(), snippets::nested().into());
        body.insert(self.draft.definitions().to_owned(), definitions.into());
        body
    }

    /// The mapping that holds the keys of a scope, those with a dot in mappings of their own.
    fn mapping(self, prefix: &str) -> Json {
        let mut properties = Map::new();
        for def in KEYS.iter().filter(|def| takes(def, prefix)) {
            let Some((group, name)) = def.name.split_once('.') else {
                properties.insert(def.name.to_owned(), self.reference(def.name));
                continue;
            };
            let empty = json!({"type": "object", "properties": {}, "additionalProperties": self.lax});
            let group = properties.entry(group).or_insert(empty);
            group["properties"][name] = self.reference(def.name);
        }
        if let Some(batch) = properties.get_mut("batch") {
            batch["allOf"] = conditions::ignored_in_batch().into();
        }
        json!({"type": "object", "properties": properties, "additionalProperties": self.lax})
    }
}

/// One definition a key.
fn keys() -> Map<String, Json> {
    KEYS.iter().map(|def| (def.name.to_owned(), property(def))).collect()
}

fn property(def: &KeyDef) -> Json {
    let Json::Object(mut schema) = value::schema(def.kind) else { return Json::Null };
    let mut insert = |key: &str, value: Json| schema.insert(key.to_owned(), value);
    insert("title", json!(def.name));
    insert("description", json!(def.doc));
    insert("markdownDescription", json!(reference::hover(def)));
    if let Some(default) = def.default {
        insert("default", json!(default));
    }
    insert("examples", json!([def.example]));
    insert("x-velo-unit", json!(def.kind.unit()));
    insert("x-velo-origin", json!(def.origin.word()));
    schema.into()
}

#[cfg(test)]
mod tests;
