//! Kafka: a source that is a member of a group, a reader that leaves no trace, a sink, a broker.
//!
//! All use of rdkafka is in this folder, and all `unsafe` in its `ffi.rs`.

mod context;
mod data_loss;
mod dead_letter;
mod embedded;
mod ffi;
mod group;
mod inspect;
mod lanes;
mod producer;
mod reader;
mod scan;
mod served;
mod settings;
mod sink;
mod topics;
mod transaction;
pub mod yardstick;

pub use context::{Meter, Received};
pub use data_loss::OnDataLoss;
pub use dead_letter::DeadLetter;
pub use embedded::EmbeddedBroker;
pub use group::{GroupOptions, GroupSource, Membership};
pub use inspect::{GroupState, Inspector, May, PartitionState, Properties, producer_properties};
pub use lanes::Start;
pub use producer::{NewRecord, RecordProducer};
pub use reader::{Partition, ReadSource, TopicReader};
pub use scan::scan;
pub use settings::{ClientSettings, Origin, PropertyError, canonical_name};
pub use sink::{KafkaSink, SinkOptions, TargetTopic, TransactionOptions};
pub use topics::{Ensured, TopicSettings, ensure_topic, topic_settings};

use rdkafka::error::RDKafkaErrorCode;

/// What a broker or its client said, with what was being done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KafkaError(String);

impl KafkaError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    fn during(what: impl std::fmt::Display, error: &rdkafka::error::KafkaError) -> Self {
        let code = error.rdkafka_error_code();
        let reason = code.map_or_else(|| error.to_string(), |code| code.to_string());
        Self(format!("{what}: {reason}{}", hint(code, "")))
    }
}

/// What to do about an error, where that can be said: to be put behind it.
fn hint(code: Option<RDKafkaErrorCode>, reason: &str) -> &'static str {
    use RDKafkaErrorCode as Code;
    match code {
        Some(Code::TopicAuthorizationFailed) => {
            "; grant the user Describe and Read on a topic to read, Describe and Write on one to write"
        }
        Some(Code::GroupAuthorizationFailed) => "; grant the user Read on the group",
        Some(Code::TransactionalIdAuthorizationFailed) => {
            "; grant the user Describe and Write on the transactional id"
        }
        Some(Code::ClusterAuthorizationFailed) => "; grant the user IdempotentWrite on the cluster",
        Some(Code::AllBrokersDown) => "; is the address right, and security.protocol?",
        _ if reason.contains("certificate verify failed") => {
            "; either the broker's certificate has expired, or none of ssl.ca.location has signed it"
        }
        _ if reason.contains("alert bad certificate") || reason.contains("certificate required") => {
            "; the broker wants a certificate: ssl.certificate.location and ssl.key.location"
        }
        _ => "",
    }
}

impl From<rdkafka::error::KafkaError> for KafkaError {
    fn from(error: rdkafka::error::KafkaError) -> Self {
        match error {
            // Its own text repeats the value, which may be a secret under a misspelt name.
            rdkafka::error::KafkaError::ClientConfig(_, reason, name, _) => {
                Self(format!("the property '{name}' cannot be set: {reason}"))
            }
            other => Self(other.to_string()),
        }
    }
}

impl From<KafkaError> for crate::source::SourceError {
    fn from(error: KafkaError) -> Self {
        Self(error.0)
    }
}
