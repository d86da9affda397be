//! The sample of a topic: the records with their arrival times, and facts about how they were read.

use std::time::Duration;

use velo_engine::kafka::Received;
use velo_engine::source::replay::Recording;

use crate::delays::Availability;
use crate::profile::{FetchCost, Profile};
use crate::timeline::Cleaning;

/// The sample of a topic.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Records, in the order in which a consumer could read them.
    pub recording: Recording,
    /// Length of the recording.
    pub period: Duration,
    /// Time from the end of the recording until it was read.
    pub ended_ago: Duration,
    /// Client cost per record in each consumer tier.
    pub fetch: Option<FetchCost>,
    /// Delays from record timestamps until the records could be read; `None` if too few records were observed live.
    pub availability: Option<Availability>,
    /// Amount of data received from the brokers.
    pub received: Received,
    /// Notes about the sample.
    pub notices: Vec<String>,
    /// Longest throttle time of a request, if the brokers throttled the client, which ended the sample.
    pub throttle: Option<Duration>,
    /// Excluded records and clock offsets.
    pub cleaning: Cleaning,
    /// Number of partitions of the topic, including partitions without records.
    pub partitions: u64,
    /// True if the read rate limit delayed reading.
    pub capped: bool,
}

impl Sample {
    /// Returns the workload of the sample; `None` if the sample is empty.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        let Received { wire_bytes, record_bytes, .. } = self.received;
        let wire_bytes_per_byte = (record_bytes > 0).then(|| wire_bytes as f64 / record_bytes as f64);
        let ended_s_ago = self.ended_ago.as_secs_f64();
        let profile = Profile::of(&self.recording, self.period)?;
        let Self { fetch, availability, partitions, .. } = *self;
        let cleaning = self.cleaning.clone();
        let topic_partitions = Some(partitions);
        Some(Profile {
            wire_bytes_per_byte,
            fetch,
            availability,
            ended_s_ago,
            topic_partitions,
            cleaning,
            ..profile
        })
    }
}
