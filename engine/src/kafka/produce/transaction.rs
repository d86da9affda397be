//! Transactions: outputs, dead letters and the offsets of what they came from become visible together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer;

use super::deliveries::{Deliveries, Shared};
use super::polled_producer::ServedProducer;
use crate::ids::LaneName;
use crate::kafka::error::{Class, class};
use crate::kafka::membership::Membership;
use crate::kafka::offsets::{REQUEST_TIMEOUT, offsets_of};
use crate::kafka::{KafkaError, hint};
use crate::sink::TransactionError;

/// How long one attempt may take before it is asked whether the job still wants it.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The transactions of a producer, on account of a member of a group.
pub(super) struct Transactions {
    producer: Arc<ServedProducer<Deliveries>>,
    membership: Membership,
    is_open: AtomicBool,
    shared: Arc<Shared>,
}

impl Transactions {
    /// Takes the transactional id over from whoever had it, and undoes what they left open.
    pub fn init(
        producer: Arc<ServedProducer<Deliveries>>,
        membership: Membership,
        shared: Arc<Shared>,
    ) -> Result<Self, KafkaError> {
        let initialised = producer.init_transactions(REQUEST_TIMEOUT);
        initialised.map_err(|error| KafkaError::new(format!("transactions: {}", reason(&error))))?;
        Ok(Self { producer, membership, is_open: AtomicBool::new(false), shared })
    }

    /// Begins a transaction where none is open.
    pub fn begin(&self) -> Result<(), ClientError> {
        if !self.is_open.load(Ordering::Acquire) {
            self.producer.begin_transaction()?;
            // Whatever was refused in the last one has been reported by now.
            let one_by_one = self.shared.next_one_by_one.load(Ordering::Acquire);
            self.shared.one_by_one.store(one_by_one, Ordering::Release);
            self.is_open.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Commits the open transaction with these offsets.
    pub fn commit(&self, offsets: &[(LaneName, i64)]) -> Result<(), TransactionError> {
        let offsets = offsets_of(offsets.iter().cloned()).map_err(|error| fatal(&error))?;
        let group = self.membership.consumer().and_then(|consumer| consumer.group_metadata());
        let Some(group) = group else { return self.undo("the member has left its group") };
        let attempts = self
            .attempt(|| self.begin())
            .and_then(|()| {
                self.attempt(|| self.producer.send_offsets_to_transaction(&offsets, &group, ATTEMPT))
            })
            .and_then(|()| self.attempt(|| self.producer.commit_transaction(ATTEMPT)));
        match attempts {
            Ok(()) => {
                self.is_open.store(false, Ordering::Release);
                self.shared.next_one_by_one.store(false, Ordering::Release);
                // What the refused letters had to do without, others get again.
                self.shared.reduced.store(0, Ordering::Release);
                Ok(())
            }
            Err(error) if is_fatal(&error) => Err(fatal(&reason(&error))),
            Err(error) => self.undo(&reason(&error)),
        }
    }

    /// Undoes the open transaction.
    pub fn abort(&self) -> Result<(), TransactionError> {
        if !self.is_open.load(Ordering::Acquire) {
            return Ok(());
        }
        let aborted = self.attempt(|| self.producer.abort_transaction(ATTEMPT));
        aborted.map_err(|error| fatal(&reason(&error)))?;
        self.is_open.store(false, Ordering::Release);
        Ok(())
    }

    fn undo(&self, reason: &str) -> Result<(), TransactionError> {
        self.abort()?;
        Err(TransactionError::Undone(reason.to_owned()))
    }

    /// Tries again for as long as that may help and anybody wants it.
    fn attempt(&self, call: impl Fn() -> Result<(), ClientError>) -> Result<(), ClientError> {
        loop {
            match call() {
                Err(ClientError::Transaction(error)) if error.is_retriable() && !self.shared.is_closed() => {}
                // A slow broker: what is in flight has not arrived within the time of one attempt.
                Err(ClientError::Flush(code))
                    if class(code) == Class::Passing && !self.shared.is_closed() => {}
                result => return result,
            }
        }
    }
}

impl Drop for Transactions {
    /// Nobody should have to wait for the brokers to give up what will not be committed.
    fn drop(&mut self) {
        if self.is_open.load(Ordering::Acquire) {
            // What fails here is undone by the brokers after transaction.timeout.ms.
            let _ = self.producer.abort_transaction(ATTEMPT);
        }
    }
}

fn reason(error: &ClientError) -> String {
    let fenced = "another process has taken over its transactional id, or it was away for longer than its \
                  transaction may last";
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
    // The last one: the transaction that is to end has been ended by the brokers, or by another process.
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::InvalidTransactionalState
    )
}

fn is_fatal(error: &ClientError) -> bool {
    let ClientError::Transaction(error) = error else { return true };
    error.is_fatal()
        || class(error.code()) == Class::Unauthorized
        || !(error.txn_requires_abort() || error.is_retriable())
}
