//! Command-line arguments: one file per command, and the options and value parsers that commands share.

#[cfg(feature = "kafka")]
mod advise;
#[cfg(feature = "kafka")]
mod connection;
#[cfg(feature = "kafka")]
mod dlq;
mod docs;
mod lint;
mod plan;
#[cfg(feature = "kafka")]
mod report;
#[cfg(feature = "kafka")]
mod run;
mod size;
#[cfg(feature = "kafka")]
mod values;
mod variables;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

#[cfg(feature = "kafka")]
pub(crate) use self::advise::{AdviseArgs, AdviseCli, DemoArg, ExportArg, GoalArg};
#[cfg(feature = "kafka")]
pub(crate) use self::connection::BrokerArgs;
#[cfg(feature = "kafka")]
pub(crate) use self::dlq::{DlqArgs, DlqCommand, DlqReplayArgs, DlqShowArgs, TextOrJson};
pub(crate) use self::docs::{DocsFormat, DraftArg, KeysArgs, RulesArgs, SchemaArgs, SchemaOf, ShapeArg};
pub(crate) use self::lint::{FurtherOutput, LintArgs, TargetArg};
pub(crate) use self::plan::{PlanArgs, PlanFormat};
#[cfg(feature = "kafka")]
pub(crate) use self::report::ReportArgs;
#[cfg(feature = "kafka")]
pub(crate) use self::run::{CheckArg, LogArgs, LogFormat, RunArgs};
pub(crate) use self::variables::VarArgs;

/// Check, plan, run and tune the batch and failure settings of streaming SQL.
#[derive(Debug, Parser)]
#[command(name = "velo", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[arg(
        help = "Colours of the output; NO_COLOR and CLICOLOR_FORCE are respected",
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        global = true,
        hide_possible_values = false
    )]
    pub(crate) color: ColorArg,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When the output has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorArg {
    Auto,
    Always,
    Never,
}

impl ColorArg {
    /// Applies the choice to stdout and stderr.
    pub(crate) fn choose(self) {
        match self {
            Self::Auto => {}
            Self::Always => anstream::ColorChoice::Always.write_global(),
            Self::Never => anstream::ColorChoice::Never.write_global(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the settings in SQL, YAML, JSON and Markdown files, and fix them
    #[command(after_help = lint::HELP)]
    Lint(Box<LintArgs>),
    /// Serve an editor on standard input and output (language server protocol)
    Lsp,
    /// List the lint rules, or explain one
    Rules(RulesArgs),
    /// List the configuration keys, or explain one
    Keys(KeysArgs),
    /// Print a JSON Schema of the configuration keys or of a command's output
    Schema(SchemaArgs),
    /// Show what a clause configures: strategy, poll size, tier and expected behaviour
    #[command(after_help = plan::HELP)]
    Plan(PlanArgs),
    /// Run a CREATE STREAM … AS SELECT * FROM … statement between two Kafka topics
    #[cfg(feature = "kafka")]
    #[command(after_help = run::HELP)]
    Run(RunArgs),
    /// Measure a live topic and recommend a batch strategy, with evidence
    #[cfg(feature = "kafka")]
    #[command(after_help = advise::HELP)]
    Advise(AdviseArgs),
    /// Print a saved run report, advice or trials file as text
    #[cfg(feature = "kafka")]
    Report(ReportArgs),
    /// Inspect a dead letter queue, or replay its records
    #[cfg(feature = "kafka")]
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Print a shell completion script
    Completions {
        /// Shell to generate the script for
        shell: Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The headings that group options, in every command.
    const HEADINGS: [&str; 12] = [
        "Fixes",
        "Rules",
        "Project",
        "Connection",
        "Input",
        "Output",
        "Processing",
        "Failure handling",
        "Objective",
        "Limits",
        "Preview",
        "Reporting",
    ];

    fn for_each(command: &clap::Command, check: &mut impl FnMut(&clap::Arg)) {
        command.get_arguments().for_each(&mut *check);
        for subcommand in command.get_subcommands() {
            for_each(subcommand, check);
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_argument_has_help_and_a_known_heading() {
        for_each(&Cli::command(), &mut |argument| {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty() && !help.ends_with('.'), "{}: {help}", argument.get_id());
            let heading = argument.get_help_heading();
            assert!(heading.is_none_or(|heading| HEADINGS.contains(&heading)), "{heading:?}");
        });
    }
}
