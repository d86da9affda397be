//! Transactions: outputs, dead letters and the offsets of their source records are committed atomically.
//!
//! A request that a broken connection holds back may reach a broker after its repetition was answered. Brokers tell
//! such a request from those of the next transaction by the producer epoch only: the end of an aborted transaction
//! would abort the next one unseen, and its offsets would then be committed without its records. A new producer raises
//! the epoch, so the next transaction after an abort or a broken connection has a new producer. Brokers raise it
//! themselves since Kafka 4.0 (KIP-890) for clients that ask for it, which librdkafka 2.12 does not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer;

use super::current::Current;
use super::deliveries::{Deliveries, Shared, serve};
use super::served_producer::ServedProducer;
use crate::failpoint::{Edge, Mutant, is_on, reach};
use crate::ids::LaneName;
use crate::kafka::error::{Class, class};
use crate::kafka::membership::Membership;
use crate::kafka::offsets::{REQUEST_TIMEOUT, offsets_of};
use crate::kafka::{KafkaError, hint};
use crate::sink::{Ack, Acks, SendError, TransactionError};

/// The time-out of one attempt. Between attempts the sink is checked for having been closed.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Creates another producer for the same transactional id.
type Create = dyn Fn() -> Result<ServedProducer<Deliveries>, ClientError> + Send + Sync;

/// The transactions of a sink, which include the offsets of a group member.
pub(super) struct Transactions {
    producer: Arc<Current>,
    create: Box<Create>,
    membership: Membership,
    is_open: AtomicBool,
    shared: Arc<Shared>,
    acks: Acks,
}

impl Transactions {
    /// Initialises the transactional id: fences an earlier producer with the same id and aborts its open transaction.
    ///
    /// # Errors
    /// If the brokers do not answer in time or reject the request.
    pub(super) fn init(
        producer: Arc<Current>,
        create: Box<Create>,
        membership: Membership,
        shared: Arc<Shared>,
        acks: Acks,
    ) -> Result<Self, KafkaError> {
        let initialised = producer.get().init_transactions(REQUEST_TIMEOUT);
        initialised
            .map_err(|error| KafkaError::new(format!("initialising transactions: {}", reason(&error))))?;
        Ok(Self { producer, create, membership, is_open: AtomicBool::new(false), shared, acks })
    }

    /// Returns true if a transaction is open.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Begins a transaction if none is open.
    ///
    /// # Errors
    /// [`SendError::Transaction`] if the transaction is to be tried again, [`SendError::Sink`] if that is of no use.
    pub(super) fn begin(&self) -> Result<(), SendError> {
        self.try_begin().map_err(|error| {
            if is_fatal(&error) {
                SendError::Sink(reason(&error))
            } else {
                SendError::Transaction(reason(&error))
            }
        })
    }

    fn try_begin(&self) -> Result<(), ClientError> {
        if self.is_open() {
            return Ok(());
        }
        // A line of the client's log may wait in its queue.
        serve(&self.producer.get(), Duration::ZERO);
        if self.shared.is_doubtful.load(Ordering::Acquire) && !is_on(Mutant::ProducerKept) {
            self.replace_producer()?;
        }
        self.producer.get().begin_transaction()?;
        reach(Edge::TransactionBegun);
        self.is_open.store(true, Ordering::Release);
        Ok(())
    }

    /// Replaces the producer by one with a higher epoch.
    fn replace_producer(&self) -> Result<(), ClientError> {
        tracing::info!("a new producer begins the next transaction");
        self.shared.is_replacing.store(true, Ordering::Release);
        // A connection that breaks from here on is one of the new producer.
        self.shared.is_doubtful.store(false, Ordering::Release);
        let replaced = (self.create)().and_then(|producer| {
            self.attempt(|| producer.init_transactions(ATTEMPT))?;
            self.producer.set(producer);
            Ok(())
        });
        self.shared.is_replacing.store(false, Ordering::Release);
        if replaced.is_err() {
            self.shared.is_doubtful.store(true, Ordering::Release);
        }
        replaced
    }

    /// Commits the open transaction with these offsets. If that fails, the transaction is aborted.
    pub(super) fn commit(&self, offsets: &[(LaneName, i64)]) -> Result<(), TransactionError> {
        let Some(group) = self.membership.metadata(offsets.iter().map(|(partition, _)| partition)) else {
            return self.undo("the member has left its group, or partitions were taken from it");
        };
        let offsets = offsets_of(offsets.iter().cloned()).map_err(|error| fatal(&error))?;
        let sent = self.attempt(|| self.try_begin()).and_then(|()| {
            let producer = self.producer.get();
            self.attempt(|| producer.send_offsets_to_transaction(&offsets, &group, ATTEMPT))
        });
        if let Err(error) = sent {
            // The client of a static member that was replaced reports that itself.
            let is_stranger = |code| class(code) == Class::Expelled && code != Code::FencedInstanceId;
            if error.rdkafka_error_code().is_some_and(is_stranger) {
                self.membership.rejected(&group);
            }
            return self.undo_after(&error);
        }
        reach(Edge::TransactionOffsets);
        let producer = self.producer.get();
        match self.attempt(|| producer.commit_transaction(ATTEMPT)) {
            Ok(()) => {
                reach(Edge::TransactionCommitted);
                self.is_open.store(false, Ordering::Release);
                self.shared.one_by_one.store(false, Ordering::Release);
                // Later dead letters get all added headers again.
                self.shared.reduced.store(0, Ordering::Release);
                Ok(())
            }
            // If the brokers had committed it, this abort would fail, too.
            Err(error) if !is_invalid_state(&error) && !is_fatal(&error) => {
                let aborted = self.attempt(|| producer.abort_transaction(ATTEMPT));
                aborted.map_err(|error| fatal(&reason(&error)))?;
                self.aborted();
                Err(TransactionError::Undone(reason(&error)))
            }
            Err(error) => self.undo_after(&error),
        }
    }

    /// Aborts the open transaction.
    pub(super) fn abort(&self) -> Result<(), TransactionError> {
        if !self.is_open() {
            return Ok(());
        }
        let producer = self.producer.get();
        match self.attempt(|| producer.abort_transaction(ATTEMPT)) {
            Ok(()) => {
                self.aborted();
                Ok(())
            }
            Err(error) if is_invalid_state(&error) => {
                self.abandoned();
                Ok(())
            }
            Err(error) => Err(fatal(&reason(&error))),
        }
    }

    /// Gives up a producer that cannot continue. The next one aborts what is open.
    fn abandoned(&self) {
        // Records in flight are still reported, and must not count in the next transaction.
        self.producer.read().client().context().retire();
        self.aborted();
    }

    /// Notes that the transaction was aborted.
    fn aborted(&self) {
        reach(Edge::TransactionAborted);
        self.is_open.store(false, Ordering::Release);
        self.shared.is_doubtful.store(true, Ordering::Release);
        self.name_rejected();
    }

    /// Aborts the open transaction after a step of its commit has failed, if that is of use.
    fn undo_after(&self, error: &ClientError) -> Result<(), TransactionError> {
        if is_invalid_state(error) {
            self.abandoned();
            return Err(TransactionError::Undone(reason(error)));
        }
        if is_fatal(error) {
            return Err(fatal(&reason(error)));
        }
        self.undo(&reason(error))
    }

    /// Acknowledges the records that have caused rejections, so that the next transaction is sent without them. All
    /// rejections in the transaction have been reported at this point.
    fn name_rejected(&self) {
        let rejections = {
            let mut rejections = self.shared.rejections.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *rejections)
        };
        if rejections.is_empty() {
            return;
        }
        let (named, is_rest) = rejections.named();
        self.shared.one_by_one.store(is_rest || named.is_empty(), Ordering::Release);
        // Dead letters are first sent again with fewer additions.
        let reduces = named.iter().any(|(ticket, _)| ticket.dead_letter) && self.shared.reduce();
        for (ticket, reason) in named.into_iter().filter(|(ticket, _)| !(ticket.dead_letter && reduces)) {
            self.acks.push(Ack::of(ticket, Err(SendError::Record(reason))));
        }
    }

    fn undo(&self, reason: &str) -> Result<(), TransactionError> {
        self.abort()?;
        Err(TransactionError::Undone(reason.to_owned()))
    }

    /// Repeats a call while its error is retriable and the sink is open.
    fn attempt(&self, call: impl Fn() -> Result<(), ClientError>) -> Result<(), ClientError> {
        loop {
            let result = call();
            // A flush serves delivery reports.
            self.producer.get().context().flush();
            match result {
                Err(ClientError::Transaction(error)) if error.is_retriable() && !self.shared.is_closed() => {
                    tracing::debug!(%error, "a step of a transaction is retried");
                }
                // With a slow broker, records in flight may not be delivered within one attempt.
                Err(ClientError::Flush(code))
                    if class(code) == Class::Passing && !self.shared.is_closed() => {}
                result => return result,
            }
        }
    }
}

impl Drop for Transactions {
    /// Aborts an open transaction, so that consumers do not have to wait for its time-out.
    fn drop(&mut self) {
        if self.is_open() {
            // If the abort fails, the brokers abort the transaction after transaction.timeout.ms.
            let _ = self.producer.get().abort_transaction(ATTEMPT);
        }
    }
}

fn reason(error: &ClientError) -> String {
    let fenced = "another process has taken over the transactional id, or this process was inactive for longer \
                  than transaction.timeout.ms";
    match error {
        ClientError::Transaction(error) if is_fenced(error.code()) => format!("{fenced} ({error})"),
        ClientError::Transaction(error) => format!("{error}{}", hint(Some(error.code()), "")),
        error => error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string()),
    }
}

fn fatal(reason: &impl ToString) -> TransactionError {
    TransactionError::Fatal(reason.to_string())
}

fn is_fenced(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

/// Returns true if the brokers have no open transaction of this producer to end, and know no newer producer. librdkafka
/// may end a transaction before its first request has arrived, and takes this answer for a fatal error.
fn is_invalid_state(error: &ClientError) -> bool {
    matches!(error, ClientError::Transaction(error) if error.code() == Code::InvalidTransactionalState)
}

fn is_fatal(error: &ClientError) -> bool {
    let ClientError::Transaction(error) = error else { return true };
    error.is_fatal()
        || class(error.code()) == Class::Unauthorized
        || !(error.txn_requires_abort() || error.is_retriable())
}
