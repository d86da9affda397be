//! The command line over all crates: arguments in, exit code out.
//!
//! Machine-readable output goes to stdout, progress and prose to stderr. Each command is a file in
//! `commands/`; what several of them need stands beside it.
#![allow(clippy::disallowed_methods, reason = "the command line is where files, environment and clocks are")]

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

/// librdkafka allocates each message on its own thread and frees it on ours, which the system's
/// allocator is slow at; the `override` feature of mimalloc serves its C code too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `velo`.
#[must_use]
pub fn main() -> ExitCode {
    finish(commands::run(Cli::parse().command))
}

/// `velo-advise`: `velo advise` under its own name.
#[cfg(feature = "kafka")]
#[must_use]
pub fn main_advise() -> ExitCode {
    finish(commands::run(args::Command::Advise(args::AdviseCli::parse().args)))
}

/// The exit code of what could not start, or was called wrongly.
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

/// Reports why a command did not do its work, as an object where a job logs objects.
#[cfg(feature = "kafka")]
fn report(error: &str) {
    log::error(error);
}

#[cfg(not(feature = "kafka"))]
fn report(error: &str) {
    anstream::eprintln!("{} {error}", render::style::error("error:"));
}

/// Whoever reads our output has enough of it (`velo keys | head`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        io.or_else(|| cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind))
    });
    kind == Some(std::io::ErrorKind::BrokenPipe)
}
