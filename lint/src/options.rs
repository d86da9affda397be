//! What a check is asked for: which rules at which level, and what is known beside the text.

use std::collections::BTreeMap;

use crate::finding::Severity;
use crate::rules::RULES;

/// What a check is asked for; the default is every rule at its own level and nothing known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The mean record in bytes.
    pub record_bytes: Option<u64>,
    /// The engine that the settings are written for, if it is another than the guide's.
    pub target: Option<Target>,
    /// The level of each rule.
    pub levels: Levels,
}

impl Options {
    /// Every rule at its own level and nothing known.
    pub(crate) const DEFAULT: &'static Self =
        &Self { record_bytes: None, target: None, levels: Levels(BTreeMap::new()) };
}

/// An engine that reads the same keys in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// An engine that does all that the guide says.
    Guide,
    /// The published engine of that name, version 0.1.
    Velostream01,
}

impl Target {
    /// Every target.
    pub const ALL: &'static [Self] = &[Self::Guide, Self::Velostream01];

    /// Its name on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Guide => "guide",
            Self::Velostream01 => "velostream-0.1",
        }
    }

    /// The target of this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|target| target.word() == word)
    }
}

/// What becomes of a rule's findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// They are left out.
    Allow,
    /// They are reported, whatever their own severity, with this one.
    Report(Severity),
}

impl Level {
    /// Every level and its word.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("allow", Self::Allow),
        ("info", Self::Report(Severity::Info)),
        ("warning", Self::Report(Severity::Warning)),
        ("error", Self::Report(Severity::Error)),
    ];

    /// The level of this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, level)| *level)
    }
}

/// The levels that are not the rules' own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Levels(BTreeMap<&'static str, Level>);

/// A name that no rule has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no rule '{name}'{}", nearest.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default())]
pub struct UnknownRule {
    /// As written.
    pub name: String,
    /// The rule it is near to.
    pub nearest: Option<&'static str>,
}

impl Levels {
    /// The word that stands for every rule.
    pub const ALL: &'static str = "all";

    /// Sets the level of a rule, or of all of them.
    ///
    /// # Errors
    /// If there is no such rule.
    pub fn set(&mut self, rule: &str, level: Level) -> Result<(), UnknownRule> {
        if rule == Self::ALL {
            self.0.extend(RULES.iter().map(|rule| (rule.id, level)));
            return Ok(());
        }
        self.0.insert(find_rule(rule)?, level);
        Ok(())
    }

    /// The level of a rule whose own severity is `severity`.
    #[must_use]
    pub fn of(&self, rule: &str, severity: Severity) -> Level {
        self.0.get(rule).copied().unwrap_or(Level::Report(severity))
    }
}

/// The rule's own copy of its name.
///
/// # Errors
/// If there is no such rule.
pub fn find_rule(name: &str) -> Result<&'static str, UnknownRule> {
    let ids = RULES.iter().map(|rule| rule.id);
    ids.clone()
        .find(|id| *id == name)
        .ok_or_else(|| UnknownRule { name: name.to_owned(), nearest: velo_schema::meant(name, ids) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_level_of_a_rule_holds_and_all_means_all() {
        let mut levels = Levels::default();
        levels.set("all", Level::Allow).unwrap();
        levels.set("inert-key", Level::Report(Severity::Error)).unwrap();
        assert_eq!(levels.of("inert-key", Severity::Warning), Level::Report(Severity::Error));
        assert_eq!(levels.of("unquoted", Severity::Warning), Level::Allow);
        let unknown = levels.set("inert-keys", Level::Allow).unwrap_err();
        assert_eq!(unknown.to_string(), "there is no rule 'inert-keys'; did you mean 'inert-key'?");
    }
}
