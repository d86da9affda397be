//! Log-in by SASL: a user and a password in, an authenticated connection out.

use std::ops::RangeInclusive;
use std::time::Duration;

use rdkafka::ClientConfig;
use rsasl::config::SASLConfig;
use rsasl::prelude::{Mechname, SASLClient};

use super::{Connection, ConnectionError};
use crate::kafka::KafkaError;
use crate::protocol::api::Api;
use crate::protocol::sasl;

/// The numbers of iterations of SCRAM that are accepted.
const ITERATIONS: RangeInclusive<u32> = 4096..=1_000_000;
/// The number of characters of a broker's text that are repeated in an error.
const MOST_CHARACTERS: usize = 500;

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
            let known: String = mechanisms.join(", ").chars().take(MOST_CHARACTERS).collect();
            let known = known.escape_debug();
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
                let reason: String = reason.chars().take(MOST_CHARACTERS).collect();
                return Err(ConnectionError::Login(reason.escape_debug().to_string()));
            }
            message.clear();
            if state.is_running() {
                let said = &response.bytes[answer.message];
                check(said)?;
                state = session.step(Some(said), &mut message).map_err(|error| failed(&error))?;
            }
            if !state.is_running() && message.is_empty() {
                return Ok(Some(answer.lifetime).filter(|lifetime| !lifetime.is_zero()));
            }
        }
    }
}

/// Checks a message of SCRAM before the library reads it. The library takes any number of iterations, of which few do not
/// protect a password and many never end, and it does not expect attributes without a name.
///
/// # Errors
/// If the message has such an attribute, or such a number of iterations.
fn check(message: &[u8]) -> Result<(), ConnectionError> {
    let refused = |reason: &str| Err(ConnectionError::Login(reason.to_owned()));
    for part in message.split(|byte| *byte == b',') {
        match part {
            [b'i', b'=', number @ ..] => {
                let number = str::from_utf8(number).ok().and_then(|number| number.parse().ok());
                if number.is_none_or(|number: u32| !ITERATIONS.contains(&number)) {
                    return refused(
                        "the broker wants a number of SCRAM iterations that is not in 4,096 to 1,000,000",
                    );
                }
            }
            [_, b'=', ..] => {}
            _ => return refused("the broker has sent a message that is no SCRAM message"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_the_library_does_not_expect_are_refused() {
        for message in ["", "r=x,", "r=x,s=c2FsdA==,i=1", "r=x,s=c2FsdA==,i=4294967295", "v", "i=x"] {
            assert!(check(message.as_bytes()).is_err(), "{message}");
        }
        for message in ["r=x,s=c2FsdA==,i=4096", "v=c2ln", "e=other-error"] {
            assert!(check(message.as_bytes()).is_ok(), "{message}");
        }
    }
}
