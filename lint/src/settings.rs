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

mod patterns;
mod problem;
mod read;
mod table;

use std::collections::BTreeMap;

use globset::GlobSet;

pub use table::json_schema;

use crate::language::Language;
use crate::line_index::LineIndex;
use crate::options::{Level, Options};
use crate::rules;
use crate::severity::Severity;
use crate::target::Target;
use problem::Problem;
use read::read;

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
        read(text).map_err(|Problem { at, message }| {
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

    /// Returns true if a file is not to be checked.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        self.exclude.is_match(path)
    }

    /// Returns the language of a file by its name; `None` if its ending is unknown.
    #[must_use]
    pub fn language(&self, name: &str) -> Option<Language> {
        let own = self.endings.iter().filter(|(ending, _)| Language::has_ending(name, ending));
        let longest = own.max_by_key(|(ending, _)| ending.len());
        longest.map(|(_, language)| *language).or_else(|| Language::of_file_name(name))
    }
}

#[cfg(test)]
mod tests;
