//! The same on both brokers: what is produced can be read.

use crate::broker::{Broker, embedded, real};
use crate::topic::{Load, count, for_each};

fn produces_and_reads(broker: &Broker) {
    let topic = broker.topic("smoke", 2);
    let load = Load { number: 1000, partitions: 2, bytes: 100, poison_every: 10 };
    load.produce(broker, &topic);
    assert_eq!(count(broker, &topic), 1000);
    let mut indices = Vec::new();
    for_each(broker, &topic, |read| {
        let index: u64 = String::from_utf8_lossy(&read.headers["index"]).parse().expect("a number");
        let (partition, key, value) = load.record(index);
        assert_eq!((read.partition, read.key, read.value), (partition, Some(key.into()), Some(value.into())));
        indices.push(index);
    });
    indices.sort_unstable();
    assert!(indices.into_iter().eq(0..1000));
}

#[test]
fn the_embedded_broker_gives_back_what_it_got() {
    produces_and_reads(&embedded());
}

#[test]
fn real_kafka_gives_back_what_it_got() {
    produces_and_reads(&real());
}
