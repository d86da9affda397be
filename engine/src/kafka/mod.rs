//! Kafka: a source that is a group member, a reader without side effects, a sink, an embedded broker.
//!
//! All uses of rdkafka are in this module, and all `unsafe` code is in `ffi/`.

mod connection;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod context;
mod error;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod fetch;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod ffi;
mod group;
mod limits;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod membership;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod offsets;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod produce;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod read;
mod settings;
#[allow(clippy::disallowed_types, reason = "it has a client")]
mod test;

pub use context::{Meter, Received};
pub use error::KafkaError;
pub use fetch::{Choice, Fetching};
pub use group::{GroupOptions, GroupSource, OnDataLoss};
pub use membership::Membership;
pub use offsets::Start;
pub use produce::{
    KafkaSink, NewRecord, RecordProducer, SinkOptions, TargetTopic, TransactionOptions, Undelivered,
};
pub use read::{
    Ensured, GroupState, Inspector, May, Partition, PartitionState, Properties, ReadSource, TopicReader,
    TopicSettings, Until, ensure_topic, producer_properties, scan, scan_from, topic_settings,
};
pub use settings::{ClientSettings, Origin, PropertyError, canonical_name};
pub use test::{EmbeddedBroker, baseline};

use error::hint;
