//! Offsets that brokers are asked for: partitions and a start in, their bounds and positions out. All partitions of
//! a topic are asked for at once, which is one request a broker however many there are.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaError;
use super::context::Context;
use crate::ids::LaneName;

/// How long a question to the brokers may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Where to start on a partition without a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest record.
    #[default]
    Earliest,
    /// After the newest record.
    Latest,
    /// At the first record of this time, in milliseconds since the epoch, or a later one.
    Timestamp(i64),
}

/// Offsets of partitions.
pub(super) type Offsets = Vec<(LaneName, i64)>;

/// The oldest offset of a partition, and the one after the newest record that may be read: after the last stable
/// one if only committed records are read.
pub(super) type Bounds = (i64, i64);

/// A list of one topic's partitions at offsets.
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
/// If a broker does not answer in time, or refuses to answer for one of them.
pub(super) fn bounds(
    consumer: &BaseConsumer<Context>,
    names: &[LaneName],
    timeout: Duration,
) -> Result<Vec<Bounds>, KafkaError> {
    let lows = ask(consumer, names, |_| Offset::Beginning, timeout)?;
    let highs = ask(consumer, names, |_| Offset::End, timeout)?;
    let known = |(name, found): (&LaneName, (Option<i64>, Option<i64>))| match found {
        (Some(low), Some(high)) => Ok((low, high)),
        _ => Err(KafkaError::new(format!("{name}: the brokers know no offsets of it"))),
    };
    names.iter().zip(lows.into_iter().zip(highs)).map(known).collect()
}

/// Returns where a start lies in each of these partitions, which have these bounds.
///
/// # Errors
/// If a broker does not answer in time, or refuses to answer for one of them: that is not the same as a time after
/// the newest record.
pub(super) fn starts(
    consumer: &BaseConsumer<Context>,
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

/// Asks for the first offset at or after a time of each partition; `Beginning` and `End` are times, too. `None`
/// if there is no such record.
fn ask(
    consumer: &BaseConsumer<Context>,
    names: &[LaneName],
    time: impl Fn(&LaneName) -> Offset,
    timeout: Duration,
) -> Result<Vec<Option<i64>>, KafkaError> {
    let Some(first) = names.first() else { return Ok(Vec::new()) };
    let times = list(names.iter().map(|name| (name.clone(), time(name))))?;
    let found = consumer
        .offsets_for_times(times, timeout)
        .map_err(|error| KafkaError::during(format!("the offsets of topic '{}'", first.topic), &error))?;
    let elements = found.elements();
    let found: HashMap<_, _> = elements.iter().map(|element| (element.partition(), element)).collect();
    let answer = |name: &LaneName| {
        let element = found.get(&name.partition);
        let error = element.and_then(|element| element.error().err());
        offset_of(name, element.map(|element| element.offset()), error.as_ref())
    };
    names.iter().map(answer).collect()
}

/// The answer for one partition.
fn offset_of(
    name: &LaneName,
    offset: Option<Offset>,
    error: Option<&ClientError>,
) -> Result<Option<i64>, KafkaError> {
    if let Some(error) = error {
        return Err(KafkaError::during(format!("the offsets of {name}"), error));
    }
    match offset {
        Some(Offset::Offset(offset)) => Ok(Some(offset)),
        Some(Offset::End) => Ok(None),
        _ => {
            let missing = ClientError::OffsetFetch(RDKafkaErrorCode::LeaderNotAvailable);
            Err(KafkaError::during(format!("the offsets of {name}"), &missing))
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
        // The client leaves the offset as it was asked for beside an error, or as the end.
        for offset in [Offset::Offset(1_700_000_000_000), Offset::End, Offset::Invalid] {
            let answer = offset_of(&name, Some(offset), Some(&error)).unwrap_err();
            assert!(answer.to_string().contains("orders[3]") && answer.is_passing(), "{answer}");
        }
        assert_eq!(offset_of(&name, Some(Offset::Offset(7)), None), Ok(Some(7)));
        assert_eq!(offset_of(&name, Some(Offset::End), None), Ok(None));
        assert!(offset_of(&name, None, None).is_err(), "a partition that is left out of the answer");
    }
}
