//! Finds every `WITH (…)` clause in SQL and Markdown and checks its batch and failure settings.
//!
//! In: text. Out: the statements with their clauses ([`scan`]), their settings ([`Unit`]) and all
//! findings at once ([`lint`]), each as data with its exact bytes; [`message::message`] makes prose
//! of them. No broker, no file system.
//!
//! ```
//! use velo_lint::{Language, lint};
//!
//! let findings = lint("WITH ('failure_strategy' = 'FailBatch', 'batch.timeout' = '1000')", Language::Sql);
//! assert_eq!(findings[0].rule, "duration-without-unit");
//! ```

pub mod finding;
pub mod lexer;
pub mod markdown;
pub mod message;
pub mod ownership;
pub mod position;
pub mod rules;
pub mod scan;
pub mod unit;

use std::ops::Range;

pub use finding::{Detail, Edit, Finding, Fix, Severity};
pub use position::{Lines, Position};
pub use scan::Statement;
pub use unit::Unit;

/// What a text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// SQL from end to end.
    Sql,
    /// Markdown with SQL in fenced blocks.
    Markdown,
}

impl Language {
    /// The language that a file name's ending stands for, if it is one of ours.
    #[must_use]
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "sql" | "ksql" => Some(Self::Sql),
            "md" | "markdown" => Some(Self::Markdown),
            _ => None,
        }
    }

    /// The parts of `text` that are SQL.
    #[must_use]
    pub fn sql_ranges(self, text: &str) -> Vec<Range<usize>> {
        match self {
            Self::Sql => std::iter::once(0..text.len()).collect(),
            Self::Markdown => markdown::sql_blocks(text),
        }
    }
}

/// Every statement of `text` that has a name or an option clause, in order.
#[must_use]
pub fn statements(text: &str, language: Language) -> Vec<Statement> {
    language.sql_ranges(text).into_iter().flat_map(|range| scan::statements(text, range)).collect()
}

/// Everything that is wrong with `text`, in the order of the places.
#[must_use]
pub fn lint(text: &str, language: Language) -> Vec<Finding> {
    let mut findings = rules::Findings::default();
    for statement in statements(text, language) {
        rules::check(&Unit::new(text, &statement), &mut findings);
    }
    findings.into_sorted()
}
