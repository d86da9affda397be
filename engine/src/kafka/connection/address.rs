//! Addresses of brokers: a list as in `bootstrap.servers` in, hosts and ports out; a host and a port in, socket
//! addresses out.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// The port of an address without one.
const DEFAULT_PORT: u16 = 9092;

/// The host and the port of a broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kafka) struct Address {
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The kind of IP addresses that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::kafka) enum Family {
    #[default]
    Any,
    V4,
    V6,
}

impl Address {
    /// Reads a comma-separated list. Parts that are no address are left out, as librdkafka does.
    pub(in crate::kafka) fn list(servers: &str) -> Vec<Self> {
        servers.split(',').filter_map(|server| Self::of(server.trim())).collect()
    }

    fn of(server: &str) -> Option<Self> {
        // A listener name, such as PLAINTEXT://, may come first.
        let server = server.rsplit_once("://").map_or(server, |(_, server)| server);
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, port.parse().ok()?),
            _ => (server, DEFAULT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }

    /// Asks the resolver for the socket addresses.
    ///
    /// # Errors
    /// If the host has no address of the family.
    pub(super) fn resolve(&self, family: Family) -> io::Result<Vec<SocketAddr>> {
        let fits = |address: &SocketAddr| match family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        let found: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.filter(fits).collect();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_servers_are_read() {
        let list = Address::list("one:1, two ,[::1]:3,PLAINTEXT://four:4,::5,bad:port,");
        let shown: Vec<_> = list.iter().map(|address| (address.host.as_str(), address.port)).collect();
        assert_eq!(shown, [("one", 1), ("two", 9092), ("::1", 3), ("four", 4), ("::5", 9092)]);
    }
}
