//! placeholder
use crate::args::AdviseArgs;
use anyhow::{Result, bail};
use std::process::ExitCode;
pub(crate) fn run(_args: &AdviseArgs) -> Result<ExitCode> {
    bail!("x")
}
