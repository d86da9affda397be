//! Writing to topics: outputs and dead letters, in transactions or not.

mod alone;
mod dead_letter;
mod deliveries;
mod record_producer;
mod served_producer;
mod sink;
mod transaction;

pub use dead_letter::{ADDED_BYTES, DeadLetter};
pub use record_producer::{NewRecord, RecordProducer, Undelivered};
pub(super) use sink::producer_config;
pub use sink::{KafkaSink, SinkOptions, TargetTopic, TransactionOptions};
