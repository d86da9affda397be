//! The JSON Schema of the settings, built from the table of keys, in two shapes and two drafts.
//!
//! [`Shape::With`] is the flat object of dotted keys that a `WITH (…)` clause is; [`Shape::Yaml`] is a
//! configuration file, nested or dotted. The schema has two layers:
//!
//! 1. What editors show and offer (`annotations`), which holds for every document.
//! 2. What is refused (`values`, `names`, `conditions`), which holds for documents that are ours (`ours`).
//!
//! It refuses what lint reports about names, types, values, ranges and required keys, and nothing that
//! lint accepts. No draft can compare two values: that the smallest size is at most the largest, only
//! lint checks.

mod annotations;
mod conditions;
mod edits;
mod facts;
mod names;
mod ours;
mod pattern;
mod snippets;
mod value;
mod values;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value as Json, json};

use crate::keys::{KeyDef, Scopes};
pub use crate::shape::Shape;
use facts::Facts;

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

    /// Returns the URI of the version.
    #[must_use]
    pub fn meta_schema(self) -> String {
        self.settings().meta_schema.unwrap_or_default().into_owned()
    }

    /// Returns the `$id` of a schema of this name: the one that it has in the catalogue of `SchemaStore`, which takes draft 7.
    #[must_use]
    pub fn id(self, name: &str) -> String {
        let draft = match self {
            Self::Draft2020_12 => "-2020-12",
            Self::Draft7 => "",
        };
        format!("https://json.schemastore.org/{name}{draft}.json")
    }

    fn settings(self) -> SchemaSettings {
        match self {
            Self::Draft2020_12 => SchemaSettings::draft2020_12(),
            Self::Draft7 => SchemaSettings::draft07(),
        }
    }
}

/// The schema of the settings.
#[must_use]
pub fn settings_schema(shape: Shape, draft: Draft) -> Schema {
    let facts = Facts { shape, definitions: draft.definitions() };
    let (name, doc, snippets) = match shape {
        Shape::With => ("velo-with-clause", "Batch and failure settings of a WITH clause.", snippets::flat()),
        Shape::Yaml => ("velo", "Batch and failure settings of a configuration file.", snippets::nested()),
    };
    let mut schema = Map::new();
    let mut insert = |key: &str, value: Json| schema.insert(key.to_owned(), value);
    insert("$schema", json!(draft.meta_schema()));
    insert("$id", json!(draft.id(name)));
    // A title here would be shown for every key that is only checked.
    insert("description", json!(doc));
    for (key, value) in annotations::root(facts) {
        insert(&key, value);
    }
    insert("defaultSnippets", snippets.into());
    insert("if", facts.reference("ours"));
    insert("then", facts.reference("right"));
    insert("allOf", conditions::ignored(facts).into());
    insert(facts.definitions, definitions(facts).into());
    schema.into()
}

fn definitions(facts: Facts) -> Map<String, Json> {
    let mut definitions = annotations::definitions(facts);
    definitions.extend(facts::definitions(facts));
    definitions.extend(values::definitions(facts));
    definitions.extend(names::definitions(facts));
    match facts.shape {
        Shape::With => drop(definitions.insert("ours".to_owned(), ours::clause())),
        Shape::Yaml => definitions.extend(ours::document(facts)),
    }
    definitions.extend(conditions::definitions(facts));
    let mut right = vec![facts.reference("values"), facts.reference("names")];
    if facts.shape == Shape::With {
        right.push(json!({"if": ours::has_a_key(facts), "then": facts.reference("near-names")}));
    }
    right.extend(conditions::requirements(facts));
    definitions.insert("right".to_owned(), facts::all(right));
    definitions
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

#[cfg(test)]
mod tests;
