//! One file a command.

#[cfg(feature = "kafka")]
mod advise;
#[cfg(feature = "kafka")]
mod check;
#[cfg(feature = "kafka")]
mod dlq;
mod keys;
mod lint;
mod lsp;
mod plan;
#[cfg(feature = "kafka")]
mod report;
mod rules;
#[cfg(feature = "kafka")]
mod run;
mod schema;
#[cfg(feature = "kafka")]
mod targets;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;

#[cfg(feature = "kafka")]
use crate::args::DlqCommand;
use crate::args::{Cli, Command};

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Lint(args) => lint::run(&args),
        Command::Lsp => lsp::run(),
        Command::Rules(args) => rules::run(args.rule.as_deref(), args.format),
        Command::Keys(args) => keys::run(args.key.as_deref(), args.format),
        Command::Schema(args) => schema::run(&args),
        Command::Plan(args) => plan::run(&args),
        #[cfg(feature = "kafka")]
        Command::Run(args) => run::run(&args),
        #[cfg(feature = "kafka")]
        Command::Advise(args) => advise::run(&args),
        #[cfg(feature = "kafka")]
        Command::Report(args) => report::run(&args.file),
        #[cfg(feature = "kafka")]
        Command::Dlq(DlqCommand::Show(args)) => dlq::show(&args),
        #[cfg(feature = "kafka")]
        Command::Dlq(DlqCommand::Replay(args)) => dlq::replay(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "velo", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
