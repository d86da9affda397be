//! Arguments of the commands that print documentation: `velo rules`, `velo keys` and `velo schema`.

use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocsFormat {
    Text,
    Json,
    Markdown,
}

#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    /// Rule to explain
    pub rule: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    pub format: DocsFormat,
}

#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// Key to explain, without a scope, such as batch.size
    pub key: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    pub format: DocsFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    Lint,
    Plan,
    Run,
    Advise,
    /// Output of dlq show
    Dlq,
    /// Lines that run --exec exchanges with a program
    Exec,
    /// The project settings in velo.toml
    Settings,
    /// The accepted findings that lint --write-baseline writes
    Baseline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DraftArg {
    #[value(name = "2020-12")]
    Draft2020,
    #[value(name = "7")]
    Draft7,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShapeArg {
    With,
    Yaml,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Notation of the settings: flat dotted keys of a WITH clause, or nested YAML
    #[arg(long, value_enum, default_value = "with", conflicts_with = "of")]
    pub shape: ShapeArg,
    /// Print the schema of a command's output or of another file instead of the keys
    #[arg(long, value_enum)]
    pub of: Option<SchemaOf>,
    /// JSON Schema version
    #[arg(long, value_enum, default_value = "2020-12")]
    pub draft: DraftArg,
    /// Accepted for compatibility; the schema always allows the keys of other systems
    #[arg(long, conflicts_with = "of")]
    pub lax: bool,
}
