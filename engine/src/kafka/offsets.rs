//! Requests offsets from the brokers: partitions and a start in, their bounds and positions out. The offsets of all
//! partitions of a topic are requested together, with one request per broker.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaError;
use crate::ids::LaneName;

/// The time-out of a request to the brokers.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Where to start in a partition without a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest record.
    #[default]
    Earliest,
    /// After the newest record.
    Latest,
    /// At the first record with this timestamp or a later one, in milliseconds since the epoch.
    Timestamp(i64),
}

/// Offsets of partitions.
pub(super) type Offsets = Vec<(LaneName, i64)>;

/// The offset of the oldest record of a partition, and the offset after the newest readable record: the last stable
/// offset if only committed records are read.
pub(super) type Bounds = (i64, i64);

/// Returns a list of partitions with these offsets.
pub(super) fn offsets_of(
    offsets: impl IntoIterator<Item = (LaneName, i64)>,
) -> Result<TopicPartitionList, KafkaError> {
    list(offsets.into_iter().map(|(name, offset)| (name, Offset::Offset(offset))))
}

fn list(offsets: impl IntoIterator<Item = (LaneName, Offset)>) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (LaneName { topic, partition }, offset) in offsets {
        list.add_partition_offset(&topic, partition, offset)?;
    }
    Ok(list)
}

/// Returns the bounds of these partitions, in their order.
///
/// # Errors
/// If a broker does not answer in time, or returns an error for a partition.
pub(super) fn bounds<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    names: &[LaneName],
    timeout: Duration,
) -> Result<Vec<Bounds>, KafkaError> {
    let lows = ask(consumer, names, |_| Offset::Beginning, timeout)?;
    let highs = ask(consumer, names, |_| Offset::End, timeout)?;
    let known = |(name, found): (&LaneName, (Option<i64>, Option<i64>))| match found {
        (Some(low), Some(high)) => Ok((low, high)),
        _ => Err(KafkaError::new(format!("the brokers returned no offsets of {name}"))),
    };
    names.iter().zip(lows.into_iter().zip(highs)).map(known).collect()
}

/// Returns the offset of a start in each of these partitions, given with their bounds.
///
/// # Errors
/// If a broker does not answer in time, or returns an error for a partition. A timestamp after the newest record is
/// no error.
pub(super) fn starts<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[(LaneName, Bounds)],
    start: Start,
    timeout: Duration,
) -> Result<Vec<i64>, KafkaError> {
    let bounds = partitions.iter().map(|(_, bounds)| bounds);
    match start {
        Start::Earliest => Ok(bounds.map(|(low, _)| *low).collect()),
        Start::Latest => Ok(bounds.map(|(_, high)| *high).collect()),
        Start::Timestamp(timestamp_ms) => {
            let names: Vec<_> = partitions.iter().map(|(name, _)| name.clone()).collect();
            let found = ask(consumer, &names, |_| Offset::Offset(timestamp_ms), timeout)?;
            Ok(found.into_iter().zip(bounds).map(|(found, (_, high))| found.unwrap_or(*high)).collect())
        }
    }
}

/// Requests the first offset at or after a timestamp in each partition; `Beginning` and `End` are valid timestamps.
/// Returns `None` for a partition without such a record.
fn ask<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    names: &[LaneName],
    time: impl Fn(&LaneName) -> Offset,
    timeout: Duration,
) -> Result<Vec<Option<i64>>, KafkaError> {
    let Some(first) = names.first() else { return Ok(Vec::new()) };
    let times = list(names.iter().map(|name| (name.clone(), time(name))))?;
    let found = consumer.offsets_for_times(times, timeout).map_err(|error| {
        // What the client knows of the topic may come from a broker that had just been started and did not know all of
        // it. The client asks again only after topic.metadata.refresh.interval.ms (5 min).
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) {
            let _ = consumer.fetch_metadata(Some(&first.topic), timeout);
        }
        KafkaError::during(format!("reading offsets of topic '{}'", first.topic), &error)
    })?;
    let elements = found.elements();
    let found: HashMap<_, _> = elements.iter().map(|element| (element.partition(), element)).collect();
    let answer = |name: &LaneName| {
        let element = found.get(&name.partition);
        let error = element.and_then(|element| element.error().err());
        offset_of(name, element.map(|element| element.offset()), error.as_ref())
    };
    names.iter().map(answer).collect()
}

/// Returns the offset of one partition from the response.
fn offset_of(
    name: &LaneName,
    offset: Option<Offset>,
    error: Option<&ClientError>,
) -> Result<Option<i64>, KafkaError> {
    if let Some(error) = error {
        return Err(KafkaError::during(format!("reading offsets of {name}"), error));
    }
    match offset {
        Some(Offset::Offset(offset)) => Ok(Some(offset)),
        Some(Offset::End) => Ok(None),
        _ => {
            let missing = ClientError::OffsetFetch(RDKafkaErrorCode::LeaderNotAvailable);
            Err(KafkaError::during(format!("reading offsets of {name}"), &missing))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_partition_is_no_offset() {
        let name = LaneName { topic: "orders".into(), partition: 3 };
        let error = ClientError::OffsetFetch(RDKafkaErrorCode::NotLeaderForPartition);
        // Next to an error, the client returns the requested offset or `End`.
        for offset in [Offset::Offset(1_700_000_000_000), Offset::End, Offset::Invalid] {
            let answer = offset_of(&name, Some(offset), Some(&error)).unwrap_err();
            assert!(answer.to_string().contains("orders[3]") && answer.is_passing(), "{answer}");
        }
        assert_eq!(offset_of(&name, Some(Offset::Offset(7)), None), Ok(Some(7)));
        assert_eq!(offset_of(&name, Some(Offset::End), None), Ok(None));
        assert!(offset_of(&name, None, None).is_err(), "a partition that is missing in the response");
    }
}
