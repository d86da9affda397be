//! Prepares the topics that a job writes to: their names in, their partitions and limits out. Creates missing topics.

use std::collections::BTreeMap;

use anyhow::Result;
use velo_engine::core::failure::ByStage;
use velo_engine::kafka::{
    ClientSettings, Ensured, GroupOptions, TargetTopic, TopicReader, TopicSettings, ensure_topic,
    topic_settings,
};

use super::job::Job;
use crate::commands::targets;
use crate::log::{note, say};

/// Returns the sink and the dead letter queue of each stage. Missing topics are created with the settings of the source.
/// Reports records that these topics will reject or delete.
pub(super) fn target_topics(
    settings: &ClientSettings,
    job: &Job,
    reader: &TopicReader,
    options: &GroupOptions,
) -> Result<(TargetTopic, ByStage<Option<TargetTopic>>)> {
    let of_source = topic_settings(settings, reader, &job.source_topic);
    let ensure = |topic: &str, settings_of_new: &[(String, String)]| -> Result<TargetTopic> {
        let ensured = ensure_topic(settings, reader, topic, options.partitions, settings_of_new)?;
        if let Ensured::Created(partitions) = ensured {
            say(&format!("created topic {topic} with {partitions} partitions"));
        }
        let TopicSettings { max_message_bytes, is_compacted, .. } = topic_settings(settings, reader, topic);
        let (name, partitions) = (topic.to_owned(), ensured.partitions());
        Ok(TargetTopic { name, partitions, max_message_bytes, is_compacted })
    };
    let sink = ensure(&job.sink_topic, &of_source.for_sink())?;
    let mut queues: BTreeMap<&str, TargetTopic> = BTreeMap::new();
    for name in job.dead_letter_topics() {
        queues.insert(name, ensure(name, &of_source.for_dead_letters())?);
    }
    let queue = |name: &Option<String>| queues.get(name.as_deref()?).cloned();
    let dlq = job.dlq_topics.each_ref().map(queue);
    let targets = targets::Targets { settings, reader, options, of_source: &of_source };
    for warning in targets.warnings(&job.sink_topic, &job.dead_letter_topics()) {
        note(&warning);
    }
    Ok((sink, dlq))
}
