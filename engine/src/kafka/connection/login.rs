//! Log-in by SASL: a user and a password in, an authenticated connection out.

use std::time::Duration;

use rdkafka::ClientConfig;
use rsasl::config::SASLConfig;
use rsasl::prelude::{Mechname, SASLClient};

use super::{Connection, ConnectionError};
use crate::kafka::KafkaError;
use crate::protocol::api::Api;
use crate::protocol::sasl;

/// The mechanisms that a user and a password are enough for.
pub(in crate::kafka) const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// How a connection logs in.
#[derive(Clone)]
pub(super) struct Login {
    mechanism: String,
    user: String,
    password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl Login {
    /// # Errors
    /// If the mechanism needs more than a user and a password.
    pub(super) fn of(config: &ClientConfig) -> Result<Self, KafkaError> {
        let text = |name| config.get(name).unwrap_or_default().to_owned();
        let mechanism = text("sasl.mechanisms").to_ascii_uppercase();
        if !MECHANISMS.contains(&mechanism.as_str()) {
            return Err(KafkaError::new(format!("sasl.mechanisms is {mechanism}, which needs librdkafka")));
        }
        Ok(Self { mechanism, user: text("sasl.username"), password: text("sasl.password") })
    }

    /// Logs in. Returns the time after which it has to be done again, if there is one.
    ///
    /// # Errors
    /// If the broker refuses.
    pub(super) fn log_in(&self, connection: &mut Connection) -> Result<Option<Duration>, ConnectionError> {
        let version = connection.version(Api::SaslHandshake)?;
        connection.send(&sasl::handshake(version, &self.mechanism))?;
        let response = connection.receive(Duration::ZERO)?;
        let (error, mechanisms) = sasl::read_handshake(&mut response.cursor())?;
        if error != 0 {
            let known = mechanisms.join(", ");
            let reason = format!("the broker does not know {}, but {known}", self.mechanism);
            return Err(ConnectionError::Login(reason));
        }
        let failed = |error: &dyn std::fmt::Display| ConnectionError::Login(error.to_string());
        let config = SASLConfig::with_credentials(None, self.user.clone(), self.password.clone());
        let mechanism = Mechname::parse(self.mechanism.as_bytes()).map_err(|error| failed(&error))?;
        let mut session = SASLClient::new(config.map_err(|error| failed(&error))?)
            .start_suggested_iter([mechanism])
            .map_err(|error| failed(&error))?;
        let version = connection.version(Api::SaslAuthenticate)?;
        let mut message = Vec::new();
        let mut state = session.step(None, &mut message).map_err(|error| failed(&error))?;
        loop {
            connection.send(&sasl::authenticate(version, &message))?;
            let response = connection.receive(Duration::ZERO)?;
            let answer = sasl::read(&mut response.cursor(), response.version)?;
            if answer.error != 0 {
                let reason = answer.reason.unwrap_or_else(|| format!("error {}", answer.error));
                return Err(ConnectionError::Login(reason));
            }
            message.clear();
            if state.is_running() {
                let said = &response.bytes[answer.message];
                state = session.step(Some(said), &mut message).map_err(|error| failed(&error))?;
            }
            if !state.is_running() && message.is_empty() {
                return Ok(Some(answer.lifetime).filter(|lifetime| !lifetime.is_zero()));
            }
        }
    }
}
