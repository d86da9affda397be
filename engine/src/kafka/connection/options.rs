//! How connections are made: properties of the client in, options out.

use std::time::Duration;

use rdkafka::ClientConfig;

use super::address::Family;
use super::login::Login;
use super::properties::{milliseconds, number};
use super::tls::Tls;
use crate::kafka::KafkaError;

/// The options of a connection.
#[derive(Debug, Clone)]
pub(in crate::kafka) struct Options {
    pub client_id: String,
    /// The maximum time until a connection is made.
    pub connect_timeout: Duration,
    /// The maximum time until an answer arrives, beside what the request itself asks the broker to wait.
    pub answer_timeout: Duration,
    pub family: Family,
    /// The limit on bytes of an answer.
    pub most_bytes: usize,
    pub(super) tls: Option<Tls>,
    pub(super) login: Option<Login>,
}

impl Options {
    /// Reads the options of an effective configuration, in which every default is set.
    ///
    /// # Errors
    /// If a certificate cannot be read, or logging in needs librdkafka.
    pub(in crate::kafka) fn of(config: &ClientConfig) -> Result<Self, KafkaError> {
        let protocol = config.get("security.protocol").unwrap_or("plaintext").to_ascii_lowercase();
        let family = match config.get("broker.address.family").map(str::to_ascii_lowercase).as_deref() {
            Some("v4") => Family::V4,
            Some("v6") => Family::V6,
            _ => Family::Any,
        };
        Ok(Self {
            client_id: config.get("client.id").unwrap_or("rdkafka").to_owned(),
            connect_timeout: milliseconds(config, "socket.connection.setup.timeout.ms", 30_000)?,
            answer_timeout: milliseconds(config, "socket.timeout.ms", 60_000)?,
            family,
            most_bytes: number(config, "receive.message.max.bytes", 100_000_000)?,
            tls: protocol.ends_with("ssl").then(|| Tls::of(config)).transpose()?,
            login: protocol.starts_with("sasl").then(|| Login::of(config)).transpose()?,
        })
    }

    /// Returns the same options with times of at most `most`.
    pub(in crate::kafka) fn within(&self, most: Duration) -> Self {
        let Self { connect_timeout, answer_timeout, .. } = self;
        let (connect_timeout, answer_timeout) = (*connect_timeout.min(&most), *answer_timeout.min(&most));
        Self { connect_timeout, answer_timeout, ..self.clone() }
    }
}
