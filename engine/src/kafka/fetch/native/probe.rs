//! Whether brokers can be read natively: a configuration in, what is missing out.

use rdkafka::ClientConfig;

use super::config::Config;
use super::finder::MOST_WAIT;
use crate::kafka::connection::Connection;
use crate::protocol::api::Api;
use crate::protocol::pool::Pool;

/// Connects to the first broker that accepts a connection.
///
/// # Errors
/// Why records cannot be fetched from these brokers on connections of our own.
pub(in crate::kafka::fetch) fn probe(config: &ClientConfig) -> Result<(), String> {
    let config = Config::of(config).map_err(|error| error.to_string())?;
    let options = config.connection.within(MOST_WAIT);
    let mut failed = "bootstrap.servers names no broker".to_owned();
    for address in &config.bootstrap {
        match Connection::open(address, &options, Pool::default(), drop) {
            Ok(connection) => {
                let supported = [Api::Metadata, Api::Fetch].map(|api| connection.version(api));
                return supported
                    .into_iter()
                    .try_for_each(|version| version.map(drop))
                    .map_err(|error| error.to_string());
            }
            Err(error) => failed = format!("{address}: {error}"),
        }
    }
    Err(failed)
}
