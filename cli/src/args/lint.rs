//! Arguments of `velo lint`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::size::bytes;

pub(super) const HELP: &str = "\
Examples:
  velo lint sql/ README.md            check SQL, YAML, JSON and Markdown files in sql/, and the README
  velo lint --fix sql/                apply safe fixes
  velo lint --diff sql/               show what --fix would change
  velo lint --format json - < job.sql
  velo lint --deny off-the-matrix --allow unquoted sql/

Suppress a rule with a comment that gives the reason:
  -- velo: allow(off-the-matrix) measured on 2024-05-02        this line or the next one
  -- velo: allow-block(inert-key) ...                          the next statement with a clause
  -- velo: allow-file(unquoted) ...                            the whole file
In YAML the comment starts with #; in Markdown it is <!-- velo: allow(...) -->.

Project settings (target, record-size, fail-on, [rules]) are read from velo.toml in the directory of the
first path, or in the nearest directory above it.

Exit codes:
  0  no finding at or above --fail-on, and no fix to show with --diff
  1  findings at or above --fail-on, or fixes to show with --diff
  2  a file could not be read, or an option is invalid";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum SeverityArg {
    Info,
    Warning,
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintFormat {
    Text,
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// GitHub workflow annotations
    Github,
}

/// An engine whose reading of the keys differs from velo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetArg {
    Guide,
    #[value(name = "velostream-0.1")]
    Velostream01,
}

impl TargetArg {
    pub(crate) fn target(self) -> velo_lint::Target {
        match self {
            Self::Guide => velo_lint::Target::Guide,
            Self::Velostream01 => velo_lint::Target::Velostream01,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Files, directories (searched for SQL, YAML, JSON and Markdown; ignore files are respected), or -
    /// for stdin
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Output format of the findings
    #[arg(long, value_enum, default_value = "text")]
    pub format: LintFormat,
    /// Apply fixes that keep the behaviour
    #[arg(long)]
    pub fix: bool,
    /// Also apply fixes that may change behaviour (with --fix or --diff)
    #[arg(long)]
    pub unsafe_fixes: bool,
    /// Show what --fix would change without changing files
    #[arg(long)]
    pub diff: bool,
    /// Report a rule as an error (all: every rule)
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub deny: Vec<String>,
    /// Report a rule as a warning
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub warn: Vec<String>,
    /// Turn a rule off
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub allow: Vec<String>,
    /// Lowest severity for exit code 1 [default: error]
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub fail_on: Option<SeverityArg>,
    /// Project settings file [default: velo.toml, in the directory of the first path or above it]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check against another engine's reading of the keys; guide migrates back
    #[arg(long, value_enum, value_name = "ENGINE")]
    pub target: Option<TargetArg>,
    /// Mean record size, such as 500, 2KiB or 1MB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub record_size: Option<u64>,
    /// File name to report for stdin; its extension selects the language
    #[arg(long, value_name = "NAME")]
    pub stdin_filename: Option<PathBuf>,
}
