//! The settings of a project, `velo.toml`: its text in, the options for each file out.
//!
//! ```toml
//! required-version = ">=0.1"     # refuse other releases of velo
//! target = "velostream-0.1"      # or "guide"
//! record-size = "2KiB"           # the mean record size
//! fail-on = "warning"            # or "info", "error"
//! exclude = ["vendor/"]          # files that are not checked
//! baseline = "velo-baseline.json"
//!
//! [endings]                      # endings of file names beside those that velo knows
//! tmpl = "sql"
//!
//! [rules]
//! off-the-matrix = "allow"       # or "info", "warning", "error"
//!
//! [[overrides]]                  # other settings for some files
//! paths = ["migrations/"]
//! rules = { all = "allow" }
//! ```

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use semver::{Version, VersionReq};
use serde::Serialize;
use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use velo_schema::json_schema::{Draft, root_schema};
use velo_schema::meant;

use crate::language::Language;
use crate::line_index::LineIndex;
use crate::options::{Level, Options};
use crate::rules;
use crate::severity::Severity;
use crate::target::Target;

/// The name of the file.
pub const FILE_NAME: &str = "velo.toml";

/// The settings of a project.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The settings for all files that no override is for.
    pub common: FileSettings,
    /// The baseline file, relative to the folder of the settings.
    pub baseline: Option<String>,
    endings: BTreeMap<String, Language>,
    exclude: GlobSet,
    overrides: Vec<Override>,
}

/// The settings for a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSettings {
    /// The options of its check.
    pub options: Options,
    /// The lowest severity that fails a check.
    pub fail_on: Option<Severity>,
}

#[derive(Debug, Clone)]
struct Override {
    paths: GlobSet,
    settings: Partial,
}

/// What a file says about settings.
#[derive(Debug, Clone, Default)]
struct Partial {
    target: Option<Target>,
    record_bytes: Option<u64>,
    fail_on: Option<Severity>,
    /// Rules and their levels in the order in which they are set.
    levels: Vec<(String, Level)>,
}

impl Partial {
    fn apply(&self, settings: &mut FileSettings) {
        let options = &mut settings.options;
        options.target = self.target.or(options.target);
        options.record_bytes = self.record_bytes.or(options.record_bytes);
        settings.fail_on = self.fail_on.or(settings.fail_on);
        for (rule, level) in &self.levels {
            // The names were checked when the file was read.
            let _ = rules::set_level(&mut options.levels, rule, *level);
        }
    }
}

/// An error in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct SettingsError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl Settings {
    /// Reads settings.
    ///
    /// # Errors
    /// If the text is no TOML, a setting is unknown or has a wrong value, or another release of velo is required.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        parse(text).map_err(|Problem { at, message }| {
            let place = LineIndex::new(text).position(text.floor_char_boundary(at));
            SettingsError { line: place.line, column: place.column, message }
        })
    }

    /// Returns the settings for a file. `path` is relative to the folder of `velo.toml`, with `/`.
    #[must_use]
    pub fn of(&self, path: &str) -> FileSettings {
        let mut settings = self.common.clone();
        for own in self.overrides.iter().filter(|own| own.paths.is_match(path)) {
            own.settings.apply(&mut settings);
        }
        settings
    }

    /// Returns true if some files have settings of their own.
    #[must_use]
    pub fn has_overrides(&self) -> bool {
        !self.overrides.is_empty()
    }

    /// Returns true if a file is not to be checked.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        self.exclude.is_match(path)
    }

    /// Returns the language of a file by its name; `None` if its ending is unknown.
    #[must_use]
    pub fn language(&self, name: &str) -> Option<Language> {
        let own = self.endings.iter().filter(|(ending, _)| has_ending(name, ending));
        let longest = own.max_by_key(|(ending, _)| ending.len());
        longest.map(|(_, language)| *language).or_else(|| Language::of_file_name(name))
    }
}

fn has_ending(name: &str, ending: &str) -> bool {
    let Some(start) = name.len().checked_sub(ending.len() + 1) else { return false };
    name.as_bytes()[start] == b'.' && name[start + 1..].eq_ignore_ascii_case(ending)
}

/// The settings of a project as `velo.toml` has them.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "velo.toml", inline)]
#[allow(dead_code, reason = "the schema and the names of the settings are derived from it")]
struct SettingsDocument {
    /// The releases of velo that the settings are for, such as ">=0.1, <0.3". Others refuse to run.
    required_version: Option<String>,
    /// The engine that the settings are written for.
    target: Option<TargetName>,
    /// The mean record size, such as "500", "2KiB" or "1MB".
    record_size: Option<String>,
    /// The lowest severity that fails a check.
    fail_on: Option<Severity>,
    /// Files that are not checked, even if they are given by name: patterns as in .gitignore, relative to the folder of
    /// this file.
    exclude: Option<Vec<String>>,
    /// A file of accepted findings, relative to the folder of this file.
    baseline: Option<String>,
    /// Endings of file names, without the first dot, and the language of such files.
    endings: Option<BTreeMap<String, LanguageName>>,
    /// The level of each rule; "all" is every rule.
    rules: Option<BTreeMap<String, LevelName>>,
    /// Other settings for some files. Later ones win.
    overrides: Option<Vec<OverrideDocument>>,
}

/// Settings for some files.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(inline)]
#[allow(dead_code, reason = "as above")]
struct OverrideDocument {
    /// The files: patterns as in .gitignore, relative to the folder of this file.
    paths: Vec<String>,
    /// The engine that the settings are written for.
    target: Option<TargetName>,
    /// The mean record size, such as "500", "2KiB" or "1MB".
    record_size: Option<String>,
    /// The lowest severity that fails a check.
    fail_on: Option<Severity>,
    /// The level of each rule; "all" is every rule.
    rules: Option<BTreeMap<String, LevelName>>,
}

/// An engine.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
#[allow(dead_code, reason = "as above")]
enum TargetName {
    #[serde(rename = "guide")]
    Guide,
    #[serde(rename = "velostream-0.1")]
    Velostream01,
}

/// A language.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[allow(dead_code, reason = "as above")]
enum LanguageName {
    Sql,
    Yaml,
    Json,
    Markdown,
}

/// The level of a rule.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[allow(dead_code, reason = "as above")]
enum LevelName {
    Allow,
    Info,
    Warning,
    Error,
}

/// Returns the JSON Schema of `velo.toml`.
#[must_use]
pub fn json_schema(draft: Draft) -> Schema {
    let mut schema = root_schema::<SettingsDocument>(draft);
    // TOML has no null: what is not set is not there.
    RecursiveTransform(remove_null).transform(&mut schema);
    schema
}

fn remove_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    let is_null = |value: &Json| value == "null" || value.is_null() || value["type"] == "null";
    for name in ["type", "enum", "anyOf"] {
        if let Some(Json::Array(values)) = object.get_mut(name) {
            values.retain(|value| !is_null(value));
        }
    }
    if let Some(Json::Array(types)) = object.get("type")
        && let [one] = types.as_slice()
    {
        let one = one.clone();
        object.insert("type".to_owned(), one);
    }
    if let Some(Json::Array(alternatives)) = object.get("anyOf")
        && let [Json::Object(one)] = alternatives.as_slice()
    {
        let one = one.clone();
        object.remove("anyOf");
        object.extend(one);
    }
}

/// An error with its byte offset.
struct Problem {
    at: usize,
    message: String,
}

type Value<'a> = Spanned<DeValue<'a>>;

const OF_A_FILE: [&str; 4] = ["target", "record-size", "fail-on", "rules"];
const OF_A_PROJECT: [&str; 9] = [
    "required-version",
    "target",
    "record-size",
    "fail-on",
    "exclude",
    "baseline",
    "endings",
    "rules",
    "overrides",
];
const OF_AN_OVERRIDE: [&str; 5] = ["paths", "target", "record-size", "fail-on", "rules"];

/// A folder that is excluded by its name, with everything below it.
const BELOW: &str = "**";

fn parse(text: &str) -> Result<Settings, Problem> {
    let table = DeTable::parse(text).map_err(|error| Problem {
        at: error.span().map_or(0, |span| span.start),
        message: error.message().trim().replace('\n', ", "),
    })?;
    let mut settings = Settings::default();
    let mut common = Partial::default();
    for (key, value) in in_order(table.get_ref()) {
        match key.get_ref().as_ref() {
            "required-version" => require(value)?,
            "exclude" => settings.exclude = globs(value)?,
            "baseline" => settings.baseline = Some(text_of(value, "the path of a file")?.to_owned()),
            "endings" => {
                let table = value.get_ref().as_table().ok_or_else(|| wrong(value, "a table of endings"))?;
                for (ending, language) in in_order(table) {
                    let words: Vec<_> = Language::NAMES.iter().map(|(name, _)| *name).collect();
                    let language = word(language, &words, Language::from_name)?;
                    let ending = ending.get_ref().trim_start_matches('.').to_ascii_lowercase();
                    settings.endings.insert(ending, language);
                }
            }
            "overrides" => {
                let overrides = value.get_ref().as_array();
                let overrides = overrides.ok_or_else(|| wrong(value, "[[overrides]], a list of tables"))?;
                for own in overrides {
                    settings.overrides.push(override_of(own)?);
                }
            }
            name if OF_A_FILE.contains(&name) => of_a_file(&mut common, name, value)?,
            unknown => return Err(unknown_setting(unknown, key.span().start, &OF_A_PROJECT)),
        }
    }
    common.apply(&mut settings.common);
    Ok(settings)
}

fn in_order<'t, 'a>(table: &'t DeTable<'a>) -> Vec<(&'t Spanned<std::borrow::Cow<'a, str>>, &'t Value<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn override_of(value: &Value<'_>) -> Result<Override, Problem> {
    let table = value.get_ref().as_table().ok_or_else(|| wrong(value, "a table"))?;
    let (mut paths, mut settings) = (None, Partial::default());
    for (key, value) in in_order(table) {
        match key.get_ref().as_ref() {
            "paths" => paths = Some(globs(value)?),
            name if OF_A_FILE.contains(&name) => of_a_file(&mut settings, name, value)?,
            unknown => return Err(unknown_setting(unknown, key.span().start, &OF_AN_OVERRIDE)),
        }
    }
    let paths = paths.ok_or_else(|| wrong(value, "'paths', the files that the override is for"))?;
    Ok(Override { paths, settings })
}

/// Reads a setting that files may differ in.
fn of_a_file(settings: &mut Partial, name: &str, value: &Value<'_>) -> Result<(), Problem> {
    match name {
        "target" => {
            let words: Vec<_> = Target::ALL.iter().map(|target| target.word()).collect();
            settings.target = Some(word(value, &words, Target::from_word)?);
        }
        "fail-on" => {
            let words = Severity::ALL.map(Severity::word);
            settings.fail_on = Some(word(value, &words, Severity::from_word)?);
        }
        "record-size" => {
            let expected = "a quoted size, such as \"500\", \"10KB\" or \"10KiB\"";
            let bytes = value.get_ref().as_str().and_then(velo_schema::parse_bytes);
            settings.record_bytes = Some(bytes.ok_or_else(|| wrong(value, expected))?);
        }
        _ => {
            let table = value.get_ref().as_table().ok_or_else(|| wrong(value, "a table of rules"))?;
            let mut levels = in_order(table);
            // The level of all rules is set first, so that the level of a single rule overrides it.
            levels.sort_by_key(|(rule, _)| rule.get_ref() != rules::ALL);
            for (rule, level) in levels {
                let words: Vec<_> = Level::WORDS.iter().map(|(word, _)| *word).collect();
                let level = word(level, &words, Level::from_word)?;
                if rule.get_ref() != rules::ALL
                    && let Err(error) = rules::named(rule.get_ref())
                {
                    return Err(Problem { at: rule.span().start, message: error.to_string() });
                }
                settings.levels.push((rule.get_ref().to_string(), level));
            }
        }
    }
    Ok(())
}

/// Refuses settings that are for other releases.
fn require(value: &Value<'_>) -> Result<(), Problem> {
    const THIS: &str = env!("CARGO_PKG_VERSION");
    let expected = "a version or a range of versions, such as \">=0.1, <0.3\"";
    let required = value.get_ref().as_str().and_then(|text| VersionReq::parse(text).ok());
    let required = required.ok_or_else(|| wrong(value, expected))?;
    match Version::parse(THIS) {
        Ok(this) if !required.matches(&this) => Err(Problem {
            at: value.span().start,
            message: format!("the project requires velo {required}; this is {THIS}"),
        }),
        _ => Ok(()),
    }
}

/// Reads patterns as in `.gitignore`: without a slash before its end, a pattern is for names in every folder.
fn globs(value: &Value<'_>) -> Result<GlobSet, Problem> {
    let expected = "a list of patterns, such as [\"vendor/\", \"**/*_test.sql\"]";
    let patterns = value.get_ref().as_array().ok_or_else(|| wrong(value, expected))?;
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let text = text_of(pattern, "a pattern")?;
        let is_elsewhere = text.starts_with(['!', '.'])
            && !text.starts_with(".*")
            && text.trim_start_matches(['!', '.']).starts_with('/');
        if text.starts_with('!')
            || text.trim_matches('/').is_empty()
            || text == "."
            || text == ".."
            || is_elsewhere
        {
            return Err(wrong(pattern, "a pattern below the folder of velo.toml, without '!' or './'"));
        }
        let name = text.trim_end_matches('/');
        let anchored = name.trim_start_matches('/');
        let rooted = if name.contains('/') { anchored.to_owned() } else { format!("{BELOW}/{anchored}") };
        let below = format!("{rooted}/{BELOW}");
        // A pattern that ends with a slash is for folders only.
        let own = (name == text).then_some(&rooted);
        for glob in own.into_iter().chain([&below]) {
            let glob = GlobBuilder::new(glob).literal_separator(true).build();
            set.add(glob.map_err(|error| Problem { at: pattern.span().start, message: error.to_string() })?);
        }
    }
    set.build().map_err(|error| Problem { at: value.span().start, message: error.to_string() })
}

fn unknown_setting(name: &str, at: usize, known: &[&'static str]) -> Problem {
    let hint = meant(name, known.iter().copied()).map_or_else(
        || format!("expected one of {}", known.join(", ")),
        |near| format!("did you mean '{near}'?"),
    );
    Problem { at, message: format!("unknown setting '{name}'; {hint}") }
}

fn text_of<'v>(value: &'v Value<'_>, expected: &str) -> Result<&'v str, Problem> {
    value.get_ref().as_str().ok_or_else(|| wrong(value, expected))
}

fn word<T>(value: &Value<'_>, words: &[&str], read: impl Fn(&str) -> Option<T>) -> Result<T, Problem> {
    let expected = || wrong(value, &format!("one of {}", words.join(", ")));
    value.get_ref().as_str().and_then(read).ok_or_else(expected)
}

fn wrong(value: &Value<'_>, expected: &str) -> Problem {
    Problem { at: value.span().start, message: format!("expected {expected}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn problem(text: &str) -> String {
        Settings::parse(text).expect_err("an error").to_string()
    }

    #[test]
    fn every_setting_is_read() {
        let text = "target = \"velostream-0.1\"\nrecord-size = '2KiB'\nfail-on = 'warning'\nbaseline = 'known.json'\n\
                    required-version = '>=0.1'\n[rules]\nunquoted = 'allow'\nall = 'info'\n";
        let settings = settings(text);
        let FileSettings { options, fail_on } = &settings.common;
        assert_eq!(options.target, Some(Target::Velostream01));
        assert_eq!((options.record_bytes, *fail_on), (Some(2048), Some(Severity::Warning)));
        assert_eq!(options.levels.of("unquoted", Severity::Error), Level::Allow);
        assert_eq!(options.levels.of("inert-key", Severity::Error), Level::Report(Severity::Info));
        assert_eq!(settings.baseline.as_deref(), Some("known.json"));
    }

    #[test]
    fn errors_have_a_place() {
        assert_eq!(problem("\n[rule]\n"), "2:2: unknown setting 'rule'; did you mean 'rules'?");
        assert!(problem("x = 1").contains("expected one of required-version, target"));
        assert_eq!(problem("fail-on = 'never'"), "1:11: expected one of info, warning, error");
        assert!(problem("record-size = 5").starts_with("1:15: expected a quoted size"));
        assert_eq!(
            problem("[rules]\ninert-keys = 'allow'"),
            "2:1: there is no rule 'inert-keys'; did you mean 'inert-key'?"
        );
        assert!(problem("target = ").starts_with("1:"));
        assert!(problem("[[overrides]]\ntarget = 'guide'").contains("expected 'paths'"));
        assert!(problem("[[overrides]]\npaths = ['a']\nexclude = []").contains("unknown setting 'exclude'"));
        assert!(problem("required-version = '>=99'").contains("the project requires velo >=99; this is"));
        assert!(problem("exclude = 'vendor'").contains("expected a list of patterns"));
        assert!(problem("exclude = ['[']").starts_with("1:12: "));
        assert!(problem("[endings]\nhql = 'text'").contains("expected one of sql, yaml, json, markdown"));
    }

    #[test]
    fn patterns_are_those_of_ignore_files() {
        let settings = settings("exclude = ['vendor/', '*.gen.sql', '/top.sql', 'a/b']");
        for (path, is_excluded) in [
            ("vendor/x.sql", true),
            ("sub/vendor/y/x.sql", true),
            // A file with the name of a folder.
            ("vendor", false),
            ("sub/x.gen.sql", true),
            ("top.sql", true),
            ("sub/top.sql", false),
            ("a/b/c.sql", true),
            ("x/a/b/c.sql", false),
            ("x.sql", false),
        ] {
            assert_eq!(settings.excludes(path), is_excluded, "{path}");
        }
    }

    #[test]
    fn later_overrides_win_and_add_to_what_holds_for_all() {
        let settings = settings(
            "record-size = '1KB'\n[rules]\nunquoted = 'error'\n\
             [[overrides]]\npaths = ['old/']\nrules = { all = 'info' }\n\
             [[overrides]]\npaths = ['old/new.sql']\nfail-on = 'info'\nrules = { unquoted = 'allow' }\n",
        );
        let level = |path: &str, rule: &str| settings.of(path).options.levels.of(rule, Severity::Warning);
        assert_eq!(level("a.sql", "unquoted"), Level::Report(Severity::Error));
        assert_eq!(level("old/a.sql", "unquoted"), Level::Report(Severity::Info));
        assert_eq!(level("old/new.sql", "unquoted"), Level::Allow);
        assert_eq!(level("old/new.sql", "inert-key"), Level::Report(Severity::Info));
        let of = settings.of("old/new.sql");
        assert_eq!((of.fail_on, of.options.record_bytes), (Some(Severity::Info), Some(1000)));
    }

    #[test]
    fn endings_name_languages_and_the_longest_wins() {
        let settings = settings("[endings]\n'.tmpl' = 'yaml'\n'sql.tmpl' = 'sql'\n");
        assert_eq!(settings.language("a/b.SQL.tmpl"), Some(Language::Sql));
        assert_eq!(settings.language("b.tmpl"), Some(Language::Yaml));
        assert_eq!(settings.language("b.sql.j2"), Some(Language::Sql), "velo knows it");
        assert_eq!(settings.language("tmpl"), None);
    }

    #[test]
    fn the_schema_has_every_setting() {
        let schema = json_schema(Draft::Draft2020_12).to_value();
        let names = |schema: &serde_json::Value| {
            let names = schema["properties"].as_object().expect("properties").keys().cloned();
            names.collect::<std::collections::BTreeSet<_>>()
        };
        let known = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(names(&schema), known(&OF_A_PROJECT));
        let overrides = &schema["properties"]["overrides"]["items"];
        assert_eq!(names(overrides), known(&OF_AN_OVERRIDE), "{overrides:#}");
        assert!(!schema.to_string().contains("null"), "{schema:#}");
    }
}
