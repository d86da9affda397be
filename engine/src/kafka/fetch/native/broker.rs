//! The thread that fetches from one broker: what to ask for in, segments of records out.
//!
//! The next request is sent before the records of the last answer are decoded, so that the broker and this thread work
//! at the same time. For the next request only the headers of the record batches are needed.
#![allow(clippy::disallowed_methods, reason = "fetches are repeated after a while")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;

use super::health::Health;
use super::shared::Shared;
use super::state::{Asked, Choice, State};
use crate::kafka::connection::{Connection, ConnectionError, Response};
use crate::kafka::error::{Class, class};
use crate::kafka::fetch::Broken;
use crate::kafka::hint;
use crate::protocol::api::Api;
use crate::protocol::fetch::{self, Fetched, Limits};
use crate::protocol::pool::Pool;
use crate::protocol::records::{AbortedTransaction, Amount, Outline, Reading, Segment, Unreadable, outline};

/// How long a broker waits for records if partitions of it were left out of the request, so that they need not wait:
/// at first, and after answers without records.
const PARTIAL_WAIT: Duration = Duration::from_millis(10);
const MOST_PARTIAL_WAIT: Duration = Duration::from_millis(100);
/// The longest time that is waited because a broker says so.
const MOST_THROTTLE: Duration = Duration::from_mins(1);
/// The records of a partition that are a smaller part of an answer are copied, so that they do not pin all of it.
const LEAST_PART: usize = 4;

/// Fetches from a broker until the fetcher is closed.
pub(super) fn run(shared: &Arc<Shared>, broker: i32) {
    let mut retry = shared.config.retry;
    loop {
        // A connection that nobody needs is not made.
        let Some(choice) = shared.wait_for_choice(broker) else { return };
        shared.change(|state| state.answered(&choice.asked, Instant::now()));
        let (result, has_fetched) = connect_and_fetch(shared, broker);
        shared.closed(Some(broker));
        let error = match result {
            Ok(End::Closed) => return,
            Ok(End::Expired) => continue,
            Err(error) => error,
        };
        let what = if has_fetched { "the connection broke" } else { "it cannot be asked" };
        let reason = format!("broker {broker}: {what}: {error}");
        tracing::info!(target: "fetch", "{reason}");
        let lanes = if let ConnectionError::Unsupported(_) = error {
            let why = format!("broker {broker}: {error}; --fetcher librdkafka may do");
            shared.change(|state| state.unreadable(broker, &why, Instant::now()))
        } else {
            // Only an outage is waited for.
            let health = match error {
                ConnectionError::Io(_) => Health::unavailable(reason),
                _ => Health::refused(reason),
            };
            shared.change(|state| state.unreachable(broker, &health, Instant::now()))
        };
        shared.tell(lanes);
        retry = if has_fetched { shared.config.retry } else { (retry * 2).min(shared.config.most_retry) };
        if !shared.wait(retry, |_| false) {
            return;
        }
    }
}

/// Returns the error that ended the connection, and whether anything was fetched before.
fn connect_and_fetch(shared: &Arc<Shared>, broker: i32) -> (Result<End, ConnectionError>, bool) {
    let Some(address) = shared.state().addresses.get(&broker).cloned() else {
        let error = std::io::Error::new(std::io::ErrorKind::NotFound, "no broker knows its address");
        return (Err(error.into()), false);
    };
    let opened = |interrupt| shared.opened(Some(broker), interrupt);
    let opened = Connection::open(&address, &shared.config.connection, shared.pool.clone(), opened);
    let version = |connection: &Connection| connection.version(Api::Fetch);
    let (connection, version) = match opened.and_then(|connection| Ok((version(&connection)?, connection))) {
        Ok((version, connection)) => (connection, version),
        Err(error) => return (Err(error), false),
    };
    let mut session = Session {
        shared,
        broker,
        connection,
        version,
        sent: None,
        undecoded: Vec::new(),
        has_fetched: false,
        partial_wait: PARTIAL_WAIT,
    };
    let result = session.run();
    if let Some(sent) = session.sent.take() {
        shared.change(|state| state.answered(&sent.asked, Instant::now()));
    }
    (result, session.has_fetched)
}

/// Why the work on a connection has ended.
enum End {
    /// The fetcher is closed.
    Closed,
    /// The broker demands to be logged in to again.
    Expired,
}

/// The work on one connection.
struct Session<'a> {
    shared: &'a Arc<Shared>,
    broker: i32,
    connection: Connection,
    /// The newest version of fetch requests.
    version: i16,
    /// The request that is not answered yet.
    sent: Option<Sent>,
    undecoded: Vec<Undecoded>,
    has_fetched: bool,
    /// How long the broker waits for records while partitions of it are left out.
    partial_wait: Duration,
}

struct Sent {
    asked: Vec<Asked>,
    /// The time that the broker may wait for records.
    wait: Duration,
}

/// The records of a partition in an answer.
struct Undecoded {
    asked: Asked,
    amount: Amount,
    records: Bytes,
    aborted: Vec<AbortedTransaction>,
}

impl Session<'_> {
    fn run(&mut self) -> Result<End, ConnectionError> {
        loop {
            let choice = if self.undecoded.is_empty() {
                let Some(choice) = self.shared.wait_for_choice(self.broker) else { return Ok(End::Closed) };
                choice
            } else {
                self.shared.state().choose(self.broker, Instant::now())
            };
            if self.connection.expires() {
                self.shared.change(|state| state.answered(&choice.asked, Instant::now()));
                self.decode();
                return Ok(End::Expired);
            }
            // What has been fetched is decoded even if no more can be.
            let sent = self.ask(choice);
            self.decode();
            sent?;
            if let Some(Sent { wait, .. }) = self.sent {
                let response = self.connection.receive(wait)?;
                self.has_fetched = true;
                self.accept(&response)?;
            }
        }
    }

    fn ask(&mut self, choice: Choice) -> Result<(), ConnectionError> {
        let Choice { asked, is_partial, .. } = choice;
        if asked.is_empty() {
            return Ok(());
        }
        let config = &self.shared.config;
        let wait = if is_partial { config.wait.min(self.partial_wait) } else { config.wait };
        let limits = Limits {
            wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            least_bytes: config.least_bytes,
            most_bytes: config.most_bytes,
            committed_only: config.committed_only,
            rack: config.rack.clone(),
        };
        let wanted: Vec<_> = asked.iter().map(|asked| asked.wanted).collect();
        let topic = self.shared.state().topic.clone();
        let version = fetch::version_for(&topic, self.version);
        self.sent = Some(Sent { asked, wait });
        self.connection.send(&fetch::request(version, &topic, &limits, &wanted))
    }

    /// Moves the partitions past what was fetched, so that the next request can be made.
    fn accept(&mut self, response: &Response) -> Result<(), ConnectionError> {
        let answer = fetch::read(&mut response.cursor(), response.version)?;
        let Some(Sent { asked, .. }) = self.sent.take() else { return Err(ConnectionError::OutOfOrder) };
        let throttle = Duration::from_millis(u64::try_from(answer.throttle_ms).unwrap_or(0));
        let (now, broker, undecoded) = (Instant::now(), self.broker, &mut self.undecoded);
        // Without the lock: an answer can be long.
        let partitions: Vec<_> = answer
            .partitions
            .into_iter()
            .map(|fetched| (records_of(&fetched, &response.bytes, &self.shared.pool), fetched))
            .collect();
        let told = self.shared.change(|state| {
            state.answered(&asked, now);
            if !throttle.is_zero() {
                state.throttled = state.throttled.max(Some(throttle));
            }
            let mut told = Vec::new();
            if answer.error != 0 {
                let health = Health::refused(failed(broker, code(answer.error)));
                told.extend(asked.iter().filter(|asked| state.failed(asked, health.clone(), now)));
            }
            for (records, fetched) in partitions {
                let of = |asked: &&Asked| asked.wanted.partition == fetched.partition;
                let Some(asked) = asked.iter().find(of) else { continue };
                let step = Step { state, broker, now, asked };
                let is_told = step.accept(fetched, records, undecoded);
                told.extend(is_told.then_some(asked));
            }
            told.into_iter().map(|asked: &Asked| asked.lane).collect::<Vec<_>>()
        });
        self.shared.tell(told);
        let is_empty = self.undecoded.is_empty();
        self.partial_wait =
            if is_empty { (self.partial_wait * 2).min(MOST_PARTIAL_WAIT) } else { PARTIAL_WAIT };
        // A broker of today has answered already and reads no further request until then.
        if !throttle.is_zero() {
            self.decode();
            self.shared.wait(throttle.min(MOST_THROTTLE), |_| false);
        }
        Ok(())
    }

    fn decode(&mut self) {
        let config = &self.shared.config;
        let reading =
            Reading { committed_only: config.committed_only, most_batch_bytes: config.connection.most_bytes };
        for Undecoded { asked, amount, records, aborted } in self.undecoded.drain(..) {
            let segments = Segment::read(&records, aborted, reading, &self.shared.pool);
            let is_told = self.shared.change(|state| match segments {
                Ok(segments) => state.decoded(&asked, segments, amount),
                Err(error) => {
                    state.undecodable(&asked, amount, unreadable(self.broker, &error), Instant::now())
                }
            });
            self.shared.tell(is_told.then_some(asked.lane));
        }
    }
}

/// Returns the complete record batches of a partition and their outline; `None` if there are no bytes.
fn records_of(
    fetched: &Fetched,
    answer: &Bytes,
    pool: &Pool,
) -> Result<Option<(Outline, Bytes)>, Unreadable> {
    if fetched.records.is_empty() {
        return Ok(None);
    }
    let outline = outline(&answer[fetched.records.clone()])?;
    let range = fetched.records.start..fetched.records.start + outline.amount.bytes;
    let is_small = range.len().saturating_mul(LEAST_PART) < answer.len();
    let records = if is_small { pool.copy(&answer[range]) } else { answer.slice(range) };
    Ok(Some((outline, records)))
}

/// One partition of an answer.
struct Step<'a> {
    state: &'a mut State,
    broker: i32,
    now: Instant,
    asked: &'a Asked,
}

impl Step<'_> {
    /// Returns true if the lane has news.
    fn accept(
        self,
        fetched: Fetched,
        records: Result<Option<(Outline, Bytes)>, Unreadable>,
        undecoded: &mut Vec<Undecoded>,
    ) -> bool {
        let Self { state, broker, now, asked } = self;
        if fetched.error != 0 {
            return Step { state, broker, now, asked }.fail(code(fetched.error));
        }
        if let Some(offset) = fetched.diverges_at {
            if state.is_follower(asked, broker) {
                // The replica may only lag behind.
                let reason = format!("broker {broker} lags behind the leader");
                let is_news = state.failed(asked, Health::unavailable(reason), now);
                state.leader_has_moved(asked);
                return is_news;
            }
            let reason = format!("the log of the leader was truncated at offset {offset}");
            let health = Health::Broken(Broken { reason, differs_from: Some(offset) });
            return state.failed(asked, health, now);
        }
        if fetched.preferred_replica >= 0 && fetched.preferred_replica != broker {
            state.prefer(asked, fetched.preferred_replica, now);
            return false;
        }
        state.bounds(asked, fetched.high_watermark, fetched.last_stable_offset);
        match records {
            Ok(None) => state.nothing(asked),
            Ok(Some((Outline { next: Some(next), amount }, records))) if next.0 > asked.wanted.position => {
                if state.advance(broker, asked, next, amount) {
                    undecoded.push(Undecoded { asked: *asked, amount, records, aborted: fetched.aborted });
                }
                false
            }
            Ok(_) => {
                let reason = format!("broker {broker} returned no record batch at the requested offset");
                state.failed(asked, Health::refused(reason), now)
            }
            Err(error) => state.failed(asked, unreadable(broker, &error), now),
        }
    }

    fn fail(self, code: Code) -> bool {
        let Self { state, broker, now, asked } = self;
        let reason = failed(broker, code);
        let health = match code {
            Code::OffsetOutOfRange if state.is_follower(asked, broker) => Health::unavailable(reason),
            Code::OffsetOutOfRange => return state.failed(asked, Health::Broken(Broken::new(reason)), now),
            // Leaders move, and whether a topic is gone for good is for the member of the group to find out.
            Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::ReplicaNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::KafkaStorageError
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopicId => Health::unavailable(reason),
            code if class(code) == Class::Passing => Health::refused(reason),
            code => Health::Failed(format!("{reason}{}", hint(Some(code), ""))),
        };
        if let Health::Failing(..) = health {
            let is_news = state.failed(asked, health, now);
            state.leader_has_moved(asked);
            return is_news;
        }
        state.failed(asked, health, now)
    }
}

/// Returns the error code of a broker.
pub(super) fn code(code: i16) -> Code {
    RDKafkaRespErr::try_from(i32::from(code)).map_or(Code::Unknown, Code::from)
}

fn failed(broker: i32, code: Code) -> String {
    format!("{code} (fetch from broker {broker})")
}

fn unreadable(broker: i32, error: &Unreadable) -> Health {
    let reason = format!("what broker {broker} returned is not readable: {error}");
    match error {
        Unreadable::OldFormat(_) => Health::Failed(format!("{reason}; read it with --fetcher librdkafka")),
        error if error.is_passing() => Health::refused(reason),
        _ => Health::Failed(reason),
    }
}
