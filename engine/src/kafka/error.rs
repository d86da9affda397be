//! Classifies errors of the Kafka client: an error code in, its class and a hint for the user out. Every request to
//! the brokers is retried or not according to this table.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use crate::failpoint::{Mutant, is_on};

/// The class of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The error is temporary: an outage, a leader election, a coordinator that is loading.
    Passing,
    /// The group has a new generation that this member has not joined yet.
    Rebalancing,
    /// The group has removed this member, or another member uses its instance id.
    Expelled,
    /// The user is not authorized.
    Unauthorized,
    /// The error persists until the configuration or the cluster is changed.
    Permanent,
}

/// Returns the class of an error code.
pub(super) fn class(code: Code) -> Class {
    match class_of(code) {
        Class::Passing if is_on(Mutant::PassingIsPermanent) => Class::Permanent,
        Class::Unauthorized | Class::Permanent if is_on(Mutant::PermanentIsPassing) => Class::Passing,
        class => class,
    }
}

fn class_of(code: Code) -> Class {
    match code {
        Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::UnstableOffsetCommit
        | Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        // The client has a new handle of a broker that has come back or moved.
        | Code::DestroyBroker
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::WaitingForCoordinator
        | Code::NotLeaderForPartition
        | Code::LeaderNotAvailable
        | Code::PreferredLeaderNotAvailable
        | Code::BrokerNotAvailable
        // A broker that has just started does not know its topics yet.
        | Code::UnknownPartition
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

/// An error of a broker or of the client, with the operation that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct KafkaError {
    message: String,
    class: Class,
}

impl KafkaError {
    /// Creates a permanent error that does not come from the client.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), class: Class::Permanent }
    }

    /// Creates an error of a class.
    #[cfg(test)]
    pub(super) fn of_class(message: &str, class: Class) -> Self {
        Self { message: message.to_owned(), class }
    }

    /// Creates an error from one of the client, with the operation that failed.
    pub(super) fn during(what: impl std::fmt::Display, error: &ClientError) -> Self {
        let code = error.rdkafka_error_code();
        let reason = code.map_or_else(|| error.to_string(), |code| code.to_string());
        let class = code.map_or(Class::Permanent, class);
        Self { message: format!("{what}: {reason}{}", hint(code, "")), class }
    }

    /// Returns the class of the error.
    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// Returns true if the error is temporary, so that the operation can be retried.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.class == Class::Passing
    }
}

/// Returns a hint to append to an error message; empty if there is none.
pub(super) fn hint(code: Option<Code>, reason: &str) -> &'static str {
    match code {
        Some(Code::TopicAuthorizationFailed) => {
            "; grant the user Describe and Read on source topics, Describe and Write on target topics"
        }
        Some(Code::GroupAuthorizationFailed) => "; grant the user Read on the group",
        Some(Code::TransactionalIdAuthorizationFailed) => {
            "; grant the user Describe and Write on the transactional id"
        }
        Some(Code::ClusterAuthorizationFailed) => "; grant the user IdempotentWrite on the cluster",
        Some(Code::FencedInstanceId) => {
            "; another process uses the same --group-instance-id, or the group has replaced this member while its \
             broker was away: start the job again"
        }
        Some(Code::AllBrokersDown) => "; check --bootstrap-servers and security.protocol",
        _ if reason.contains("certificate verify failed") => {
            "; the broker's certificate has expired or is not signed by a CA in ssl.ca.location"
        }
        _ if reason.contains("alert bad certificate") || reason.contains("certificate required") => {
            "; the broker requires a client certificate: set ssl.certificate.location and ssl.key.location"
        }
        _ => "",
    }
}

impl From<ClientError> for KafkaError {
    fn from(error: ClientError) -> Self {
        let class = error.rdkafka_error_code().map_or(Class::Permanent, class);
        let message = match error {
            // The text of the client repeats the value, which may be a secret under a misspelt name.
            ClientError::ClientConfig(_, reason, name, _) => {
                format!("property '{name}' cannot be set: {reason}")
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
