//! Resolves client properties that limit each other: a configuration and the properties of the user in, a consistent
//! configuration or an error out. The client would reject an inconsistent configuration.

use rdkafka::ClientConfig;

use super::{ClientSettings, KafkaError};

/// The bytes of a fetch response in addition to its records.
const ANSWER_BYTES: u64 = 512;
/// The client's defaults of `message.max.bytes` and `session.timeout.ms`.
const DEFAULT_MESSAGE_BYTES: u64 = 1_000_000;
const DEFAULT_SESSION_MS: u64 = 45_000;

/// Makes the limits in a consumer's configuration consistent. Derived values are adjusted to the properties that the
/// user has set.
///
/// # Errors
/// If two properties that the user has set contradict each other.
pub(super) fn settle_consumer(
    config: &mut ClientConfig,
    settings: &ClientSettings,
) -> Result<(), KafkaError> {
    let number =
        |config: &ClientConfig, name: &str| config.get(name).and_then(|value| value.parse::<u64>().ok());
    let is_given = |name: &str| settings.property(name).is_some();
    if let (Some(answer), Some(fetch)) =
        (number(config, "receive.message.max.bytes"), number(config, "fetch.max.bytes"))
        && answer < fetch + ANSWER_BYTES
    {
        if is_given("fetch.max.bytes") {
            return Err(contradiction(
                ("fetch.max.bytes", fetch),
                ("receive.message.max.bytes", answer),
                "a response must fit a whole fetch and 512 bytes more; raise the second or lower the first",
            ));
        }
        config.set("fetch.max.bytes", answer.saturating_sub(ANSWER_BYTES).to_string());
    }
    // The property limits produced messages, but the client also compares it with the fetch size.
    let message = number(config, "message.max.bytes").unwrap_or(DEFAULT_MESSAGE_BYTES);
    if let Some(fetch) = number(config, "fetch.max.bytes").filter(|fetch| message > *fetch) {
        config.set("message.max.bytes", fetch.to_string());
    }
    if let Some(poll) = number(config, "max.poll.interval.ms") {
        let session = number(config, "session.timeout.ms").unwrap_or(DEFAULT_SESSION_MS);
        // In the consumer protocol (KIP-848) the brokers set the session time-out, and the client must not.
        let is_classic =
            !config.get("group.protocol").is_some_and(|set| set.eq_ignore_ascii_case("consumer"));
        if poll < session && is_given("session.timeout.ms") {
            return Err(contradiction(
                ("session.timeout.ms", session),
                ("max.poll.interval.ms", poll),
                "the session time-out must not exceed the poll interval; raise the second or lower the first",
            ));
        }
        if poll < session && is_classic {
            config.set("session.timeout.ms", poll.to_string());
        }
    }
    Ok(())
}

fn contradiction(one: (&str, u64), other: (&str, u64), what: &str) -> KafkaError {
    KafkaError::new(format!("{}={} contradicts {}={}: {what}", one.0, one.1, other.0, other.1))
}

#[cfg(test)]
#[allow(clippy::disallowed_types, reason = "the client checks its own properties")]
mod tests {
    use super::*;
    use rdkafka::consumer::BaseConsumer;

    /// Resolves the fetch sizes of a memory limit with properties of the user, and checks that the client accepts the
    /// result.
    fn settled(properties: &[(&str, &str)]) -> Result<ClientConfig, String> {
        let given = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = ClientSettings::new("localhost:1", given.collect()).expect("properties");
        let mut config = settings.client(
            &[("fetch.max.bytes", "1048576".to_owned()), ("fetch.message.max.bytes", "65536".to_owned())],
            &[("group.id", "g")],
        );
        settle_consumer(&mut config, &settings).map_err(|error| error.to_string())?;
        config.create::<BaseConsumer>().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn what_velo_has_derived_gives_way() {
        let config = settled(&[("message.max.bytes", "20000000")]).expect("settled");
        assert_eq!(config.get("message.max.bytes"), Some("1048576"));
        let config = settled(&[("receive.message.max.bytes", "1000000")]).expect("settled");
        assert_eq!(config.get("fetch.max.bytes"), Some("999488"));
        let config = settled(&[("max.poll.interval.ms", "9000")]).expect("settled");
        assert_eq!(config.get("session.timeout.ms"), Some("9000"));
        settled(&[("fetch.max.bytes", "2000000"), ("message.max.bytes", "3000000")]).expect("settled");
    }

    #[test]
    fn what_the_user_says_in_contradiction_is_refused_by_name() {
        let error =
            settled(&[("max.poll.interval.ms", "9000"), ("session.timeout.ms", "10000")]).unwrap_err();
        assert!(error.contains("session.timeout.ms=10000 contradicts max.poll.interval.ms=9000"), "{error}");
        let error =
            settled(&[("fetch.max.bytes", "5000000"), ("receive.message.max.bytes", "1000")]).unwrap_err();
        assert!(
            error.contains("fetch.max.bytes=5000000 contradicts receive.message.max.bytes=1000"),
            "{error}"
        );
    }
}
