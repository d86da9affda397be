//! Parses option values of the commands that use Kafka: sizes, rates, durations, costs, times and words.
//!
//! Each parser takes the text of a value and returns the value, or a message with the expected form and an example.

use std::num::NonZeroU16;
use std::time::Duration;

use velo_engine::core::failure::Stage;
use velo_engine::kafka::Start;
use velo_engine::process::Synthetic;
use velo_schema::value::{Kind, Value, ValueError, parse};

use super::size::bytes;

/// Parses the size of a record. Brokers reject records that are larger than 2^31 - 1 bytes.
pub(super) fn record_bytes(text: &str) -> Result<u64, String> {
    let bytes = bytes(text)?;
    if bytes <= i32::MAX.unsigned_abs().into() {
        Ok(bytes)
    } else {
        Err(format!("expected at most {} bytes, the limit of Kafka for a record", i32::MAX))
    }
}

/// The smallest memory limit in bytes. With less, a record of 1 MiB does not fit into the producer's part (1/8).
const MIN_MEMORY_LIMIT: u64 = 8 << 20;

/// Parses a memory limit of at least [`MIN_MEMORY_LIMIT`].
pub(super) fn memory_limit(text: &str) -> Result<u64, String> {
    let limit = bytes(text)?;
    if limit < MIN_MEMORY_LIMIT {
        return Err("expected at least 8MiB".to_owned());
    }
    Ok(limit)
}

/// Parses bytes per second: `10MB/s` or `10MB`.
pub(super) fn byte_rate(text: &str) -> Result<u64, String> {
    match bytes(text.strip_suffix("/s").unwrap_or(text))? {
        0 => Err("expected a rate above zero, such as 10MB/s".to_owned()),
        rate => Ok(rate),
    }
}

/// Parses records per second: `5k/s`, `5000/s` or `1.5M/s`.
pub(super) fn record_rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim();
    let (number, factor) = match number.char_indices().next_back() {
        Some((end, 'k' | 'K')) => (&number[..end], 1e3),
        Some((end, 'M')) => (&number[..end], 1e6),
        _ => (number, 1.0),
    };
    match number.parse::<f64>() {
        Ok(rate) if rate * factor >= 1e-3 && rate * factor <= 1e9 => Ok(rate * factor),
        _ => Err(
            "expected records per second from 0.001/s to 1000M/s (inclusive), such as 5000/s, 5k/s or 1.5M/s"
                .to_owned(),
        ),
    }
}

pub(super) fn members(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| format!("expected a number of members from 1 to {}, such as 4", u16::MAX))
}

pub(super) fn record_count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a number of records, such as 20, or 0 for none".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = parse(Kind::Duration { min: Duration::ZERO }, text).map(|parsed| parsed.value);
    match parsed {
        Ok(Value::Duration(duration)) => Ok(duration),
        Ok(_) => Err(duration_error(&ValueError::InvalidDuration)),
        Err(error) => Err(duration_error(&error)),
    }
}

/// Parses a duration above zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("expected a duration above zero, {DURATION_EXAMPLES}")),
        duration => Ok(duration),
    }
}

const DURATION_EXAMPLES: &str = "such as 500ms, 30s or 5m";

fn duration_error(error: &ValueError) -> String {
    match error {
        ValueError::DurationWithoutUnit { number } => {
            format!("a duration needs a unit: {number}ms or {number}s?")
        }
        ValueError::OutOfRange { .. } => format!("duration {error}, {DURATION_EXAMPLES}"),
        _ => format!("expected a duration, {DURATION_EXAMPLES}"),
    }
}

/// The longest time of a cost, per batch and per record.
const MAX_COST: Duration = Duration::from_hours(24);

/// Parses `2ms`, `2ms+0.1ms/record` or `0.1ms/record`. Units are those of a duration, and `us`.
pub(super) fn cost(text: &str) -> Result<Synthetic, String> {
    let mut cost = Synthetic::default();
    for term in text.split('+').map(str::trim) {
        let per_record = term.strip_suffix("/record").map(str::trim);
        let time = cost_duration(per_record.unwrap_or(term)).ok_or_else(|| cost_error(term))?;
        let sum = if per_record.is_some() { &mut cost.per_record } else { &mut cost.per_batch };
        *sum = sum.saturating_add(time);
        if *sum > MAX_COST {
            return Err(format!("'{term}': the cost of a batch or a record is at most 24h"));
        }
    }
    Ok(cost)
}

fn cost_error(term: &str) -> String {
    let problem =
        if term.is_empty() { "a term is empty".to_owned() } else { format!("'{term}' is not a duration") };
    format!(
        "{problem}; expected a cost per batch, per record or both, such as 2ms, 0.1ms/record or \
         2ms+0.1ms/record (units: us, ms, s)"
    )
}

fn cost_duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("us").map(|micros| micros.trim().parse::<f64>()) {
        Some(micros) => {
            let micros = micros.ok().filter(|micros| (0.0..1e12).contains(micros))?;
            Some(Duration::from_secs_f64(micros / 1e6))
        }
        None => duration(text).ok(),
    }
}

/// Parses the position at which reading starts.
pub(super) fn start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => time_ms(text).map(Start::Timestamp).ok_or_else(|| {
            let expected = format!("expected earliest, latest, {TIME_FORMS}");
            with_suggestion(expected, text, ["earliest", "latest"])
        }),
    }
}

/// Parses a time into milliseconds since the Unix epoch.
pub(super) fn time(text: &str) -> Result<i64, String> {
    time_ms(text).ok_or_else(|| format!("expected {TIME_FORMS}"))
}

const TIME_FORMS: &str = "a time such as 2024-05-02T10:00:00Z, or milliseconds since the epoch";

/// Returns milliseconds since the Unix epoch for a number of them or an ISO 8601 time in UTC.
fn time_ms(text: &str) -> Option<i64> {
    if let Ok(ms) = text.parse::<i64>() {
        return (ms >= 0).then_some(ms);
    }
    // A date without a time of day stands for its midnight.
    let time = humantime::parse_rfc3339_weak(text)
        .or_else(|_| humantime::parse_rfc3339_weak(&format!("{text}T00:00:00Z")))
        .ok()?;
    i64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis()).ok()
}

pub(super) fn log_level(text: &str) -> Result<tracing::Level, String> {
    const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
    let level = LEVELS.contains(&text.to_ascii_lowercase().as_str()).then(|| text.parse().ok()).flatten();
    level.ok_or_else(|| unknown_word(text, LEVELS))
}

/// Parses the stage of a dead letter: a stage of velo, or one of Kafka Connect (`VALUE_CONVERTER`).
pub(super) fn stage(text: &str) -> Result<String, String> {
    let stages = [Stage::Decode, Stage::Process, Stage::Write].map(|stage| stage.to_string());
    let is_of_connect = !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    if is_of_connect || stages.iter().any(|stage| stage == text) {
        return Ok(text.to_owned());
    }
    Err(unknown_word(text, stages.iter().map(String::as_str)))
}

/// Returns the message for a word that is not in the list, with the nearest word of the list as a suggestion.
fn unknown_word<'a>(text: &str, words: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let all: Vec<_> = words.clone().into_iter().collect();
    with_suggestion(format!("expected {}", all.join(", ")), text, words)
}

fn with_suggestion<'a>(message: String, text: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    match velo_schema::nearest(text, words) {
        Some((edits, word)) if edits <= 2 => format!("{message}; did you mean {word}?"),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_rate_is_above_zero() {
        assert_eq!(byte_rate("10MB/s"), Ok(10_000_000));
        assert!(byte_rate("0").is_err() && byte_rate("fast").is_err());
    }

    #[test]
    fn sizes_have_limits() {
        assert_eq!((record_bytes("1KiB"), memory_limit("8MiB")), (Ok(1024), Ok(8 << 20)));
        assert!(record_bytes("2GiB").is_err() && memory_limit("7MiB").is_err());
    }

    #[test]
    fn a_record_rate_has_an_optional_factor() {
        for (text, rate) in [("5k/s", 5e3), ("5000", 5e3), ("1.5M/s", 1.5e6), ("0.001/s", 1e-3)] {
            assert!(record_rate(text).is_ok_and(|parsed| (parsed - rate).abs() < 1e-9), "{text}");
        }
        assert!(record_rate("0/s").is_err() && record_rate("2000M/s").is_err() && record_rate("k").is_err());
    }

    #[test]
    fn a_cost_has_a_part_per_batch_and_a_part_per_record() {
        let both = cost("2ms + 0.1ms/record").unwrap();
        assert_eq!(both.per_batch, Duration::from_millis(2));
        assert_eq!(both.per_record, Duration::from_micros(100));
        assert_eq!(cost("5us/record").unwrap().per_record, Duration::from_micros(5));
        for wrong in ["2", "", "-1us", "2ms+", "nanus", "infus", "30h", "1h/record+24h/record"] {
            assert!(cost(wrong).is_err(), "{wrong}");
        }
        let error = cost("2ms+banana").unwrap_err();
        assert!(error.starts_with("'banana' is not a duration; expected a cost per batch"), "{error}");
    }

    #[test]
    fn an_invalid_value_is_rejected_with_an_example() {
        let rejected = |result: Result<(), String>| result.expect_err("it is rejected");
        assert!(
            rejected(cost("banana").map(drop))
                .starts_with("'banana' is not a duration; expected a cost per batch")
        );
        assert_eq!(rejected(duration("soon").map(drop)), "expected a duration, such as 500ms, 30s or 5m");
        assert_eq!(rejected(duration("100").map(drop)), "a duration needs a unit: 100ms or 100s?");
        assert!(rejected(duration("1000000d").map(drop)).starts_with("duration out of range"));
        assert!(rejected(positive_duration("0s").map(drop)).contains("above zero"));
        for text in ["0", "-1", "many", "70000"] {
            assert_eq!(
                rejected(members(text).map(drop)),
                "expected a number of members from 1 to 65535, such as 4"
            );
        }
        assert!(rejected(record_count("x").map(drop)).contains("such as 20"));
        assert_eq!(
            rejected(stage("procss").map(drop)),
            "expected decode, process, write; did you mean process?"
        );
        assert_eq!(rejected(stage("everything").map(drop)), "expected decode, process, write");
        assert!(rejected(log_level("inof").map(drop)).ends_with("did you mean info?"));
        assert!(rejected(start("latset").map(drop)).ends_with("did you mean latest?"));
    }

    #[test]
    fn stages_levels_and_times_are_parsed() {
        assert_eq!(stage("write").as_deref(), Ok("write"));
        assert_eq!(stage("VALUE_CONVERTER").as_deref(), Ok("VALUE_CONVERTER"));
        assert_eq!(log_level("DEBUG"), Ok(tracing::Level::DEBUG));
        assert_eq!(members("4").map(NonZeroU16::get), Ok(4));
        for text in ["1714644000000", "2024-05-02T10:00:00Z", "2024-05-02 10:00:00"] {
            assert_eq!(start(text), Ok(Start::Timestamp(1_714_644_000_000)), "{text}");
        }
        assert_eq!(start("2024-05-02"), Ok(Start::Timestamp(1_714_608_000_000)));
        assert!(start("-5").is_err() && start("1969-01-01T00:00:00Z").is_err());
    }
}
