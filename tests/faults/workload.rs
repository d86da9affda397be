//! The records of a fault test: a seed in, the same records out every time, of every shape that a topic holds.

use std::time::Duration;

use fastrand::Rng;
use velo_engine::kafka::{NewRecord, RecordProducer};

use crate::broker::Broker;
use crate::topic::first_timestamp_ms;

/// Headers in order; names may repeat.
pub(crate) type Headers = Vec<(String, Option<Vec<u8>>)>;

/// What becomes of a record if nothing goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is written to the sink.
    Good,
    /// It is not JSON.
    Undecodable,
    /// The sink's topic refuses its timestamp.
    Refused,
}

/// A record of the source topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub kind: Kind,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
    pub timestamp_ms: i64,
}

/// A source topic's records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub seed: u64,
    pub records: u64,
    pub partitions: i32,
    /// True if some records are not JSON.
    pub has_undecodable: bool,
    /// True if some records have a timestamp that the sink's topic refuses.
    pub has_refused: bool,
}

/// The name of the header with a record's number.
const NUMBER: &str = "number";
/// Records older than this are refused by the topic that [`Workload::sink_settings`] describes.
const OLDEST: Duration = Duration::from_hours(2);

impl Workload {
    /// Returns a record by its number. Records are produced in the order of their numbers.
    pub(crate) fn record(&self, number: u64) -> Record {
        let mut random = Rng::with_seed(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let partitions = u64::from(self.partitions.unsigned_abs());
        let partition = i32::try_from(number % partitions).expect("small");
        let kind = match random.u8(..) {
            0..6 if self.has_undecodable => Kind::Undecodable,
            6..9 if self.has_refused => Kind::Refused,
            _ => Kind::Good,
        };
        // A key stays in its partition. Without one, a record has no order to keep.
        let key = match random.u8(..) {
            0..8 => None,
            8..16 => Some(Vec::new()),
            _ => Some(format!("{partition}-{}", random.u8(..50)).into_bytes()),
        };
        let value = match (kind, random.u8(..)) {
            (Kind::Undecodable, _) => Some(format!("not JSON {number}").into_bytes()),
            (_, 0..8) => None,
            (_, shape) => {
                let bytes = if shape == 8 { random.usize(1000..20_000) } else { random.usize(0..200) };
                Some(format!("{{\"number\":{number},\"fill\":\"{:x<bytes$}\"}}", "").into_bytes())
            }
        };
        let mut headers = vec![(NUMBER.to_owned(), Some(number.to_string().into_bytes()))];
        if random.u8(..) < 16 {
            // Names repeat, values are empty or missing.
            headers.extend([Some(b"1".to_vec()), Some(Vec::new()), None].map(|v| ("twice".to_owned(), v)));
        }
        let age = if kind == Kind::Refused { OLDEST * 2 } else { Duration::ZERO };
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).expect("small");
        let offset = i64::try_from(number / partitions).expect("small");
        let timestamp_ms = first_timestamp_ms() + offset - millis(age);
        Record { kind, partition, offset, key, value, headers, timestamp_ms }
    }

    /// Returns the number of the record that a record was made from.
    pub(crate) fn number(headers: &Headers) -> Option<u64> {
        let (_, value) = headers.iter().find(|(name, _)| name == NUMBER)?;
        std::str::from_utf8(value.as_deref()?).ok()?.parse().ok()
    }

    /// Returns the settings of a sink topic that refuses some of the records.
    pub(crate) fn sink_settings() -> [(&'static str, String); 1] {
        [("message.timestamp.before.max.ms", (OLDEST + OLDEST / 2).as_millis().to_string())]
    }

    /// Returns the number of records of a partition.
    pub(crate) fn end(&self, partition: i32) -> i64 {
        let (partitions, partition) = (i64::from(self.partitions), i64::from(partition));
        let records = i64::try_from(self.records).expect("small");
        (records - partition + partitions - 1) / partitions
    }

    pub(crate) fn produce(&self, broker: &Broker, topic: &str) {
        let producer =
            RecordProducer::connect(&broker.settings(), Duration::from_millis(20)).expect("a producer");
        for number in 0..self.records {
            let record = self.record(number);
            let headers: Vec<_> =
                record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            let outgoing = NewRecord {
                partition: Some(record.partition),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                timestamp_ms: Some(record.timestamp_ms),
                headers: &headers,
            };
            producer.send(topic, outgoing).expect("sent");
        }
        producer.flush().expect("flushed");
    }
}
