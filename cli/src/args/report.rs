//! Arguments of `velo report`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// File written by velo run --report, velo advise --json or velo advise --trials (- for stdin)
    pub file: PathBuf,
}
