//! Fetch: partitions and positions in, the bytes of their records out. The bytes are not copied.

use std::ops::Range;

use super::api::{Api, Request};
use super::cursor::{Cursor, Malformed};
use super::encoder::Encoder;
use super::records::AbortedTransaction;

/// The first version in which topics have ids instead of names.
const TOPIC_IDS: i16 = 13;

/// A topic of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    pub name: String,
    /// The id; 0 if it is unknown.
    pub id: u128,
}

/// A partition of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub partition: i32,
    /// The epoch of the leader as of the metadata; negative if it is unknown.
    pub leader_epoch: i32,
    /// The offset of the next record.
    pub position: i64,
    /// The leader epoch of the record before it, by which the broker detects a truncated log; negative if it is unknown.
    pub last_epoch: i32,
    pub most_bytes: i32,
}

/// What applies to all partitions of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    pub wait_ms: i32,
    pub least_bytes: i32,
    pub most_bytes: i32,
    /// True if records of open transactions are not returned.
    pub committed_only: bool,
    /// The rack of the client; empty without one.
    pub rack: String,
}

/// Returns the newest version, up to `version`, in which a topic without an id can be asked for.
pub(crate) fn version_for(topic: &Topic, version: i16) -> i16 {
    if topic.id == 0 { version.min(TOPIC_IDS - 1) } else { version }
}

/// The request for records of partitions of one topic.
pub(crate) fn request(version: i16, topic: &Topic, limits: &Limits, partitions: &[Wanted]) -> Request {
    let mut encoder = Encoder::new(Api::Fetch.is_flexible(version));
    if version <= 14 {
        // A consumer is no replica.
        encoder.i32(-1);
    }
    encoder.i32(limits.wait_ms);
    encoder.i32(limits.least_bytes);
    encoder.i32(limits.most_bytes);
    encoder.i8(limits.committed_only.into());
    // A request without a session, which names all of its partitions.
    encoder.i32(0);
    encoder.i32(-1);
    encoder.length(1);
    if version >= TOPIC_IDS {
        encoder.uuid(topic.id);
    } else {
        encoder.string(&topic.name);
    }
    encoder.length(partitions.len());
    for wanted in partitions {
        encoder.i32(wanted.partition);
        encoder.i32(wanted.leader_epoch);
        encoder.i64(wanted.position);
        if version >= 12 {
            encoder.i32(wanted.last_epoch);
        }
        // Only replicas know where a log starts.
        encoder.i64(-1);
        encoder.i32(wanted.most_bytes);
        encoder.no_tags();
    }
    encoder.no_tags();
    // No topic is forgotten.
    encoder.length(0);
    if version >= 11 {
        encoder.string(&limits.rack);
    }
    encoder.no_tags();
    Request { api: Api::Fetch, version, body: encoder.into_bytes() }
}

/// The answer to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub throttle_ms: i32,
    /// The error code of the request; 0 if there is none.
    pub error: i16,
    pub partitions: Vec<Fetched>,
}

/// What was fetched of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub partition: i32,
    /// The error code; 0 if there is none.
    pub error: i16,
    /// The offset after the newest record that all in-sync replicas have.
    pub high_watermark: i64,
    /// The first offset of an open transaction, or the high watermark.
    pub last_stable_offset: i64,
    pub aborted: Vec<AbortedTransaction>,
    /// A replica from which the records should be fetched instead; negative without one.
    pub preferred_replica: i32,
    /// Where the records are in the answer.
    pub records: Range<usize>,
    /// The offset up to which the log of the leader has what was read before, if it does not have all.
    pub diverges_at: Option<i64>,
}

/// Reads the answer to [`request`]. Ranges are those of the bytes of the cursor.
///
/// # Errors
/// If the bytes are no such answer.
pub(crate) fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Answer, Malformed> {
    let flexible = Api::Fetch.is_flexible(version);
    let throttle_ms = cursor.i32("the throttle time")?;
    let error = cursor.i16("the error code")?;
    cursor.i32("the session")?;
    let topics = cursor.items(flexible, "the topics", |cursor| {
        if version >= TOPIC_IDS {
            cursor.uuid("the id of a topic")?;
        } else {
            cursor.string(flexible, "the name of a topic")?;
        }
        let partitions =
            cursor.items(flexible, "the partitions", |cursor| partition(cursor, version, flexible))?;
        cursor.skip_tags(flexible)?;
        Ok(partitions)
    })?;
    cursor.skip_tags(flexible)?;
    Ok(Answer { throttle_ms, error, partitions: topics.into_iter().flatten().collect() })
}

fn partition(cursor: &mut Cursor<'_>, version: i16, flexible: bool) -> Result<Fetched, Malformed> {
    let partition = cursor.i32("the number of a partition")?;
    let error = cursor.i16("the error code of a partition")?;
    let high_watermark = cursor.i64("the high watermark")?;
    let last_stable_offset = cursor.i64("the last stable offset")?;
    cursor.i64("the start of the log")?;
    let aborted = cursor.items(flexible, "the aborted transactions", |cursor| {
        let producer_id = cursor.i64("the producer of an aborted transaction")?;
        let first_offset = cursor.i64("the first offset of an aborted transaction")?;
        cursor.skip_tags(flexible)?;
        Ok(AbortedTransaction { producer_id, first_offset })
    })?;
    let preferred_replica = if version >= 11 { cursor.i32("the preferred replica")? } else { -1 };
    let records = cursor.bytes(flexible, "the records")?.unwrap_or(0..0);
    let mut diverges_at = None;
    cursor.tags(flexible, |tag, field| {
        if tag == 0 {
            field.i32("the diverging epoch")?;
            let offset = field.i64("the end of the diverging epoch")?;
            diverges_at = (offset >= 0).then_some(offset);
        }
        Ok(())
    })?;
    Ok(Fetched {
        partition,
        error,
        high_watermark,
        last_stable_offset,
        aborted,
        preferred_replica,
        records,
        diverges_at,
    })
}
