//! One value: text in, a typed [`Value`] or a [`ValueError`] with its numbers out.

use serde::Serialize;
use std::time::Duration;

use crate::nearest::meant;
use crate::strategy::{FailureStrategy, OnExhausted, StrategyKind, Words};
use crate::units::{format_duration, scale, scale_floor, split_unit};

/// The longest duration that any key takes.
pub const MAX_DURATION: Duration = Duration::from_hours(365 * 24);

/// The shortest duration that is more than none.
pub const SHORTEST: Duration = Duration::from_nanos(1);

/// Every spelling of a duration's unit, with its milliseconds.
pub const DURATION_UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("millisecond", 1),
    ("milliseconds", 1),
    ("s", 1_000),
    ("second", 1_000),
    ("seconds", 1_000),
    ("m", 60_000),
    ("minute", 60_000),
    ("minutes", 60_000),
    ("h", 3_600_000),
    ("hour", 3_600_000),
    ("hours", 3_600_000),
    ("d", 86_400_000),
    ("day", 86_400_000),
    ("days", 86_400_000),
];

/// What a key's value is, with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number of `unit` within `min..=max`.
    Integer {
        /// Smallest value allowed.
        min: u64,
        /// Largest value allowed.
        max: u64,
        /// What is counted: `records`, `bytes`, `retries`, `batches`.
        unit: &'static str,
    },
    /// A number and a unit, at least `min`, at most [`MAX_DURATION`].
    Duration {
        /// Shortest duration allowed.
        min: Duration,
    },
    /// A batch strategy.
    Strategy,
    /// A failure strategy.
    FailureStrategy,
    /// What follows the last retry.
    OnExhausted,
    /// A topic name as Kafka allows it.
    Topic,
}

impl Kind {
    /// The words this kind takes, for kinds that take one of a set.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        fn all<W: Words>() -> Vec<&'static str> {
            W::ALL.iter().map(|word| word.word()).collect()
        }
        match self {
            Self::Boolean => vec!["true", "false"],
            Self::Strategy => all::<StrategyKind>(),
            Self::FailureStrategy => all::<FailureStrategy>(),
            Self::OnExhausted => all::<OnExhausted>(),
            Self::Integer { .. } | Self::Duration { .. } | Self::Topic => Vec::new(),
        }
    }

    /// What a value counts or measures.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Integer { unit, .. } => unit,
            Self::Duration { .. } => "duration",
            Self::Boolean | Self::Strategy | Self::FailureStrategy | Self::OnExhausted | Self::Topic => {
                "none"
            }
        }
    }

    /// The type's name as the docs print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer { unit, .. } => unit,
            Self::Duration { .. } => "duration",
            Self::Strategy => "batch strategy",
            Self::FailureStrategy => "failure strategy",
            Self::OnExhausted => "failure strategy after the last retry",
            Self::Topic => "topic name",
        }
    }
}

/// A value of the right type and within its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// See [`Kind::Boolean`].
    Boolean(bool),
    /// See [`Kind::Integer`].
    Integer(u64),
    /// See [`Kind::Duration`].
    Duration(Duration),
    /// See [`Kind::Strategy`].
    Strategy(StrategyKind),
    /// See [`Kind::FailureStrategy`].
    FailureStrategy(FailureStrategy),
    /// See [`Kind::OnExhausted`].
    OnExhausted(OnExhausted),
    /// See [`Kind::Topic`].
    Topic(String),
}

impl std::fmt::Display for Value {
    /// The canonical spelling, which parses back to the same value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Duration(value) => f.write_str(&format_duration(*value)),
            Self::Strategy(value) => write!(f, "{value}"),
            Self::FailureStrategy(value) => write!(f, "{value}"),
            Self::OnExhausted(value) => write!(f, "{value}"),
            Self::Topic(value) => f.write_str(value),
        }
    }
}

/// A value as read, and the spelling that it should have had where it was another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The typed value.
    pub value: Value,
    /// The canonical spelling, where the text had one obvious reading but another spelling.
    pub canonical: Option<&'static str>,
}

/// Why a text is not a value of its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ValueError {
    /// Nothing between the quotes.
    #[error("the value is empty")]
    Empty,
    /// Not one of a boolean's spellings.
    #[error("expected true or false")]
    NotABoolean,
    /// Not one of a set of words; the nearest one, where one is near.
    #[error("expected one of {}", expected.join(", "))]
    UnknownWord {
        /// The words that are allowed.
        expected: Vec<&'static str>,
        /// The nearest of them.
        nearest: Option<&'static str>,
    },
    /// Not a whole number.
    #[error("expected a whole number of {unit}")]
    NotAnInteger {
        /// What is counted.
        unit: &'static str,
    },
    /// A number with a size unit where bare bytes are expected.
    #[error("expected bytes without a unit: {decimal} or {binary}")]
    SizeWithUnit {
        /// The reading in powers of 1000.
        decimal: u64,
        /// The reading in powers of 1024.
        binary: u64,
    },
    /// A number outside of its bounds, or one that overflows.
    #[error("out of range: expected {min} to {max}")]
    OutOfRange {
        /// Smallest value allowed, spelled as a value.
        min: String,
        /// Largest value allowed, spelled as a value.
        max: String,
    },
    /// A bare number where a duration is expected.
    #[error(
        "a duration needs a unit: a bare number is read as milliseconds by some and as seconds by others"
    )]
    DurationWithoutUnit {
        /// The number as it stands.
        number: String,
    },
    /// Neither a number nor a unit of time that we know.
    #[error("expected a duration: a number and ms, s, m, h or d")]
    InvalidDuration,
    /// A name that Kafka does not take for a topic.
    #[error("not a topic name: 1 to 249 of letters, digits, '.', '_' and '-', and neither '.' nor '..'")]
    InvalidTopic,
}

/// Reads `text` as a value of `kind`.
///
/// # Errors
/// A [`ValueError`] that carries the bounds, the words or the readings that would have been right.
pub fn parse(kind: Kind, text: &str) -> Result<Parsed, ValueError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ValueError::Empty);
    }
    let exact = |value| Ok(Parsed { value, canonical: None });
    match kind {
        Kind::Boolean => parse_boolean(text),
        Kind::Integer { min, max, unit } => exact(Value::Integer(parse_integer(text, min, max, unit)?)),
        Kind::Duration { min } => exact(Value::Duration(parse_duration(text, min)?)),
        Kind::Strategy => parse_word(text, Value::Strategy),
        Kind::FailureStrategy => parse_word(text, Value::FailureStrategy),
        Kind::OnExhausted => parse_word(text, Value::OnExhausted),
        Kind::Topic => exact(Value::Topic(parse_topic(text)?)),
    }
}

fn parse_boolean(text: &str) -> Result<Parsed, ValueError> {
    let (value, canonical) = match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => (true, "true"),
        "false" | "no" | "off" | "0" => (false, "false"),
        _ => return Err(ValueError::NotABoolean),
    };
    Ok(Parsed { value: Value::Boolean(value), canonical: (text != canonical).then_some(canonical) })
}

fn parse_word<W: Words>(text: &str, wrap: fn(W) -> Value) -> Result<Parsed, ValueError> {
    if let Some(word) = W::from_text(text) {
        let canonical = (word.word() != text).then_some(word.word());
        return Ok(Parsed { value: wrap(word), canonical });
    }
    let expected: Vec<_> = W::ALL.iter().map(|word| word.word()).collect();
    let nearest = meant(text, expected.iter().copied()).or_else(|| W::from_hint(text).map(W::word));
    Err(ValueError::UnknownWord { expected, nearest })
}

fn parse_integer(text: &str, min: u64, max: u64, unit: &'static str) -> Result<u64, ValueError> {
    let out_of_range = || ValueError::OutOfRange { min: min.to_string(), max: max.to_string() };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(size_with_unit(text, unit).unwrap_or(ValueError::NotAnInteger { unit }));
    }
    if text.starts_with('+') {
        return Err(ValueError::NotAnInteger { unit });
    }
    text.parse().ok().filter(|n| (min..=max).contains(n)).ok_or_else(out_of_range)
}

/// The two readings of `10MB` where bytes are expected.
fn size_with_unit(text: &str, unit: &str) -> Option<ValueError> {
    if unit != "bytes" {
        return None;
    }
    let (number, suffix) = split_unit(text)?;
    let power = match suffix.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    let whole_bytes = |base: u64| scale_floor(number, base.pow(power));
    let (decimal, binary) = (whole_bytes(1000)?, whole_bytes(1024)?);
    Some(ValueError::SizeWithUnit { decimal, binary })
}

fn parse_duration(text: &str, min: Duration) -> Result<Duration, ValueError> {
    let shown_min = if min == SHORTEST { "more than 0ms".to_owned() } else { format_duration(min) };
    let out_of_range =
        || ValueError::OutOfRange { min: shown_min.clone(), max: format_duration(MAX_DURATION) };
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (number, unit) = split_unit(unsigned).ok_or(ValueError::InvalidDuration)?;
    if unit.is_empty() {
        let well_formed = number.matches('.').count() <= 1 && !number.ends_with('.');
        return Err(if well_formed {
            ValueError::DurationWithoutUnit { number: text.to_owned() }
        } else {
            ValueError::InvalidDuration
        });
    }
    let &(_, unit_ms) =
        DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or(ValueError::InvalidDuration)?;
    let fraction = number.split_once('.').map_or("0", |(_, fraction)| fraction);
    // More than nine digits would be finer than a nanosecond of any unit.
    if fraction.is_empty() || fraction.contains('.') || fraction.len() > 9 {
        return Err(ValueError::InvalidDuration);
    }
    let nanos = scale(number, unit_ms * 1_000_000).ok_or_else(out_of_range)?;
    let duration = Duration::from_nanos(nanos);
    let in_range = !text.starts_with('-') && duration >= min && duration <= MAX_DURATION;
    in_range.then_some(duration).ok_or_else(out_of_range)
}

fn parse_topic(text: &str) -> Result<String, ValueError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let fits = text.len() <= 249 && text != "." && text != ".." && text.bytes().all(legal);
    fits.then(|| text.to_owned()).ok_or(ValueError::InvalidTopic)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Kind = Kind::Duration { min: Duration::ZERO };
    const BYTES: Kind = Kind::Integer { min: 1, max: u64::MAX, unit: "bytes" };

    fn duration(text: &str) -> Result<Duration, ValueError> {
        parse_duration(text, Duration::from_millis(1))
    }

    #[test]
    fn every_unit_of_the_guide_reads() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5 minutes"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        assert_eq!(duration("1 day"), Ok(Duration::from_hours(24)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
    }

    #[test]
    fn a_wrong_duration_says_which_way_it_is_wrong() {
        assert_eq!(duration("1000"), Err(ValueError::DurationWithoutUnit { number: "1000".into() }));
        for text in ["fast", "5 fortnights", "1.s", "1.2.3s", "ms", "1M", "1e3s"] {
            assert_eq!(duration(text), Err(ValueError::InvalidDuration), "{text}");
        }
        for text in ["-5s", "366d", "0ms", "99999999999999999999d"] {
            assert!(matches!(duration(text), Err(ValueError::OutOfRange { .. })), "{text}");
        }
    }

    #[test]
    fn a_size_with_a_unit_has_two_readings() {
        assert_eq!(
            parse(BYTES, "10MB"),
            Err(ValueError::SizeWithUnit { decimal: 10_000_000, binary: 10_485_760 })
        );
        assert_eq!(parse(BYTES, "ten"), Err(ValueError::NotAnInteger { unit: "bytes" }));
        assert!(matches!(parse(BYTES, "-5"), Err(ValueError::OutOfRange { .. })));
        assert!(matches!(parse(BYTES, "0"), Err(ValueError::OutOfRange { .. })));
        assert!(matches!(parse(BYTES, "99999999999999999999"), Err(ValueError::OutOfRange { .. })));
    }

    #[test]
    fn another_spelling_reads_and_names_the_canonical_one() {
        let parsed = parse(Kind::Strategy, "FixedSize").unwrap();
        assert_eq!(parsed.value, Value::Strategy(StrategyKind::FixedSize));
        assert_eq!(parsed.canonical, Some("fixed_size"));
        assert_eq!(parse(Kind::Boolean, "yes").unwrap().canonical, Some("true"));
        assert_eq!(parse(Kind::Boolean, "true").unwrap().canonical, None);
        assert_eq!(parse(DURATION, " 5s ").unwrap().canonical, None);
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let nearest = |text| match parse(Kind::Strategy, text) {
            Err(ValueError::UnknownWord { nearest, .. }) => nearest,
            other => panic!("{other:?}"),
        };
        assert_eq!(nearest("fixed_sise"), Some("fixed_size"));
        assert_eq!(nearest("mega_bach"), Some("mega_batch"));
        assert_eq!(nearest("round_robin"), None);
        for (short, word) in [
            ("adaptive", "adaptive_size"),
            ("fixed", "fixed_size"),
            ("mega", "mega_batch"),
            ("memory", "memory_based"),
            ("Tumbling-Window", "time_window"),
            ("low", "low_latency"),
        ] {
            assert_eq!(nearest(short), Some(word), "{short}");
        }
        for ambiguous in ["size", "batch", "x", ""] {
            assert_eq!(parse(Kind::Strategy, ambiguous).ok(), None, "{ambiguous}");
        }
        assert_eq!((nearest("size"), nearest("batch")), (None, None), "several words have it");
        let failure = |text| match parse(Kind::FailureStrategy, text) {
            Err(ValueError::UnknownWord { nearest, .. }) => nearest,
            other => panic!("{other:?}"),
        };
        for (short, word) in [
            ("retry", "RetryWithBackoff"),
            ("exponential_backoff", "RetryWithBackoff"),
            ("DLQ", "SendToDLQ"),
            ("dead-letter-queue", "SendToDLQ"),
            ("skip", "LogAndContinue"),
            ("log", "LogAndContinue"),
            ("fail", "FailBatch"),
            ("stop", "FailBatch"),
        ] {
            assert_eq!(failure(short), Some(word), "{short}");
        }
    }
}
