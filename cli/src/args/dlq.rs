//! Arguments of `velo dlq show` and `velo dlq replay`.

use clap::{Args, Subcommand, ValueEnum};

use super::connection::BrokerArgs;
use super::values::{record_count, record_rate, stage, time};

const SHOW_HELP: &str = "\
The command only reads: it joins no group and commits nothing. It shows the origin and the error of each
record; keys and values are not shown.

Permissions: Read on the topic (which implies Describe).

Exit codes:
  0  the topic was read, whether or not it has dead letters
  2  the topic could not be read

Examples:
  velo dlq show orders.dlq --bootstrap-servers localhost:9092
  velo dlq show orders.dlq --bootstrap-servers localhost:9092 --stage decode --format json";

const REPLAY_HELP: &str = "\
Each record is written unchanged, with one more header: velo.replay.of contains the coordinates of the
original record, topic[partition]@offset. A record that the target already has is not written again, so
an interrupted replay can be repeated. Progress is stored in the queue as records with the header
velo.replay.receipt; dead letters are not changed.

A record is skipped if its target is compacted and has a newer record with the same key.

Limitations: concurrent replays to the same topic do not detect each other's records. If a source topic
was deleted and created again, the coordinates of its records are reused.

Permissions (Read and Write imply Describe):
  dead letter queue, target  Read, Write
  topics of origin           Describe
  cluster                    IdempotentWrite, before Kafka 3.0

Exit codes:
  0  every selected record is in the target, was superseded there, or was left for later by --limit
  2  a selected record was not replayed

Examples:
  velo dlq replay orders.dlq --bootstrap-servers localhost:9092 --dry-run
  velo dlq replay orders.dlq --bootstrap-servers localhost:9092 --stage process
  velo dlq replay orders.dlq --bootstrap-servers localhost:9092 --since 2024-05-02 --rate 500/s
  velo dlq replay orders.dlq --bootstrap-servers localhost:9092 --to-sink orders_clean";

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// Show a dead letter queue: counts by stage and error, and the newest records
    #[command(after_help = SHOW_HELP)]
    Show(DlqShowArgs),
    /// Write the records of a dead letter queue back to their topics, or to a sink
    #[command(after_help = REPLAY_HELP)]
    Replay(DlqReplayArgs),
}

/// The dead letters that a command works on.
#[derive(Debug, Args)]
pub(crate) struct DlqArgs {
    /// Dead letter queue topic
    pub topic: String,
    #[command(flatten)]
    pub broker: BrokerArgs,

    /// Select records that failed in this stage: decode, process or write
    #[arg(long, value_name = "STAGE", value_parser = stage, help_heading = "Input")]
    pub stage: Option<String>,
    /// Select records whose error contains this text
    #[arg(long, value_name = "TEXT", help_heading = "Input")]
    pub error: Option<String>,
    /// Select records from this time on, such as 2024-05-02T10:00:00Z or milliseconds since the epoch
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Input")]
    pub since: Option<i64>,
    /// Select records before this time
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Input")]
    pub until: Option<i64>,
}

#[derive(Debug, Args)]
pub(crate) struct DlqShowArgs {
    #[command(flatten)]
    pub letters: DlqArgs,
    /// Number of records to list, newest first; 0 lists none
    #[arg(long, value_name = "RECORDS", default_value = "20", value_parser = record_count, help_heading = "Output")]
    pub limit: usize,
    /// Output format
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    pub format: TextOrJson,
}

#[derive(Debug, Args)]
pub(crate) struct DlqReplayArgs {
    #[command(flatten)]
    pub letters: DlqArgs,

    /// Write to this topic instead of the topics that the records came from
    #[arg(long, value_name = "TOPIC", help_heading = "Output")]
    pub to_sink: Option<String>,
    /// Also write records whose key has a newer record in a compacted target
    #[arg(long, help_heading = "Output")]
    pub over_newer: bool,

    /// Write at most this many records
    #[arg(long, value_name = "RECORDS", value_parser = record_count, help_heading = "Limits")]
    pub limit: Option<usize>,
    /// Write at most this many records per second, such as 500/s
    #[arg(long, value_name = "RECORDS/s", value_parser = record_rate, help_heading = "Limits")]
    pub rate: Option<f64>,

    /// Report what would be written without writing
    #[arg(long, help_heading = "Preview")]
    pub dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextOrJson {
    Text,
    Json,
}
