//! What a client's error means for a job: a code in, its class and what to do about it out. Everything that asks
//! brokers decides by this table whether it asks again.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

/// What follows an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It passes by itself: an outage, an election, a coordinator that loads.
    Passing,
    /// The group has a new generation that this member has not joined yet.
    Rebalancing,
    /// The group has expelled this member, or given its name to another one.
    Expelled,
    /// The user may not do it, however often it is tried.
    Unauthorized,
    /// It stays until somebody changes something.
    Permanent,
}

/// Returns the class of an error code.
pub(super) fn class(code: Code) -> Class {
    match code {
        Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::UnstableOffsetCommit
        | Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::WaitingForCoordinator
        | Code::NotLeaderForPartition
        | Code::LeaderNotAvailable
        | Code::PreferredLeaderNotAvailable
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::OffsetNotAvailable
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::KafkaStorageError
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::ThrottlingQuotaExceeded
        | Code::ConcurrentTransactions
        | Code::InvalidMessage
        | Code::BadMessage
        | Code::Unknown => Class::Passing,
        Code::RebalanceInProgress | Code::StaleMemberEpoch => Class::Rebalancing,
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::FencedInstanceId
        | Code::FencedMemberEpoch => Class::Expelled,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed => Class::Unauthorized,
        _ => Class::Permanent,
    }
}

/// What a broker or its client said, with what was being done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct KafkaError {
    message: String,
    class: Class,
}

impl KafkaError {
    /// An error that no broker has to do with.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), class: Class::Permanent }
    }

    /// An error of the client, and what was being done.
    pub(super) fn during(what: impl std::fmt::Display, error: &ClientError) -> Self {
        let code = error.rdkafka_error_code();
        let reason = code.map_or_else(|| error.to_string(), |code| code.to_string());
        let class = code.map_or(Class::Permanent, class);
        Self { message: format!("{what}: {reason}{}", hint(code, "")), class }
    }

    /// True if it passes by itself, so that the same may be tried again.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.class == Class::Passing
    }
}

/// What to do about an error, where that can be said: to be put behind it.
pub(super) fn hint(code: Option<Code>, reason: &str) -> &'static str {
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

impl From<ClientError> for KafkaError {
    fn from(error: ClientError) -> Self {
        let class = error.rdkafka_error_code().map_or(Class::Permanent, class);
        let message = match error {
            // Its own text repeats the value, which may be a secret under a misspelt name.
            ClientError::ClientConfig(_, reason, name, _) => {
                format!("the property '{name}' cannot be set: {reason}")
            }
            other => other.to_string(),
        };
        Self { message, class }
    }
}

impl From<KafkaError> for crate::source::SourceError {
    fn from(error: KafkaError) -> Self {
        Self(error.message)
    }
}

impl From<crate::source::SourceError> for KafkaError {
    fn from(error: crate::source::SourceError) -> Self {
        Self::new(error.0)
    }
}
