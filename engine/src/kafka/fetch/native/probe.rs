//! Whether brokers can be read natively: a configuration in, what is missing out.
#![allow(clippy::disallowed_methods, reason = "it has an end")]

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;

use super::config::Config;
use crate::kafka::connection::{Connection, ConnectionError};
use crate::protocol::api::Api;
use crate::protocol::pool::Pool;

/// The longest time that a start waits for a broker.
const MOST_WAIT: Duration = Duration::from_secs(10);

/// Connects to the first broker that answers. An outage is no obstacle: a fetcher tries again.
///
/// # Errors
/// Why records cannot be fetched from these brokers on connections of our own.
pub(in crate::kafka::fetch) fn probe(config: &ClientConfig) -> Result<(), String> {
    let config = Config::of(config).map_err(|error| error.to_string())?;
    let end = Instant::now() + MOST_WAIT;
    for address in &config.bootstrap {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let options = config.connection.within(left);
        let opened = Connection::open(address, &options, Pool::default(), drop);
        match opened.and_then(|connection| {
            connection.version(Api::Metadata)?;
            connection.version(Api::Fetch)
        }) {
            Ok(_) => return Ok(()),
            Err(ConnectionError::Io(error)) => {
                tracing::debug!("{address}: {error}");
            }
            Err(error) => return Err(format!("{address}: {error}")),
        }
    }
    Ok(())
}
