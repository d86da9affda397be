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

/// Properties that concern fetching and that only librdkafka has, each with the values that the native fetcher behaves
/// like.
const CLIENT_ONLY: &[(&str, &[&str])] = &[
    ("api.version.fallback.ms", &[]),
    ("api.version.request", &["true"]),
    ("api.version.request.timeout.ms", &[]),
    ("broker.address.ttl", &[]),
    ("broker.version.fallback", &[]),
    ("check.crcs", &["true"]),
    ("client.dns.lookup", &["use_all_dns_ips"]),
    ("connections.max.idle.ms", &[]),
    ("fetch.error.backoff.ms", &[]),
    ("fetch.queue.backoff.ms", &[]),
    ("https.ca.location", &[]),
    ("metadata.max.age.ms", &[]),
    ("metadata.recovery.rebootstrap.trigger.ms", &[]),
    ("metadata.recovery.strategy", &[]),
    ("plugin.library.paths", &[]),
    ("retry.backoff.max.ms", &[]),
    ("retry.backoff.ms", &[]),
    ("socket.keepalive.enable", &[]),
    ("socket.max.fails", &[]),
    ("socket.nagle.disable", &["true"]),
    ("socket.receive.buffer.bytes", &[]),
    ("socket.send.buffer.bytes", &[]),
    ("ssl.ca.certificate.stores", &[]),
    ("ssl.crl.location", &[]),
    ("ssl.engine.id", &[]),
    ("ssl.engine.location", &[]),
    ("ssl.providers", &[]),
    ("topic.metadata.refresh.fast.interval.ms", &[]),
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
        CLIENT_ONLY.iter().find_map(|(name, like)| {
            let set = settings.property(name)?;
            let is_alike = like.iter().any(|value| value.eq_ignore_ascii_case(set));
            (!is_alike).then(|| format!("{name} is supported by librdkafka only"))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn settings(properties: &[(&str, &str)]) -> ClientSettings {
        let properties: BTreeMap<_, _> =
            properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        // Nobody listens there.
        ClientSettings::new("127.0.0.1:1".to_owned(), properties).expect("properties")
    }

    #[test]
    fn properties_that_only_the_client_has_exclude_the_native_fetcher() {
        for property in [
            ("socket.receive.buffer.bytes", "1000"),
            ("client.dns.lookup", "resolve_canonical_bootstrap_servers_only"),
            ("socket.nagle.disable", "false"),
        ] {
            let settings = settings(&[property]);
            let choose = |wanted| Choice::new(wanted, &settings, &settings.client(&[], &[]));
            let Choice { fetching, reason } = choose(None).expect("a choice");
            assert_eq!(fetching, Fetching::Librdkafka);
            assert!(reason.is_some_and(|reason| reason.contains(property.0)));
            assert!(choose(Some(Fetching::Native)).unwrap_err().to_string().contains(property.0));
            let forced = Choice { fetching: Fetching::Librdkafka, reason: None };
            assert_eq!(choose(Some(Fetching::Librdkafka)), Ok(forced));
        }
        let mechanism =
            settings(&[("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "OAUTHBEARER")]);
        assert!(Fetching::lacks(&mechanism).is_some_and(|reason| reason.contains("OAUTHBEARER")));
    }

    #[test]
    fn properties_that_mean_the_same_for_both_do_not() {
        for property in [
            ("debug", "cgrp"),
            ("client.dns.lookup", "use_all_dns_ips"),
            ("check.crcs", "TRUE"),
            ("fetch.min.bytes", "10"),
            ("client.rack", "a"),
        ] {
            assert_eq!(Fetching::lacks(&settings(&[property])), None, "{property:?}");
        }
    }

    #[test]
    fn an_outage_does_not_exclude_the_native_fetcher() {
        let settings = settings(&[]);
        let choice = Choice::new(None, &settings, &settings.client(&[], &[]));
        assert_eq!(choice, Ok(Choice { fetching: Fetching::Native, reason: None }));
    }
}
