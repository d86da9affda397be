//! The JSON Schema of a clause's settings, built from the table of keys.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value as Json, json};

use crate::keys::{KEYS, KeyDef, Scopes};
use crate::strategy::{FailureStrategy, OnExhausted, StrategyKind, Words};
use crate::value::{DURATION_UNITS, Kind};

/// A version of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draft {
    /// 2020-12.
    Draft2020_12,
    /// Draft 7, which many editors still read.
    Draft7,
}

/// The settings of a `WITH (…)` clause as a flat object of dotted keys.
#[derive(Debug)]
pub struct WithClause;

/// The schema of [`WithClause`]; `lax` allows keys that are not ours.
#[must_use]
pub fn with_clause(draft: Draft, lax: bool) -> Schema {
    let mut schema = root_schema::<WithClause>(draft);
    if lax {
        schema.remove("additionalProperties");
    }
    schema
}

/// The schema of any output type, in the given draft.
#[must_use]
pub fn root_schema<T: JsonSchema>(draft: Draft) -> Schema {
    let settings = match draft {
        Draft::Draft2020_12 => SchemaSettings::draft2020_12(),
        Draft::Draft7 => SchemaSettings::draft07(),
    };
    settings.into_generator().into_root_schema_for::<T>()
}

impl JsonSchema for WithClause {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WithClause".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut properties = Map::new();
        let mut patterns = Map::new();
        for def in KEYS {
            let value = Json::from(property(def));
            properties.insert(def.name.to_owned(), value.clone());
            if def.scopes == Scopes::Every {
                for scope in ["source", "sink"] {
                    properties.insert(format!("{scope}.{}", def.name), value.clone());
                }
                // A source or sink by name: one prefix without a dot.
                patterns.insert(format!("^[^.]+\\.{}$", def.name.replace('.', "\\.")), value);
            }
        }
        json_schema!({
            "title": "Batch and failure settings of a WITH clause",
            "type": "object",
            "properties": properties,
            "patternProperties": patterns,
            "additionalProperties": false,
        })
    }
}

fn property(def: &KeyDef) -> Schema {
    let mut schema = kind_schema(def.kind);
    schema.insert("title".into(), json!(def.name));
    schema.insert("description".into(), json!(def.doc));
    if let Some(default) = def.default {
        schema.insert("default".into(), json!(default));
    }
    schema.insert("examples".into(), json!([def.example]));
    schema.insert("x-velo-origin".into(), json!(def.origin.word()));
    schema
}

fn kind_schema(kind: Kind) -> Schema {
    match kind {
        Kind::Boolean => json_schema!({"enum": ["true", "false", true, false]}),
        Kind::Integer { min, max, unit } => json_schema!({
            "anyOf": [
                {"type": "integer", "minimum": min, "maximum": max},
                {"type": "string", "pattern": "^[0-9]+$"},
            ],
            "x-velo-unit": unit,
        }),
        Kind::Duration { .. } => json_schema!({
            "type": "string",
            "pattern": duration_pattern(),
            "x-velo-unit": "duration",
        }),
        Kind::Strategy => words_schema::<StrategyKind>(),
        Kind::FailureStrategy => words_schema::<FailureStrategy>(),
        Kind::OnExhausted => words_schema::<OnExhausted>(),
        Kind::Topic => json_schema!({
            "type": "string", "pattern": "^[A-Za-z0-9._-]+$", "maxLength": 249,
        }),
    }
}

fn words_schema<W: Words>() -> Schema {
    let words: Vec<_> = W::ALL.iter().map(|word| word.word()).collect();
    let docs: Vec<_> = W::ALL.iter().map(|word| word.doc()).collect();
    json_schema!({"type": "string", "enum": words, "enumDescriptions": docs})
}

fn duration_pattern() -> String {
    let units: Vec<_> = DURATION_UNITS.iter().map(|(unit, _)| *unit).collect();
    format!("^[0-9]+(\\.[0-9]{{1,9}})? ?({})$", units.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(lax: bool, draft: Draft, instance: &Json) -> bool {
        let schema = with_clause(draft, lax).to_value();
        jsonschema::validator_for(&schema).expect("a schema").is_valid(instance)
    }

    #[test]
    fn both_drafts_take_every_default_and_example_in_every_scope() {
        for draft in [Draft::Draft2020_12, Draft::Draft7] {
            for def in KEYS {
                for text in def.default.into_iter().chain([def.example]) {
                    let prefixes: &[_] = match def.scopes {
                        Scopes::Every => &["", "source.", "sink.", "orders."],
                        Scopes::JobOnly => &[""],
                    };
                    for prefix in prefixes {
                        let instance = json!({format!("{prefix}{}", def.name): text});
                        assert!(valid(false, draft, &instance), "{instance}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_parser_refuses_by_shape_the_schema_refuses_too() {
        for instance in [
            json!({"batch.strategy": "fixed_sise"}),
            json!({"batch.size": "10MB"}),
            json!({"batch.size": 0}),
            json!({"batch.timeout": "1000"}),
            json!({"batch.enable": "maybe"}),
            json!({"batch.sise": "100"}),
            json!({"source.transaction.batches": "2"}),
        ] {
            assert!(!valid(false, Draft::Draft2020_12, &instance), "{instance}");
        }
    }

    #[test]
    fn lax_allows_keys_of_others_and_still_checks_ours() {
        assert!(valid(true, Draft::Draft2020_12, &json!({"bootstrap.servers": "b:9092"})));
        assert!(!valid(true, Draft::Draft2020_12, &json!({"batch.timeout": "1000"})));
    }
}
