//! Which names are refused: unknown ones below `batch`, keys of the job at a side, and near misses.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::facts::{Facts, some_name};
use super::pattern::any_case;
use super::{Shape, edits};
use crate::keys::{KEYS, Key, KeyDef, Scopes};
use crate::neighbours::FOREIGN_KEYS;

/// A letter of a name within a mapping.
const LETTER: &str = "[^.]";

/// The sides by their names.
pub(super) const SIDES: [&str; 2] = ["source", "sink"];

/// The names without a prefix, as alternatives.
fn known() -> String {
    let names = KEYS.iter().map(|def| def.name).chain(FOREIGN_KEYS.iter().copied());
    alternatives(names)
}

fn alternatives<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| name.replace('.', "\\.")).collect::<Vec<_>>().join("|")
}

/// What stands below a group: `size` of `batch.size`.
fn below(group: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |def| def.name.strip_prefix(group)?.strip_prefix('.'))
}

/// What others have below `batch`.
fn foreign_batch() -> impl Iterator<Item = &'static str> {
    FOREIGN_KEYS.iter().filter_map(|name| name.strip_prefix("batch."))
}

/// A name in any case, with any separators anywhere.
fn folded(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric).map(any_case);
    letters.fold("[-._]*".to_owned(), |pattern, letter| pattern + &letter + "[-._]*")
}

fn any_folded<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(folded).collect::<Vec<_>>().join("|")
}

/// Names, dotted where a key is, that are near to a key of ours.
fn near() -> String {
    let mut ways: Vec<_> = KEYS.iter().map(|def| folded(def.name)).collect();
    ways.extend(KEYS.iter().filter(|def| !def.name.contains('.')).map(|def| edits::two(def.name, LETTER)));
    for group in GROUPS {
        let names: Vec<_> = below(group).collect();
        let (exact, nearly) = (alternatives(names.iter().copied()), each(&names, edits::one));
        let (group_nearly, group_near) = (edits::one(group, LETTER), edits::two(group, LETTER));
        // The point may be left out or changed, too.
        let no_point = format!("{group}{LETTER}?(?:{nearly})|{group_nearly}{LETTER}?(?:{exact})");
        let at_point = format!("{group_near}\\.(?:{exact})|{group_nearly}\\.(?:{nearly})");
        let behind =
            format!("{group}\\.(?:{})", if group == "batch" { nearly } else { each(&names, edits::two) });
        ways.push(format!("(?=[\\s\\S]{{8}})(?:{no_point}|{at_point}|{behind})"));
    }
    ways.join("|")
}

fn each(names: &[&str], edits: fn(&str, &str) -> String) -> String {
    names.iter().map(|name| edits(name, LETTER)).collect::<Vec<_>>().join("|")
}

/// The mappings that hold keys.
const GROUPS: [&str; 3] = ["batch", "dlq", "transaction"];

/// What no name below `batch` may be.
fn unknown_below_batch() -> String {
    format!("batch\\.(?!(?:{})$)", alternatives(below("batch").chain(foreign_batch())))
}

/// The definitions of names.
pub(super) fn definitions(facts: Facts) -> Map<String, Json> {
    let mut definitions = Map::from_iter([("near-key".to_owned(), json!({"pattern": near_key()}))]);
    let mut insert = |name: &str, schema: Json| definitions.insert(name.to_owned(), schema);
    match facts.shape {
        Shape::With => {
            insert("near-names", near_names(facts, None));
            let mut refused = unknown_flat(ANY_SCOPE);
            // A misspelt side before a key counts alone.
            let behind_slip = format!("^{}(?:{})$", slip_of_side("[.:/]"), alternatives(names()));
            refused.insert(behind_slip, json!(false));
            insert("names", json!({"patternProperties": refused}));
        }
        Shape::Yaml => {
            insert("names-batch", batch());
            insert(
                "near-groups",
                json!({"patternProperties": GROUPS.into_iter().flat_map(near_group).collect::<Map<_, _>>()}),
            );
            insert("names-job", scope(facts));
            insert("names-side", side(facts));
            insert("in-misspelt-side", in_misspelt_side(facts));
            insert("names", root(facts));
        }
    }
    definitions
}

/// Refuses near misses of keys, but for names that begin with `exempt`.
fn near_names(facts: Facts, exempt: Option<&str>) -> Json {
    let known = format!("^{ANY_SCOPE}(?:(?:{})$|batch\\.)", known());
    let exempt = exempt.into_iter().map(str::to_owned).chain([known]).collect::<Vec<_>>().join("|");
    let message = "Nearly the name of a setting; check its spelling.";
    json!({"propertyNames": {
        "if": {"allOf": [{"not": {"pattern": exempt}}, facts.reference("near-key")]},
        "then": {"pattern": "^$", "patternErrorMessage": message},
    }})
}

/// Dotted names that are unknown behind `side`, a prefix as a pattern.
fn unknown_flat(side: &str) -> Map<String, Json> {
    let job_only = alternatives(job_only().map(|def| def.name));
    Map::from_iter([
        (format!("^{side}{}", unknown_below_batch()), json!(false)),
        (format!("^(?:source|sink)\\.(?:{job_only})$"), json!(false)),
    ])
}

/// Names that are near to a key, alone or behind a side, and those of keys and near ones behind a misspelt side.
fn near_key() -> String {
    let glued = format!("(?:{})[-_]", SIDES.map(in_any_case).join("|"));
    let misspelt = format!("(?:{}|{glued})", slip_of_side("[.:/]"));
    format!("^(?:(?:(?:source|sink)\\.|{misspelt})?(?:{})|{misspelt}(?:{}))$", near(), alternatives(names()))
}

/// A side in another case, abbreviated, or with a slip of the pen, before `end`: up to two edits of
/// `source`, one of `sink`. A number more is another name, and so is another first letter.
fn slip_of_side(end: &str) -> String {
    let slip = |side: &str, short: &str, edits: fn(&str, &str) -> String| {
        let (any_case, near) = (in_any_case(side), in_any_case(&edits(side, "[^.:/]")));
        format!("{any_case}|{}|(?=[sS])(?!{any_case}[0-9]+{end}){near}", in_any_case(short))
    };
    let slips = [slip("source", "src", edits::two), slip("sink", "snk", edits::one)].join("|");
    format!("(?!(?:source|sink)(?:\\.|$))(?:{slips}){end}")
}

/// A pattern with its letters in either case.
fn in_any_case(pattern: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphabetic() { any_case(c) } else { c.to_string() };
    pattern.chars().map(letter).collect()
}

/// A side's prefix, if there is one.
const ANY_SCOPE: &str = "(?:(?:source|sink)\\.)?";
/// A side's prefix.
const ANY_SIDE: &str = "(?:source|sink)\\.";

fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|def| def.name)
}

/// The names in a `batch` mapping.
fn batch() -> Json {
    let mut properties: Map<_, _> = below("batch").map(|name| (name.to_owned(), json!(true))).collect();
    // Others have these, but no mapping there.
    properties.extend(foreign_batch().map(|name| (name.to_owned(), json!({"maxProperties": 0}))));
    json!({"properties": properties, "additionalProperties": false, "doNotSuggest": true})
}

/// The names of the job or a side, and those of the mappings in it.
fn scope(facts: Facts) -> Json {
    let mut patterns = Map::from_iter([(format!("^{}", unknown_below_batch()), json!(false))]);
    patterns.extend(split_keys());
    json!({
        "allOf": [facts.reference("near-groups")],
        "properties": {"batch": facts.reference("names-batch")},
        "patternProperties": patterns,
    })
}

/// Mappings that are nearly called `group`, with names that are nearly those of its keys: at most two
/// edits together, one if the path is shorter than eight letters.
fn near_group(group: &str) -> Map<String, Json> {
    let names: Vec<_> = below(group).collect();
    let (exact, nearly) = (alternatives(names.iter().copied()), each(&names, edits::one));
    let folded_names = any_folded(names.iter().copied());
    let refuse = |pattern: String| json!({"propertyNames": {"not": {"pattern": format!("^(?:{pattern})$")}}});
    // `fetch: {size: …}` is somebody else's, though `fetch.timeout` is nearly `batch.timeout`.
    let foreign: Vec<_> = FOREIGN_KEYS
        .iter()
        .filter_map(|key| key.split_once('.'))
        .filter(|(parent, name)| strsim::osa_distance(parent, group) == 2 && names.contains(name))
        .collect();
    let apart: Vec<_> = [group].into_iter().chain(foreign.iter().map(|(parent, _)| *parent)).collect();
    let other = |pattern: String| format!("^(?!(?:{})$){pattern}$", apart.join("|"));
    let at_least = |letters: usize| format!("(?=[\\s\\S]{{{letters}}})");
    let (one, two) = (edits::one(group, LETTER), edits::two(group, LETTER));
    let (length, shortest) = (group.len(), names.iter().map(|name| name.len()).min().unwrap_or_default());
    let below_one = |least: usize| refuse(format!("{exact}|{}(?:{nearly})", at_least(least)));
    let mut found = Map::from_iter([
        (other(folded(group)), refuse(folded_names.clone())),
        (other(at_least(length) + &one), below_one(7_usize.saturating_sub(length))),
        (other(format!("(?!{}){one}", at_least(length))), below_one(8_usize.saturating_sub(length))),
        (other(at_least(7_usize.saturating_sub(shortest)) + &two), refuse(exact.clone())),
    ]);
    for (parent, name) in foreign {
        found.insert(format!("^{parent}$"), refuse(format!("(?!{name}$)(?:{exact})")));
    }
    if group != "batch" {
        let near = format!("{}(?:{})", at_least(7_usize.saturating_sub(length)), each(&names, edits::two));
        found.insert(format!("^{group}$"), refuse(format!("(?!(?:{exact})$)(?:{folded_names}|{near})")));
    }
    found
}

/// The beginnings of others' keys that differ from `name` in separators alone.
fn foreign_parents(name: &str) -> BTreeSet<&'static str> {
    let letters = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let beginnings = FOREIGN_KEYS.iter().flat_map(|key| key.match_indices('.').map(|(at, _)| &key[..at]));
    beginnings.filter(|parent| *parent != name && letters(parent) == letters(name)).collect()
}

/// Keys that are cut into mappings at their separators: `failure: {strategy: …}`.
fn split_keys() -> Map<String, Json> {
    let mut cut: Map<String, Json> = Map::new();
    for name in names().filter(|name| !name.contains('.')) {
        for (at, _) in name.match_indices('_') {
            let (first, last) = (&name[..at], &name[at + 1..]);
            // `retry.backoff: {max: 1}` is somebody else's.
            let parents = foreign_parents(first);
            let apart = alternatives([first].into_iter().chain(parents.iter().copied()));
            let exempt = |parent: &str| {
                let tails = FOREIGN_KEYS.iter().filter_map(|key| key.strip_prefix(parent)?.strip_prefix('.'));
                let tails = alternatives(tails);
                if tails.is_empty() { tails } else { format!("(?!(?:{tails})$)") }
            };
            let exact = [first].into_iter().chain(parents.iter().copied());
            let exact = exact.map(|parent| {
                (format!("^{}$", alternatives([parent])), format!("{}{}", exempt(parent), folded(last)))
            });
            for (mapping, name) in
                exact.chain([(format!("^(?!(?:{apart})$){}$", folded(first)), folded(last))])
            {
                let names =
                    cut.entry(mapping).or_insert_with(|| json!({"propertyNames": {"not": {"pattern": ""}}}));
                let pattern = &mut names["propertyNames"]["not"]["pattern"];
                let before =
                    pattern.as_str().filter(|before| !before.is_empty()).map(|before| format!("{before}|"));
                *pattern = json!(format!("{}^{name}$", before.unwrap_or_default()));
            }
        }
    }
    cut
}

/// The names of a side.
fn side(facts: Facts) -> Json {
    let mut properties = Map::new();
    for def in job_only() {
        properties.insert(def.name.to_owned(), json!(false));
        if let Some((group, name)) = def.name.split_once('.') {
            properties.insert(group.to_owned(), json!({"properties": {name: false}, "doNotSuggest": true}));
        }
    }
    // A second side in front of a key is no prefix of ours.
    let near = near_names(facts, Some("^(?:source|sink)\\."));
    json!({"allOf": [facts.reference("names-job"), near], "properties": properties, "doNotSuggest": true})
}

fn job_only() -> impl Iterator<Item = &'static KeyDef> {
    KEYS.iter().filter(|def| def.scopes == Scopes::JobOnly)
}

/// The names of a document.
fn root(facts: Facts) -> Json {
    let mut properties = Map::new();
    for side in SIDES {
        properties.insert(side.to_owned(), facts.reference("names-side"));
        properties.insert(format!("{side}.batch"), facts.reference("names-batch"));
        for def in job_only() {
            if let Some((group, name)) = def.name.split_once('.') {
                let no_key = json!({"properties": {name: false}, "doNotSuggest": true});
                properties.insert(format!("{side}.{group}"), no_key);
            }
        }
    }
    let mut patterns = unknown_flat(ANY_SIDE);
    patterns.insert(format!("^{}", slip_of_side("$")), facts.reference("in-misspelt-side"));
    // `soruce.batch: {size: 5}`
    let behind_slip =
        |group: &str| (format!("^{}{group}$", slip_of_side("[.:/]")), in_misspelt_group(facts, group));
    patterns.extend(GROUPS.map(behind_slip));
    // `source.bach: {size: 5}`
    let of_side = |(pattern, names): (String, Json)| (pattern.replacen('^', "^(?:source|sink)\\.", 1), names);
    patterns.extend(GROUPS.into_iter().flat_map(near_group).map(of_side));
    json!({
        "allOf": [facts.reference("names-job"), near_names(facts, None)],
        "properties": properties,
        "patternProperties": patterns,
    })
}

/// `soruce: {batch: {size: 5}}`: a mapping that holds keys of ours, or nearly, is a misspelt side.
fn in_misspelt_side(facts: Facts) -> Json {
    let exact = format!("^(?:{})$", alternatives(names()));
    let of_group = |group: &str| (format!("^{group}$"), in_misspelt_group(facts, group));
    let groups: Map<_, _> = GROUPS.into_iter().map(of_group).collect();
    json!({
        "allOf": [facts.reference("near-groups")],
        "propertyNames": {"not": {"anyOf": [facts.reference("near-key"), {"pattern": exact}]}},
        "patternProperties": groups,
    })
}

/// `batch: {size: 5}` behind a misspelt side: a mapping that holds keys of ours, or nearly.
fn in_misspelt_group(facts: Facts, group: &str) -> Json {
    let names: Vec<_> = below(group).collect();
    let allowed = if group == "batch" {
        let foreign = format!("^(?:{})$", alternatives(foreign_batch()));
        json!({"anyOf": [facts.reference("stranger"), {"pattern": foreign}]})
    } else {
        json!({"not": {"pattern": format!("^(?:{})$", each(&names, edits::two))}})
    };
    let folded = format!("^(?:{})$", any_folded(names));
    json!({"propertyNames": {"allOf": [allowed, {"not": {"pattern": folded}}]}})
}

/// Names of a `batch` mapping, or dotted, that are not even nearly ours: they make a document doubtful.
pub(super) fn stranger() -> String {
    let names: Vec<_> = below("batch").collect();
    let known = alternatives(below("batch").chain(foreign_batch()));
    format!("^(?!(?:{ANY_SCOPE}batch\\.)?(?:{known}|{})$)", each(&names, edits::two))
}

/// Mappings below `batch`, behind a prefix that is a pattern: with what a key of ours holds, or nearly, they
/// are strangers, because their paths are too long to be one.
pub(super) fn mapping_below_batch(prefix: &str) -> Json {
    let known = alternatives(below("batch").chain(foreign_batch()));
    let (any, long) = (json!({"type": "object", "minProperties": 1}), some_name("[\\s\\S]{2}"));
    json!({"type": "object", "not": {"patternProperties": {
        format!("^{prefix}(?!(?:{known})$)"): {"not": any},
        format!("^{prefix}(?:{known})$"): {"not": long},
    }}})
}

/// The first parts of our keys, and the sides.
pub(super) fn first_parts() -> String {
    let mut parts: Vec<_> =
        Key::ALL.iter().map(|key| key.name().split('.').next().unwrap_or_default()).collect();
    parts.dedup();
    parts.extend(SIDES);
    parts.join("|")
}
