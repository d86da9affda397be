use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::keys::KEYS;
use crate::keys::Key;
use crate::placeholder::{Placeholder, placeholder};
use crate::strategy::{FailureStrategy, StrategyKind, Words};
use crate::value::{DURATION_UNITS, Kind};

const DRAFTS: [Draft; 2] = [Draft::Draft2020_12, Draft::Draft7];

/// The validators, by shape and draft: each is built once.
static VALIDATORS: LazyLock<Vec<jsonschema::Validator>> = LazyLock::new(|| {
    let schemas = [Shape::With, Shape::Yaml].into_iter().flat_map(|shape| DRAFTS.map(|draft| (shape, draft)));
    let validator = |(shape, draft)| {
        jsonschema::validator_for(&settings_schema(shape, draft).to_value()).expect("a schema")
    };
    schemas.map(validator).collect()
});

fn valid(shape: Shape, instance: &Json) -> bool {
    let first = 2 * usize::from(shape == Shape::Yaml);
    let [one, other] = [first, first + 1].map(|index| VALIDATORS[index].is_valid(instance));
    assert_eq!(one, other, "the drafts differ on {instance}");
    one
}

fn flat(instance: &Json) -> bool {
    valid(Shape::With, instance)
}

fn nested(instance: &Json) -> bool {
    valid(Shape::Yaml, instance)
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
                assert!(flat(&instance), "{instance}");
            }
        }
    }
}

#[test]
fn the_shapes_are_schemas_themselves() {
    for draft in DRAFTS {
        for shape in [Shape::With, Shape::Yaml] {
            let schema = settings_schema(shape, draft).to_value();
            assert!(jsonschema::meta::is_valid(&schema), "{shape:?} {draft:?}");
        }
    }
}

#[test]
fn every_snippet_is_valid() {
    for (shape, check) in [(Shape::With, flat as fn(&Json) -> bool), (Shape::Yaml, nested)] {
        let schema = settings_schema(shape, Draft::Draft7).to_value();
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
        let schema = settings_schema(Shape::With, draft).to_value();
        let marks = |instance: &Json, key: &str| {
            let conditions = schema["allOf"].as_array().expect("conditions");
            conditions.iter().any(|condition| {
                let mut of_condition = condition["if"].clone();
                of_condition["$schema"] = schema["$schema"].clone();
                of_condition[draft.definitions()] = schema[draft.definitions()].clone();
                let holds = jsonschema::validator_for(&of_condition).expect("a schema").is_valid(instance);
                holds
                    && condition["then"]["properties"][key]["$ref"]
                        .as_str()
                        .is_some_and(|name| name.contains("ignored-by"))
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
    assert!(!flat(&json!({"batch.window": "5s"})));
    assert!(flat(&json!({"batch.window": "5s", "batch.strategy": "time_window"})));
    assert!(!flat(&json!({"max_retries": 3})));
    assert!(!flat(&json!({"source.max_retries": 3})));
    assert!(flat(&json!({"source.max_retries": 3, "failure_strategy": "RetryWithBackoff"})));
    assert!(flat(&json!({"source.max_retries": 3, "source.failure_strategy": "RetryWithBackoff"})));
    assert!(!nested(&json!({"batch": {"window": "5s"}})));
    assert!(!nested(&json!({"source": {"batch": {"window": "5s"}}})));
    assert!(nested(&json!({"batch": {"strategy": "time_window"}, "source": {"batch": {"window": "5s"}}})));
}

#[test]
fn what_a_side_has_counts_for_the_job() {
    for good in [
        json!({"batch": {"window": "5s"}, "source": {"batch": {"strategy": "time_window"}}}),
        json!({"batch": {"window": "5s"}, "source.batch.strategy": "time_window"}),
        json!({"batch.window": "5s", "source.batch": {"strategy": "time_window"}, "sink": {"batch.size": 5}}),
        json!({"max_retries": 3, "sink": {"failure_strategy": "RetryWithBackoff"}}),
        json!({"batch": {"enable": false, "window": "5s"}, "failure_strategy": "FailBatch"}),
        json!({"batch": {"enable": false}, "source.batch.window": "5s"}),
    ] {
        assert!(nested(&good), "{good}");
    }
    for bad in [
        json!({"batch.window": "5s", "source.batch.size": 5}),
        // The source has a window of its own.
        json!({"batch.window": "5s", "source.batch": {"strategy": "time_window", "window": "1s"}}),
        json!({"batch": {"enable": false}, "source": {"batch": {"enable": true, "window": "5s"}}}),
        json!({"source": {"max_retries": 3}, "sink": {"failure_strategy": "RetryWithBackoff"}, "batch.size": 5}),
    ] {
        assert!(!nested(&bad), "{bad}");
    }
}

#[test]
fn a_key_is_checked_in_every_spelling() {
    for spelled in [
        |value: Json| json!({"source": {"batch": {"size": value}}}),
        |value: Json| json!({"source": {"batch.size": value}}),
        |value: Json| json!({"source.batch": {"size": value}}),
        |value: Json| json!({"source.batch.size": value}),
    ] {
        assert!(nested(&spelled(json!(5))), "{}", spelled(json!(5)));
        for wrong in [json!(0), json!("many"), json!(true), json!(null), json!([5]), json!({"a": 5})] {
            assert!(!nested(&spelled(wrong.clone())), "{}", spelled(wrong));
        }
    }
}

#[test]
fn names_are_those_of_the_table() {
    let good = json!({
        "$schema": "https://example.org/velo/yaml.draft-7.json",
        "name": "orders",
        "batch": {"strategy": "adaptive_size", "min_size": 10, "target_latency": "100ms"},
        "failure_strategy": "SendToDLQ",
        "dlq": {"topic": "orders.dlq"},
        "transaction": {"batches": 2},
        "sink": {"batch": {"strategy": "fixed_size", "size": "500"}, "topic": "out"},
        "orders": {"failure_strategy": "never", "batch": {"sise": 4}},
        "x-defaults": {"sise": 4},
    });
    assert!(nested(&good));
    let beside = |mut with: Json| {
        with["failure_strategy"] = json!("FailBatch");
        with
    };
    for bad in [
        json!({"bacth": {"size": 5}}),
        json!({"Batch": {"Size": 5}}),
        json!({"batch": {"sise": 5}}),
        json!({"batch.sise": 5}),
        json!({"source.batch.sise": 5}),
        json!({"source": {"batch.sise": 5}}),
        json!({"source": {"transaction": {"batches": 2}}}),
        json!({"source.transaction.batches": 2}),
        json!({"max_retrys": 2}),
        json!({"maxRetries": 2}),
        json!({"sink": {"dlq_topic": "a"}}),
        json!({"SOURCE": {"batch": {"size": 5}}}),
        json!({"batch": {"strategy": "fixed_size", "size": 0}}),
    ] {
        assert!(!nested(&beside(bad.clone())), "{bad}");
    }
    for neighbour in [
        json!({"batch": null}),
        json!({"source": null}),
        json!({"max.retries": 2}),
        json!({"kafka": {"size": 5}}),
    ] {
        assert!(nested(&beside(neighbour.clone())), "{neighbour}");
    }
    assert!(!flat(&json!({"source.transaction.batches": "2"})));
    assert!(!flat(&json!({"batch.sise": "2"})) && !flat(&json!({"max_retrys": "2", "batch.size": "5"})));
    assert!(flat(&json!({"bootstrap.servers": "b:9092", "batch.size": "5", "kafka.batch.size": "10MB"})));
}

#[test]
fn what_belongs_to_others_is_left_alone() {
    for document in [
        json!(null),
        json!([{"batch.size": "ten"}]),
        json!({"type": "kafka", "batch": {"size": "10MB"}}),
        json!({"source": "kafka", "batch.strategy": "turbo"}),
        json!({"kind": "Job", "failure_strategy": "FailBatch", "batch.size": 0}),
        json!({"model": "bert", "batch": {"size": "auto", "parallel": 4}}),
        json!({"name": "deploy", "failure_strategy": "rollback", "steps": []}),
        json!({"batch": {"size": "10MB", "colour": "red"}}),
    ] {
        assert!(nested(&document), "{document}");
    }
    assert!(flat(&json!({"Connector": "kafka", "batch.size": "10MB"})));
    assert!(flat(&json!({"max_retrys": "2"})));
}

/// What holds placeholders, and what they stand for as far as it is known.
#[test]
fn placeholders_are_checked_by_their_default() {
    let wrapped: [fn(&str) -> String; 9] = [
        |text| format!("${{N:-{text}}}"),
        |text| format!(" ${{N: {text} }} "),
        |text| format!("${{env:{text}}}"),
        |text| format!("${{N:?{text}}}"),
        |text| format!("${{A}}{text}${{B}}"),
        |text| format!("${{N:{text}}}ms"),
        |text| format!("{{{{ {text} }}}}"),
        |text| format!("$N{text}"),
        |text| format!("${{N}}{text}"),
    ];
    for def in KEYS {
        let validators = of_key(def);
        for text in
            ["500", "20000", "5s", "0ms", "true", "maybe", "fixed_size", "FailBatch", "FixedSize", "", "a b"]
        {
            for text in wrapped.iter().map(|wrap| wrap(text)).chain([text.to_owned()]) {
                let right = |text: &str| def.parse(text).is_ok_and(|parsed| parsed.canonical.is_none());
                let expected = match placeholder(&text) {
                    Some(Placeholder::Unknown) => true,
                    Some(Placeholder::Default(default, _)) => right(default),
                    None => right(&text),
                };
                for validator in &validators {
                    assert_eq!(validator.is_valid(&json!(text)), expected, "{} = {text}", def.name);
                }
            }
        }
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

/// The check of a key's value by itself, in both drafts.
fn of_key(def: &KeyDef) -> [jsonschema::Validator; 2] {
    DRAFTS.map(|draft| {
        let mut schema = settings_schema(Shape::With, draft).to_value();
        let definitions = schema[draft.definitions()].take();
        let schema = json!({
            "$schema": schema["$schema"],
            "allOf": [{"$ref": format!("#/{}/value-{}", draft.definitions(), def.name)}],
            draft.definitions(): definitions,
        });
        jsonschema::validator_for(&schema).expect("a schema")
    })
}

/// The schema takes the values that the parser takes in the spelling that lint wants, and enough of
/// them are refused to mean something.
#[test]
fn schema_and_parser_accept_the_same_values() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    const CASES: usize = 1500;

    let mut runner = TestRunner::deterministic();
    for def in KEYS {
        let validators = of_key(def);
        let values = candidates(def.kind);
        let mut refused = 0;
        for _ in 0..CASES {
            let value = values.new_tree(&mut runner).expect("a value").current();
            let is_scalar = !(value.is_null() || value.is_array() || value.is_object());
            let is_right = def.parse(&as_text(&value)).is_ok_and(|parsed| parsed.canonical.is_none());
            for validator in &validators {
                assert_eq!(validator.is_valid(&value), is_scalar && is_right, "{} = {value}", def.name);
            }
            refused += usize::from(!(is_scalar && is_right));
        }
        assert!(refused * 10 >= CASES * 3, "{}: only {refused} of {CASES} values are refused", def.name);
    }
}
