//! Kafka: a source that is a group member, a reader without side effects, a sink, an embedded broker.
//!
//! All uses of rdkafka are in this module, and all `unsafe` code is in `ffi/`.

mod context;
mod error;
mod fetch;
mod ffi;
mod group;
mod limits;
mod membership;
mod offsets;
mod produce;
mod read;
mod settings;
mod test;

pub use context::{Meter, Received};
pub use error::KafkaError;
pub use group::{GroupOptions, GroupSource, OnDataLoss};
pub use membership::Membership;
pub use offsets::Start;
pub use produce::{
    ADDED_BYTES, DeadLetter, KafkaSink, NewRecord, RecordProducer, SinkOptions, TargetTopic,
    TransactionOptions, Undelivered,
};
pub use read::{
    Ensured, GroupState, Inspector, May, Partition, PartitionState, Properties, ReadSource, TopicReader,
    TopicSettings, Until, ensure_topic, producer_properties, scan, scan_from, topic_settings,
};
pub use settings::{ClientSettings, Origin, PropertyError, canonical_name};
pub use test::{EmbeddedBroker, baseline};

use error::hint;
