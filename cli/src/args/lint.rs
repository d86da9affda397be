//! Arguments of `velo lint`.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use velo_lint::{Severity, Target};
use velo_report::{FORMATS, Format};

use super::size::bytes;

pub(super) const HELP: &str = "\
Examples:
  velo lint                           check the SQL, YAML, JSON and Markdown files below this folder
  velo lint --fix sql/                apply safe fixes
  velo lint --diff sql/               show what --fix would change
  velo lint --changed-since main      check what a branch changes
  velo lint --format json - < job.sql
  velo lint --output sarif=lint.sarif --output junit=lint.xml
  velo lint --deny off-the-matrix --allow unquoted sql/

Start with a project that has many findings:
  velo lint --write-baseline velo-baseline.json     accept all that is there
  velo lint --baseline velo-baseline.json           report what is new
  velo lint --add-allow 'measured in May' sql/      or accept each with a comment

Suppress a rule with a comment that gives the reason:
  -- velo: allow(off-the-matrix) measured on 2024-05-02        this line or the next one
  -- velo: allow-block(inert-key) ...                          the next statement with a clause
  -- velo: allow-file(unquoted) ...                            the whole file
In YAML the comment starts with #; in Markdown it is <!-- velo: allow(...) -->.

Project settings are read from velo.toml, for each file from the nearest folder above it. They are
described in docs/lint.md; --show-settings prints those of the given files.

Exit codes:
  0  no finding at or above --fail-on, and no fix to show with --diff
  1  findings at or above --fail-on, or fixes to show with --diff
  2  a file could not be read or written, or an option is invalid";

/// An engine whose reading of the keys differs from velo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetArg {
    Guide,
    #[value(name = "velostream-0.1")]
    Velostream01,
}

impl TargetArg {
    pub(crate) fn target(self) -> Target {
        match self {
            Self::Guide => Target::Guide,
            Self::Velostream01 => Target::Velostream01,
        }
    }
}

/// A further output: a format and a file.
#[derive(Debug, Clone)]
pub(crate) struct FurtherOutput {
    pub format: &'static Format,
    pub file: PathBuf,
}

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct LintArgs {
    /// Files, directories (searched for SQL, YAML, JSON and Markdown; ignore files are respected), or -
    /// for stdin
    #[arg(default_value = ".", hide_default_value = false)]
    pub paths: Vec<PathBuf>,
    /// File name to report for stdin; its ending selects the language
    #[arg(long, value_name = "NAME", help_heading = "Input")]
    pub stdin_filename: Option<PathBuf>,
    /// Check only statements and documents that have changed since this commit, or since a branch left it
    #[arg(long, value_name = "REF", conflicts_with_all = ["fix", "diff", "add_allow", "write_baseline"], help_heading = "Input")]
    pub changed_since: Option<String>,

    /// Output format of the findings
    #[arg(long, value_parser = formats(), default_value = "text", env = "VELO_OUTPUT_FORMAT", help_heading = "Output")]
    pub format: &'static Format,
    /// Also write the findings to a file in another format
    #[arg(short, long, value_name = "FORMAT=FILE", value_parser = further_output, help_heading = "Output")]
    pub output: Vec<FurtherOutput>,
    /// Print how often each rule finds something, instead of the findings
    #[arg(long, help_heading = "Output")]
    pub statistics: bool,
    /// Print the settings of each file, and check nothing
    #[arg(long, help_heading = "Output")]
    pub show_settings: bool,
    /// Print findings only, without the summary and notes
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
    /// Also name the files that are checked, and those that are skipped with the reason
    #[arg(short, long, help_heading = "Output")]
    pub verbose: bool,

    /// Apply fixes that keep the behaviour
    #[arg(long, help_heading = "Fixes")]
    pub fix: bool,
    /// Also apply fixes that may change behaviour (with --fix or --diff)
    #[arg(long, help_heading = "Fixes")]
    pub unsafe_fixes: bool,
    /// Show what --fix would change without changing files
    #[arg(long, help_heading = "Fixes")]
    pub diff: bool,
    /// Add a comment with this reason to each finding, so that it is no longer reported
    #[arg(long, value_name = "REASON", conflicts_with_all = ["fix", "diff"], help_heading = "Fixes")]
    pub add_allow: Option<String>,

    /// Report a rule as an error (all: every rule)
    #[arg(long, value_name = "RULE", value_delimiter = ',', help_heading = "Rules")]
    pub deny: Vec<String>,
    /// Report a rule as a warning
    #[arg(long, value_name = "RULE", value_delimiter = ',', help_heading = "Rules")]
    pub warn: Vec<String>,
    /// Turn a rule off
    #[arg(long, value_name = "RULE", value_delimiter = ',', help_heading = "Rules")]
    pub allow: Vec<String>,
    /// Lowest severity for exit code 1 [default: error]
    #[arg(long, value_name = "SEVERITY", value_parser = severities(), help_heading = "Rules")]
    pub fail_on: Option<Severity>,
    /// Exit with 0 whatever is found
    #[arg(short, long, conflicts_with = "fail_on", help_heading = "Rules")]
    pub exit_zero: bool,
    /// Check against another engine's reading of the keys; guide migrates back
    #[arg(long, value_enum, value_name = "ENGINE", help_heading = "Rules")]
    pub target: Option<TargetArg>,
    /// Mean record size, such as 500, 2KiB or 1MB
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = "Rules")]
    pub record_size: Option<u64>,

    /// Project settings for all files [default: velo.toml in the nearest folder above each file]
    #[arg(long, value_name = "FILE", value_parser = path(), env = "VELO_CONFIG", help_heading = "Project")]
    pub config: Option<PathBuf>,
    /// Read no project settings
    #[arg(long, help_heading = "Project")]
    pub isolated: bool,
    /// Leave out the findings that this file accepts
    #[arg(long, value_name = "FILE", help_heading = "Project")]
    pub baseline: Option<PathBuf>,
    /// Accept all findings: write them to this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "fix", "diff", "add_allow", "output", "statistics"], help_heading = "Project")]
    pub write_baseline: Option<PathBuf>,
}

/// Parses a path. A variable of the environment that is empty is one that is not set.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Parses the name of a format.
fn formats() -> impl TypedValueParser<Value = &'static Format> {
    let values = FORMATS.iter().map(|format| PossibleValue::new(format.name).help(format.about));
    PossibleValuesParser::new(values)
        .try_map(|name| velo_report::find(&name).ok_or("there is no such format"))
}

/// Parses a severity.
fn severities() -> impl TypedValueParser<Value = Severity> {
    PossibleValuesParser::new(Severity::ALL.map(Severity::word))
        .try_map(|word| Severity::from_word(&word).ok_or("there is no such severity"))
}

/// Parses `FORMAT=FILE`.
fn further_output(text: &str) -> Result<FurtherOutput, String> {
    let (name, file) =
        text.split_once('=').ok_or("expected a format and a file, such as sarif=lint.sarif")?;
    let format = velo_report::find(name).ok_or_else(|| {
        let names: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
        format!("there is no format '{name}'; expected one of {}", names.join(", "))
    })?;
    if file == "-" {
        return Err(format!("standard output has one format: --format {name}"));
    }
    if file.is_empty() {
        return Err("the name of the file is missing".to_owned());
    }
    Ok(FurtherOutput { format, file: file.into() })
}
