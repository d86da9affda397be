//! What an editor offers to begin with: one complete set of settings a strategy.

use serde_json::{Map, Value as Json, json};

use super::Shape;
use super::annotations::written;
use crate::keys::Key;
use crate::starting_point::starting_point;
use crate::strategy::{StrategyKind, Words};

/// The snippets as dotted keys.
pub(super) fn flat() -> Vec<Json> {
    let body = |strategy: &StrategyKind| snippet(*strategy, &json!(settings(*strategy, Shape::With)));
    StrategyKind::ALL.iter().map(body).collect()
}

/// The snippets as nested mappings.
pub(super) fn nested() -> Vec<Json> {
    let nest = |strategy: &StrategyKind| {
        let mut body = json!({});
        for (key, value) in settings(*strategy, Shape::Yaml) {
            match key.split_once('.') {
                Some((group, name)) => body[group][name] = value,
                None => body[key] = value,
            }
        }
        snippet(*strategy, &body)
    };
    StrategyKind::ALL.iter().map(nest).collect()
}

fn snippet(strategy: StrategyKind, body: &Json) -> Json {
    json!({"label": strategy.word(), "description": strategy.doc(), "body": body})
}

/// The settings of a snippet as they are written in a shape.
fn settings(strategy: StrategyKind, shape: Shape) -> Map<String, Json> {
    let entry = |(key, value): (Key, &str)| (key.name().to_owned(), written(shape, key.def().kind, value));
    starting_point(strategy).into_iter().map(entry).collect()
}
