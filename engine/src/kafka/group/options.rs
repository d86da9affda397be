//! What a member of a group is set up with, and the properties of its client.

use rdkafka::ClientConfig;

use super::reset::OnDataLoss;
use crate::kafka::KafkaError;
use crate::kafka::limits::settle_consumer;
use crate::kafka::offsets::Start;
use crate::kafka::settings::ClientSettings;
use crate::memory::MemoryBudget;

/// What a member of a group wants.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The group.
    pub group_id: String,
    /// The topic.
    pub topic: String,
    /// Where to start without a committed offset.
    pub start: Start,
    /// Whether to end once the group has read every partition to where it ended when this member joined.
    pub until_end: bool,
    /// What follows when records are gone before they were read.
    pub on_data_loss: OnDataLoss,
    /// Whether its offsets are committed in transactions; then it reads what is committed, too.
    pub exactly_once: bool,
    /// The member's name where it is to keep its partitions while it restarts: static membership.
    pub instance_id: Option<String>,
    /// Records a poll at most; sizes the prefetch.
    pub max_poll_records: u64,
    /// How many partitions the topic has.
    pub partitions: usize,
    /// What may be fetched ahead.
    pub memory: MemoryBudget,
}

impl GroupOptions {
    /// A member of `group_id` that reads `topic`, which has this many partitions, for ever.
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
            max_poll_records: 500,
            partitions,
            memory: MemoryBudget::unlimited(partitions),
        }
    }
}

impl GroupOptions {
    /// The properties of a member's client.
    ///
    /// # Errors
    /// If two that the user has set contradict each other.
    pub(in crate::kafka) fn config(&self, settings: &ClientSettings) -> Result<ClientConfig, KafkaError> {
        let memory = &self.memory;
        let queued = (4 * self.max_poll_records).max(10_000).min(memory.partition_records);
        let mut defaults = vec![
            ("queued.min.messages", queued.to_string()),
            ("queued.max.messages.kbytes", memory.queue_kbytes().to_string()),
            ("fetch.message.max.bytes", memory.partition_fetch_bytes.to_string()),
            ("fetch.max.bytes", memory.fetch_bytes.to_string()),
            // They say whether a quota slows it down.
            ("statistics.interval.ms", "5000".to_owned()),
            // The default pauses fetching for a second whenever the queue is full.
            ("fetch.queue.backoff.ms", "10".to_owned()),
        ];
        // In the newer protocol the brokers assign, and the client must not say how.
        if settings.property("group.protocol") != Some("consumer") {
            defaults.push(("partition.assignment.strategy", "cooperative-sticky".to_owned()));
        }
        let mut owned = vec![
            ("group.id", self.group_id.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            // The end of a partition is news even where the job does not end there: behind the last
            // record there may be markers of transactions, which are to be committed, too.
            ("enable.partition.eof", "true"),
        ];
        owned.extend(self.instance_id.as_deref().map(|id| ("group.instance.id", id)));
        owned.extend(self.exactly_once.then_some(("isolation.level", "read_committed")));
        let mut config = settings.client(&defaults, &owned);
        settle_consumer(&mut config, settings)?;
        Ok(config)
    }
}
