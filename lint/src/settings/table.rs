//! The table of the settings in velo.toml, and the JSON Schema that editors check it with.

use schemars::Schema;
use serde_json::{Map, Value as Json, json};
use velo_schema::json_schema::Draft;

use crate::language::Language;
use crate::options::Level;
use crate::rules::{ALL, RULES};
use crate::severity::Severity;
use crate::target::Target;

/// A setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub name: &'static str,
    /// What it is for, in one or two sentences.
    about: &'static str,
    kind: Kind,
    /// True if files may differ in it.
    of_file: bool,
}

/// What a setting takes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Words(fn() -> Vec<&'static str>),
    Patterns,
    /// Endings of file names with their languages.
    Endings,
    /// Rules with their levels.
    Levels,
    /// Tables with paths and settings of files.
    Overrides,
}

/// The settings of a project.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "required-version",
        about: "The releases of velo that the settings are for, such as \">=0.1, <0.3\". Others refuse to run.",
        kind: Kind::Text,
        of_file: false,
    },
    Setting {
        name: "target",
        about: "The engine that the settings are written for.",
        kind: Kind::Words(|| Target::ALL.iter().map(|target| target.word()).collect()),
        of_file: true,
    },
    Setting {
        name: "record-size",
        about: "The mean record size, such as \"500\", \"2KiB\" or \"1MB\".",
        kind: Kind::Text,
        of_file: true,
    },
    Setting {
        name: "fail-on",
        about: "The lowest severity that fails a check.",
        kind: Kind::Words(|| Severity::ALL.map(Severity::word).to_vec()),
        of_file: true,
    },
    Setting {
        name: "exclude",
        about: "Files that are not checked, even if they are given by name: patterns as in .gitignore, relative to the \
                folder of this file.",
        kind: Kind::Patterns,
        of_file: false,
    },
    Setting {
        name: "baseline",
        about: "A file of accepted findings, relative to the folder of this file.",
        kind: Kind::Text,
        of_file: false,
    },
    Setting {
        name: "endings",
        about: "Endings of file names, without the first dot, and the language of such files.",
        kind: Kind::Endings,
        of_file: false,
    },
    Setting {
        name: "rules",
        about: "The level of each rule; \"all\" is every rule.",
        kind: Kind::Levels,
        of_file: true,
    },
    Setting {
        name: "overrides",
        about: "Other settings for some files. Later ones win.",
        kind: Kind::Overrides,
        of_file: false,
    },
];

/// The files that an override is for.
const PATHS: Setting = Setting {
    name: "paths",
    about: "The files: patterns as in .gitignore, relative to the folder of this file.",
    kind: Kind::Patterns,
    of_file: false,
};

/// Returns the settings of an override.
pub(super) fn of_override() -> Vec<Setting> {
    std::iter::once(PATHS).chain(SETTINGS.iter().copied().filter(|setting| setting.of_file)).collect()
}

/// Returns the names of settings.
pub(super) fn names(settings: &[Setting]) -> Vec<&'static str> {
    settings.iter().map(|setting| setting.name).collect()
}

/// Returns true if files may differ in the setting of this name.
pub(super) fn is_of_file(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.of_file && setting.name == name)
}

/// Returns the JSON Schema of `velo.toml`.
#[must_use]
pub fn json_schema(draft: Draft) -> Schema {
    let Json::Object(of_project) = object(SETTINGS, &[]) else { return Schema::default() };
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), draft.meta_schema().into());
    schema.insert("title".to_owned(), super::FILE_NAME.into());
    schema.insert("$id".to_owned(), draft.id("velo-toml").into());
    schema.insert("description".to_owned(), "The settings of a project.".into());
    schema.extend(of_project);
    schema.into()
}

fn object(settings: &[Setting], required: &[&str]) -> Json {
    let property = |setting: &Setting| {
        let mut schema = schema_of(setting.kind);
        schema["description"] = setting.about.into();
        (setting.name.to_owned(), schema)
    };
    let properties: Map<_, _> = settings.iter().map(property).collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

fn schema_of(kind: Kind) -> Json {
    let words = |words: &[&str]| json!({"type": "string", "enum": words});
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Words(of) => words(&of()),
        Kind::Patterns => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Endings => {
            let languages = Language::NAMES.map(|(name, _)| name);
            json!({"type": "object", "additionalProperties": words(&languages)})
        }
        Kind::Levels => {
            let level = words(&Level::WORDS.map(|(word, _)| word));
            let rule = |(id, about): (&str, &str)| {
                let mut level = level.clone();
                level["description"] = about.into();
                (id.to_owned(), level)
            };
            let rules = RULES.iter().map(|rule| (rule.id, rule.summary));
            let rules: Map<_, _> = std::iter::once((ALL, "Every rule.")).chain(rules).map(rule).collect();
            json!({"type": "object", "properties": rules, "additionalProperties": false})
        }
        Kind::Overrides => json!({"type": "array", "items": object(&of_override(), &[PATHS.name])}),
    }
}
