//! The records of a fault test: a seed in, the same records out every time, of every shape that a topic holds.

use std::time::Duration;

use fastrand::Rng;

use crate::topic::first_timestamp_ms;

/// Headers in order; names may repeat.
pub(crate) type Headers = Vec<(String, Option<Vec<u8>>)>;
/// Settings of a topic, by name.
pub(crate) type Settings = &'static [(&'static str, &'static str)];

/// What becomes of a record if nothing goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is written to the sink.
    Good,
    /// It is not JSON.
    Undecodable,
    /// The sink's topic refuses it.
    Refused,
}

/// Why the sink's topic refuses a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its timestamp is too old.
    Old,
    /// It is too large.
    Large,
}

/// A record of the source topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub kind: Kind,
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
    pub timestamp_ms: i64,
}

/// A source topic's records.
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub seed: u64,
    pub records: u64,
    pub partitions: i32,
    /// True if some records are not JSON.
    pub has_undecodable: bool,
    /// Why some records are refused by the sink's topic, if some are.
    pub refusal: Option<Refusal>,
    /// True if every record has a key, as compacted topics demand.
    pub is_keyed: bool,
    /// True if some records are as large as brokers accept by default.
    pub has_large: bool,
    /// True if the records are produced in transactions, beside others that are aborted.
    pub is_transactional: bool,
    /// The settings of the source topic.
    pub source: Settings,
}

/// The name of the header with a record's number.
const NUMBER: &str = "number";
/// Records that are older by this much are refused by a sink with the settings of [`Refusal::Old`]. The others have times from
/// the start of the tests, which may run for a day.
const OLDER: Duration = Duration::from_hours(72);
/// A record of this size fits into a request and a batch as brokers and clients limit them by default.
const LARGE_BYTES: usize = 990_000;

impl Refusal {
    /// Returns the settings of a sink's topic that refuses records for this reason.
    pub(crate) fn sink_settings(self) -> Settings {
        match self {
            // Between the age of most records, from an hour on, and that of the refused ones.
            Self::Old => &[("message.timestamp.before.max.ms", "129600000")],
            Self::Large => &[("max.message.bytes", "100000")],
        }
    }
}

impl Workload {
    /// Returns a workload with undecodable records and nothing else that is special.
    pub(crate) fn new(seed: u64, records: u64, partitions: i32) -> Self {
        Self {
            seed,
            records,
            partitions,
            has_undecodable: true,
            refusal: None,
            is_keyed: false,
            has_large: false,
            is_transactional: false,
            source: &[],
        }
    }

    /// Returns a record by its number. Records are produced in the order of their numbers.
    pub(crate) fn record(&self, number: u64) -> Record {
        let mut random = Rng::with_seed(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let partitions = u64::from(self.partitions.unsigned_abs());
        let partition = i32::try_from(number % partitions).expect("small");
        let kind = match random.u8(..) {
            0..6 if self.has_undecodable => Kind::Undecodable,
            6..9 if self.refusal.is_some() => Kind::Refused,
            _ => Kind::Good,
        };
        // A key stays in its partition. Without one, a record has no order to keep.
        let key = match random.u8(..) {
            0..8 if !self.is_keyed => None,
            8..16 => Some(Vec::new()),
            _ => Some(format!("{partition}-{}", random.u8(..50)).into_bytes()),
        };
        let is_refused = |refusal| kind == Kind::Refused && self.refusal == Some(refusal);
        let value = match (kind, random.u8(..)) {
            (Kind::Undecodable, _) => Some(format!("not JSON {number}").into_bytes()),
            (_, 0..8) if !is_refused(Refusal::Large) => None,
            (_, shape) => {
                let fill = match shape {
                    // No codec makes this small enough.
                    _ if is_refused(Refusal::Large) => (0..300_000).map(|_| random.alphanumeric()).collect(),
                    8 => "x".repeat(random.usize(1000..20_000)),
                    9 if self.has_large => "x".repeat(LARGE_BYTES),
                    _ => "x".repeat(random.usize(0..200)),
                };
                Some(format!("{{\"number\":{number},\"fill\":\"{fill}\"}}").into_bytes())
            }
        };
        let mut headers = vec![(NUMBER.to_owned(), Some(number.to_string().into_bytes()))];
        if random.u8(..) < 16 {
            // Names repeat, values are empty or missing.
            headers.extend([Some(b"1".to_vec()), Some(Vec::new()), None].map(|v| ("twice".to_owned(), v)));
        }
        let age = if is_refused(Refusal::Old) { OLDER } else { Duration::ZERO };
        let age = i64::try_from(age.as_millis()).expect("small");
        let since = i64::try_from(number / partitions).expect("small");
        let timestamp_ms = first_timestamp_ms() + since - age;
        Record { kind, partition, key, value, headers, timestamp_ms }
    }

    /// Returns the number of the record that a record was made from.
    pub(crate) fn number(headers: &Headers) -> Option<u64> {
        let (_, value) = headers.iter().find(|(name, _)| name == NUMBER)?;
        std::str::from_utf8(value.as_deref()?).ok()?.parse().ok()
    }
}
