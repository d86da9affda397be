//! A record on its way to its target: its parts in, its size and its delivery out.

use velo_engine::kafka::{KafkaError, NewRecord, RecordProducer};

use crate::render::letters::Origin;

/// The header of a replayed record with the coordinates of its original: `topic[partition]@offset`.
pub(super) const REPLAY_OF: &str = "velo.replay.of";

/// A record on its way to its target.
pub(super) struct Outgoing {
    /// Partition and offset of the dead letter in the queue.
    pub letter: (i32, i64),
    pub origin: Origin,
    pub target: String,
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: Option<i64>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Outgoing {
    pub(super) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        length(&self.key) + length(&self.value) + headers
    }

    pub(super) fn send(&self, producer: &RecordProducer) -> Result<usize, KafkaError> {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let record = NewRecord {
            partition: self.partition,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            timestamp_ms: self.timestamp_ms,
            headers: &headers,
        };
        producer.send(&self.target, record)
    }
}
