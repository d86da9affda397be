//! The arguments of every command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Check, plan, run and choose the batch and failure settings of streaming SQL.
#[derive(Debug, Parser)]
#[command(name = "velo", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Measure a live topic and recommend a batch strategy, with evidence.
#[cfg(feature = "kafka")]
#[derive(Debug, Parser)]
#[command(name = "velo-advise", version, max_term_width = 100, after_help = ADVISE_HELP)]
pub(crate) struct AdviseCli {
    #[command(flatten)]
    pub args: AdviseArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find mistakes in the settings of SQL, YAML, JSON and Markdown files, and mend them
    #[command(after_help = LINT_HELP)]
    Lint(LintArgs),
    /// List the rules of lint, or explain one
    Rules {
        /// The rule to explain
        rule: Option<String>,
        /// How to print them
        #[arg(long, value_enum, default_value = "text")]
        format: DocsFormat,
    },
    /// List the keys, or explain one
    Keys {
        /// The key to explain, without a scope: batch.size
        key: Option<String>,
        /// How to print them
        #[arg(long, value_enum, default_value = "text")]
        format: DocsFormat,
    },
    /// Print a JSON Schema: of the keys for editors, or of a command's output
    Schema(SchemaArgs),
    /// Show what a clause means: strategy, poll size, tier, what to expect
    #[command(after_help = PLAN_HELP)]
    Plan(PlanArgs),
    /// Run a CREATE STREAM … AS SELECT * FROM … between two Kafka topics
    #[cfg(feature = "kafka")]
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Measure a live topic and recommend a batch strategy, with evidence
    #[cfg(feature = "kafka")]
    #[command(after_help = ADVISE_HELP)]
    Advise(AdviseArgs),
    /// Print the report of a run, or the advice of trials, again
    #[cfg(feature = "kafka")]
    Report {
        /// What velo run --report or velo advise --json or --trials has written, or - for stdin
        file: PathBuf,
    },
    /// Look into a dead letter queue, or send its records back
    #[cfg(feature = "kafka")]
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

const LINT_HELP: &str = "\
Examples:
  velo lint sql/ README.md            every SQL, YAML, JSON and Markdown file below sql/, and the README
  velo lint --fix sql/                mend what has one safe reading; --diff shows it instead
  velo lint --format json - < job.sql
  velo lint --deny off-the-matrix --allow unquoted sql/

Silence a rule where it is wrong, with the reason:
  -- velo: allow(off-the-matrix) measured on 2024-05-02        this line, or the next one
  -- velo: allow-block(inert-key) ...                          the next statement with a clause
  -- velo: allow-file(unquoted) ...                            the whole file
In YAML the comment begins with #, in Markdown it is <!-- velo: allow(...) -->.

velo.toml, in the folder of the first path or above it, sets target, record-size, fail-on and [rules].

Exit codes: 0 nothing at or above --fail-on (and nothing to mend with --diff), 1 something was found, 2 a
file could not be read or an option is wrong.";

const PLAN_HELP: &str = "\
Examples:
  velo plan job.sql
  velo plan job.sql --format json --record-size 2KiB
  velo plan job.sql --var BATCH_SIZE=500

A statement with several sources has a row for each. A statement with errors has none; its errors are
printed on stderr. Placeholders take their values from --var, then from the environment, then their
default; those that have none are listed as open.

Exit codes: 0 fine, 1 a statement has errors (see velo lint), 2 a file could not be read.";

#[cfg(feature = "kafka")]
const RUN_HELP: &str = "\
The statement's names are its topics, dots included: FROM prod.orders reads the topic prod.orders. The
most specific key that names another topic wins: 'orders.topic.name', 'orders.topic', then
'source.topic' and 'sink.topic'. Missing sink and dead letter topics are created with the source's
partition count.

Placeholders like ${NAME} or ${NAME:-default} take their values from --var, then from the environment,
then their default. A statement with a placeholder that has no value is refused.

Examples:
  velo run job.sql --bootstrap-servers localhost:9092 --value-format json
  velo run job.sql --bootstrap-servers localhost:9092 --dry-run --until-end --report -
  velo run job.sql --bootstrap-servers localhost:9092 --exec 'python3 enrich.py'
  velo run job.sql --properties client.properties --check
  velo run job.sql --properties client.properties --exactly-once --memory-limit 256MiB --metrics 127.0.0.1:9464

A program of --exec reads {\"velo_exec\":2}, then for each batch its records, a line each, and a blank
line; it answers {\"ok\":true}, {\"errors\":[{\"record\":3,\"message\":\"…\",\"retriable\":false}]} or
{\"error\":\"…\"}, and may add \"records\" to write instead of the input. These keep the headers of their
input record unless they have \"headers\". An answer has at most 64 MiB, or less under --memory-limit.

Several processes that run the same statement share its topic; --concurrency N has N members in one.

ACLs it needs (Read and Write imply Describe): Read on the source, Read on the group, Write on sink and
dead letter queue (Create where they are missing), with --exactly-once Write on the transactional id;
IdempotentWrite on the cluster before Kafka 3.0. With --dry-run Read on the source is enough. What is
granted and what is missing: --check.

Exit codes: 0 drained (skipped and dead letters included), 1 the job failed, was cut off, or was stopped
before the end that --until-end asks for, 2 it could not start, 130 ended by a second Ctrl-C. The first Ctrl-C settles and commits what is in flight.";

#[cfg(feature = "kafka")]
const DLQ_SHOW_HELP: &str = "\
It only reads: it joins no group and commits nothing. Read and Describe on the topic are enough. Keys and
values are not shown, only where the records came from and what was wrong with them.

Examples:
  velo dlq show orders.dlq --bootstrap-servers localhost:9092
  velo dlq show orders.dlq --bootstrap-servers localhost:9092 --stage decode --format json

Exit codes: 0 fine, however many letters there are, 2 the topic could not be read.";

#[cfg(feature = "kafka")]
const DLQ_REPLAY_HELP: &str = "\
Each record is written as it was, with the header velo.replay.of that says which one it is
(topic[partition]@offset). What the target has already is not written again, so a replay that was cut
off can be repeated. What has been replayed is noted in the queue itself, in records with the header
velo.replay.receipt; no letter is changed. A record is left out if its target is compacted and has a
newer one of the same key, which it would replace. Two replays to the same topic at the same time do not
see each other, and a source topic that was deleted and created again has other records at the same
offsets.

Examples:
  velo dlq replay orders.dlq --bootstrap-servers localhost:9092 --dry-run
  velo dlq replay orders.dlq --bootstrap-servers localhost:9092 --stage process
  velo dlq replay orders.dlq --bootstrap-servers localhost:9092 --since 2024-05-02T10:00:00Z --rate 500/s
  velo dlq replay orders.dlq --bootstrap-servers localhost:9092 --to-sink orders_clean

Rights it needs: Read, Describe and Write on the queue and the target, Describe on the
topics that the records came from, IdempotentWrite on the cluster before Kafka 3.0.

Exit codes: 0 everything that was selected is in the target now, or was replaced there by a newer record,
or is left by --limit; 2 something is not.";

#[cfg(feature = "kafka")]
const ADVISE_HELP: &str = "\
It only reads: it joins no group, commits nothing and writes nothing. Read and Describe on the topic
are enough.

Examples:
  velo-advise --demo                                 a topic and a live producer in this process
  velo-advise --topic orders --bootstrap-servers localhost:9092 --p99 100ms
  velo-advise --topic orders --bootstrap-servers localhost:9092 --cost 2ms+0.1ms/record --json
  velo-advise --sql job.sql --bootstrap-servers localhost:9092 --exec 'python3 enrich.py' --write
  velo-advise --rate 5k/s --record-size 1KiB --p99 100ms --cost 2ms+0.1ms/record     by the model alone
  velo-advise --from-trials trials.jsonl             the same advice from what was measured before

Ctrl-C ends it with what is known so far; the next run goes on from there.

Exit codes: 0 a recommendation, 2 it could not start, 3 not enough evidence, 4 nothing tried meets the
constraints, 130 interrupted.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum SeverityArg {
    Info,
    Warning,
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintFormat {
    Text,
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of a GitHub workflow
    Github,
}

/// An engine that reads the same keys in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetArg {
    Guide,
    #[value(name = "velostream-0.1")]
    Velostream01,
}

impl TargetArg {
    pub(crate) fn target(self) -> velo_lint::Target {
        match self {
            Self::Guide => velo_lint::Target::Guide,
            Self::Velostream01 => velo_lint::Target::Velostream01,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocsFormat {
    Text,
    Json,
    Markdown,
}

#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Files, directories (searched for SQL, YAML, JSON and Markdown; ignore files are
    /// respected), or - for stdin
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// How to print findings
    #[arg(long, value_enum, default_value = "text")]
    pub format: LintFormat,
    /// Mend what can be mended without changing the meaning
    #[arg(long)]
    pub fix: bool,
    /// Mend also what most probably was meant otherwise; with --fix or --diff
    #[arg(long)]
    pub unsafe_fixes: bool,
    /// Show what --fix would change, and change nothing
    #[arg(long)]
    pub diff: bool,
    /// Report a rule as an error (all: every rule)
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub deny: Vec<String>,
    /// Report a rule as a warning
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub warn: Vec<String>,
    /// Leave a rule out
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub allow: Vec<String>,
    /// The lowest severity that makes the exit code 1 [default: error]
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub fail_on: Option<SeverityArg>,
    /// The project's settings [default: velo.toml, looked for upwards from the first path]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check for an engine that reads the keys in its own way, or for coming from it (guide)
    #[arg(long, value_enum, value_name = "ENGINE")]
    pub target: Option<TargetArg>,
    /// The mean record size: 500, 2KiB, 1MB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub record_size: Option<u64>,
    /// The name to report, and to tell the language by, for what comes from stdin
    #[arg(long, value_name = "NAME")]
    pub stdin_filename: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    Lint,
    Plan,
    Run,
    Advise,
    /// What dlq show prints
    Dlq,
    /// The lines that run --exec exchanges with a program
    Exec,
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
    /// How the settings are written: flat dotted keys of a WITH clause, or nested in YAML
    #[arg(long, value_enum, default_value = "with", conflicts_with = "of")]
    pub shape: ShapeArg,
    /// The output of this command instead of the keys
    #[arg(long, value_enum)]
    pub of: Option<SchemaOf>,
    /// The version of JSON Schema
    #[arg(long, value_enum, default_value = "2020-12")]
    pub draft: DraftArg,
    /// Print the same schema: it allows the keys of other systems in any case
    #[arg(long, conflicts_with = "of")]
    pub lax: bool,
}

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
    /// How to print the plan
    #[arg(long, value_enum, default_value = "table")]
    pub format: PlanFormat,
    /// The mean record size: 500, 2KiB, 1MB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub record_size: Option<u64>,
    /// Show where the value of one key comes from
    #[arg(long, value_name = "KEY")]
    pub explain: Option<String>,
    #[command(flatten)]
    pub vars: VarArgs,
}

/// Variables for placeholders in settings.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct VarArgs {
    /// Set a variable for placeholders like ${NAME} or ${NAME:-default}; it wins over the environment
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    pub vars: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn bytes(text: &str) -> Result<u64, String> {
    velo_schema::parse_bytes(text)
        .ok_or_else(|| "expected a size in bytes, such as 500, 10KB or 10KiB".to_owned())
}

#[cfg(feature = "kafka")]
/// A record's size: brokers take no larger one than fits into a signed number of 32 bits.
fn record_bytes(text: &str) -> Result<u64, String> {
    let bytes = bytes(text)?;
    if bytes <= i32::MAX.unsigned_abs().into() {
        Ok(bytes)
    } else {
        Err("no record is larger than 2GiB".to_owned())
    }
}

#[cfg(feature = "kafka")]
mod kafka {
    use std::num::NonZeroU16;
    use std::path::PathBuf;
    use std::time::Duration;

    use clap::{Args, Subcommand, ValueEnum};
    use velo_engine::core::failure::Stage;
    use velo_engine::kafka::{OnDataLoss, Start};
    use velo_engine::process::exec::protocol::Version;
    use velo_engine::process::{Synthetic, ValueFormat};
    use velo_schema::value::{Kind, Value, ValueError, parse};

    use super::{DLQ_REPLAY_HELP, DLQ_SHOW_HELP, VarArgs, bytes, record_bytes};

    /// Where the brokers are.
    #[derive(Debug, Args)]
    pub(crate) struct BrokerArgs {
        /// The brokers: host:port, several with commas
        #[arg(long, value_name = "HOST:PORT,…", env = "VELO_BOOTSTRAP_SERVERS")]
        pub bootstrap_servers: Option<String>,
        /// A librdkafka property; with key=@FILE its value is read from a file
        #[arg(short = 'X', long = "property", value_name = "KEY=VALUE")]
        pub properties: Vec<String>,
        /// A file of properties, librdkafka's or a Java client's (client.properties). Variables like
        /// `VELO_KAFKA_SASL_PASSWORD` say the same; -X wins over the file, the file over variables
        #[arg(long = "properties", value_name = "FILE", env = "VELO_PROPERTIES")]
        pub properties_file: Option<PathBuf>,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    pub(crate) enum ValueFormatArg {
        /// Any bytes
        Bytes,
        /// A JSON object; any other value fails
        Json,
    }

    impl From<ValueFormatArg> for ValueFormat {
        fn from(format: ValueFormatArg) -> Self {
            match format {
                ValueFormatArg::Bytes => Self::Bytes,
                ValueFormatArg::Json => Self::Json,
            }
        }
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    pub(crate) enum OnDataLossArg {
        /// End and say which offsets are gone
        Fail,
        /// Go on at the oldest record
        Continue,
    }

    impl From<OnDataLossArg> for OnDataLoss {
        fn from(on_data_loss: OnDataLossArg) -> Self {
            match on_data_loss {
                OnDataLossArg::Fail => Self::Fail,
                OnDataLossArg::Continue => Self::Continue,
            }
        }
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    pub(crate) enum LogFormat {
        /// Lines for people
        Text,
        /// A JSON object a line
        Json,
    }

    /// What is told while a job runs.
    #[derive(Debug, Args)]
    pub(crate) struct LogArgs {
        /// How to write to stderr what happens
        #[arg(long, value_enum, default_value = "text")]
        pub log_format: LogFormat,
        /// What to tell besides: error, warn, info (rebalances), debug (batches, commits; the client's own
        /// log with -X debug=…), trace [default: error; info with json]
        #[arg(long, value_name = "LEVEL", value_parser = log_level)]
        pub log_level: Option<tracing::Level>,
    }

    #[derive(Debug, Args)]
    #[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
    pub(crate) struct RunArgs {
        /// The SQL file, or - for stdin
        pub file: PathBuf,
        /// The statement to run, where the file has several
        #[arg(long, value_name = "NAME")]
        pub statement: Option<String>,
        #[command(flatten)]
        pub vars: VarArgs,
        #[command(flatten)]
        pub broker: BrokerArgs,
        /// How values are encoded
        #[arg(long, value_enum, default_value = "bytes")]
        pub value_format: ValueFormatArg,
        /// The consumer group [default: velo- and the statement]
        #[arg(long, value_name = "GROUP")]
        pub group_id: Option<String>,
        /// Where partitions without a committed offset start: earliest, latest, a time such as
        /// 2024-05-02T10:00:00Z, or milliseconds since the epoch [default: earliest]
        #[arg(long, value_name = "START", value_parser = start)]
        pub from: Option<Start>,
        /// Stop after the records that exist when the job starts
        #[arg(long)]
        pub until_end: bool,
        /// When records were deleted before they were read: end, or go on and count them
        #[arg(long, value_enum, default_value = "fail")]
        pub on_data_loss: OnDataLossArg,
        /// Members of the group in this process, each with a poll loop, a processor and a producer of its
        /// own; members beyond the number of partitions get none
        #[arg(long, value_name = "MEMBERS", default_value = "1", value_parser = members, conflicts_with = "dry_run")]
        pub concurrency: NonZeroU16,
        /// Write outputs and dead letters, and commit the offsets, in transactions: readers of committed
        /// records see each output once. A transaction has transaction.batches batches
        #[arg(long, conflicts_with = "dry_run")]
        pub exactly_once: bool,
        /// The transactional id, which no two processes may share; what one leaves open when it dies, its
        /// successor undoes [default: the group and the group instance id]
        #[arg(long, value_name = "ID", requires = "exactly_once")]
        pub transactional_id: Option<String>,
        /// Keep the partitions while the job restarts: a name for this member that no other one of the
        /// group has (static membership)
        #[arg(long, value_name = "ID")]
        pub group_instance_id: Option<String>,
        /// Run preflight checks (topics, permissions, dead letter queue limits, group state, client properties
        /// that differ from their defaults) and exit without changing anything; =all lists every property
        #[arg(long, value_enum, value_name = "PROPERTIES", num_args = 0..=1, require_equals = true,
              default_missing_value = "changed", conflicts_with = "dry_run")]
        pub check: Option<CheckArg>,
        /// Read, batch and process; join no group, commit nothing, write nothing
        #[arg(long)]
        pub dry_run: bool,
        /// Serve /metrics for Prometheus, /healthz and /readyz here: 127.0.0.1:9464
        #[arg(long, value_name = "HOST:PORT", conflicts_with = "dry_run")]
        pub metrics: Option<String>,
        #[command(flatten)]
        pub log: LogArgs,
        /// Write a JSON report here, or to stdout with -
        #[arg(long, value_name = "FILE")]
        pub report: Option<PathBuf>,
        /// Leave records that come within this time of the start out of the reported latencies, which the start
        /// itself delays
        #[arg(long, default_value = "0s", value_parser = duration, value_name = "DURATION")]
        pub warm_up: Duration,
        /// How long a stop, or a revoked partition, may take to settle what is in flight
        #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
        pub drain_timeout: Duration,
        /// How long a batch may be processed before the job ends, so that others get its partitions
        #[arg(long, default_value = "5m", value_parser = some_time, value_name = "DURATION")]
        pub max_batch_time: Duration,
        /// Bytes for records in memory: 3/16 for what is fetched ahead, 3/16 for what is in flight, 1/8
        /// for what is written and not acknowledged, the rest for what these need besides. A batch that does
        /// not fit is sealed earlier
        #[arg(long, value_name = "SIZE", value_parser = memory_limit, conflicts_with = "dry_run")]
        pub memory_limit: Option<u64>,
        /// Take this long for each batch, as the real work would, to try a strategy before the work
        /// exists: 2ms+0.1ms/record
        #[arg(long, value_parser = cost, value_name = "COST")]
        pub cost: Option<Synthetic>,
        /// Have a program process the batches: it gets them as JSON lines on stdin and answers each
        /// with one line (velo schema --of exec)
        #[arg(long, value_name = "COMMAND", conflicts_with = "cost")]
        pub exec: Option<String>,
        /// How long the program may take for a batch
        #[arg(long, default_value = "60s", value_parser = some_time, value_name = "DURATION")]
        pub exec_timeout: Duration,
        /// The version of the protocol that the program speaks: 1 has no headers
        #[arg(long, value_enum, default_value = "2", value_name = "VERSION", requires = "exec")]
        pub exec_protocol: ExecProtocol,
    }

    /// Which client properties --check lists.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    pub(crate) enum CheckArg {
        /// Those that differ from the client's defaults
        Changed,
        /// Every one
        All,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    pub(crate) enum ExecProtocol {
        #[value(name = "1")]
        V1,
        #[value(name = "2")]
        V2,
    }

    impl From<ExecProtocol> for Version {
        fn from(protocol: ExecProtocol) -> Self {
            match protocol {
                ExecProtocol::V1 => Self::V1,
                ExecProtocol::V2 => Self::V2,
            }
        }
    }

    #[derive(Debug, Subcommand)]
    pub(crate) enum DlqCommand {
        /// Show a dead letter queue: counts by error, and which records they were
        #[command(after_help = DLQ_SHOW_HELP)]
        Show(DlqShowArgs),
        /// Send the records of a dead letter queue back to where they came from, or on to the sink
        #[command(after_help = DLQ_REPLAY_HELP)]
        Replay(DlqReplayArgs),
    }

    /// Which dead letters.
    #[derive(Debug, Args)]
    pub(crate) struct DlqArgs {
        /// The dead letter queue
        pub topic: String,
        #[command(flatten)]
        pub broker: BrokerArgs,
        /// Only records that failed in this stage: decode, process or write
        #[arg(long, value_name = "STAGE", value_parser = stage)]
        pub stage: Option<String>,
        /// Only records whose error contains this
        #[arg(long, value_name = "TEXT")]
        pub error: Option<String>,
        /// Only records of this time or later: 2024-05-02T10:00:00Z, or milliseconds since the epoch
        #[arg(long, value_name = "TIME", value_parser = time)]
        pub since: Option<i64>,
        /// Only records from before this time
        #[arg(long, value_name = "TIME", value_parser = time)]
        pub until: Option<i64>,
    }

    #[derive(Debug, Args)]
    pub(crate) struct DlqShowArgs {
        #[command(flatten)]
        pub letters: DlqArgs,
        /// How many records to list, the newest of each partition first; 0 for none
        #[arg(long, value_name = "RECORDS", default_value = "20", value_parser = number_of_records)]
        pub limit: usize,
        /// How to print them
        #[arg(long, value_enum, default_value = "text")]
        pub format: TextOrJson,
    }

    #[derive(Debug, Args)]
    pub(crate) struct DlqReplayArgs {
        #[command(flatten)]
        pub letters: DlqArgs,
        /// Write to this topic instead of the ones that the records came from
        #[arg(long, value_name = "TOPIC")]
        pub to_sink: Option<String>,
        /// Write this many records at most
        #[arg(long, value_name = "RECORDS", value_parser = number_of_records)]
        pub limit: Option<usize>,
        /// Write this many records a second at most, such as 500/s
        #[arg(long, value_name = "RECORDS/s", value_parser = arrivals)]
        pub rate: Option<f64>,
        /// Write over newer records of the same key in a compacted topic, too
        #[arg(long)]
        pub over_newer: bool,
        /// Say what would be written, and write nothing
        #[arg(long)]
        pub dry_run: bool,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    pub(crate) enum TextOrJson {
        Text,
        Json,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    pub(crate) enum GoalArg {
        /// The lowest p99
        Latency,
        /// The most records a second
        Throughput,
        /// The smallest batches in bytes
        Memory,
        /// The least work for a record
        Cpu,
    }

    /// In whose terms a recommendation is said.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    pub(crate) enum ExportArg {
        /// A WITH clause
        Guide,
        /// Properties of a librdkafka consumer
        Librdkafka,
        /// Properties of a Java consumer
        Java,
        /// Properties of a Spring Kafka listener
        Spring,
        /// A batching block of Redpanda Connect
        RedpandaConnect,
        /// A WITH clause that velostream 0.1 reads as it is meant
        #[value(name = "velostream-0.1")]
        Velostream01,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    pub(crate) enum DemoArg {
        /// 20,000 records a second into a sink with a round trip of 10 ms
        Bulk,
        /// 500 records a second that must be handled within 50 ms
        Alerts,
    }

    #[derive(Debug, Args)]
    pub(crate) struct AdviseArgs {
        /// The topic to measure [default: the one that the statement of --sql reads]
        #[arg(long, required_unless_present_any = ["demo", "from_trials", "sql", "rate"])]
        pub topic: Option<String>,
        #[command(flatten)]
        pub broker: BrokerArgs,
        /// Advise on a topic in this process, with a live producer; no broker is needed
        #[arg(long, value_enum, value_name = "WORKLOAD", num_args = 0..=1, default_missing_value = "bulk",
              conflicts_with_all = ["topic", "from_trials"])]
        pub demo: Option<DemoArg>,
        /// Advise from what an earlier run has measured
        #[arg(long, value_name = "FILE",
              conflicts_with_all = ["topic", "budget", "sample", "max_rate", "trials",
                                    "value_format", "exec", "cost", "sink_cost"])]
        pub from_trials: Option<PathBuf>,
        /// Advise without a topic, by the model alone: how many records come, 5k/s
        #[arg(long, value_parser = arrivals, value_name = "RECORDS/s", requires = "record_size",
              conflicts_with_all = ["topic", "from_trials", "demo", "budget", "sample", "max_rate",
                                    "trials", "value_format"])]
        pub rate: Option<f64>,
        /// How large they are: 1KiB
        #[arg(long, value_parser = record_bytes, value_name = "SIZE", requires = "rate")]
        pub record_size: Option<u64>,
        /// The file whose statement is to be configured: what it says now is tried, too, and the advice is a
        /// change of its clause
        #[arg(long, value_name = "FILE")]
        pub sql: Option<PathBuf>,
        /// The statement, where the file has several
        #[arg(long, value_name = "NAME", requires = "sql")]
        pub statement: Option<String>,
        #[command(flatten)]
        pub vars: VarArgs,
        /// Change the statement's clause in the file, and nothing else in it
        #[arg(long, requires = "sql")]
        pub write: bool,
        /// What is wanted [default: latency, or what the trials of --from-trials were made for]
        #[arg(long, value_enum)]
        pub goal: Option<GoalArg>,
        /// The longest latency for 99 of 100 records: 100ms
        #[arg(long, value_parser = duration, value_name = "DURATION")]
        pub p99: Option<Duration>,
        /// Most payload in memory, of three batches: 64MiB
        #[arg(long, value_parser = bytes, value_name = "SIZE")]
        pub memory: Option<u64>,
        /// How long calibration, predictions and trials may take together; sampling and the confirmation, which takes
        /// up to 20 s, are not included
        #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
        pub budget: Duration,
        /// How much of the topic's time to sample
        #[arg(long, default_value = "5s", value_parser = duration, value_name = "DURATION")]
        pub sample: Duration,
        /// Most bytes a second to read from the topic
        #[arg(long, default_value = "10MB", value_parser = rate, value_name = "SIZE/s")]
        pub max_rate: u64,
        /// Process with this program, as velo run --exec does; `VELO_ADVISE=1` tells it that nothing it puts out
        /// is written. It sees real records, many times [default: nothing is done with them]
        #[arg(long, value_name = "COMMAND", conflicts_with_all = ["cost", "rate"])]
        pub exec: Option<String>,
        /// How long the program may take for a batch
        #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
        pub exec_timeout: Duration,
        /// How values are encoded: with json, every value is decoded
        #[arg(long, value_enum, default_value = "bytes")]
        pub value_format: ValueFormatArg,
        /// What the job's own work takes: 2ms+0.1ms/record [default: nothing]
        #[arg(long, value_parser = cost, value_name = "COST")]
        pub cost: Option<Synthetic>,
        /// What a batch's way to the sink takes [default: one measured round trip to the broker]
        #[arg(long, value_parser = duration, value_name = "DURATION")]
        pub sink_cost: Option<Duration>,
        /// Where to keep what is measured; a run that was interrupted goes on from there
        /// [default: velo-trials-TOPIC.jsonl; none for --demo]
        #[arg(long, value_name = "FILE")]
        pub trials: Option<PathBuf>,
        /// Print the recommendation in the terms of another system instead
        #[arg(long, value_enum, value_name = "SYSTEM", conflicts_with = "json")]
        pub export: Option<ExportArg>,
        /// Print the advice as JSON on stdout
        #[arg(long)]
        pub json: bool,
    }

    /// `5k/s`, `5000/s`, `1.5M/s`.
    fn arrivals(text: &str) -> Result<f64, String> {
        let number = text.strip_suffix("/s").unwrap_or(text).trim();
        let (number, factor) = match number.char_indices().next_back() {
            Some((end, 'k' | 'K')) => (&number[..end], 1e3),
            Some((end, 'M')) => (&number[..end], 1e6),
            _ => (number, 1.0),
        };
        match number.parse::<f64>() {
            Ok(rate) if rate * factor >= 1e-3 && rate * factor <= 1e9 => Ok(rate * factor),
            _ => {
                Err("expected records per second, between 0.001/s and 1000M/s: 5000/s, 5k/s or 1.5M/s"
                    .to_owned())
            }
        }
    }

    /// Below this a single record of a megabyte would not fit into its part.
    const MIN_MEMORY_LIMIT: u64 = 8 << 20;

    fn memory_limit(text: &str) -> Result<u64, String> {
        let limit = bytes(text)?;
        if limit < MIN_MEMORY_LIMIT {
            return Err("at least 8MiB".to_owned());
        }
        Ok(limit)
    }

    /// Why a text is no duration, or another one that begins with one.
    fn no_duration(expected: &str, example: &str, error: &ValueError) -> String {
        match error {
            ValueError::DurationWithoutUnit { number } => {
                format!("a duration needs a unit: {number}ms or {number}s?")
            }
            ValueError::OutOfRange { .. } => format!("{expected} {error}, such as {example}"),
            _ => format!("expected {expected}, such as {example}"),
        }
    }

    fn parsed_duration(text: &str) -> Result<Duration, ValueError> {
        match parse(Kind::Duration { min: Duration::ZERO }, text)?.value {
            Value::Duration(duration) => Ok(duration),
            _ => Err(ValueError::InvalidDuration),
        }
    }

    pub(super) fn duration(text: &str) -> Result<Duration, String> {
        parsed_duration(text).map_err(|error| no_duration("a duration", "500ms, 30s or 5m", &error))
    }

    /// A duration that is not zero.
    fn some_time(text: &str) -> Result<Duration, String> {
        match duration(text)? {
            Duration::ZERO => Err("expected a duration above zero, such as 500ms, 30s or 5m".to_owned()),
            duration => Ok(duration),
        }
    }

    fn members(text: &str) -> Result<NonZeroU16, String> {
        text.parse().map_err(|_| format!("expected a number of members from 1 to {}, such as 4", u16::MAX))
    }

    fn number_of_records(text: &str) -> Result<usize, String> {
        text.parse().map_err(|_| "expected a number of records, such as 20, or 0 for none".to_owned())
    }

    fn log_level(text: &str) -> Result<tracing::Level, String> {
        const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
        let level = LEVELS.contains(&text.to_ascii_lowercase().as_str()).then(|| text.parse().ok()).flatten();
        level.ok_or_else(|| among(text, LEVELS))
    }

    /// A stage of a dead letter: one of ours, or one of Kafka Connect (`VALUE_CONVERTER`).
    fn stage(text: &str) -> Result<String, String> {
        let stages = [Stage::Decode, Stage::Process, Stage::Write].map(|stage| stage.to_string());
        let is_of_connect = !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        if is_of_connect || stages.iter().any(|stage| stage == text) {
            return Ok(text.to_owned());
        }
        Err(among(text, stages.iter().map(String::as_str)))
    }

    /// That a word is not among those that there are, and which one it may have meant.
    fn among<'a>(text: &str, words: impl IntoIterator<Item = &'a str> + Clone) -> String {
        let all: Vec<_> = words.clone().into_iter().collect();
        let expected = format!("expected {}", all.join(", "));
        match velo_schema::nearest(text, words) {
            Some((edits, word)) if edits <= 2 => format!("{expected}; did you mean {word}?"),
            _ => expected,
        }
    }

    fn rate(text: &str) -> Result<u64, String> {
        match bytes(text.strip_suffix("/s").unwrap_or(text))? {
            0 => Err("nothing can be read at no bytes a second".to_owned()),
            rate => Ok(rate),
        }
    }

    fn start(text: &str) -> Result<Start, String> {
        match text {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            _ => time_ms(text).map(Start::Timestamp).ok_or_else(|| {
                let expected = "expected earliest, latest, a time such as 2024-05-02T10:00:00Z, or milliseconds since \
                                the epoch";
                match velo_schema::nearest(text, ["earliest", "latest"]) {
                    Some((edits, word)) if edits <= 2 => format!("{expected}; did you mean {word}?"),
                    _ => expected.to_owned(),
                }
            }),
        }
    }

    fn time(text: &str) -> Result<i64, String> {
        time_ms(text).ok_or_else(|| {
            "expected a time such as 2024-05-02T10:00:00Z, or milliseconds since the epoch".to_owned()
        })
    }

    /// Milliseconds since the epoch, of a number or a time in UTC.
    fn time_ms(text: &str) -> Option<i64> {
        if let Ok(ms) = text.parse::<i64>() {
            return (ms >= 0).then_some(ms);
        }
        // A day alone is its beginning.
        let time = humantime::parse_rfc3339_weak(text)
            .or_else(|_| humantime::parse_rfc3339_weak(&format!("{text}T00:00:00Z")))
            .ok()?;
        i64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis()).ok()
    }

    /// `2ms`, `2ms+0.1ms/record` or `0.1ms/record`; parts of a millisecond may be `us` too.
    fn cost(text: &str) -> Result<Synthetic, String> {
        let mut cost = Synthetic::default();
        for part in text.split('+').map(str::trim) {
            let per_record = part.strip_suffix("/record").map(str::trim);
            let time = fine_duration(per_record.unwrap_or(part)).ok_or_else(|| no_cost(part))?;
            let sum = if per_record.is_some() { &mut cost.per_record } else { &mut cost.per_batch };
            *sum = sum.saturating_add(time);
            if *sum > MOST_COST {
                return Err(format!("'{part}': a batch or a record takes 24h at most"));
            }
        }
        Ok(cost)
    }

    const MOST_COST: Duration = Duration::from_hours(24);

    fn no_cost(part: &str) -> String {
        let what =
            if part.is_empty() { "a part is missing".to_owned() } else { format!("'{part}' is no time") };
        format!(
            "{what}; expected the time of a batch, of a record, or of both: 2ms, 0.1ms/record, 2ms+0.1ms/record (units: \
             us, ms, s)"
        )
    }

    fn fine_duration(text: &str) -> Option<Duration> {
        match text.strip_suffix("us").map(|micros| micros.trim().parse::<f64>()) {
            Some(micros) => {
                let micros = micros.ok().filter(|micros| (0.0..1e12).contains(micros))?;
                Some(Duration::from_secs_f64(micros / 1e6))
            }
            None => duration(text).ok(),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_rate_is_more_than_nothing() {
            assert_eq!(rate("10MB/s"), Ok(10_000_000));
            assert!(rate("0").is_err() && rate("fast").is_err());
        }

        #[test]
        fn a_cost_is_a_batchs_part_and_a_records_part() {
            let both = cost("2ms + 0.1ms/record").unwrap();
            assert_eq!(both.per_batch, Duration::from_millis(2));
            assert_eq!(both.per_record, Duration::from_micros(100));
            assert_eq!(cost("5us/record").unwrap().per_record, Duration::from_micros(5));
            for wrong in ["2", "", "-1us", "2ms+", "nanus", "infus", "30h", "1h/record+24h/record"] {
                assert!(cost(wrong).is_err(), "{wrong}");
            }
            let error = cost("2ms+banana").unwrap_err();
            assert!(error.starts_with("'banana' is no time; expected the time of a batch"), "{error}");
        }

        #[test]
        fn what_is_no_value_is_refused_with_an_example() {
            let refused = |result: Result<(), String>| result.expect_err("it is refused");
            assert!(
                refused(cost("banana").map(drop))
                    .starts_with("'banana' is no time; expected the time of a batch")
            );
            assert_eq!(refused(duration("soon").map(drop)), "expected a duration, such as 500ms, 30s or 5m");
            assert_eq!(refused(duration("100").map(drop)), "a duration needs a unit: 100ms or 100s?");
            assert!(refused(duration("1000000d").map(drop)).starts_with("a duration out of range"));
            assert!(refused(some_time("0s").map(drop)).contains("above zero"));
            for text in ["0", "-1", "many", "70000"] {
                assert_eq!(
                    refused(members(text).map(drop)),
                    "expected a number of members from 1 to 65535, such as 4"
                );
            }
            assert!(refused(number_of_records("x").map(drop)).contains("such as 20"));
            assert_eq!(
                refused(stage("procss").map(drop)),
                "expected decode, process, write; did you mean process?"
            );
            assert_eq!(refused(stage("everything").map(drop)), "expected decode, process, write");
            assert!(refused(log_level("inof").map(drop)).ends_with("did you mean info?"));
            assert!(refused(start("latset").map(drop)).ends_with("did you mean latest?"));
        }

        #[test]
        fn stages_levels_and_times_are_read() {
            assert_eq!(stage("write").as_deref(), Ok("write"));
            assert_eq!(stage("VALUE_CONVERTER").as_deref(), Ok("VALUE_CONVERTER"));
            assert_eq!(log_level("DEBUG"), Ok(tracing::Level::DEBUG));
            assert_eq!(members("4").map(NonZeroU16::get), Ok(4));
            for text in ["1714644000000", "2024-05-02T10:00:00Z", "2024-05-02 10:00:00"] {
                assert_eq!(start(text), Ok(Start::Timestamp(1_714_644_000_000)), "{text}");
            }
            assert_eq!(start("2024-05-02"), Ok(Start::Timestamp(1_714_608_000_000)));
            assert!(start("-5").is_err() && start("1969-01-01T00:00:00Z").is_err());
        }
    }
}

#[cfg(feature = "kafka")]
pub(crate) use kafka::*;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
