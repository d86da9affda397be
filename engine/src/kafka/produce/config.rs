//! The properties of producers: the limits of topics, the user's properties and a transactional id in; a client
//! configuration out.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::kafka::ClientSettings;

/// Returns the properties of a producer for topics with these values of `max.message.bytes`.
pub(in crate::kafka) fn producer_config(
    settings: &ClientSettings,
    (linger, queue_bytes): (Duration, u64),
    max_message_bytes: impl Iterator<Item = u64>,
    transactional_id: Option<&str>,
) -> ClientConfig {
    let bounds: Vec<_> = max_message_bytes.collect();
    let mut defaults = vec![
        ("linger.ms", linger.as_millis().to_string()),
        ("queue.buffering.max.kbytes", (queue_bytes / 1024).clamp(1, i32::MAX as u64).to_string()),
    ];
    // With this limit the client rejects a record that is too large for the topic. Otherwise the broker would reject
    // all records of its batch.
    defaults.extend(bounds.iter().max().map(|most| ("message.max.bytes", client_bytes(*most))));
    if bounds.len() > 1 {
        // A batch of records must fit into each of the topics.
        defaults
            .extend(bounds.iter().min().map(|least| ("batch.size", client_bytes((*least).min(1_000_000)))));
    }
    let mut owned = vec![("enable.idempotence", "true"), ("acks", "all"), ("partitioner", "murmur2_random")];
    let Some(id) = transactional_id else {
        owned.push(("message.timeout.ms", "0"));
        return settings.client(&defaults, &owned);
    };
    let (timeout_ms, idle_ms) = transaction_times(settings);
    let idle_ms = idle_ms.to_string();
    defaults.push(("socket.timeout.ms", timeout_ms.to_string()));
    owned.extend([
        // The transaction time-out limits the delivery time of a record.
        ("transactional.id", id),
        // After an error of the group coordinator, the client looks for it again only when a connection is opened or
        // closed (librdkafka 2.12). Without this limit, a transaction waits until a broker closes an idle connection,
        // after 10 min by default.
        ("connections.max.idle.ms", &idle_ms),
        // Transactions learn from the log that requests were given up: see `deliveries.rs`.
        ("log.connection.close", "true"),
    ]);
    let mut config = settings.client(&defaults, &owned);
    if !matches!(config.log_level, RDKafkaLogLevel::Debug) {
        config.set_log_level(RDKafkaLogLevel::Info);
    }
    config
}

/// Returns the time-out of a request of a transactional producer, and the time after which its connections are idle, in
/// milliseconds. Requests time out before their connection is idle: the client does not report requests that it gives up
/// with an idle connection.
fn transaction_times(settings: &ClientSettings) -> (u64, u64) {
    const TIMEOUT_MS: u64 = 20_000;
    const IDLE_AFTER_TIMEOUT_MS: u64 = 10_000;
    // The default and the limits of the client.
    const TRANSACTION_MS: u64 = 60_000;
    const BEFORE_TRANSACTION_MS: u64 = 100;
    const LEAST_TIMEOUT_MS: u64 = 900;
    const MOST_MS: u64 = i32::MAX as u64;
    let set = |name: &str| settings.property(name).and_then(|ms| ms.parse::<u64>().ok());
    let transaction_ms = set("transaction.timeout.ms").unwrap_or(TRANSACTION_MS);
    let default_ms = transaction_ms.saturating_sub(BEFORE_TRANSACTION_MS).clamp(LEAST_TIMEOUT_MS, TIMEOUT_MS);
    let timeout_ms = set("socket.timeout.ms").unwrap_or(default_ms);
    let idle_ms = timeout_ms.saturating_add(IDLE_AFTER_TIMEOUT_MS);
    (timeout_ms, idle_ms.max(set("connections.max.idle.ms").unwrap_or(0)).min(MOST_MS))
}

/// Returns the limit of a topic, clamped to the range that librdkafka accepts.
fn client_bytes(max_message_bytes: u64) -> String {
    max_message_bytes.clamp(1000, 1_000_000_000).to_string()
}

#[cfg(test)]
mod tests {
    use rdkafka::producer::BaseProducer;

    use super::*;

    fn config(properties: &[(&str, &str)]) -> ClientConfig {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = ClientSettings::new("127.0.0.1:1", properties.collect()).expect("allowed properties");
        producer_config(&settings, (Duration::ZERO, 1 << 20), [1_000_000].into_iter(), Some("id"))
    }

    #[test]
    fn requests_of_transactions_time_out_before_the_transaction_and_the_connection() {
        for (set, timeout_ms, idle_ms) in [
            (&[][..], "20000", "30000"),
            (&[("transaction.timeout.ms", "10000")], "9900", "19900"),
            (&[("transaction.timeout.ms", "1000")], "900", "10900"),
            (&[("socket.timeout.ms", "5000")], "5000", "15000"),
            (&[("connections.max.idle.ms", "60000")], "20000", "60000"),
            (&[("connections.max.idle.ms", "1000")], "20000", "30000"),
        ] {
            let config = config(set);
            let times = ["socket.timeout.ms", "connections.max.idle.ms"].map(|name| config.get(name));
            assert_eq!(times, [Some(timeout_ms), Some(idle_ms)], "{set:?}");
            config.create::<BaseProducer>().unwrap_or_else(|error| panic!("{set:?}: {error}"));
        }
    }

    #[test]
    fn a_time_out_that_no_client_accepts_is_left_to_the_client() {
        for text in [u64::MAX.to_string(), "soon".to_owned()] {
            let config = config(&[("socket.timeout.ms", &text)]);
            let error = config.create::<BaseProducer>().map(drop).unwrap_err().to_string();
            assert!(error.contains("socket.timeout.ms"), "{error}");
        }
    }
}
