//! Arguments of `velo run`, and the log options.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use velo_engine::kafka::{Fetching, OnDataLoss, Start};
use velo_engine::process::exec::protocol::Version;
use velo_engine::process::{Synthetic, ValueFormat};

use super::connection::BrokerArgs;
use super::values::{cost, duration, log_level, members, memory_limit, positive_duration, start};
use super::variables::VarArgs;

pub(super) const HELP: &str = "\
Topics:
  The names in the statement are topics, dots included: FROM prod.orders reads the topic prod.orders.
  Settings override them; the most specific one applies: 'orders.topic.name', 'orders.topic', then
  'source.topic' and 'sink.topic'. Missing sink and dead letter topics are created with the partition
  count of the source.

Placeholders:
  ${NAME} and ${NAME:-default} are replaced from --var, then from the environment, then from the
  default. A statement with a placeholder that has no value is rejected.

Programs (--exec):
  A program reads {\"velo_exec\":2}, then each batch: one JSON line per record and an empty line. It
  answers each batch with one line:
    {\"ok\":true}                  all records succeeded
    {\"errors\":[{\"record\":3,\"message\":\"…\",\"retriable\":false}]}
                                 the listed records failed, all others succeeded
    {\"error\":\"…\"}               a record failed; the program gets the halves of the batch
  An answer can add \"records\" to write instead of the input. They keep the headers of their input
  record unless they have \"headers\". An answer has at most 64 MiB, or less with --memory-limit.

Scaling:
  Processes that run the same statement with the same group share the partitions of the source;
  --concurrency N runs N members in one process.

Permissions (Read and Write imply Describe):
  source                   Read
  group                    Read
  sink, dead letter queue  Write; Create if the topic does not exist
  transactional id         Write, with --exactly-once
  cluster                  IdempotentWrite, before Kafka 3.0
  --dry-run needs only Read on the source. --check lists granted and missing permissions.

Signals:
  The first SIGINT (Ctrl-C), SIGTERM or SIGHUP settles and commits the records in flight and ends the
  job; a second one ends it immediately.

Exit codes:
  0    drained: every record that was read is settled (skipped records and dead letters included)
  1    failed, cut off by --drain-timeout, or stopped before the end that --until-end asks for
  2    could not start
  130  ended by a second signal

Examples:
  velo run job.sql --bootstrap-servers localhost:9092 --value-format json
  velo run job.sql --bootstrap-servers localhost:9092 --dry-run --until-end --report -
  velo run job.sql --bootstrap-servers localhost:9092 --exec 'python3 enrich.py'
  velo run job.sql --properties client.properties --check
  velo run job.sql --properties client.properties --exactly-once --memory-limit 256MiB";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ValueFormatArg {
    /// Any bytes
    Bytes,
    /// JSON objects; a record with any other value fails
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
    /// Stop and report the lost offsets
    Fail,
    /// Count the lost offsets and continue at the oldest record
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
    /// Lines of text
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FetcherArg {
    /// native if the client's properties and the brokers permit it, else librdkafka
    Auto,
    /// Connections of the job's own; needs less CPU time, and supports fewer ways to log in
    Native,
    /// The client of the group member
    Librdkafka,
}

impl FetcherArg {
    /// Returns the fetcher that the user has asked for.
    pub(crate) fn wanted(self) -> Option<Fetching> {
        match self {
            Self::Auto => None,
            Self::Native => Some(Fetching::Native),
            Self::Librdkafka => Some(Fetching::Librdkafka),
        }
    }
}

/// Logging while a job runs.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Format of the messages on stderr
    #[arg(long, value_enum, default_value = "text", help_heading = "Reporting")]
    pub log_format: LogFormat,
    /// Also log events up to this level: error, warn, info (rebalances), debug (batches, commits) or trace
    /// [default: error; info with --log-format json]
    #[arg(long, value_name = "LEVEL", value_parser = log_level, help_heading = "Reporting")]
    pub log_level: Option<tracing::Level>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// SQL file with the statement, or - for stdin
    pub file: PathBuf,
    #[command(flatten)]
    pub broker: BrokerArgs,

    /// Name of the statement, if the file has more than one
    #[arg(long, value_name = "NAME", help_heading = "Input")]
    pub statement: Option<String>,
    #[command(flatten)]
    pub vars: VarArgs,
    /// Encoding of record values
    #[arg(long, value_enum, default_value = "bytes", help_heading = "Input")]
    pub value_format: ValueFormatArg,
    /// Consumer group [default: velo- and the name of the statement]
    #[arg(long, value_name = "GROUP", help_heading = "Input")]
    pub group_id: Option<String>,
    /// Static membership: keep the partitions while this member restarts; unique within the group
    #[arg(long, value_name = "ID", help_heading = "Input")]
    pub group_instance_id: Option<String>,
    /// Start position of partitions without a committed offset: earliest, latest, a time such as
    /// 2024-05-02T10:00:00Z, or milliseconds since the epoch [default: earliest]
    #[arg(long, value_name = "START", value_parser = start, help_heading = "Input")]
    pub from: Option<Start>,
    /// What fetches the records
    #[arg(long, value_enum, default_value = "auto", env = "VELO_FETCHER", help_heading = "Input")]
    pub fetcher: FetcherArg,
    /// Stop after the records that exist when the job starts
    #[arg(long, help_heading = "Input")]
    pub until_end: bool,

    /// Write results, dead letters and offsets in Kafka transactions of transaction.batches batches
    #[arg(long, conflicts_with = "dry_run", help_heading = "Output")]
    pub exactly_once: bool,
    /// Transactional id; stable across restarts, and unique to one process [default: the group id and the
    /// group instance id]
    #[arg(long, value_name = "ID", requires = "exactly_once", help_heading = "Output")]
    pub transactional_id: Option<String>,

    /// Number of group members in this process, each with its own poll loop, processor and producer
    #[arg(long, value_name = "MEMBERS", default_value = "1", value_parser = members, conflicts_with = "dry_run",
          help_heading = "Processing")]
    pub concurrency: NonZeroU16,
    /// Process batches with a program that exchanges JSON lines on stdin and stdout
    #[arg(long, value_name = "COMMAND", conflicts_with = "cost", help_heading = "Processing")]
    pub exec: Option<String>,
    /// Longest time the program may take for one batch
    #[arg(long, default_value = "60s", value_parser = positive_duration, value_name = "DURATION",
          help_heading = "Processing")]
    pub exec_timeout: Duration,
    /// Protocol version of the program; version 1 has no record headers
    #[arg(
        long,
        value_enum,
        default_value = "2",
        value_name = "VERSION",
        requires = "exec",
        help_heading = "Processing"
    )]
    pub exec_protocol: ExecProtocol,
    /// Simulate processing time per batch and per record, such as 2ms+0.1ms/record
    #[arg(long, value_parser = cost, value_name = "COST", help_heading = "Processing")]
    pub cost: Option<Synthetic>,

    /// What to do if records were deleted before they were read
    #[arg(long, value_enum, default_value = "fail", help_heading = "Failure handling")]
    pub on_data_loss: OnDataLossArg,

    /// Limit the memory for records in this process, at least 8MiB; batches that do not fit are sealed early
    #[arg(long, value_name = "SIZE", value_parser = memory_limit, conflicts_with = "dry_run",
          help_heading = "Limits")]
    pub memory_limit: Option<u64>,
    /// Fail the job if one batch is processed for longer, so that other members get its partitions
    #[arg(long, default_value = "5m", value_parser = positive_duration, value_name = "DURATION",
          help_heading = "Limits")]
    pub max_batch_time: Duration,
    /// Longest time to settle records in flight when the job stops or a partition is revoked
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION", help_heading = "Limits")]
    pub drain_timeout: Duration,

    /// Run preflight checks (topics, permissions, dead letter queue limits, group state, client properties
    /// that differ from their defaults) and exit without changing anything; =all lists every property
    #[arg(long, value_enum, value_name = "PROPERTIES", num_args = 0..=1, require_equals = true,
          default_missing_value = "changed", conflicts_with = "dry_run", help_heading = "Preview")]
    pub check: Option<CheckArg>,
    /// Read and process records without joining the group, committing offsets or writing
    #[arg(long, help_heading = "Preview")]
    pub dry_run: bool,

    /// Write a JSON report to this file, or to stdout with -
    #[arg(long, value_name = "FILE", help_heading = "Reporting")]
    pub report: Option<PathBuf>,
    /// Serve /metrics (Prometheus), /healthz and /readyz on this address, such as 127.0.0.1:9464
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "dry_run", help_heading = "Reporting")]
    pub metrics: Option<String>,
    /// Exclude records that arrive within this time of the start from the reported latencies
    #[arg(long, default_value = "0s", value_parser = duration, value_name = "DURATION", help_heading = "Reporting")]
    pub warm_up: Duration,
    #[command(flatten)]
    pub log: LogArgs,
}

/// The client properties that `--check` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckArg {
    /// Properties that differ from the client's defaults
    Changed,
    /// All properties
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
