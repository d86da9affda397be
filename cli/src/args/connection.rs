//! Options that connect a command to Kafka brokers.

use std::path::PathBuf;

use clap::Args;

/// Brokers and client properties.
#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// Kafka brokers, separated by commas
    #[arg(long, value_name = "HOST:PORT,…", env = "VELO_BOOTSTRAP_SERVERS", help_heading = "Connection")]
    pub bootstrap_servers: Option<String>,
    /// Set a librdkafka property; KEY=@FILE reads the value from a file
    #[arg(short = 'X', long = "property", value_name = "KEY=VALUE", help_heading = "Connection")]
    pub properties: Vec<String>,
    /// Read librdkafka or Java client properties from a file; -X takes precedence over the file, and the file over
    /// variables such as `VELO_KAFKA_SASL_PASSWORD` (sasl.password)
    #[arg(long = "properties", value_name = "FILE", env = "VELO_PROPERTIES", help_heading = "Connection")]
    pub properties_file: Option<PathBuf>,
}
