//! Watches a job from outside: topics and a group in, samples of committed offsets and ends over time out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataPartition;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::oracle::{Offsets, Sample};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Samples are taken this often, if the brokers answer.
const INTERVAL: Duration = Duration::from_millis(50);

/// The topics and the group of a job.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub address: String,
    pub group: String,
    pub source: String,
    pub sink: String,
    pub dlq: String,
    pub partitions: i32,
}

/// A thread that takes samples.
pub(crate) struct Observer {
    stop: Arc<AtomicBool>,
    /// `None` once it has ended.
    thread: Option<JoinHandle<Vec<(Instant, Sample)>>>,
}

impl Observed {
    fn consumer(&self, isolation: &str) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.address)
            .set("group.id", &self.group)
            .set("isolation.level", isolation)
            .set("log_level", "0")
            .create()
            .expect("a consumer")
    }

    /// Returns the committed offsets, if the brokers answer.
    pub(crate) fn committed(&self) -> Option<Offsets> {
        self.committed_of(&self.consumer("read_uncommitted"))
    }

    /// Returns the committed offsets once every transaction that commits some has ended.
    pub(crate) fn committed_at_last(&self) -> Option<Offsets> {
        // The brokers give up the transaction of a process that has died after a minute.
        const ATTEMPTS: usize = 20;
        // A client that was made while its coordinator was away may not find the next one for minutes.
        (0..ATTEMPTS).find_map(|_| self.committed_of(&self.consumer("read_committed")))
    }

    fn committed_of(&self, consumer: &BaseConsumer) -> Option<Offsets> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.source, 0, self.partitions - 1);
        let found = consumer.committed_offsets(list, TIMEOUT).ok()?;
        let elements = found.elements();
        let known = elements.iter().map(|element| match element.offset() {
            Offset::Offset(offset) => (element.partition(), offset),
            _ => (element.partition(), 0),
        });
        Some(known.collect())
    }

    /// Returns where the source ends: the offsets after the last records that can be read. `None` if the brokers do not
    /// answer.
    pub(crate) fn source_ends(&self) -> Option<Offsets> {
        let consumer = self.consumer("read_committed");
        let metadata = consumer.fetch_metadata(Some(&self.source), TIMEOUT).ok()?;
        let partitions = metadata.topics().first()?.partitions().iter().map(MetadataPartition::id);
        let end = |partition| {
            Some((partition, consumer.fetch_watermarks(&self.source, partition, TIMEOUT).ok()?.1))
        };
        partitions.map(end).collect()
    }

    /// Returns the ends of the sink and of the dead letter queue. `None` if the brokers do not answer.
    pub(crate) fn written(&self) -> Option<[Offsets; 2]> {
        let consumer = self.consumer("read_uncommitted");
        Some([self.ends(&consumer, &self.sink)?, self.ends(&consumer, &self.dlq)?])
    }

    fn ends(&self, consumer: &BaseConsumer, topic: &str) -> Option<Offsets> {
        let end = |partition| Some((partition, consumer.fetch_watermarks(topic, partition, TIMEOUT).ok()?.1));
        (0..self.partitions).map(end).collect()
    }

    fn sample(&self, consumer: &BaseConsumer) -> Option<Sample> {
        // In this order: what was committed has been written by the time that the ends are asked for.
        Some(Sample {
            committed: self.committed_of(consumer)?,
            sink_ends: self.ends(consumer, &self.sink)?,
            dlq_ends: self.ends(consumer, &self.dlq)?,
        })
    }

    /// Starts to take samples.
    pub(crate) fn observe(self) -> Observer {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            // What is committed in a transaction that has not ended is not waited for.
            let consumer = self.consumer("read_uncommitted");
            let mut samples: Vec<(Instant, Sample)> = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                if let Some(sample) = self.sample(&consumer)
                    && samples.last().is_none_or(|(_, last)| *last != sample)
                {
                    samples.push((Instant::now(), sample));
                }
                thread::park_timeout(INTERVAL);
            }
            samples
        });
        Observer { stop, thread: Some(thread) }
    }
}

impl Observer {
    /// Ends the thread and returns the samples that differ.
    pub(crate) fn end(mut self) -> Vec<(Instant, Sample)> {
        self.stop().expect("it runs").join().expect("the observer ends")
    }

    fn stop(&mut self) -> Option<JoinHandle<Vec<(Instant, Sample)>>> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        Some(thread)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop();
    }
}
