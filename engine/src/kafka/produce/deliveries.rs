//! What becomes of records that were given to a producer: delivery reports in, acknowledgements and suspects out.
//!
//! Brokers refuse whole requests on account of one record in them. Which one that was they say at best in words, so
//! every record of such a request is a suspect: it is sent again by itself (`alone.rs`), and what is refused then is
//! to blame.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Headers as _, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::ProducerContext;

use crate::ids::BatchId;
use crate::kafka::KafkaError;
use crate::kafka::context::log;
use crate::kafka::error::{Class, class};
use crate::kafka::ffi::timestamp_of_failed;
use crate::sink::{Ack, Acks, SendError, Ticket};

/// A record that was refused together with others.
#[derive(Debug)]
pub(super) struct Suspect {
    pub ticket: Ticket,
    pub message: OwnedMessage,
    pub timestamp_ms: Option<i64>,
}

impl Suspect {
    /// Its headers, if it has any.
    pub fn headers(&self) -> Option<OwnedHeaders> {
        self.message.headers().filter(|headers| headers.count() > 0).cloned()
    }
}

/// What a sink's producers and its threads have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Nothing is handed to a client any more.
    pub closed: AtomicBool,
    /// A transaction is undone on account of a record: in the next one each record is sent by itself.
    pub next_one_by_one: AtomicBool,
    /// Each record of the open transaction is sent by itself, so that what is refused is to blame.
    pub one_by_one: AtomicBool,
    /// How much of what velo adds to dead letters is left out, since the queue has refused them with it.
    pub reduced: AtomicU8,
}

impl Shared {
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// Takes delivery reports on the producer's own thread.
pub(super) struct Deliveries {
    pub acks: Acks,
    pub transactional: bool,
    pub shared: Arc<Shared>,
    pub suspects: Arc<Mutex<Vec<Suspect>>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    /// An outage is not the end: records wait, and the ledger shows that they do.
    fn error(&self, _: ClientError, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let ticket = unpack(opaque);
        let Err((error, message)) = result else { return self.acks.push(Ack::of(ticket, Ok(()))) };
        // The producer is going away: these records will be read and written again. One that cannot go on
        // purges its records, too, and nobody else would say so.
        if is_purged(error) && self.shared.is_closed() {
            return;
        }
        let is_refused = error.rdkafka_error_code().is_some_and(is_of_record);
        if is_refused && !self.transactional {
            let timestamp_ms = timestamp_of_failed(message);
            let suspect = Suspect { ticket, message: message.detach(), timestamp_ms };
            return self.suspects.lock().unwrap_or_else(PoisonError::into_inner).push(suspect);
        }
        let error = if is_refused {
            self.refused_in_transaction(ticket, error)
        } else {
            send_error(error, message.topic(), self.transactional)
        };
        self.acks.push(Ack::of(ticket, Err(error)));
    }
}

impl Deliveries {
    /// A refusal takes the transaction down. Sent one by one, what is refused in the next one is to blame.
    fn refused_in_transaction(&self, ticket: Ticket, error: &ClientError) -> SendError {
        let reason = KafkaError::during("the brokers refused it", error).to_string();
        self.shared.next_one_by_one.store(true, Ordering::Release);
        if !self.shared.one_by_one.load(Ordering::Acquire) {
            return SendError::Transaction(reason);
        }
        let reduced = self.shared.reduced.load(Ordering::Acquire);
        if ticket.dead_letter && reduced < super::dead_letter::MOST_REDUCED {
            self.shared.reduced.store(reduced + 1, Ordering::Release);
            return SendError::Transaction(reason);
        }
        SendError::Record(reason)
    }
}

/// True of errors that a record causes, or another one in its request.
pub(super) fn is_of_record(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::MessageBatchTooLarge
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidTimestamp
            | Code::InvalidRecord
            | Code::InvalidDifferentRecord
    )
}

/// Only what is wrong with the record itself may be skipped; an authorisation that was taken away, a
/// topic that is gone or a producer that cannot go on is no record's fault. A transaction may be tried again.
pub(super) fn send_error(error: &ClientError, topic: &str, transactional: bool) -> SendError {
    use RDKafkaErrorCode::{BrokerDestroy, UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    let reason = KafkaError::during("the brokers refused it", error).to_string();
    match error.rdkafka_error_code() {
        Some(code) if is_of_record(code) => SendError::Record(reason),
        // The client gives a topic's records up with any of these once the topic is gone.
        Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition | BrokerDestroy) => {
            SendError::Sink(format!(
                "topic '{topic}' was deleted while the job ran, or lost partitions; create it again and restart"
            ))
        }
        Some(code) if transactional && class(code) != Class::Unauthorized => SendError::Transaction(reason),
        _ => SendError::Sink(reason),
    }
}

fn is_purged(error: &ClientError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// A ticket as the one word that librdkafka carries along: batch, row, and the kind in the lowest bit.
pub(super) fn pack(ticket: Ticket) -> usize {
    (ticket.batch.0 as usize) << 32 | (ticket.row as usize) << 1 | usize::from(ticket.dead_letter)
}

fn unpack(word: usize) -> Ticket {
    let low = |bits: usize| u32::try_from(bits & 0xFFFF_FFFF).unwrap_or(u32::MAX);
    Ticket { batch: BatchId(low(word >> 32)), row: low(word) >> 1, dead_letter: word & 1 == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_the_way_through_librdkafka() {
        for (batch, row, dead_letter) in [(0, 0, false), (u32::MAX, 0x7FFF_FFFF, true), (7, 99_999, false)] {
            let ticket = Ticket { batch: BatchId(batch), row, dead_letter };
            assert_eq!(unpack(pack(ticket)), ticket);
        }
    }

    #[test]
    fn only_what_a_record_causes_is_its_fault() {
        use RDKafkaErrorCode as Code;
        let error =
            |code, transactional| send_error(&ClientError::MessageProduction(code), "orders", transactional);
        for code in [Code::MessageSizeTooLarge, Code::InvalidTimestamp, Code::InvalidDifferentRecord] {
            assert!(is_of_record(code) && matches!(error(code, false), SendError::Record(_)));
        }
        for code in [Code::TopicAuthorizationFailed, Code::UnknownTopicOrPartition, Code::Fatal] {
            assert!(!is_of_record(code) && matches!(error(code, false), SendError::Sink(_)), "{code:?}");
        }
        assert!(matches!(error(Code::OutOfOrderSequenceNumber, true), SendError::Transaction(_)));
        assert!(matches!(error(Code::TopicAuthorizationFailed, true), SendError::Sink(_)));
    }
}
