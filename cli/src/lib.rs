//! The command line of all crates: takes arguments and returns an exit code.
//!
//! Machine-readable output goes to stdout, progress and messages go to stderr. Each command is a file in `commands/`;
//! modules that commands share are in this directory.
#![allow(clippy::disallowed_methods, reason = "files, environment and clocks are used here only")]

mod args;
mod baselines;
mod changed;
pub mod check_program;
mod check_runs;
#[cfg(feature = "kafka")]
mod clause;
mod commands;
mod dead_letters;
#[cfg(feature = "kafka")]
mod demo;
mod exit;
mod input;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod log;
#[cfg(feature = "kafka")]
mod metrics;
mod parallel;
mod paths;
#[cfg(feature = "kafka")]
mod progress;
mod project;
#[cfg(feature = "kafka")]
mod properties;
#[cfg(feature = "kafka")]
mod query;
mod render;
mod statement;
mod write;

use std::process::ExitCode;

use clap::Parser;

pub use args::Cli;

/// librdkafka allocates each message on one thread and frees it on another, which is slow with the system's allocator.
/// The `override` feature of mimalloc also applies to C code.
#[cfg(feature = "kafka")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs `velo`.
#[must_use]
pub fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _armed = velo_engine::failpoint::arm();
    let cli = Cli::parse();
    cli.color.choose();
    exit::finish(commands::run(cli.command))
}

/// Runs `velo-advise`, which is `velo advise` under its own name.
#[cfg(feature = "kafka")]
#[must_use]
pub fn main_advise() -> ExitCode {
    exit::finish(commands::run(args::Command::Advise(args::AdviseCli::parse().args)))
}
