//! Log-in: a mechanism and its messages in, the messages of the broker out.

use std::ops::Range;
use std::time::Duration;

use super::api::{Api, Request};
use super::cursor::{Cursor, Malformed};
use super::encoder::Encoder;

/// The request to log in with a mechanism.
pub(crate) fn handshake(version: i16, mechanism: &str) -> Request {
    let mut encoder = Encoder::new(false);
    encoder.string(mechanism);
    Request { api: Api::SaslHandshake, version, body: encoder.into_bytes() }
}

/// Reads the answer to [`handshake`]: the error code and the mechanisms of the broker.
///
/// # Errors
/// If the bytes are no such answer.
pub(crate) fn read_handshake(cursor: &mut Cursor<'_>) -> Result<(i16, Vec<String>), Malformed> {
    let error = cursor.i16("the error code")?;
    let mechanisms = cursor.items(false, "the mechanisms", |cursor| cursor.string(false, "a mechanism"))?;
    Ok((error, mechanisms.into_iter().flatten().collect()))
}

/// The request with a message of the mechanism.
pub(crate) fn authenticate(version: i16, message: &[u8]) -> Request {
    let mut encoder = Encoder::new(Api::SaslAuthenticate.is_flexible(version));
    encoder.byte_string(message);
    encoder.no_tags();
    Request { api: Api::SaslAuthenticate, version, body: encoder.into_bytes() }
}

/// The answer to [`authenticate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authenticated {
    /// The error code; 0 if there is none.
    pub error: i16,
    /// What the broker says about the error.
    pub reason: Option<String>,
    /// Where the message of the mechanism is in the answer.
    pub message: Range<usize>,
    /// The time after which the broker demands to be logged in to again; zero if it does not.
    pub lifetime: Duration,
}

/// Reads the answer to [`authenticate`].
///
/// # Errors
/// If the bytes are no such answer.
pub(crate) fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Authenticated, Malformed> {
    let flexible = Api::SaslAuthenticate.is_flexible(version);
    let error = cursor.i16("the error code")?;
    let reason = cursor.string(flexible, "the error message")?;
    let message = cursor.bytes(flexible, "the message")?.unwrap_or(0..0);
    let lifetime_ms = if version >= 1 { cursor.i64("the lifetime of the session")? } else { 0 };
    let lifetime = Duration::from_millis(u64::try_from(lifetime_ms).unwrap_or(0));
    Ok(Authenticated { error, reason, message, lifetime })
}
