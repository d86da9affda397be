//! What a run works on, as plain data: the topics and settings of a statement that can run.

use velo_engine::JobConfig;
use velo_engine::core::failure::ByStage;
use velo_engine::kafka::Start;
use velo_schema::Plan;

/// The start position of partitions without a committed offset if `--from` is not set.
pub(super) const DEFAULT_START: Start = Start::Earliest;

/// A statement that can run: its topics and settings.
pub(super) struct Job {
    pub statement: String,
    pub source_topic: String,
    pub sink_topic: String,
    /// The dead letter topic of each stage that sends records there.
    pub dlq_topics: ByStage<Option<String>>,
    pub config: JobConfig,
    pub plan: Plan,
    /// The settings that the run does not use, with the reasons.
    pub notes: Vec<String>,
}

impl Job {
    /// Returns the dead letter topics, sorted and without duplicates.
    pub(super) fn dead_letter_topics(&self) -> Vec<&str> {
        let mut topics: Vec<_> =
            self.dlq_topics.each_ref().into_iter().flatten().map(String::as_str).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }
}
