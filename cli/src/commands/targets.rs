//! Warns of records of the source that the topics of a job will reject or delete.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use velo_engine::dead_letter::ADDED_BYTES;
use velo_engine::kafka::{
    ClientSettings, GroupOptions, Inspector, Partition, PartitionState, Start, TopicReader, TopicSettings,
    topic_settings,
};

/// The source of a job, and the reader for its other topics.
pub(crate) struct Targets<'a> {
    pub settings: &'a ClientSettings,
    pub reader: &'a TopicReader,
    pub options: &'a GroupOptions,
    pub of_source: &'a TopicSettings,
}

impl Targets<'_> {
    /// Returns a warning for each limit that affects records of the source. Topics with unknown settings have none.
    pub(super) fn warnings(&self, sink: &str, dead_letters: &[&str]) -> Vec<String> {
        let source = &self.options.topic;
        let mut warnings = Vec::new();
        let of_sink = topic_settings(self.settings, self.reader, sink);
        if let (Some(from), Some(to)) = (self.of_source.max_message_bytes, of_sink.max_message_bytes)
            && to < from
        {
            warnings.push(format!(
                "{sink} accepts batches of up to {to} bytes and {source} of up to {from} (max.message.bytes, after \
                 compression): larger records are rejected"
            ));
        }
        warnings.extend(self.retention(sink, &of_sink));
        for queue in dead_letters {
            let of_queue = topic_settings(self.settings, self.reader, queue);
            if let (Some(from), Some(to)) = (self.of_source.max_message_bytes, of_queue.max_message_bytes)
                && to < from + ADDED_BYTES
            {
                warnings.push(format!(
                    "{queue} accepts batches of up to {to} bytes and {source} of up to {from}: large dead letters are \
                     written without headers, or rejected; set max.message.bytes of {queue} to {}",
                    from + ADDED_BYTES
                ));
            }
            warnings.extend(of_queue.keeps_for().map(|keeps| {
                format!(
                    "{queue} deletes dead letters {} after the timestamp of their records (retention.ms), which may \
                     be in the past",
                    velo_schema::format_elapsed(keeps)
                )
            }));
        }
        warnings
    }

    /// Returns a warning if unread records of the source are older than the retention of a topic.
    fn retention(&self, topic: &str, of_topic: &TopicSettings) -> Option<String> {
        let keeps = of_topic.keeps_for()?;
        // If the offsets cannot be read, the job starts without this warning.
        let partitions = self.partitions_with_older(keeps).ok().filter(|count| *count > 0)?;
        Some(format!(
            "{topic} deletes records {} after their timestamp (retention.ms), and {partitions} of {} partitions of {} \
             have older unread records, which will be deleted soon after they are written",
            velo_schema::format_elapsed(keeps),
            self.options.partitions,
            self.options.topic
        ))
    }

    fn partitions_with_older(&self, keeps: Duration) -> Result<usize> {
        let inspector = Inspector::connect(self.settings, self.options)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_ms = i64::try_from(now.saturating_sub(keeps).as_millis()).unwrap_or(i64::MAX);
        let to_read = |state: PartitionState| {
            let first = if self.options.start == Start::Latest { state.high } else { state.low };
            let low = state.committed.unwrap_or(first).max(state.low);
            Partition { partition: state.partition, low, high: state.high }
        };
        let partitions: Vec<_> =
            inspector.partitions(self.options.partitions)?.into_iter().map(to_read).collect();
        let newer = self.reader.offsets(&self.options.topic, &partitions, Start::Timestamp(since_ms))?;
        Ok(partitions.iter().zip(newer).filter(|(partition, newer)| *newer > partition.low).count())
    }
}
