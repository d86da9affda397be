//! The options of a group member, and the properties of its client.

use rdkafka::ClientConfig;

use super::reset::OnDataLoss;
use crate::kafka::KafkaError;
use crate::kafka::fetch::Fetching;
use crate::kafka::limits::settle_consumer;
use crate::kafka::offsets::Start;
use crate::kafka::settings::ClientSettings;
use crate::memory::MemoryBudget;

/// The options of a member of a consumer group.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The id of the group.
    pub group_id: String,
    /// The topic to read.
    pub topic: String,
    /// Where to start in partitions without a committed offset.
    pub start: Start,
    /// True if the member stops once the group has read every partition to the end that it had when the member joined.
    pub until_end: bool,
    /// What to do if records were deleted before they were read.
    pub on_data_loss: OnDataLoss,
    /// True if offsets are committed in transactions. In that case only committed records are read.
    pub exactly_once: bool,
    /// The instance id for static membership, with which the member keeps its partitions during a restart.
    pub instance_id: Option<String>,
    /// What fetches the records.
    pub fetching: Fetching,
    /// The maximum number of records per poll. The prefetch is sized by it.
    pub max_poll_records: u64,
    /// The number of partitions of the topic.
    pub partitions: usize,
    /// The memory limits, which bound the prefetch.
    pub memory: MemoryBudget,
}

impl GroupOptions {
    /// Creates options for a member of `group_id` that reads `topic`, which has this many partitions, without an end.
    #[must_use]
    pub fn new(group_id: impl Into<String>, topic: impl Into<String>, partitions: usize) -> Self {
        Self {
            group_id: group_id.into(),
            topic: topic.into(),
            start: Start::default(),
            until_end: false,
            on_data_loss: OnDataLoss::default(),
            exactly_once: false,
            instance_id: None,
            fetching: Fetching::default(),
            max_poll_records: 500,
            partitions,
            memory: MemoryBudget::unlimited(partitions),
        }
    }
}

impl GroupOptions {
    /// Returns the properties of the client of a member.
    ///
    /// # Errors
    /// If two properties that the user has set contradict each other.
    pub(in crate::kafka) fn config(&self, settings: &ClientSettings) -> Result<ClientConfig, KafkaError> {
        let memory = &self.memory;
        let queued = (4 * self.max_poll_records).max(10_000).min(memory.partition_records);
        let mut defaults = vec![
            ("queued.min.messages", queued.to_string()),
            ("queued.max.messages.kbytes", memory.queue_kbytes().to_string()),
            ("fetch.message.max.bytes", memory.partition_fetch_bytes.to_string()),
            ("fetch.max.bytes", memory.fetch_bytes.to_string()),
            // The statistics show whether a quota throttles the client.
            ("statistics.interval.ms", "5000".to_owned()),
            // The default pauses fetching for a second whenever the queue is full.
            ("fetch.queue.backoff.ms", "10".to_owned()),
        ];
        // In the consumer protocol (KIP-848) the brokers assign partitions, and the client must not set a strategy.
        if !settings.is_set_to("group.protocol", "consumer") {
            defaults.push(("partition.assignment.strategy", self.assignors().to_owned()));
        }
        let mut owned = vec![
            ("group.id", self.group_id.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            // The end of a partition is needed even if the job does not stop there: transaction markers may follow
            // the last record, and their offsets are committed, too.
            ("enable.partition.eof", "true"),
        ];
        owned.extend(self.instance_id.as_deref().map(|id| ("group.instance.id", id)));
        owned.extend(self.exactly_once.then_some(("isolation.level", "read_committed")));
        let mut config = settings.client(&defaults, &owned);
        settle_consumer(&mut config, settings)?;
        Ok(config)
    }

    /// Returns the assignors of the classic protocol.
    ///
    /// A cooperative rebalance has two steps: partitions are revoked, and assigned in a second one that the member asks
    /// for that has released them. A static member that is killed between them gets its assignment of the first step
    /// back without a rebalance, and nobody ever asks for the second: the released partitions have no owner.
    fn assignors(&self) -> &'static str {
        if self.instance_id.is_some() { "range,roundrobin" } else { "cooperative-sticky" }
    }
}
