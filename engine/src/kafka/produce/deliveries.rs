//! Handles the delivery reports of a producer: reports in, acknowledgements and suspects out.
//!
//! Brokers reject a whole request because of one record in it, and name the record only in text, if at all. So every
//! record of a rejected request is a suspect: it is sent again in a request of its own (`alone.rs`). A record that is
//! rejected again caused the error.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Headers as _, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use crate::dead_letter::MOST_REDUCED;
use crate::failpoint::{Edge, reach};
use crate::ids::BatchId;
use crate::kafka::KafkaError;
use crate::kafka::context::log;
use crate::kafka::error::{Class, class};
use crate::kafka::ffi::timestamp_of_failed;
use crate::sink::{Ack, Acks, SendError, Ticket, add_ack};

/// A record that was rejected together with others.
#[derive(Debug)]
pub(super) struct Suspect {
    pub ticket: Ticket,
    pub message: OwnedMessage,
    pub timestamp_ms: Option<i64>,
}

impl Suspect {
    /// Returns the headers of the record, if it has any.
    pub(super) fn headers(&self) -> Option<OwnedHeaders> {
        self.message.headers().filter(|headers| headers.count() > 0).cloned()
    }
}

/// The rejections in a transaction, which is aborted because of them.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    /// The records that may have caused the error of their request.
    candidates: Vec<Candidate>,
    /// The topics and partitions in which brokers have told the records that caused an error from the other ones.
    told: BTreeSet<(String, i32)>,
}

#[derive(Debug)]
struct Candidate {
    ticket: Ticket,
    /// True if the brokers name the records that cause this error.
    is_named: bool,
    place: (String, i32),
    reason: String,
}

impl Rejections {
    /// Returns true if no record was rejected.
    pub(super) fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.told.is_empty()
    }

    /// Returns the records that have caused the errors, with the reasons, and true if others have caused errors, too.
    pub(super) fn named(self) -> (Vec<(Ticket, String)>, bool) {
        let Self { candidates, told } = self;
        let (named, unnamed): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .partition(|candidate| candidate.is_named && told.contains(&candidate.place));
        (named.into_iter().map(|named| (named.ticket, named.reason)).collect(), !unnamed.is_empty())
    }
}

/// The state that the producers of a sink and their threads share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// True if no more records are given to a client.
    pub closed: AtomicBool,
    /// The rejections in the open transaction.
    pub rejections: Mutex<Rejections>,
    /// True if each record of the open transaction is sent separately, so that a rejected record caused the error.
    pub one_by_one: AtomicBool,
    /// True if a request of the producer's transactions may still reach a broker after it was given up.
    pub is_doubtful: AtomicBool,
    /// True while a new producer is being initialised.
    pub is_replacing: AtomicBool,
    /// The reduction of the additions to dead letters, which increases when the queue rejects dead letters.
    pub reduced: AtomicU8,
}

impl Shared {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Reduces the additions to dead letters once more. Returns false if nothing is left to reduce.
    pub(super) fn reduce(&self) -> bool {
        let reduced = self.reduced.load(Ordering::Acquire);
        self.reduced.store((reduced + 1).min(MOST_REDUCED), Ordering::Release);
        reduced < MOST_REDUCED
    }
}

/// Receives delivery reports on the thread of the producer.
pub(super) struct Deliveries {
    pub acks: Acks,
    /// The acknowledgements since the last [`flush`](Self::flush): the poll thread is not woken for each.
    pub arrived: Mutex<Vec<Ack>>,
    pub transactional: bool,
    pub shared: Arc<Shared>,
    pub suspects: Arc<Mutex<Vec<Suspect>>>,
    /// True if the producer was replaced.
    pub is_retired: AtomicBool,
}

impl Deliveries {
    /// Ignores all further reports of the producer.
    pub(super) fn retire(&self) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_retired.store(true, Ordering::Release);
        self.hand_on(&mut arrived);
    }

    /// Hands the acknowledgements on. To be called after every call of the producer that serves delivery reports.
    pub(super) fn flush(&self) {
        self.hand_on(&mut self.arrived.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Keeps the lock, so that another flush does not end before these acknowledgements are handed on: they must not
    /// count in the next transaction.
    fn hand_on(&self, arrived: &mut MutexGuard<'_, Vec<Ack>>) {
        if !arrived.is_empty() {
            self.acks.extend(std::mem::take(&mut **arrived));
        }
    }

    fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel::{Info, Notice, Warning};
        if gives_up_requests(level, facility, message) && !self.is_retired() {
            self.shared.is_doubtful.store(true, Ordering::Release);
        }
        // The client writes lines of these levels only because they are read here.
        let is_between = matches!(level, Warning | Notice | Info);
        if !is_between || tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
            log(level, facility, message);
        }
    }

    /// Ignores errors of the client: during an outage records wait, and the ledger shows them as not settled.
    fn error(&self, _: ClientError, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        if self.is_retired() {
            return;
        }
        let ticket = unpack(opaque);
        let Err((error, message)) = result else {
            reach(Edge::RecordAcked);
            let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.is_retired() {
                add_ack(&mut arrived, Ack::of(ticket, Ok(())));
            }
            return;
        };
        // The sink was closed: these records are read and written again. A producer with a fatal error also purges
        // its records, and that purge must be reported.
        if is_purged(error) && self.shared.is_closed() {
            return;
        }
        let is_refused = error.rdkafka_error_code().is_some_and(is_of_record);
        if is_refused && !self.transactional {
            let timestamp_ms = timestamp_of_failed(message);
            let suspect = Suspect { ticket, message: message.detach(), timestamp_ms };
            return self.suspects.lock().unwrap_or_else(PoisonError::into_inner).push(suspect);
        }
        // Under the lock: a retired producer reports nothing to the next transaction.
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_retired() {
            return;
        }
        self.hand_on(&mut arrived);
        let error = if is_refused {
            self.refused_in_transaction(ticket, error, (message.topic(), message.partition()))
        } else {
            send_error(error, message.topic(), self.transactional)
        };
        self.acks.push(Ack::of(ticket, Err(error)));
    }
}

impl Deliveries {
    /// Handles a rejected record in a transaction. The transaction is aborted, and the records that caused the error
    /// are left out of the next one. If the brokers do not name them, the records of the next transaction are sent one
    /// by one, and a record that is rejected then caused the error.
    fn refused_in_transaction(
        &self,
        ticket: Ticket,
        error: &ClientError,
        (topic, partition): (&str, i32),
    ) -> SendError {
        let reason = KafkaError::during("the brokers rejected the record", error).to_string();
        if self.shared.one_by_one.load(Ordering::Acquire) {
            // A dead letter is first sent again with fewer additions.
            let is_sent_again = ticket.dead_letter && self.shared.reduce();
            return if is_sent_again { SendError::Transaction(reason) } else { SendError::Record(reason) };
        }
        let mut rejections = self.shared.rejections.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (topic.to_owned(), partition);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::InvalidDifferentRecord) => drop(rejections.told.insert(place)),
            code => {
                let is_named = code.is_some_and(names_records);
                rejections.candidates.push(Candidate { ticket, is_named, place, reason: reason.clone() });
            }
        }
        SendError::Transaction(reason)
    }
}

/// Serves delivery reports for this time.
pub(super) fn serve(producer: &BaseProducer<Deliveries>, time: Duration) {
    producer.poll(time);
    producer.context().flush();
}

/// Returns true for a line of the client's log which says that a request was given up that a broker may still get. Only
/// the log shows this. While a connection is being made, no request is under way. Connections that the client closes
/// itself are logged at the level of debugging: idle ones, after their requests have timed out, and those to a broker
/// that is no longer the coordinator or has another address.
fn gives_up_requests(level: RDKafkaLogLevel, facility: &str, message: &str) -> bool {
    let is_open = !message.contains("in state CONNECT") && !message.contains("in state TRY_CONNECT");
    let is_given_up = facility == "REQTMOUT" || facility == "FAIL" && is_open;
    is_given_up && !matches!(level, RDKafkaLogLevel::Debug)
}

/// Returns true for errors of which brokers name the records that cause them. All other records of the request then
/// have the error `InvalidDifferentRecord`.
fn names_records(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp)
}

/// Returns true if the error is caused by the record or by another record in its request.
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

/// Classifies a delivery error. Only an error of the record itself may be skipped. A revoked permission, a deleted
/// topic and a fatal producer error are errors of the sink. Other errors in a transaction abort the transaction,
/// which is retried.
pub(super) fn send_error(error: &ClientError, topic: &str, transactional: bool) -> SendError {
    use RDKafkaErrorCode::{BrokerDestroy, UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    let reason = KafkaError::during("the brokers rejected the record", error).to_string();
    match error.rdkafka_error_code() {
        Some(code) if is_of_record(code) => SendError::Record(reason),
        // After a topic is deleted the client fails its records with any of these codes.
        Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition | BrokerDestroy) => {
            SendError::Sink(format!(
                "topic '{topic}' was deleted while the job ran, or has fewer partitions; create it again and restart"
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

/// Packs a ticket into the word that librdkafka returns with a delivery report: the batch in the upper 32 bits, then
/// the row, and the dead letter flag in the lowest bit.
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
    fn only_records_that_brokers_tell_from_others_are_named() {
        let ticket = |row| Ticket { batch: BatchId(0), row, dead_letter: false };
        let candidate = |row, is_named, partition| Candidate {
            ticket: ticket(row),
            is_named,
            place: ("t".to_owned(), partition),
            reason: "r".to_owned(),
        };
        let mut rejections = Rejections::default();
        assert!(rejections.is_empty());
        rejections.candidates = vec![candidate(1, true, 0), candidate(2, true, 1), candidate(3, false, 0)];
        rejections.told.insert(("t".to_owned(), 0));
        let (named, is_rest) = rejections.named();
        assert_eq!((named, is_rest), (vec![(ticket(1), "r".to_owned())], true));
    }

    #[test]
    fn only_a_connection_that_was_open_leaves_requests_under_way() {
        let (info, debug) = (RDKafkaLogLevel::Info, RDKafkaLogLevel::Debug);
        let closed = "b:9092/1: Disconnected (after 10ms in state UP)";
        let refused = "b:9092/1: Connect to ipv4#127.0.0.1:9092 failed: refused (after 0ms in state CONNECT)";
        assert!(
            gives_up_requests(info, "FAIL", closed) && gives_up_requests(info, "REQTMOUT", "1 in-flight")
        );
        assert!(!gives_up_requests(info, "FAIL", refused) && !gives_up_requests(debug, "FAIL", closed));
        assert!(!gives_up_requests(info, "GETPID", "retrying"));
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
