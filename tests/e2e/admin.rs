//! Changes of topics: a broker and a topic in; done once the brokers say so.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use velo_engine::kafka::topic_settings;

use crate::broker::Broker;

fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("an admin client")
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)))
}

/// Waits until the brokers say so; they do within a minute.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    const PATIENCE: Duration = Duration::from_mins(1);
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what} within {PATIENCE:?}");
    }
}

pub(crate) fn delete_records(broker: &Broker, topic: &str, partition: i32, before: i64) {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
    let deleted = pollster::block_on(admin(broker).delete_records(&offsets, &options())).expect("deleted");
    assert!(deleted.elements().iter().all(|element| element.error().is_ok()));
}

pub(crate) fn set_cleanup_policy(broker: &Broker, topic: &str, value: &str) {
    let config = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("cleanup.policy", value);
    alter(broker, &config);
    // The broker applies it a moment later.
    let is_compacted = || topic_settings(&broker.settings(), &broker.reader(), topic).is_compacted;
    wait_until("the broker applies cleanup.policy", || is_compacted() == (value == "compact"));
}

/// Replaces all settings of a topic that are not defaults.
pub(crate) fn alter(broker: &Broker, config: &AlterConfig<'_>) {
    let altered = pollster::block_on(admin(broker).alter_configs([config], &options())).expect("an answer");
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");
}

pub(crate) fn delete_topic(broker: &Broker, topic: &str) {
    let deleted = pollster::block_on(admin(broker).delete_topics(&[topic], &options())).expect("an answer");
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    let count = || broker.reader().partition_count(topic).expect("an answer");
    wait_until("the topic is deleted", || count().is_none());
}

/// Adds partitions until a topic has so many.
pub(crate) fn add_partitions(broker: &Broker, topic: &str, partitions: i32) {
    let count = usize::try_from(partitions).expect("a count");
    let more = NewPartitions::new(topic, count);
    let added = pollster::block_on(admin(broker).create_partitions(&[more], &options())).expect("an answer");
    assert!(added.iter().all(Result::is_ok), "{added:?}");
    let has = || broker.reader().partition_count(topic).expect("an answer");
    wait_until("the topic has its partitions", || has() == Some(count));
}
