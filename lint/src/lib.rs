//! Finds every `WITH (…)` clause in SQL and Markdown, and the same settings in YAML, and checks them.
//!
//! In: text. Out: the statements with their clauses ([`scan`], [`yaml`]), their settings ([`Unit`])
//! and all findings at once ([`Document::check`], [`lint`]), each with its exact bytes, a message and its data; [`fix`]
//! applies what they offer. No broker, no file
//! system: [`Files`] gives the configuration files that statements name.
//!
//! ```
//! use velo_lint::{Language, lint};
//!
//! let findings = lint("WITH ('failure_strategy' = 'FailBatch', 'batch.timeout' = '1000')", Language::Sql);
//! assert_eq!(findings[0].rule, "duration-without-unit");
//! ```

pub mod allow;
pub mod baseline;
pub mod document;
pub mod example;
pub mod files;
pub mod finding;
pub mod fingerprint;
pub mod fix;
pub mod incremental;
pub mod language;
pub mod lexer;
pub mod line_index;
pub mod markdown;
pub mod options;
pub mod ownership;
pub mod refusal;
pub mod route;
pub mod rule;
pub mod rules;
pub mod scan;
pub mod settings;
pub mod severity;
pub mod span;
pub mod statements;
pub mod steps;
pub mod suppress;
pub mod target;
mod template;
mod topic_keys;
pub mod topics;
pub mod unit;
pub mod unused;
pub mod variables;
mod wording;
pub mod workspace;
pub mod yaml;

use std::sync::Arc;

pub use document::Document;
pub use files::{File, FileError, Files, NoFiles, Overlay};
pub use finding::{Edit, Finding, Fix, Related};
pub use incremental::Incremental;
pub use language::Language;
pub use line_index::{Encoding, LineColumn, LineIndex, Position};
pub use options::{Level, Levels, Options};
pub use refusal::{Refusal, refusals};
pub use route::{Endpoint, Route};
pub use rule::UnknownRule;
pub use scan::Statement;
pub use settings::{FileSettings, Settings, SettingsError};
pub use severity::Severity;
pub use span::Span;
pub use statements::{blocks, statements};
pub use target::Target;
pub use unit::Unit;
pub use unused::{Unused, unused};
pub use variables::Variables;
pub use workspace::{Change, Each, FileReport, InTurn, Source, Workspace};

/// Everything that is wrong with `text` by itself, in the order of the places.
#[must_use]
pub fn lint(text: &str, language: Language) -> Vec<Finding> {
    Document::read("", text, language, &NoFiles).check(&Options::default())
}

/// Returns `text` with all fixes applied, until nothing is left to fix. Fixes that may change the behaviour are left out
/// unless `with_unsafe`.
#[must_use]
pub fn fixed(text: &str, language: Language, options: &Options, with_unsafe: bool) -> String {
    let options = Arc::new(options.clone());
    let of_file = |_: &str| Arc::clone(&options);
    let workspace = Workspace { files: &NoFiles, options: &of_file, excludes: &|_| false, each: InTurn };
    let source = Source { name: String::new(), text: text.to_owned(), language };
    let (mut changes, _) = workspace.fix(vec![source], with_unsafe);
    changes.pop().map_or_else(|| text.to_owned(), |change| change.after)
}
