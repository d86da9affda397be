//! The place of `tls.rs` in a build without the feature `tls`: there is no encrypted stream.
#![allow(clippy::disallowed_types, reason = "it is the connection")]

use std::io::{self, Read, Write};
use std::net::TcpStream;

use rdkafka::ClientConfig;

use super::ConnectionError;
use crate::kafka::KafkaError;

/// No value exists.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tls {}

/// No value exists.
pub(super) enum Encrypted {}

impl Tls {
    /// # Errors
    /// Always.
    pub(super) fn of(_: &ClientConfig) -> Result<Self, KafkaError> {
        Err(KafkaError::new("security.protocol: this program was built without TLS"))
    }

    pub(super) fn connect(self, _: &str, _: TcpStream) -> Result<Encrypted, ConnectionError> {
        match self {}
    }
}

impl Encrypted {
    pub(super) fn get_ref(&self) -> &TcpStream {
        match *self {}
    }
}

impl Read for Encrypted {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

impl Write for Encrypted {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }
}
