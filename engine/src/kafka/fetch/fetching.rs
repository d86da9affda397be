//! Which fetcher reads a topic: properties of the client in, the fetcher and the reason out.

use crate::kafka::connection::MECHANISMS;
use crate::kafka::settings::ClientSettings;

/// What fetches records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fetching {
    /// The client of the group member.
    #[default]
    Librdkafka,
    /// Connections of the engine's own, from whose answers records are read without a copy.
    Native,
}

impl std::fmt::Display for Fetching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Librdkafka => "librdkafka",
            Self::Native => "native",
        })
    }
}

/// Properties that concern fetching and that only librdkafka has.
const CLIENT_ONLY: &[&str] = &[
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "broker.address.ttl",
    "broker.version.fallback",
    "check.crcs",
    "client.dns.lookup",
    "connections.max.idle.ms",
    "debug",
    "fetch.error.backoff.ms",
    "fetch.queue.backoff.ms",
    "https.ca.location",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "plugin.library.paths",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "ssl.ca.certificate.stores",
    "ssl.crl.location",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.providers",
    "topic.metadata.refresh.fast.interval.ms",
];

impl Fetching {
    /// Returns why the native fetcher cannot be used with these properties; `None` if it can be.
    #[must_use]
    pub fn needs_librdkafka(settings: &ClientSettings) -> Option<String> {
        let protocol = settings.property("security.protocol").unwrap_or("plaintext");
        let mechanism = settings.property("sasl.mechanisms").unwrap_or("GSSAPI");
        let is_known = MECHANISMS.iter().any(|known| known.eq_ignore_ascii_case(mechanism));
        if protocol.to_ascii_lowercase().starts_with("sasl") && !is_known {
            return Some(format!("sasl.mechanisms is {mechanism}"));
        }
        let set = CLIENT_ONLY.iter().find(|name| settings.property(name).is_some());
        set.map(|name| format!("{name} is a property of librdkafka"))
    }
}
