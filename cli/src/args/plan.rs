//! Arguments of `velo plan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::size::bytes;
use super::variables::VarArgs;

pub(super) const HELP: &str = "\
A statement with several sources has one row per source. The errors of a statement that has any are
printed on stderr instead of its rows. Placeholders are replaced from --var, then from the environment,
then from their default; placeholders without a value are listed as open.

Exit codes:
  0  every statement was planned
  1  a statement has errors (see velo lint)
  2  a file could not be read

Examples:
  velo plan job.sql
  velo plan job.sql --format json --record-size 2KiB
  velo plan job.sql --var BATCH_SIZE=500";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// SQL or Markdown files, or - for stdin
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub vars: VarArgs,
    /// Mean record size, such as 500, 2KiB or 1MB
    #[arg(long, value_name = "SIZE", value_parser = bytes, help_heading = "Input")]
    pub record_size: Option<u64>,
    /// Output format
    #[arg(long, value_enum, default_value = "table", help_heading = "Output")]
    pub format: PlanFormat,
    /// Show the origin of the value of one key
    #[arg(long, value_name = "KEY", help_heading = "Output")]
    pub explain: Option<String>,
}
