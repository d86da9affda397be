//! Metadata: the name of a topic in, its brokers, its id and the leaders of its partitions out.

use super::api::{Api, Request};
use super::cursor::{Cursor, Malformed};
use super::encoder::Encoder;

/// A broker and its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broker {
    pub id: i32,
    pub host: String,
    pub port: u16,
}

/// The leader of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leader {
    pub partition: i32,
    /// The error code; 0 if there is none.
    pub error: i16,
    /// The id of the broker; negative if there is none at the moment.
    pub broker: i32,
    /// The epoch of the leader; negative if it is unknown.
    pub epoch: i32,
}

/// What the brokers know about a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicMetadata {
    pub brokers: Vec<Broker>,
    /// The error code of the topic; 0 if there is none.
    pub error: i16,
    /// The id of the topic; 0 if the brokers have no ids for topics.
    pub id: u128,
    pub leaders: Vec<Leader>,
}

/// The request for the metadata of a topic.
pub(crate) fn request(version: i16, topic: &str) -> Request {
    let mut encoder = Encoder::new(Api::Metadata.is_flexible(version));
    encoder.length(1);
    if version >= 10 {
        encoder.uuid(0);
        encoder.nullable_string(Some(topic));
    } else {
        encoder.string(topic);
    }
    encoder.no_tags();
    // No topic is created.
    encoder.bool(false);
    if version >= 8 {
        if version <= 10 {
            encoder.bool(false);
        }
        encoder.bool(false);
    }
    encoder.no_tags();
    Request { api: Api::Metadata, version, body: encoder.into_bytes() }
}

/// Reads the answer for one topic.
///
/// # Errors
/// If the bytes are no such answer.
pub(crate) fn read(cursor: &mut Cursor<'_>, version: i16, topic: &str) -> Result<TopicMetadata, Malformed> {
    let flexible = Api::Metadata.is_flexible(version);
    cursor.i32("the throttle time")?;
    let brokers = cursor.items(flexible, "the brokers", |cursor| {
        let id = cursor.i32("the id of a broker")?;
        let host = cursor.string(flexible, "the host of a broker")?.unwrap_or_default();
        let port = cursor.i32("the port of a broker")?;
        cursor.string(flexible, "the rack of a broker")?;
        cursor.skip_tags(flexible)?;
        let impossible = |_| Malformed::Impossible { what: "the port of a broker", value: port.into() };
        Ok(Broker { id, host, port: u16::try_from(port).map_err(impossible)? })
    })?;
    cursor.string(flexible, "the id of the cluster")?;
    cursor.i32("the controller")?;
    let topics = cursor.items(flexible, "the topics", |cursor| {
        let error = cursor.i16("the error code of a topic")?;
        let name = cursor.string(flexible, "the name of a topic")?;
        let id = if version >= 10 { cursor.uuid("the id of a topic")? } else { 0 };
        cursor.i8("whether a topic is internal")?;
        let leaders = cursor.items(flexible, "the partitions", |cursor| leader(cursor, flexible))?;
        if version >= 8 {
            cursor.i32("the operations on a topic")?;
        }
        cursor.skip_tags(flexible)?;
        Ok((name, TopicMetadata { brokers: Vec::new(), error, id, leaders }))
    })?;
    let found = topics.into_iter().find(|(name, _)| name.as_deref() == Some(topic));
    let missing = Malformed::Impossible { what: "the number of answers about the topic", value: 0 };
    let (_, metadata) = found.ok_or(missing)?;
    Ok(TopicMetadata { brokers, ..metadata })
}

fn leader(cursor: &mut Cursor<'_>, flexible: bool) -> Result<Leader, Malformed> {
    let error = cursor.i16("the error code of a partition")?;
    let partition = cursor.i32("the number of a partition")?;
    let broker = cursor.i32("the leader of a partition")?;
    let epoch = cursor.i32("the leader epoch of a partition")?;
    for what in ["the replicas", "the in-sync replicas", "the offline replicas"] {
        cursor.items(flexible, what, |cursor| cursor.i32("a replica"))?;
    }
    cursor.skip_tags(flexible)?;
    Ok(Leader { partition, error, broker, epoch })
}
