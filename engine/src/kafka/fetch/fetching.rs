//! Which fetcher reads a topic: properties of the client in, the fetcher and the reason out.

use rdkafka::ClientConfig;

use super::native::probe;
use crate::kafka::KafkaError;
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

/// A fetcher, and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What fetches the records.
    pub fetching: Fetching,
    /// Why the native fetcher cannot be used, if nothing else was asked for.
    pub reason: Option<String>,
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

impl Choice {
    /// Chooses a fetcher: the one that is `wanted`; otherwise the native one if the properties of the client and the
    /// brokers permit it. `effective` is a configuration in which every default is set.
    ///
    /// # Errors
    /// If the native fetcher is wanted and cannot be used with these properties.
    pub(in crate::kafka) fn new(
        wanted: Option<Fetching>,
        settings: &ClientSettings,
        effective: &ClientConfig,
    ) -> Result<Self, KafkaError> {
        let lacks = Fetching::lacks(settings);
        match wanted {
            Some(Fetching::Native) => match lacks {
                Some(reason) => Err(KafkaError::new(format!("the native fetcher cannot be used: {reason}"))),
                None => Ok(Self { fetching: Fetching::Native, reason: None }),
            },
            Some(fetching) => Ok(Self { fetching, reason: None }),
            None => Ok(match lacks.map_or_else(|| probe(effective), Err) {
                Ok(()) => Self { fetching: Fetching::Native, reason: None },
                Err(reason) => Self { fetching: Fetching::Librdkafka, reason: Some(reason) },
            }),
        }
    }
}

impl Fetching {
    /// Returns why the native fetcher cannot be used with these properties; `None` if it can be.
    fn lacks(settings: &ClientSettings) -> Option<String> {
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
