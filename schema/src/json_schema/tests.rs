use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::keys::Key;
use crate::strategy::{FailureStrategy, StrategyKind, Words};
use crate::value::{DURATION_UNITS, Kind};

const DRAFTS: [Draft; 2] = [Draft::Draft2020_12, Draft::Draft7];

/// The validators, by shape, draft and laxness: each is built once.
static VALIDATORS: LazyLock<Vec<jsonschema::Validator>> = LazyLock::new(|| {
    let mut validators = Vec::new();
    for shape in [Shape::With, Shape::Yaml] {
        for draft in DRAFTS {
            for lax in [false, true] {
                let schema = settings_schema(shape, draft, lax).to_value();
                validators.push(jsonschema::validator_for(&schema).expect("a schema"));
            }
        }
    }
    validators
});

fn valid(shape: Shape, draft: Draft, lax: bool, instance: &Json) -> bool {
    let index =
        4 * usize::from(shape == Shape::Yaml) + 2 * usize::from(draft == Draft::Draft7) + usize::from(lax);
    VALIDATORS[index].is_valid(instance)
}

fn strict(instance: &Json) -> bool {
    let found = DRAFTS.map(|draft| valid(Shape::With, draft, false, instance));
    assert_eq!(found[0], found[1], "the drafts differ on {instance}");
    found[0]
}

fn nested(instance: &Json) -> bool {
    let found = DRAFTS.map(|draft| valid(Shape::Yaml, draft, false, instance));
    assert_eq!(found[0], found[1], "the drafts differ on {instance}");
    found[0]
}

/// A key with everything beside it that it needs.
fn with_needs(prefix: &str, def: &KeyDef, value: &Json) -> Json {
    let mut settings = json!({format!("{prefix}{}", def.name): value});
    if !def.applies_to(StrategyKind::FixedSize) {
        let user = StrategyKind::ALL.iter().find(|strategy| def.applies_to(**strategy)).expect("someone");
        settings[Key::BatchStrategy.name()] = json!(user.word());
    }
    if def.relevance == crate::keys::Relevance::Retries {
        settings[Key::FailureStrategy.name()] = json!(FailureStrategy::RetryWithBackoff.word());
    }
    settings
}

#[test]
fn every_default_and_example_is_valid_in_every_scope() {
    for def in KEYS {
        for text in def.default.into_iter().chain([def.example]) {
            for prefix in ["", "source.", "sink.", "orders."].iter().filter(|prefix| takes(def, prefix)) {
                let instance = with_needs(prefix, def, &json!(text));
                assert!(strict(&instance), "{instance}");
            }
        }
    }
}

#[test]
fn the_shapes_are_schemas_themselves() {
    for draft in DRAFTS {
        for shape in [Shape::With, Shape::Yaml] {
            for lax in [false, true] {
                let schema = settings_schema(shape, draft, lax).to_value();
                assert!(jsonschema::meta::is_valid(&schema), "{shape:?} {draft:?}");
            }
        }
    }
}

#[test]
fn every_snippet_is_valid() {
    for (shape, check) in [(Shape::With, strict as fn(&Json) -> bool), (Shape::Yaml, nested)] {
        let schema = settings_schema(shape, Draft::Draft7, false).to_value();
        let snippets = schema["defaultSnippets"].as_array().expect("snippets");
        assert_eq!(snippets.len(), StrategyKind::ALL.len());
        for snippet in snippets {
            assert!(check(&snippet["body"]), "{snippet}");
        }
    }
}

#[test]
fn a_key_that_its_strategy_ignores_is_marked() {
    for draft in DRAFTS {
        let schema = settings_schema(Shape::With, draft, false).to_value();
        let marks = |instance: &Json, key: &str| {
            let conditions = schema["allOf"].as_array().expect("conditions");
            conditions.iter().any(|condition| {
                let holds = jsonschema::validator_for(&condition["if"]).expect("a schema").is_valid(instance);
                holds && condition["then"]["properties"][key]["deprecationMessage"].is_string()
            })
        };
        for strategy in StrategyKind::ALL {
            for prefix in PREFIXES {
                let instance = json!({format!("{prefix}batch.strategy"): strategy.word()});
                for def in KEYS.iter().filter(|def| takes(def, prefix)) {
                    let key = format!("{prefix}{}", def.name);
                    assert_eq!(marks(&instance, &key), !def.applies_to(*strategy), "{key} under {strategy}");
                }
            }
        }
    }
}

#[test]
fn a_key_that_needs_another_is_invalid_without_it() {
    assert!(!strict(&json!({"batch.window": "5s"})));
    assert!(strict(&json!({"batch.window": "5s", "batch.strategy": "time_window"})));
    assert!(!strict(&json!({"max_retries": 3})));
    assert!(!strict(&json!({"source.max_retries": 3})));
    assert!(strict(&json!({"source.max_retries": 3, "failure_strategy": "RetryWithBackoff"})));
    assert!(strict(&json!({"source.max_retries": 3, "source.failure_strategy": "RetryWithBackoff"})));
    assert!(!nested(&json!({"batch": {"window": "5s"}})));
    assert!(!nested(&json!({"source": {"batch": {"window": "5s"}}})));
    assert!(nested(&json!({"batch": {"strategy": "time_window"}, "source": {"batch": {"window": "5s"}}})));
}

#[test]
fn nested_settings_are_those_of_the_table() {
    let good = json!({
        "batch": {"strategy": "adaptive_size", "min_size": 10, "target_latency": "100ms"},
        "failure_strategy": "SendToDLQ",
        "dlq": {"topic": "orders.dlq"},
        "transaction": {"batches": 2},
        "sink": {"batch": {"strategy": "fixed_size", "size": "500"}},
        "orders": {"failure_strategy": "FailBatch"},
    });
    assert!(nested(&good));
    for bad in [
        json!({"bacth": {"size": 5}}),
        json!({"batch": {"sise": 5}}),
        json!({"source": {"transaction": {"batches": 2}}}),
        json!({"batch": 5}),
        json!({"batch": {"strategy": "fixed_size", "size": 0}}),
    ] {
        assert!(!nested(&bad), "{bad}");
    }
    for draft in DRAFTS {
        assert!(valid(
            Shape::Yaml,
            draft,
            true,
            &json!({"bacth": {"size": 5}, "topic": "t", "batch": {"x": 1}})
        ));
        assert!(!valid(Shape::Yaml, draft, true, &json!({"batch": {"size": 0}})));
        assert!(valid(Shape::With, draft, true, &json!({"bootstrap.servers": "b:9092"})));
        assert!(!valid(Shape::With, draft, true, &json!({"batch.timeout": "1000"})));
    }
    assert!(!strict(&json!({"source.transaction.batches": "2"})));
}

#[test]
fn placeholders_are_left_to_who_fills_them_in() {
    for text in ["${SIZE}", "${SIZE:-5}", "{{ size }}", "$SIZE"] {
        assert!(strict(&json!({"batch.size": text})), "{text}");
    }
}

/// A value as the text that it stands for in a clause.
fn as_text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Values of every other type and kind.
fn other_types() -> BoxedStrategy<Json> {
    prop_oneof![
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        any::<bool>().prop_map(|b| json!(b)),
        any::<i64>().prop_map(|n| json!(n)),
        prop::sample::select(vec![
            "",
            " ",
            "true",
            "TRUE",
            "yes",
            "off",
            "1",
            "maybe",
            "10MB",
            "10 MiB",
            "0x10",
            "1_000",
            "1,000",
            "5.0",
            " 7 ",
            "-1",
            "+1",
            ".",
            "..",
            "a.b-c_d",
            "a b",
            "ö",
            "fixed_size",
            "FixedSize",
            "FIXED-SIZE",
            "fixed sise",
            "mega batch",
            "LogAndContinue",
            "log_and_continue",
            "SENDTODLQ",
            "FailBatch",
            "Fail Batches",
            "RetryWithBackoff",
            "_fixed_size_"
        ])
        .prop_map(|text| json!(text)),
        "[a-z.]{0,3}".prop_map(|text| json!(text)),
        Just(json!("t".repeat(249))),
        Just(json!("t".repeat(250))),
    ]
    .boxed()
}

/// Values at and around every bound, in other units and spellings, of other types.
fn candidates(kind: Kind) -> BoxedStrategy<Json> {
    let numbers = |min: u64, max: u64| {
        let around = [min, max]
            .into_iter()
            .flat_map(|bound| [bound.saturating_sub(1), bound, bound.saturating_add(1)]);
        prop_oneof![prop::sample::select(around.collect::<Vec<_>>()), min..=max, 0_u64..200_000, any::<u64>()]
    };
    let amount = prop_oneof![
        (0_u64..40_000_000_000).prop_map(|n| n.to_string()),
        (0_u64..400, 0_u64..10_000_000_000).prop_map(|(a, b)| format!("{a}.{b}")),
        prop::sample::select(vec![
            "0",
            "00",
            "0.0",
            "0.000001",
            "0.0000001",
            "0.000000001",
            "1.",
            ".5",
            "-5",
            "+5",
            "1e3",
            "365",
            "366",
            "8760",
            "8761",
            "525600",
            "525601",
            "31536000",
            "31536001",
            "31536000000",
            "31536000001",
            "365.0",
            "365.000000001",
            "99999999999999999999",
            ""
        ])
        .prop_map(str::to_owned),
    ];
    let unit = prop::sample::select(
        DURATION_UNITS
            .iter()
            .map(|(unit, _)| *unit)
            .chain(["", "us", "M", "MS", "sec", "w", "mb", " ms", "  s"])
            .collect::<Vec<_>>(),
    );
    let durations = (amount, unit).prop_map(|(amount, unit)| json!(format!("{amount}{unit}")));
    let others = other_types();
    match kind {
        Kind::Integer { min, max, .. } => {
            let spelled = numbers(min, max).prop_flat_map(|n| {
                prop::sample::select(vec![
                    json!(n),
                    json!(n.to_string()),
                    json!(format!(" {n}")),
                    json!(format!("00{n}")),
                    json!(format!("-{n}")),
                    json!(format!("{n}k")),
                    json!(format!("{n}ms")),
                    json!(format!("{n}.5")),
                ])
            });
            prop_oneof![3 => spelled, 1 => others, 1 => durations].boxed()
        }
        Kind::Duration { .. } => prop_oneof![4 => durations, 1 => others].boxed(),
        _ => prop_oneof![4 => others, 1 => durations].boxed(),
    }
}

/// Schema and parser take the same values of every key, and enough of them are refused to mean something.
#[test]
fn schema_and_parser_accept_the_same_values() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    const CASES: usize = 1500;

    let mut runner = TestRunner::deterministic();
    for def in KEYS {
        // The key's own definition: what conditions add is tested by itself.
        let validators = DRAFTS.map(|draft| {
            let mut schema = settings_schema(Shape::With, draft, true).to_value();
            let definitions = schema[draft.definitions()].take();
            let schema = json!({
                "$schema": schema["$schema"],
                "allOf": [{"$ref": format!("#/{}/{}", draft.definitions(), def.name)}],
                draft.definitions(): definitions,
            });
            jsonschema::validator_for(&schema).expect("a schema")
        });
        let values = candidates(def.kind);
        let mut refused = 0;
        for _ in 0..CASES {
            let value = values.new_tree(&mut runner).expect("a value").current();
            let is_scalar = !(value.is_null() || value.is_array() || value.is_object());
            let parses = is_scalar && def.parse(&as_text(&value)).is_ok();
            for validator in &validators {
                assert_eq!(validator.is_valid(&value), parses, "{} = {value}", def.name);
            }
            refused += usize::from(!parses);
        }
        assert!(refused * 10 >= CASES * 3, "{}: only {refused} of {CASES} values are refused", def.name);
    }
}
