//! A broker in this process, for demonstrations and fast tests: the mock cluster of librdkafka.
//!
//! The broker listens on a loopback port, so that other processes can connect. It keeps the newest 5 MiB of each
//! partition and supports neither TLS nor SASL nor the admin protocol.

use rdkafka::ClientConfig;
use rdkafka::producer::BaseProducer;

use crate::kafka::KafkaError;
use crate::kafka::ffi::MockCluster;

/// A running broker. Dropping the value stops the broker.
pub struct EmbeddedBroker {
    cluster: MockCluster,
}

impl EmbeddedBroker {
    /// Starts a broker.
    ///
    /// # Errors
    /// If the broker cannot listen on a loopback port.
    pub fn start() -> Result<Self, KafkaError> {
        let client: BaseProducer = ClientConfig::new().create()?;
        let cluster = MockCluster::start(client, 1)
            .ok_or_else(|| KafkaError::new("the embedded broker did not start; is a loopback port free?"))?;
        Ok(Self { cluster })
    }

    /// Returns the address of the broker.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// If the topic exists or its name is invalid.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), KafkaError> {
        let created = self.cluster.create_topic(topic, partitions);
        created.map_err(|error| KafkaError::new(format!("topic '{topic}' was not created: {error}")))
    }

    /// Makes the next `times` requests of a kind fail, each with this error code. Both numbers are those of Kafka's
    /// protocol: the API key of the request (1 is Fetch) and the code of the error (6 is `NOT_LEADER_OR_FOLLOWER`).
    pub fn fail_requests(&self, api_key: i16, error_code: i16, times: usize) {
        self.cluster.fail_requests(api_key, &vec![i32::from(error_code); times]);
    }

    /// Returns the names of all requests so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.cluster.request_api_keys().into_iter().map(api_name).collect()
    }
}

/// Returns the name of a request.
fn api_name(key: i16) -> String {
    let name = match key {
        0 => "Produce",
        1 => "Fetch",
        2 => "ListOffsets",
        3 => "Metadata",
        8 => "OffsetCommit",
        9 => "OffsetFetch",
        10 => "FindCoordinator",
        11 => "JoinGroup",
        12 => "Heartbeat",
        13 => "LeaveGroup",
        14 => "SyncGroup",
        18 => "ApiVersions",
        19 => "CreateTopics",
        22 => "InitProducerId",
        32 => "DescribeConfigs",
        71 => "GetTelemetrySubscriptions",
        72 => "PushTelemetry",
        _ => return format!("ApiKey{key}"),
    };
    name.to_owned()
}
