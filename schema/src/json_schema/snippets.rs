//! What an editor offers to begin with: one complete set of settings a strategy.

use serde_json::{Map, Value as Json, json};

use super::Shape;
use super::annotations::written;
use crate::keys::{KEYS, Key, KeyDef, KeyOrigin, Relevance};
use crate::strategy::{FailureStrategy, StrategyKind, Words};

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

/// The strategy, its own keys at their examples, and a failure strategy that loses nothing.
fn settings(strategy: StrategyKind, shape: Shape) -> Map<String, Json> {
    let own = |def: &&KeyDef| {
        matches!(def.relevance, Relevance::Strategies(by) if by == [strategy])
            && def.origin == KeyOrigin::Guide
    };
    let mut body = Map::new();
    body.insert(Key::BatchStrategy.name().to_owned(), json!(strategy.word()));
    body.extend(
        KEYS.iter().filter(own).map(|def| (def.name.to_owned(), written(shape, def.kind, def.example))),
    );
    body.insert(Key::FailureStrategy.name().to_owned(), json!(FailureStrategy::SendToDLQ.word()));
    body
}
