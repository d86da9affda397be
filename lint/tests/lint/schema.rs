//! Lint and the JSON Schema agree on every document, in both drafts and both shapes.
//!
//! What the schema refuses, lint reports at error or warning; what lint reports about names, types,
//! values, ranges and required keys ([`EXPRESSIBLE`]), the schema refuses.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value as Json, json};
use velo_lint::rules::RULES;
use velo_lint::{Language, Severity, lint};
use velo_schema::json_schema::{Draft, Shape, settings_schema};
use velo_schema::keys::{KEYS, Key, KeyDef, Scopes};
use velo_schema::neighbours::FOREIGN_KEYS;
use velo_schema::value::Kind;

use super::fixtures::all;
use super::loader::documents;

/// The rules whose findings a schema can say.
const EXPRESSIBLE: &[&str] = &[
    "unknown-key",
    "near-miss-key",
    "unknown-strategy",
    "unknown-failure-strategy",
    "wrong-type",
    "not-a-boolean",
    "invalid-duration",
    "duration-without-unit",
    "size-with-unit",
    "out-of-range",
    "non-canonical-spelling",
    "placeholder-default",
    "required-key-missing",
];

/// The rules that no draft can say, with the reason.
const BEYOND: &[(&str, &[&str])] = &[
    (
        "two values are compared, or a value with what the job does elsewhere",
        &[
            "min-above-max",
            "size-above-cap",
            "timeout-above-target",
            "size-above-target",
            "backoff-above-latency",
            "memory-below-record",
            "blast-radius",
            "parallel-transaction",
            "dlq-topic-in-use",
            "producer-bytes",
            "retry-hold-time",
        ],
    ),
    (
        "the values are right, and have no effect or a doubtful one",
        &[
            "inert-key",
            "retry-key-without-retries",
            "zero-retries",
            "batching-disabled",
            "redundant-key",
            "default-failure-strategy",
            "eager-moots-wait",
            "large-batch",
            "just-over-tier-boundary",
            "off-the-matrix",
            "target-ignores",
            "target-reads-differently",
            "target-poll-interval",
        ],
    ),
    (
        "it is about the text, which a schema does not see",
        &[
            "unterminated-string",
            "missing-comma",
            "missing-equals",
            "trailing-comma",
            "unclosed-clause",
            "empty-clause",
            "unquoted",
            "duplicate-key",
            "invalid-yaml",
            "config-file",
            "unused-suppression",
        ],
    ),
];

#[test]
fn every_rule_is_one_that_a_schema_can_say_or_cannot() {
    let listed: Vec<_> =
        EXPRESSIBLE.iter().chain(BEYOND.iter().flat_map(|(_, rules)| rules.iter())).copied().collect();
    let unique: BTreeSet<_> = listed.iter().copied().collect();
    assert_eq!(listed.len(), unique.len(), "a rule is listed twice");
    let known: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(unique, known, "list new rules here, and teach the schema what it can say of them");
}

/// The schema of a shape, in both drafts.
fn validators(shape: Shape) -> [Validator; 2] {
    [Draft::Draft2020_12, Draft::Draft7]
        .map(|draft| jsonschema::validator_for(&settings_schema(shape, draft).to_value()).expect("a schema"))
}

static YAML: LazyLock<[Validator; 2]> = LazyLock::new(|| validators(Shape::Yaml));
static WITH: LazyLock<[Validator; 2]> = LazyLock::new(|| validators(Shape::With));

/// What both drafts say if they refuse any of the documents.
fn refusals(validators: &[Validator; 2], documents: &[Json]) -> Option<Vec<String>> {
    let [one, other] =
        [0, 1].map(|draft| documents.iter().all(|document| validators[draft].is_valid(document)));
    assert_eq!(one, other, "the drafts differ on {documents:?}");
    let errors = || documents.iter().flat_map(|document| validators[0].iter_errors(document));
    (!one).then(|| errors().map(|error| format!("{}: {}", error.instance_path(), error)).collect())
}

/// What is wrong where lint and the schema disagree on a text that stands for `documents`.
fn disagreement(
    text: &str,
    language: Language,
    validators: &[Validator; 2],
    documents: &[Json],
) -> Option<String> {
    let findings = lint(text, language);
    let reported: BTreeSet<_> =
        findings.iter().filter(|f| f.severity > Severity::Info).map(|f| f.rule).collect();
    let refused = refusals(validators, documents);
    let expressible: Vec<_> = reported.iter().filter(|rule| EXPRESSIBLE.contains(rule)).collect();
    match refused {
        Some(errors) if reported.is_empty() => {
            let errors: Vec<_> =
                errors.iter().map(|error| error.chars().take(300).collect::<String>()).collect();
            Some(format!("lint accepts what the schema refuses: {errors:?}"))
        }
        None if !expressible.is_empty() => {
            Some(format!("the schema accepts what lint reports: {expressible:?}"))
        }
        _ => None,
    }
}

#[test]
fn lint_and_schema_agree_on_every_fixture() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for fixture in all().into_iter().filter(|fixture| fixture.language == Language::Yaml) {
        // What is no YAML has no value.
        let Some(documents) = documents(&fixture.text) else { continue };
        seen += 1;
        let found = disagreement(&fixture.text, Language::Yaml, &YAML, &documents);
        wrong.extend(found.map(|found| format!("{}: {found}", fixture.name)));
    }
    assert!(seen > 100, "only {seen} fixtures were read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A document before it is written: values are YAML.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(String),
    Mapping(Vec<(String, Tree)>),
}

impl Tree {
    /// Puts `leaf` at `path`, if nothing is there; whether it did.
    fn put(&mut self, path: &[String], leaf: Tree) -> bool {
        let (Self::Mapping(entries), [name, rest @ ..]) = (self, path) else { return false };
        match entries.iter_mut().find(|(known, _)| known == name) {
            Some((_, below)) => !rest.is_empty() && below.put(rest, leaf),
            None if rest.is_empty() => {
                entries.push((name.clone(), leaf));
                true
            }
            None => {
                let mut below = Self::Mapping(Vec::new());
                let put = below.put(rest, leaf);
                entries.push((name.clone(), below));
                put
            }
        }
    }

    fn flow(&self) -> String {
        match self {
            Self::Leaf(text) => text.clone(),
            Self::Mapping(entries) => {
                let entry = |(name, below): &(String, Tree)| format!("{name:?}: {}", below.flow());
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// How a mapping is written.
#[derive(Debug, Clone, Copy)]
enum Layout {
    Flow,
    Block,
    /// The first mapping of the root stands at an anchor, and is an alias.
    Alias,
    /// The first mapping of the root is merged from an anchor, all but its first entry.
    Merge,
}

fn write(tree: &Tree, layout: Layout) -> String {
    let Tree::Mapping(entries) = tree else { return tree.flow() };
    let mut text = String::new();
    let mut hoisted = matches!(layout, Layout::Alias | Layout::Merge);
    for (name, below) in entries {
        match below {
            Tree::Mapping(inner) if hoisted && !inner.is_empty() => {
                hoisted = false;
                let (own, shared) =
                    if matches!(layout, Layout::Alias) { (&[][..], &inner[..]) } else { inner.split_at(1) };
                let shared = Tree::Mapping(shared.to_vec()).flow();
                text = format!("x-shared: &shared {shared}\n{text}");
                if matches!(layout, Layout::Alias) {
                    writeln!(text, "{name:?}: *shared").expect("written");
                } else {
                    writeln!(text, "{name:?}:\n  <<: *shared").expect("written");
                    for (name, below) in own {
                        writeln!(text, "  {name:?}: {}", below.flow()).expect("written");
                    }
                }
            }
            Tree::Mapping(inner) if matches!(layout, Layout::Block) && !inner.is_empty() => {
                writeln!(text, "{name}:").expect("written");
                for (name, below) in inner {
                    writeln!(text, "  {name}: {}", below.flow()).expect("written");
                }
            }
            _ if matches!(layout, Layout::Block) => {
                writeln!(text, "{name}: {}", below.flow()).expect("written");
            }
            _ => writeln!(text, "{name:?}: {}", below.flow()).expect("written"),
        }
    }
    if matches!(layout, Layout::Flow) { tree.flow() + "\n" } else { text }
}

/// Values of a kind as YAML: mostly right, else of every way to be wrong.
fn value(kind: Kind) -> BoxedStrategy<String> {
    let right: Vec<&str> = match kind {
        Kind::Boolean => vec!["true", "false", "\"true\"", "\"false\"", "True"],
        Kind::Integer { min: 10_000, .. } => vec!["10000", "\"50000\"", "100_000", "1e4", "100000"],
        Kind::Integer { .. } => vec!["1", "50", "\"500\"", "1500", "+7", "0x10", "5.0", "\" 20 \""],
        Kind::Duration { .. } => vec!["5s", "\"250ms\"", "1.5 m", "1d", "\" 2 hours \""],
        Kind::Strategy => vec![
            "fixed_size",
            "time_window",
            "\"memory_based\"",
            "adaptive_size",
            "low_latency",
            "mega_batch",
        ],
        Kind::FailureStrategy => vec!["LogAndContinue", "SendToDLQ", "FailBatch", "\"RetryWithBackoff\""],
        Kind::OnExhausted => vec!["FailBatch", "SendToDLQ", "\"LogAndContinue\""],
        Kind::Topic => vec!["orders.dlq", "\"a_b-c\"", "5", "1.5", "true"],
    };
    let open = ["\"${N}\"", "\"{{ n }}\"", "\"${N}ms\"", "\"$N\"", "\"${N:?set it}\""];
    let wrong = [
        "0",
        "-5",
        "1000",
        "\"1000\"",
        "10MB",
        "many",
        "5.5",
        "366d",
        "0ms",
        "soon",
        "yes",
        "\"no\"",
        "1",
        "turbo",
        "FixedSize",
        "fixed_sise",
        "FAILBATCH",
        "FailBatsh",
        "none",
        "~",
        "null",
        "\"\"",
        "\" \"",
        "[]",
        "[5]",
        "{}",
        // Not `{a: 1}`: beside words of others, lint and the schema differ on whose such a document is.
        "\"a b\"",
        "\"${N:-many}\"",
        "\"${N:-5}\"",
        "\"${N:5s}\"",
        "\"${N:fixed_size}\"",
        "99999999999",
        "TRUE",
        "on",
        "0xZ",
        "\"..\"",
    ];
    let right = prop::sample::select(right).prop_map(str::to_owned);
    let open = prop::sample::select(open.to_vec()).prop_map(str::to_owned);
    let wrong = prop::sample::select(wrong.to_vec()).prop_map(str::to_owned);
    prop_oneof![12 => right, 1 => open, 2 => wrong].boxed()
}

/// A name of a key with up to two slips within its parts, or in another spelling.
fn misspelt(name: &'static str) -> impl Strategy<Value = String> {
    let slip = (0_usize..4, 0_usize..40, prop::sample::select(vec!['a', 'e', 's', 'x', '_']));
    (prop::collection::vec(slip, 1..3), 0_usize..8).prop_map(move |(slips, way)| match way {
        0 => name.to_uppercase(),
        1 => name.replace('_', ""),
        2 => name.replace('_', "-"),
        3 => {
            let mut upper = false;
            let camel = |c: char| {
                let letter = if upper { c.to_ascii_uppercase() } else { c };
                upper = c == '_';
                (c != '_').then_some(letter)
            };
            name.chars().filter_map(camel).collect()
        }
        _ => {
            let mut letters: Vec<char> = name.chars().collect();
            for (kind, at, letter) in slips {
                let at = at % letters.len();
                let is_point = |at: usize| letters.get(at).is_none_or(|c| *c == '.');
                match kind {
                    0 => letters.insert(at, letter),
                    1 if !is_point(at) => letters[at] = letter,
                    2 if !is_point(at) && part_is_long(&letters, at) => drop(letters.remove(at)),
                    3 if !is_point(at) && !is_point(at + 1) => letters.swap(at, at + 1),
                    _ => {}
                }
            }
            letters.into_iter().collect()
        }
    })
}

/// Whether a part of a name has more than one letter.
fn part_is_long(letters: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|at| letters.get(at)).is_some_and(|c| *c != '.');
    before || letters.get(at + 1).is_some_and(|c| *c != '.')
}

/// A setting: where, under which name, cut how, and its value.
fn setting() -> impl Strategy<Value = (Vec<String>, String)> {
    let key = prop::sample::select(KEYS.iter().collect::<Vec<&KeyDef>>());
    let often = prop::sample::select(vec![Key::BatchStrategy, Key::FailureStrategy, Key::BatchEnable]);
    let key = prop_oneof![3 => key, 1 => often.prop_map(Key::def)];
    let side = prop::sample::select(vec!["", "", "", "source.", "source.", "sink.", "sink."]);
    let slip = prop::sample::select(vec!["soruce.", "sorce.", "Source.", "snik.", "src."]);
    (key, side, slip, any::<u8>(), 0_u32..12).prop_flat_map(|(def, side, slip, cuts, chance)| {
        let side = match chance {
            2 if !side.is_empty() => slip,
            1.. if def.scopes == Scopes::JobOnly => "",
            _ => side,
        };
        let name = if chance == 1 { misspelt(def.name).boxed() } else { Just(def.name.to_owned()).boxed() };
        (name, value(def.kind)).prop_map(move |(name, value)| (cut(&format!("{side}{name}"), cuts), value))
    })
}

/// Cuts a dotted path at some of its dots.
fn cut(path: &str, cuts: u8) -> Vec<String> {
    let mut chunks: Vec<String> = Vec::new();
    for (number, part) in path.split('.').enumerate() {
        match chunks.last_mut() {
            Some(chunk) if cuts >> number & 1 == 0 => {
                chunk.push('.');
                chunk.push_str(part);
            }
            _ => chunks.push(part.to_owned()),
        }
    }
    chunks
}

/// What stands beside ours: keys of others, and what makes a document theirs.
fn neighbour() -> impl Strategy<Value = (Vec<String>, String)> {
    let known = [
        ("name", "orders"),
        ("topic", "t"),
        ("x-note", "{sise: 4}"),
        ("kafka", "{type: producer, batch: {sise: 1}}"),
        ("orders", "{failure_strategy: none}"),
        ("$schema", "https://example.org/velo/yaml.draft-7.json"),
        ("$schema", "http://json-schema.org/draft-07/schema#"),
        ("batch.interval", "5"),
        ("batch.x.y", "5"),
        ("batch.colour", "red"),
        ("source.topic", "t"),
        ("sink.topic", "{a: 1}"),
        ("steps", "[{batch: {size: 10MB}}]"),
        ("description", "\"batch.size: 10MB\""),
        ("batches", "5"),
        ("empty", "~"),
        ("failure", "{strategy: none}"),
        ("source", "kafka"),
        ("type", "etl"),
        ("source.type", "kafka"),
        ("batch.type", "x"),
        ("dlq.type", "x"),
        ("connector", "jdbc"),
        ("sink.connector", "jdbc"),
        ("kind", "Job"),
        ("spring", "{a: 1}"),
        ("spring.x", "1"),
        ("dlq.partitions", "3"),
        ("retry.backoff", "x"),
        ("max.retries", "x"),
        ("batch", "~"),
        ("source", "~"),
    ];
    let foreign = FOREIGN_KEYS.iter().map(|key| (*key, "x"));
    let all: Vec<_> = known.into_iter().chain(foreign).collect();
    (prop::sample::select(all), any::<u8>())
        .prop_map(|((path, value), cuts)| (cut(path, cuts), value.to_owned()))
}

prop_compose! {
    fn document()(
        settings in prop::collection::vec(setting(), 1..6),
        neighbours in prop::collection::vec(neighbour(), 0..3),
        layout in prop::sample::select(vec![Layout::Flow, Layout::Block, Layout::Alias, Layout::Merge]),
    ) -> String {
        let mut tree = Tree::Mapping(Vec::new());
        let mut written = BTreeSet::new();
        for (path, value) in settings.into_iter().chain(neighbours) {
            if written.insert(path.join(".")) {
                tree.put(&path, Tree::Leaf(value));
            }
        }
        write(&tree, layout)
    }
}

/// A key's path, and its value.
type Pair = (Vec<String>, String);

/// The same documents each time, so that a disagreement shows in the change that makes it.
fn runner(cases: u32) -> TestRunner {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn a_document_that_names_the_schema_is_ours_although_its_only_key_is_misspelt() {
    let text = "$schema: https://example.org/velo/yaml.json\nfailure_stratgy: FailBatch\n";
    let found = lint(text, Language::Yaml);
    assert_eq!(found.iter().map(|finding| finding.rule).collect::<Vec<_>>(), ["near-miss-key"]);
    assert_eq!(disagreement(text, Language::Yaml, &YAML, &documents(text).expect("YAML")), None);
}

#[test]
fn a_misspelt_side_before_a_key_counts_alone() {
    let clause = Map::from_iter([("soruce.batch.size".to_owned(), json!("5"))]);
    let text = "CREATE STREAM s AS SELECT * FROM t WITH ('soruce.batch.size' = '5');";
    assert_eq!(lint(text, Language::Sql).first().map(|finding| finding.rule), Some("near-miss-key"));
    assert_eq!(disagreement(text, Language::Sql, &WITH, &[Json::Object(clause)]), None);
}

#[test]
fn lint_and_schema_agree_on_generated_documents() {
    let agree = |text: String| {
        let documents = documents(&text).ok_or_else(|| TestCaseError::reject("no YAML"))?;
        let found = disagreement(&text, Language::Yaml, &YAML, &documents);
        prop_assert!(found.is_none(), "{}\n{}", found.unwrap_or_default(), text);
        Ok(())
    };
    runner(std::env::var("N").map_or(1500, |n| n.parse().unwrap()))
        .run(&document(), agree)
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn lint_and_schema_agree_on_generated_clauses() {
    let entries = (prop::collection::vec(setting(), 1..6), prop::collection::vec(neighbour(), 0..2));
    let agree = |(settings, neighbours): (Vec<Pair>, Vec<Pair>)| {
        // A near miss means something beside a key of ours.
        let mut clause = Map::from_iter([("batch.max_size".to_owned(), json!("50"))]);
        for (path, value) in settings.into_iter().chain(neighbours) {
            clause.entry(path.join(".")).or_insert_with(|| json!(value.trim_matches('"')));
        }
        let option =
            |(key, value): (&String, &Json)| format!("'{key}' = '{}'", value.as_str().expect("text"));
        let options: Vec<_> = clause.iter().map(option).collect();
        let text = format!("CREATE STREAM s AS SELECT * FROM t WITH ({});", options.join(", "));
        let found = disagreement(&text, Language::Sql, &WITH, &[Json::Object(clause)]);
        prop_assert!(found.is_none(), "{}\n{}", found.unwrap_or_default(), text);
        Ok(())
    };
    runner(600).run(&entries, agree).unwrap_or_else(|error| panic!("{error}"));
}
