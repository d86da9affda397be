//! The engines that settings are written for.

use serde::Serialize;

/// An engine that reads the same keys in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Target {
    /// An engine that does all that the guide says.
    #[serde(rename = "guide")]
    Guide,
    /// The published engine of that name, version 0.1.
    #[serde(rename = "velostream-0.1")]
    Velostream01,
}

impl Target {
    /// Every target.
    pub const ALL: &'static [Self] = &[Self::Guide, Self::Velostream01];

    /// Returns its name on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Guide => "guide",
            Self::Velostream01 => "velostream-0.1",
        }
    }

    /// Returns the target of this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|target| target.word() == word)
    }
}
