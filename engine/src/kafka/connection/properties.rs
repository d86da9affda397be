//! Values of properties as librdkafka reads them: a configuration and the name of a property in, a value out.

use std::time::Duration;

use rdkafka::ClientConfig;

use crate::kafka::KafkaError;

/// Returns true if a property has this value, whatever its case.
pub(in crate::kafka) fn is(config: &ClientConfig, name: &str, value: &str) -> bool {
    config.get(name).is_some_and(|set| set.eq_ignore_ascii_case(value))
}

/// Returns true if a property is set to false, in one of the ways that librdkafka knows.
#[cfg(feature = "tls")]
pub(in crate::kafka) fn is_false(config: &ClientConfig, name: &str) -> bool {
    ["false", "f", "0"].into_iter().any(|value| is(config, name, value))
}

/// Returns the value of a property in milliseconds; zero for negative ones.
///
/// # Errors
/// If the value is no number.
pub(in crate::kafka) fn milliseconds(
    config: &ClientConfig,
    name: &str,
    default: i64,
) -> Result<Duration, KafkaError> {
    let value: i64 = number(config, name, default)?;
    Ok(Duration::from_millis(u64::try_from(value).unwrap_or(0)))
}

/// Returns the value of a property that is a number, in decimal or with 0x in hexadecimal digits.
///
/// # Errors
/// If the value is no number.
pub(in crate::kafka) fn number<T: TryFrom<i64>>(
    config: &ClientConfig,
    name: &str,
    default: T,
) -> Result<T, KafkaError> {
    let Some(value) = config.get(name) else { return Ok(default) };
    let digits = value.strip_prefix("0x").or_else(|| value.strip_prefix("0X"));
    let parsed = digits.map_or_else(|| value.parse().ok(), |digits| i64::from_str_radix(digits, 16).ok());
    let number = parsed.and_then(|number| T::try_from(number).ok());
    number
        .ok_or_else(|| KafkaError::new(format!("property '{name}': '{value}' is no number that it can have")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_librdkafka_reads_them() {
        let mut config = ClientConfig::new();
        config
            .set("a", "0x10")
            .set("b", "-1")
            .set("c", "ten")
            .set("d", "FALSE")
            .set("e", "0")
            .set("f", "true");
        assert_eq!(number(&config, "a", 1_usize), Ok(16));
        assert_eq!(milliseconds(&config, "b", 5), Ok(Duration::ZERO));
        assert_eq!(milliseconds(&config, "unset", 5), Ok(Duration::from_millis(5)));
        assert!(number::<i32>(&config, "c", 1).is_err() && number::<usize>(&config, "b", 1).is_err());
        #[cfg(feature = "tls")]
        assert_eq!(["d", "e", "f", "unset"].map(|name| is_false(&config, name)), [true, true, false, false]);
    }
}
