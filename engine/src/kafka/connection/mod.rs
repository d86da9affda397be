//! Connections to brokers: an address in; requests to and answers from the broker.
//!
//! Requests are answered in their order, so several may be under way at once. Time-outs are those of the socket: a call
//! returns once it has been waited for as long as the options say, or another thread has interrupted the connection.
#![allow(clippy::disallowed_types, reason = "it is the connection")]
#![allow(clippy::disallowed_methods, reason = "a log-in has an end")]

mod address;
mod login;
mod options;
mod properties;
mod stream;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub(super) use address::Address;
pub(super) use login::MECHANISMS;
pub(super) use options::Options;
pub(super) use properties::{is, milliseconds, number};

use crate::protocol::api::{self, Api, Request, Versions};
use crate::protocol::cursor::{Cursor, Malformed};
use crate::protocol::pool::Pool;
use stream::Stream;

/// The number of bytes that are made room for at once while an answer arrives, so that a length that lies costs no more.
const STEP_BYTES: usize = 1 << 20;

/// The limit on bytes of an answer before the broker is known.
const FIRST_ANSWER_BYTES: usize = 1 << 20;

/// Why a broker cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// The connection could not be made or is broken.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What the broker has sent is no answer.
    #[error("the answer is no answer of a Kafka broker: {0}")]
    Malformed(#[from] Malformed),
    /// An answer is longer than a client has to take.
    #[error("the answer has {bytes} bytes, more than receive.message.max.bytes ({most})")]
    TooLong { bytes: usize, most: usize },
    /// An answer belongs to another request.
    #[error("the broker has answered another request")]
    OutOfOrder,
    /// The connection cannot be encrypted, or the broker is not trusted.
    #[cfg(feature = "tls")]
    #[error("TLS: {0}{hint}", hint = super::hint(None, .0))]
    Tls(String),
    /// The broker does not let the user in.
    #[error("the broker refuses the log-in: {0}")]
    Login(String),
    /// The broker does not support a request that is needed.
    #[error("the broker supports no version of {0:?} requests that is known here")]
    Unsupported(Api),
}

/// A connection to a broker.
pub(super) struct Connection {
    stream: Stream,
    client_id: String,
    answer_timeout: Duration,
    most_bytes: usize,
    next_id: i32,
    /// The requests that are not answered yet.
    waiting: VecDeque<(i32, Api, i16)>,
    versions: Versions,
    /// The time from which on the broker demands to be logged in to again.
    expires: Option<Instant>,
    pool: Pool,
}

/// An answer of a broker.
pub(super) struct Response {
    pub bytes: Bytes,
    /// Where the answer begins, after the header.
    pub start: usize,
    pub version: i16,
}

impl Response {
    /// Returns a cursor over the answer. Its positions are those in `bytes`.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor::within(&self.bytes, self.start..self.bytes.len())
    }
}

/// Ends the calls of a connection from another thread.
pub(super) struct Interrupt(TcpStream);

impl Interrupt {
    /// Breaks the connection.
    pub(super) fn interrupt(&self) {
        // It may be broken already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Connection {
    /// Connects to a broker and asks what it supports.
    ///
    /// # Errors
    /// If no address of the broker accepts a connection, or the broker does not answer.
    pub(super) fn open(
        address: &Address,
        options: &Options,
        pool: Pool,
        opened: impl FnOnce(Interrupt),
    ) -> Result<Self, ConnectionError> {
        let socket = connect(address, options)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(options.connect_timeout))?;
        socket.set_write_timeout(Some(options.answer_timeout))?;
        opened(Interrupt(socket.try_clone()?));
        let stream = match &options.tls {
            Some(tls) => Stream::Tls(tls.connect(&address.host, socket)?),
            None => Stream::Plain(socket),
        };
        let mut connection = Self {
            stream,
            client_id: options.client_id.clone(),
            answer_timeout: options.answer_timeout,
            most_bytes: FIRST_ANSWER_BYTES.min(options.most_bytes),
            next_id: 0,
            waiting: VecDeque::new(),
            versions: Versions::default(),
            expires: None,
            pool,
        };
        connection.send(&api::api_versions())?;
        let response = connection.receive(Duration::ZERO)?;
        let (error, versions) = Versions::read(&mut response.cursor())?;
        if error != 0 {
            return Err(ConnectionError::Unsupported(Api::Versions));
        }
        connection.versions = versions;
        if let Some(login) = &options.login {
            // Early, so that no request is under way when the time is over.
            let lifetime = login.log_in(&mut connection)?;
            connection.expires = lifetime.map(|lifetime| Instant::now() + lifetime / 10 * 8);
        }
        connection.most_bytes = options.most_bytes;
        Ok(connection)
    }

    /// Returns true if the broker will soon demand to be logged in to again. Another connection does that.
    pub(super) fn expires(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= Instant::now())
    }

    /// Returns the newest version of a request that both sides support.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn version(&self, api: Api) -> Result<i16, ConnectionError> {
        self.versions.of(api).ok_or(ConnectionError::Unsupported(api))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// If the connection is broken.
    pub(super) fn send(&mut self, request: &Request) -> Result<(), ConnectionError> {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1) & i32::MAX;
        self.stream.write_all(&request.frame(id, &self.client_id))?;
        self.waiting.push_back((id, request.api, request.version));
        Ok(())
    }

    /// Waits for the answer to the oldest request, for as long as the options say and the broker may wait itself.
    ///
    /// # Errors
    /// If the connection is broken, the time is up, or what arrives is no answer.
    pub(super) fn receive(&mut self, broker_waits: Duration) -> Result<Response, ConnectionError> {
        let (id, api, version) = self.waiting.pop_front().ok_or(ConnectionError::OutOfOrder)?;
        self.stream.socket().set_read_timeout(Some(self.answer_timeout + broker_waits))?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(explained)?;
        let length = i32::from_be_bytes(length);
        let impossible = Malformed::Impossible { what: "the length of the answer", value: length.into() };
        let length = usize::try_from(length).map_err(|_| impossible)?;
        if length > self.most_bytes {
            return Err(ConnectionError::TooLong { bytes: length, most: self.most_bytes });
        }
        let mut buffer = self.pool.take(length);
        let mut read = 0;
        while read < length {
            if buffer.len() == read {
                buffer.resize(length.min(read + STEP_BYTES), 0);
            }
            let end = buffer.len().min(length);
            self.stream.read_exact(&mut buffer[read..end]).map_err(explained)?;
            read = end;
        }
        let bytes = self.pool.share(buffer, length);
        let mut cursor = Cursor::new(&bytes);
        if api::read_header(&mut cursor, api, version)? != id {
            return Err(ConnectionError::OutOfOrder);
        }
        let start = cursor.at();
        Ok(Response { bytes, start, version })
    }
}

fn connect(address: &Address, options: &Options) -> io::Result<TcpStream> {
    let mut failed = None;
    for socket in address.resolve(options.family)? {
        match TcpStream::connect_timeout(&socket, options.connect_timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// The kernel's word for a time-out is not one.
fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, "the broker has not answered in time")
        }
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the broker has closed the connection"),
        _ => error,
    }
}
