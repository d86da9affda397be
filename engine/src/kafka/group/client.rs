//! The client of a member, and what lives as long as it: how to join in; a client that has joined out. A client that is
//! retired leaves the group on a thread of its own.
#![allow(clippy::disallowed_methods, reason = "leaving has a time-out")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, TopicPartitionList};

use super::closing::Closing;
use super::options::GroupOptions;
use super::questions::Questions;
use crate::kafka::KafkaError;
use crate::kafka::context::{ClientEvent, Context, Inbox, assign, unassign};
use crate::kafka::fetch::{Fetcher, Fetching, NativeFetcher, QueueFetcher};
use crate::kafka::ffi::is_member;
use crate::waker::Waker;

/// The maximum time to wait until the group has removed a member that leaves.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(15);

/// The duration of one poll while the client leaves.
const POLL: Duration = Duration::from_millis(20);

/// The client of a member.
pub(super) struct Client {
    pub fetcher: Box<dyn Fetcher + Send>,
    pub consumer: Arc<BaseConsumer<Context>>,
    pub inbox: Inbox,
    pub questions: Questions,
    /// True if the queue of the client has received an event since the last poll.
    pub called: Arc<AtomicBool>,
    /// The last field, so that the client is closed after everything that uses it.
    _closing: Closing,
}

impl Client {
    /// Creates a client that has not joined yet.
    ///
    /// # Errors
    /// If the properties are invalid.
    pub(super) fn create(
        config: &ClientConfig,
        options: &GroupOptions,
        waker: &Waker,
    ) -> Result<Self, KafkaError> {
        let (context, inbox) = Context::new(waker.clone());
        let mut consumer: BaseConsumer<Context> = config.create_with_context(context)?;
        let (wake, called) = (waker.clone(), Arc::new(AtomicBool::new(true)));
        let calls = Arc::clone(&called);
        consumer.set_nonempty_callback(move || {
            calls.store(true, Ordering::Release);
            wake.wake();
        });
        let consumer = Arc::new(consumer);
        Ok(Self {
            fetcher: fetcher(&consumer, &inbox, config, options, waker)?,
            questions: Questions::start(&consumer, options.start, waker.clone()),
            _closing: Closing::of(&consumer),
            consumer,
            inbox,
            called,
        })
    }

    /// Joins the group. The first polls assign partitions.
    ///
    /// # Errors
    /// If the topic cannot be subscribed to.
    pub(super) fn join(&self, topic: &str) -> Result<(), KafkaError> {
        let subscribed = self.consumer.subscribe(&[topic]);
        subscribed.map_err(|error| KafkaError::during(format!("topic '{topic}'"), &error))
    }

    /// Leaves the group, so that other members get the partitions before the session time-out.
    ///
    /// Closing the client is not sufficient. It sends no request for a member without partitions. A request that is
    /// sent during a rebalance is answered only after all members have joined.
    pub(super) fn leave(&self) {
        self.consumer.unsubscribe();
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        while is_member(&self.consumer) && Instant::now() < deadline {
            drop(self.consumer.poll(POLL));
            self.answer_rebalances();
        }
    }

    /// Answers rebalances without reading or draining partitions.
    pub(super) fn answer_rebalances(&self) {
        for event in self.inbox.take() {
            match event {
                ClientEvent::Assign(partitions, _) => drop(assign(&self.consumer, &partitions)),
                ClientEvent::Revoke(partitions, _) | ClientEvent::Lost(partitions) => {
                    drop(unassign(&self.consumer, &partitions));
                }
                ClientEvent::Committed(..) | ClientEvent::Throttled(_) | ClientEvent::Error(..) => {}
            }
        }
    }

    /// Closes a client whose partitions are lost, on a thread of its own. A broker may take long to answer.
    pub(super) fn retire(mut self) -> JoinHandle<()> {
        self.fetcher.clear();
        self.inbox.close();
        std::thread::spawn(move || {
            self.answer_rebalances();
            // The client does not close before its last rebalance is answered, with an empty assignment or with a release of
            // all partitions.
            let _ = assign(&self.consumer, &TopicPartitionList::new());
            if let Ok(all) = self.consumer.assignment() {
                let _ = unassign(&self.consumer, &all);
            }
            drop(self);
        })
    }
}

/// Returns the fetcher of a member.
fn fetcher(
    consumer: &Arc<BaseConsumer<Context>>,
    inbox: &Inbox,
    config: &ClientConfig,
    options: &GroupOptions,
    waker: &Waker,
) -> Result<Box<dyn Fetcher + Send>, KafkaError> {
    let (memory, waker) = (&options.memory, waker.clone());
    Ok(match options.fetching {
        Fetching::Librdkafka => {
            Box::new(QueueFetcher::new(Arc::clone(consumer), inbox.meter().clone(), memory, waker))
        }
        Fetching::Native => Box::new(NativeFetcher::start(config, &options.topic, memory, waker)?),
    })
}
