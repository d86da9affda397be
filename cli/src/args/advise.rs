//! Arguments of `velo advise`, which is also the program `velo-advise`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use velo_engine::process::Synthetic;

use super::connection::BrokerArgs;
use super::run::ValueFormatArg;
use super::size::bytes;
use super::values::{byte_rate, cost, duration, record_bytes, record_rate};
use super::variables::VarArgs;

pub(super) const HELP: &str = "\
The command only reads: it joins no group, commits nothing and writes nothing to Kafka.

Permissions: Read and Describe on the topic.

Ctrl-C ends the measurement and prints the recommendation for the results so far; the next run with the
same --trials file resumes from them.

Exit codes:
  0    a recommendation was made
  1    a recommendation was made, but not written to the file of --trials or --sql as asked
  2    could not start
  3    not enough evidence for a recommendation
  4    no candidate meets the limits
  130  interrupted

Examples:
  velo-advise --demo                                 measure a topic and a producer in this process
  velo-advise --topic orders --bootstrap-servers localhost:9092 --p99 100ms
  velo-advise --topic orders --bootstrap-servers localhost:9092 --cost 2ms+0.1ms/record --json
  velo-advise --sql job.sql --bootstrap-servers localhost:9092 --exec 'python3 enrich.py' --write
  velo-advise --rate 5k/s --record-size 1KiB --cost 2ms+0.1ms/record        use the model only
  velo-advise --from-trials trials.jsonl             reuse the measurements of an earlier run";

/// Measure a live topic and recommend a batch strategy, with evidence.
#[derive(Debug, Parser)]
#[command(name = "velo-advise", version, max_term_width = 100, after_help = HELP)]
pub(crate) struct AdviseCli {
    #[command(flatten)]
    pub args: AdviseArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GoalArg {
    /// Lowest p99 latency
    Latency,
    /// Most records per second
    Throughput,
    /// Smallest batches in bytes
    Memory,
    /// Least work per record
    Cpu,
}

/// The system whose configuration a recommendation is printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportArg {
    /// WITH clause
    Guide,
    /// Properties of a librdkafka consumer
    Librdkafka,
    /// Properties of a Java consumer
    Java,
    /// Properties of a Spring Kafka listener
    Spring,
    /// Redpanda Connect batching block
    RedpandaConnect,
    /// WITH clause with the keys that velostream 0.1 reads
    #[value(name = "velostream-0.1")]
    Velostream01,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoArg {
    /// 20,000 records per second, sink latency 10 ms
    Bulk,
    /// 500 records per second, p99 limit 50 ms
    Alerts,
}

#[derive(Debug, Args)]
pub(crate) struct AdviseArgs {
    #[command(flatten)]
    pub broker: BrokerArgs,

    /// Topic to measure [default: the topic that the statement of --sql reads]
    #[arg(long, required_unless_present_any = ["demo", "from_trials", "sql", "rate"], help_heading = "Input")]
    pub topic: Option<String>,
    /// Measure a topic with a live producer in this process; needs no broker
    #[arg(long, value_enum, value_name = "WORKLOAD", num_args = 0..=1, default_missing_value = "bulk",
          conflicts_with_all = ["topic", "from_trials"], help_heading = "Input")]
    pub demo: Option<DemoArg>,
    /// Reuse the measurements in the trials file of an earlier run
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["topic", "budget", "sample", "max_rate", "trials",
                                "value_format", "exec", "cost", "sink_cost"],
          help_heading = "Input")]
    pub from_trials: Option<PathBuf>,
    /// Use the model instead of a topic, with this arrival rate, such as 5k/s
    #[arg(long, value_parser = record_rate, value_name = "RECORDS/s", requires = "record_size",
          conflicts_with_all = ["topic", "from_trials", "demo", "budget", "sample", "max_rate",
                                "trials", "value_format"],
          help_heading = "Input")]
    pub rate: Option<f64>,
    /// Record size for --rate, such as 1KiB
    #[arg(long, value_parser = record_bytes, value_name = "SIZE", requires = "rate", help_heading = "Input")]
    pub record_size: Option<u64>,
    /// SQL file with the statement to tune; its current settings are one of the candidates
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub sql: Option<PathBuf>,
    /// Name of the statement, if the file has more than one
    #[arg(long, value_name = "NAME", requires = "sql", help_heading = "Input")]
    pub statement: Option<String>,
    #[command(flatten)]
    pub vars: VarArgs,
    /// Encoding of record values; with json, every value is decoded
    #[arg(long, value_enum, default_value = "bytes", help_heading = "Input")]
    pub value_format: ValueFormatArg,

    /// Print the advice as JSON on stdout
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Print the recommendation as configuration of another system
    #[arg(long, value_enum, value_name = "SYSTEM", conflicts_with = "json", help_heading = "Output")]
    pub export: Option<ExportArg>,
    /// Write the recommended settings into the statement of --sql; the rest of the file is not changed
    #[arg(long, requires = "sql", help_heading = "Output")]
    pub write: bool,
    /// Save measurements in this file, and resume from it [default: velo-trials-TOPIC.jsonl; none with --demo]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub trials: Option<PathBuf>,

    /// Process batches with a program, as velo run --exec does. It gets sampled records many times; its output is
    /// discarded, and `VELO_ADVISE=1` is set [default: no processing]
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["cost", "rate"], help_heading = "Processing")]
    pub exec: Option<String>,
    /// Longest time the program may take for one batch
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION",
          help_heading = "Processing")]
    pub exec_timeout: Duration,
    /// Simulate processing time per batch and per record, such as 2ms+0.1ms/record [default: none]
    #[arg(long, value_parser = cost, value_name = "COST", help_heading = "Processing")]
    pub cost: Option<Synthetic>,
    /// Sink latency per batch [default: one measured round trip to the broker]
    #[arg(long, value_parser = duration, value_name = "DURATION", help_heading = "Processing")]
    pub sink_cost: Option<Duration>,

    /// Property to optimize [default: latency; with --from-trials, the goal of the trials]
    #[arg(long, value_enum, help_heading = "Objective")]
    pub goal: Option<GoalArg>,
    /// Highest p99 latency, such as 100ms
    #[arg(long, value_parser = duration, value_name = "DURATION", help_heading = "Objective")]
    pub p99: Option<Duration>,
    /// Most payload of three batches in memory, such as 64MiB
    #[arg(long, value_parser = bytes, value_name = "SIZE", help_heading = "Objective")]
    pub memory: Option<u64>,

    /// Time for calibration, predictions and trials together; sampling and the confirmation (up to 20 s) are
    /// extra
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION", help_heading = "Limits")]
    pub budget: Duration,
    /// Time span of the topic to sample
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "DURATION", help_heading = "Limits")]
    pub sample: Duration,
    /// Most bytes per second to read from the topic
    #[arg(long, default_value = "10MB", value_parser = byte_rate, value_name = "SIZE/s", help_heading = "Limits")]
    pub max_rate: u64,
}
