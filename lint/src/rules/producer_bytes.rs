//! `producer-bytes`: a number of records that looks like bytes.

use serde::Serialize;
use velo_schema::keys::Key;
use velo_schema::value::Value;

use crate::rule::{Found, Rule};
use crate::severity::Severity;
use crate::unit::Reading;

/// The smallest size that a producer is given.
const LEAST_BYTES: u64 = 4096;

/// Settings of a producer.
const OF_PRODUCERS: &[&str] = &["linger.ms", "compression.type"];

/// `batch.size` that looks like a Kafka producer's batch size in bytes.
pub const RULE: Rule = Rule {
    id: "producer-bytes",
    severity: Severity::Info,
    summary: "`batch.size` that looks like a Kafka producer's batch size in bytes.",
    why: "Kafka producers have a batch.size in bytes, too, usually a power of two. In velo, batch.size is a number of records.",
    example: "WITH ('batch.size' = '16384')",
    better: "WITH ('batch.size' = '16000')",
    check: |unit, out| {
        for item in unit.effective_items().filter(|item| item.key == Key::BatchSize) {
            let Reading::Known(parsed) = &item.reading else { continue };
            let Value::Integer(records) = parsed.value else { continue };
            let beside_producer = || {
                let beside = unit.foreign.iter().filter(|foreign| foreign.clause == item.clause);
                let is_of_producer = |key: &str| OF_PRODUCERS.iter().any(|known| key.ends_with(known));
                beside.into_iter().any(|foreign| is_of_producer(foreign.key))
            };
            if records >= LEAST_BYTES && (records.is_power_of_two() || beside_producer()) {
                out.add(&RULE, item.value_span.clone(), ProducerBytes { records });
            }
        }
    },
};

/// A number of records that looks like a producer's bytes.
#[derive(Debug, Serialize)]
struct ProducerBytes {
    /// Records per batch.
    records: u64,
}

impl Found for ProducerBytes {
    fn message(&self) -> String {
        let Self { records } = self;
        format!(
            "{records} looks like the batch size of a Kafka producer in bytes; here batch.size is a number of records"
        )
    }
}
