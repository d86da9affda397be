//! The command line of all crates: takes arguments and returns an exit code.
//!
//! Machine-readable output goes to stdout, progress and messages go to stderr. Each command is a file in `commands/`;
//! modules that commands share are in this directory.
#![allow(clippy::disallowed_methods, reason = "files, environment and clocks are used here only")]

mod args;
pub mod check_program;
mod check_runs;
#[cfg(feature = "kafka")]
mod clause;
mod commands;
mod dead_letters;
#[cfg(feature = "kafka")]
mod demo;
mod input;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod log;
mod mend;
#[cfg(feature = "kafka")]
mod metrics;
mod parallel;
#[cfg(feature = "kafka")]
mod progress;
#[cfg(feature = "kafka")]
mod properties;
#[cfg(feature = "kafka")]
mod query;
mod render;
mod settings;
mod statement;

use std::process::ExitCode;

use clap::Parser;

pub use args::Cli;

/// librdkafka allocates each message on one thread and frees it on another, which is slow with the system's allocator.
/// The `override` feature of mimalloc also applies to C code.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs `velo`.
#[must_use]
pub fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _armed = velo_engine::failpoint::arm();
    finish(commands::run(Cli::parse().command))
}

/// Runs `velo-advise`, which is `velo advise` under its own name.
#[cfg(feature = "kafka")]
#[must_use]
pub fn main_advise() -> ExitCode {
    finish(commands::run(args::Command::Advise(args::AdviseCli::parse().args)))
}

/// The exit code of a command that could not start.
const EXIT_USAGE: u8 = 2;

fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Prints the error of a command, as a JSON object with `--log-format json`.
#[cfg(feature = "kafka")]
fn report(error: &str) {
    log::error(error);
}

#[cfg(not(feature = "kafka"))]
fn report(error: &str) {
    anstream::eprintln!("{} {error}", render::style::error("error:"));
}

/// True if the reader of the output has closed it (`velo keys | head`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        io.or_else(|| cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind))
    });
    kind == Some(std::io::ErrorKind::BrokenPipe)
}
