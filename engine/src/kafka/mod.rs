//! Kafka: a source that is a member of a group, a reader that leaves no trace, a sink, a broker.
//!
//! All use of rdkafka is in this folder, and all `unsafe` in its `ffi.rs`.

mod alone;
mod bounds;
mod commits;
mod context;
mod data_loss;
mod dead_letter;
mod deliveries;
mod embedded;
mod end_of_input;
mod error;
mod ffi;
mod group;
mod group_offsets;
mod inspect;
mod lanes;
mod limits;
mod producer;
mod reader;
mod scan;
mod served;
mod settings;
mod sink;
mod topics;
mod transaction;
pub mod yardstick;

pub use bounds::Start;
pub use context::{Meter, Received};
pub use data_loss::OnDataLoss;
pub use dead_letter::{ADDED_BYTES, DeadLetter};
pub use embedded::EmbeddedBroker;
pub use error::KafkaError;
pub use group::{GroupOptions, GroupSource, Membership};
pub use inspect::{GroupState, Inspector, May, PartitionState, Properties, producer_properties};
pub use producer::{NewRecord, RecordProducer, Undelivered};
pub use reader::{Partition, ReadSource, TopicReader};
pub use scan::{Until, scan, scan_from};
pub use settings::{ClientSettings, Origin, PropertyError, canonical_name};
pub use sink::{KafkaSink, SinkOptions, TargetTopic, TransactionOptions};
pub use topics::{Ensured, TopicSettings, ensure_topic, topic_settings};

use error::hint;
