//! Reads velo.toml: its text in, settings or the first problem out.

use std::borrow::Cow;

use semver::{Version, VersionReq};
use toml::Spanned;
use toml::de::DeTable;
use velo_schema::meant;

use super::patterns::patterns;
use super::problem::{Problem, Value, text_of, word, wrong};
use super::table::{SETTINGS, is_of_file, names, of_override};
use super::{Override, Partial, Settings};
use crate::language::Language;
use crate::options::Level;
use crate::rules;
use crate::severity::Severity;
use crate::target::Target;

/// Reads the settings of a project.
pub(super) fn read(text: &str) -> Result<Settings, Problem> {
    let table = DeTable::parse(text).map_err(|error| Problem {
        at: error.span().map_or(0, |span| span.start),
        message: error.message().trim().replace('\n', ", "),
    })?;
    let mut settings = Settings::default();
    let mut common = Partial::default();
    for (key, value) in in_order(table.get_ref()) {
        match key.get_ref().as_ref() {
            "required-version" => require(value)?,
            "exclude" => settings.exclude = patterns(value)?,
            "baseline" => settings.baseline = Some(text_of(value, "the path of a file")?.to_owned()),
            "endings" => {
                let table = value.get_ref().as_table().ok_or_else(|| wrong(value, "a table of endings"))?;
                for (ending, language) in in_order(table) {
                    let words: Vec<_> = Language::NAMES.iter().map(|(name, _)| *name).collect();
                    let language = word(language, &words, Language::from_name)?;
                    let at = ending.span().start;
                    let ending = ending.get_ref().trim_start_matches('.').to_ascii_lowercase();
                    if ending.is_empty() || ending.contains(['*', '/', '?']) {
                        let message =
                            "expected an ending of file names, such as \"sql.tmpl\", without '*'".to_owned();
                        return Err(Problem { at, message });
                    }
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
            name if is_of_file(name) => of_a_file(&mut common, name, value)?,
            unknown => return Err(unknown_setting(unknown, key.span().start, &names(SETTINGS))),
        }
    }
    common.apply(&mut settings.common);
    Ok(settings)
}

fn in_order<'t, 'a>(table: &'t DeTable<'a>) -> Vec<(&'t Spanned<Cow<'a, str>>, &'t Value<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn override_of(value: &Value<'_>) -> Result<Override, Problem> {
    let table = value.get_ref().as_table().ok_or_else(|| wrong(value, "a table"))?;
    let (mut paths, mut settings) = (None, Partial::default());
    for (key, value) in in_order(table) {
        match key.get_ref().as_ref() {
            "paths" => paths = Some(patterns(value)?),
            name if is_of_file(name) => of_a_file(&mut settings, name, value)?,
            unknown => return Err(unknown_setting(unknown, key.span().start, &names(&of_override()))),
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

fn unknown_setting(name: &str, at: usize, known: &[&'static str]) -> Problem {
    let hint = meant(name, known.iter().copied()).map_or_else(
        || format!("expected one of {}", known.join(", ")),
        |near| format!("did you mean '{near}'?"),
    );
    Problem { at, message: format!("unknown setting '{name}'; {hint}") }
}
