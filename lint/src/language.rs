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
    /// The endings of file names, and what they stand for.
    pub const EXTENSIONS: &'static [(&'static str, Self)] = &[
        ("sql", Self::Sql),
        ("ksql", Self::Sql),
        ("yaml", Self::Yaml),
        ("yml", Self::Yaml),
        ("json", Self::Yaml),
        ("md", Self::Markdown),
        ("markdown", Self::Markdown),
    ];

    /// The language that a file name's ending stands for, if it is one of ours.
    #[must_use]
    pub fn of_extension(extension: &str) -> Option<Self> {
        let is_it = |(known, _): &&(&str, Self)| known.eq_ignore_ascii_case(extension);
        Self::EXTENSIONS.iter().find(is_it).map(|(_, language)| *language)
    }
}
