//! Finds every `WITH (…)` clause in SQL and Markdown, and the same settings in YAML, and checks them.
//!
//! In: text. Out: the statements with their clauses ([`scan`], [`yaml`]), their settings ([`Unit`])
//! and all findings at once ([`Document::check`], [`lint`]), each as data with its exact bytes;
//! [`message::message`] makes prose of them, [`fix`] applies what they offer. No broker, no file
//! system: [`Files`] gives the configuration files that statements name.
//!
//! ```
//! use velo_lint::{Language, lint};
//!
//! let findings = lint("WITH ('failure_strategy' = 'FailBatch', 'batch.timeout' = '1000')", Language::Sql);
//! assert_eq!(findings[0].rule, "duration-without-unit");
//! ```

pub mod document;
pub mod files;
pub mod finding;
pub mod fix;
pub mod lexer;
pub mod markdown;
pub mod message;
pub mod options;
pub mod ownership;
pub mod position;
pub mod reference;
pub mod refusal;
pub mod route;
pub mod rules;
pub mod scan;
pub mod span;
pub mod steps;
pub mod suppress;
mod template;
pub mod topics;
pub mod unit;
pub mod unused;
pub mod variables;
pub mod yaml;

use std::borrow::Cow;
use std::ops::Range;

pub use document::Document;
pub use files::{File, FileError, Files, NoFiles};
pub use finding::{Detail, Edit, Finding, Fix, Severity};
pub use options::{Level, Levels, Options, Target};
pub use position::{Lines, Position};
pub use refusal::{Refusal, refusals};
pub use route::{Endpoint, Route};
pub use scan::Statement;
pub use span::Span;
pub use unit::Unit;
pub use unused::{Unused, unused};
pub use variables::Variables;

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

    /// The parts of `text` that are SQL or YAML.
    #[must_use]
    pub fn blocks(self, text: &str) -> Vec<(Self, Range<usize>)> {
        match self {
            Self::Sql | Self::Yaml => vec![(self, 0..text.len())],
            Self::Markdown => markdown::blocks(text),
        }
    }
}

/// Every statement of `text` that has a name or an option clause, and every document with settings
/// of ours, in order.
#[must_use]
pub fn statements(text: &str, language: Language) -> Vec<Statement> {
    let blocks = language.blocks(text);
    let clean = match language {
        Language::Markdown => markdown::without_quotes(text, &blocks),
        Language::Sql | Language::Yaml => Cow::Borrowed(text),
    };
    let read = |(language, range)| match language {
        Language::Sql => scan::statements(&clean, range),
        Language::Yaml | Language::Markdown => yaml::documents(&clean, range),
    };
    blocks.into_iter().flat_map(read).collect()
}

/// Everything that is wrong with `text` by itself, in the order of the places.
#[must_use]
pub fn lint(text: &str, language: Language) -> Vec<Finding> {
    Document::read("", text, language, &NoFiles).check(&Options::default())
}
