//! Asks the brokers for offsets on a separate thread, so that the poll thread never waits for an answer.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::order::{Answer, Position, Question};
use crate::ids::LaneName;
use crate::kafka::KafkaError;
use crate::kafka::context::Context;
use crate::kafka::offsets::{Start, bounds, starts};
use crate::waker::Waker;

/// The time-out of one request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A handle to the thread. The thread ends when the handle is dropped.
pub(super) struct Questions {
    ask: Sender<Question>,
    answers: Receiver<Result<Answer, KafkaError>>,
}

impl Questions {
    /// Starts the thread. It uses the client of the member, and keeps the client alive only while a request is in
    /// flight.
    pub(super) fn start(consumer: &Arc<BaseConsumer<Context>>, start: Start, waker: Waker) -> Self {
        let (ask, questions) = crossbeam_channel::unbounded();
        let (answer, answers) = crossbeam_channel::unbounded();
        let consumer = Arc::downgrade(consumer);
        // The thread is detached: it owns only its ends of the channels.
        std::thread::spawn(move || {
            for question in questions {
                let Some(answered) = answer_of(&consumer, &question, start) else { return };
                if answer.send(answered).is_err() {
                    return;
                }
                waker.wake();
            }
        });
        Self { ask, answers }
    }

    /// Asks a question.
    pub(super) fn ask(&self, question: Question) {
        // Sending fails only if the thread has panicked, and then there is no answer.
        let _ = self.ask.send(question);
    }

    /// Returns the next answer, if one has arrived.
    pub(super) fn answer(&self) -> Option<Result<Answer, KafkaError>> {
        self.answers.try_recv().ok()
    }
}

/// Asks the brokers. Returns `None` if the member has left the group.
fn answer_of(
    consumer: &Weak<BaseConsumer<Context>>,
    question: &Question,
    start: Start,
) -> Option<Result<Answer, KafkaError>> {
    let consumer = consumer.upgrade()?;
    Some(match question {
        Question::Bounds(names) => bounds(&consumer, names, TIMEOUT).map(Answer::Bounds),
        Question::Positions(names) => positions(&consumer, names, start).map(Answer::Positions),
    })
}

/// Returns the offsets from which partitions can be read.
fn positions(
    consumer: &BaseConsumer<Context>,
    names: &[LaneName],
    start: Start,
) -> Result<Vec<Position>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for LaneName { topic, partition } in names {
        list.add_partition(topic, *partition);
    }
    let found = consumer
        .committed_offsets(list, TIMEOUT)
        .map_err(|error| KafkaError::during("reading the group's committed offsets", &error))?;
    let mut committed = Vec::new();
    for name in names {
        let element = found.find_partition(&name.topic, name.partition);
        if let Some(Err(error)) =
            element.as_ref().map(rdkafka::topic_partition_list::TopicPartitionListElem::error)
        {
            return Err(KafkaError::during(
                format!("reading the group's committed offset of {name}"),
                &error,
            ));
        }
        committed.push(element.and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }));
    }
    let bounds = bounds(consumer, names, TIMEOUT)?;
    let known = || names.iter().zip(&bounds).zip(&committed);
    let new = known().filter(|(_, committed)| committed.is_none());
    let new: Vec<_> = new.map(|((name, bounds), _)| (name.clone(), *bounds)).collect();
    let mut starts = starts(consumer, &new, start, TIMEOUT)?.into_iter();
    let position = |((_, bounds), committed): ((&LaneName, &(i64, i64)), &Option<i64>)| {
        let start = if committed.is_none() { starts.next().unwrap_or(bounds.0) } else { bounds.0 };
        Position { committed: *committed, bounds: *bounds, start }
    };
    Ok(known().map(position).collect())
}
