//! How records are fetched: the effective properties of the client in, the limits of requests out.

use std::time::Duration;

use rdkafka::ClientConfig;

use crate::kafka::KafkaError;
use crate::kafka::connection::{Address, Options, is, milliseconds, number};
use crate::protocol::records::Amount;

/// The least time between two attempts.
const LEAST_RETRY: Duration = Duration::from_millis(50);

/// The options of a fetcher.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub bootstrap: Vec<Address>,
    pub connection: Options,
    /// The maximum time that a broker waits for records.
    pub wait: Duration,
    /// The number of bytes for which a broker waits.
    pub least_bytes: i32,
    /// The limits on bytes of an answer and of one partition in it. A broker returns at least one record batch.
    pub most_bytes: i32,
    pub most_partition_bytes: i32,
    /// The fetched records of a partition at which it is no longer fetched.
    pub most_queued: Amount,
    /// True if only records of committed transactions are read.
    pub committed_only: bool,
    pub rack: String,
    /// The time after which a failed fetch, a failed connection or an unsuccessful search for leaders is repeated.
    pub retry: Duration,
    pub most_retry: Duration,
    /// The time after which leaders are asked for again although nothing has failed.
    pub refresh: Duration,
}

impl Config {
    /// Reads the options of an effective configuration, in which every default is set.
    ///
    /// # Errors
    /// If the options of connections are wrong.
    pub(super) fn of(config: &ClientConfig) -> Result<Self, KafkaError> {
        let kbytes: usize = number(config, "queued.max.messages.kbytes", 65_536)?;
        Ok(Self {
            bootstrap: Address::list(config.get("bootstrap.servers").unwrap_or_default()),
            connection: Options::of(config)?,
            wait: milliseconds(config, "fetch.wait.max.ms", 500)?,
            least_bytes: number(config, "fetch.min.bytes", 1)?,
            most_bytes: number(config, "fetch.max.bytes", 52_428_800)?,
            most_partition_bytes: number(config, "fetch.message.max.bytes", 1_048_576)?,
            most_queued: Amount {
                bytes: kbytes.saturating_mul(1024),
                records: number(config, "queued.min.messages", 100_000)?,
            },
            committed_only: !is(config, "isolation.level", "read_uncommitted"),
            rack: config.get("client.rack").unwrap_or_default().to_owned(),
            retry: milliseconds(config, "reconnect.backoff.ms", 100)?.max(LEAST_RETRY),
            most_retry: milliseconds(config, "reconnect.backoff.max.ms", 10_000)?,
            refresh: Some(milliseconds(config, "topic.metadata.refresh.interval.ms", 300_000)?)
                .filter(|refresh| !refresh.is_zero())
                .unwrap_or(Duration::MAX),
        })
    }
}
