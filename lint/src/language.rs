//! The languages of texts: the ending of a file name in, its language out.

/// What a text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// SQL from end to end.
    Sql,
    /// Settings in YAML or JSON.
    Yaml,
    /// Markdown with SQL and YAML in fenced blocks.
    Markdown,
}

impl Language {
    /// The endings of file names without the first dot, and what they stand for.
    pub const ENDINGS: &'static [(&'static str, Self)] = &[
        ("sql", Self::Sql),
        ("ksql", Self::Sql),
        ("hql", Self::Sql),
        ("sql.j2", Self::Sql),
        ("sql.jinja", Self::Sql),
        ("yaml", Self::Yaml),
        ("yml", Self::Yaml),
        ("json", Self::Yaml),
        ("md", Self::Markdown),
        ("markdown", Self::Markdown),
    ];

    /// The names of languages in settings.
    pub const NAMES: [(&'static str, Self); 4] =
        [("sql", Self::Sql), ("yaml", Self::Yaml), ("json", Self::Yaml), ("markdown", Self::Markdown)];

    /// Returns the language of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, language)| *language)
    }

    /// Returns the language that the ending of a file name stands for, if it is one of ours.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        Self::ENDINGS.iter().find(|(ending, _)| Self::has_ending(name, ending)).map(|(_, language)| *language)
    }

    /// Returns true if a file name has this ending, after a dot, in upper or lower case.
    pub(crate) fn has_ending(name: &str, ending: &str) -> bool {
        let start = name.len().checked_sub(ending.len() + 1);
        let behind = start.and_then(|start| name.get(start..)).and_then(|behind| behind.strip_prefix('.'));
        behind.is_some_and(|behind| behind.eq_ignore_ascii_case(ending))
    }
}
