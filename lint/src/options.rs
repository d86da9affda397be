//! The options of a check: the level of each rule, and what is known beside the text.

use std::collections::BTreeMap;

use crate::severity::Severity;
use crate::target::Target;

/// The options of a check. By default every rule has its own level, and nothing is known beside the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The mean size of a record in bytes.
    pub record_bytes: Option<u64>,
    /// The engine that the settings are written for, if it is another than the guide's.
    pub target: Option<Target>,
    /// The level of each rule.
    pub levels: Levels,
}

impl Options {
    /// The default options.
    pub(crate) const DEFAULT: &'static Self =
        &Self { record_bytes: None, target: None, levels: Levels(BTreeMap::new()) };
}

/// What becomes of a rule's findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// They are left out.
    Allow,
    /// They are reported with this severity, whatever their own is.
    Report(Severity),
}

impl Level {
    /// Every level and its word.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("allow", Self::Allow),
        ("info", Self::Report(Severity::Info)),
        ("warning", Self::Report(Severity::Warning)),
        ("error", Self::Report(Severity::Error)),
    ];

    /// Returns the level of this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, level)| *level)
    }

    /// Returns the name of the level.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Report(severity) => severity.word(),
        }
    }
}

/// The levels that are not the rules' own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Levels(BTreeMap<&'static str, Level>);

impl Levels {
    /// Sets the level of a rule.
    pub(crate) fn set(&mut self, rule: &'static str, level: Level) {
        self.0.insert(rule, level);
    }

    /// Returns the level of a rule whose own severity is `severity`.
    #[must_use]
    pub fn of(&self, rule: &str, severity: Severity) -> Level {
        self.0.get(rule).copied().unwrap_or(Level::Report(severity))
    }
}
