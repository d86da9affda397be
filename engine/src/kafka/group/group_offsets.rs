//! Requests the committed offsets of a group, including those of other members, on a separate thread and client, so
//! that the poll thread never waits for an answer.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::kafka::KafkaError;
use crate::waker::Waker;

/// The time-out of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The committed offsets of a group, by partition.
pub(super) type Committed = Vec<(i32, i64)>;

/// A handle to the thread. The thread ends when the handle is dropped.
pub(super) struct GroupOffsets {
    ask: Sender<Vec<i32>>,
    answers: Receiver<Result<Committed, KafkaError>>,
    is_asked: bool,
}

impl GroupOffsets {
    /// Starts the thread. Its client has these properties and does not join the group.
    pub(super) fn start(mut config: ClientConfig, topic: String, waker: Waker) -> Self {
        config.remove("group.instance.id").remove("partition.assignment.strategy");
        config.set("enable.metrics.push", "false").set("statistics.interval.ms", "0");
        let (ask, questions) = crossbeam_channel::unbounded::<Vec<i32>>();
        let (answer, answers) = crossbeam_channel::unbounded();
        // The thread is detached: it owns only its client.
        std::thread::spawn(move || {
            let mut client = None;
            for partitions in questions {
                let answered = committed(&config, &mut client, &topic, &partitions);
                if answer.send(answered).is_err() {
                    return;
                }
                waker.wake();
            }
        });
        Self { ask, answers, is_asked: false }
    }

    /// Requests the offsets of these partitions, unless a request is in flight.
    pub(super) fn ask(&mut self, partitions: Vec<i32>) {
        // Sending fails only if the thread has panicked, and then there is no answer.
        self.is_asked = self.is_asked || self.ask.send(partitions).is_ok();
    }

    /// Returns the answer, if it has arrived.
    pub(super) fn answer(&mut self) -> Option<Result<Committed, KafkaError>> {
        let answer = self.answers.try_recv().ok()?;
        self.is_asked = false;
        Some(answer)
    }
}

fn committed(
    config: &ClientConfig,
    client: &mut Option<BaseConsumer>,
    topic: &str,
    partitions: &[i32],
) -> Result<Committed, KafkaError> {
    let client = match client {
        Some(client) => client,
        None => client.insert(config.create()?),
    };
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    let during = |error: &ClientError| KafkaError::during("reading the group's committed offsets", error);
    let found = client.committed_offsets(list, TIMEOUT).map_err(|error| during(&error))?;
    let offset = |offset| match offset {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    let elements = found.elements();
    // An offset with an error is not known yet, for example while a transaction is ending.
    let known = elements.iter().filter(|element| element.error().is_ok());
    Ok(known.filter_map(|element| Some((element.partition(), offset(element.offset())?))).collect())
}
