//! Writing to topics: outputs and dead letters, in transactions or not.

mod alone;
mod config;
mod current;
mod deliveries;
mod record;
mod record_producer;
mod reduce;
mod served_producer;
mod sink;
mod target;
mod transaction;

pub(super) use config::producer_config;
pub use record_producer::{NewRecord, RecordProducer, Undelivered};
pub use sink::{KafkaSink, SinkOptions, TransactionOptions};
pub use target::TargetTopic;
