//! Decides where a partition is read on: an offset and the bounds of its partition in, the offset to resume at or the
//! data loss out.

use crate::ids::LaneName;
use crate::kafka::KafkaError;

/// What to do if records were deleted before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDataLoss {
    /// Fail the job and report the lost offsets.
    #[default]
    Fail,
    /// Continue at the oldest record and count the lost offsets.
    Continue,
}

/// Where to resume reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    /// At the position.
    Here,
    /// At this offset; the records before it were deleted.
    Behind(i64),
    /// At this offset before the position; the partition has other records than before.
    Anew(i64),
}

/// Returns where a member resumes from `position` in a partition with records from `low` up to, but not including,
/// `high`. `differs_from` is the offset from which on it is known to have other records than those that were read.
///
/// # Errors
/// If `position` is outside the partition, or records differ, and `on_data_loss` is [`OnDataLoss::Fail`].
pub(super) fn resume(
    LaneName { topic, partition }: &LaneName,
    position: i64,
    ((low, high), differs_from): ((i64, i64), Option<i64>),
    on_data_loss: OnDataLoss,
) -> Result<Resume, KafkaError> {
    const CONTINUE: &str = "use --on-data-loss continue to resume at the oldest record";
    if let Some(offset) = differs_from.filter(|offset| *offset < position) {
        return match on_data_loss {
            OnDataLoss::Continue => Ok(Resume::Anew(offset.clamp(low, low.max(high)))),
            OnDataLoss::Fail => Err(KafkaError::new(format!(
                "{topic}[{partition}] has other records from offset {offset} on than those that were read up to \
                 {position}: the topic was deleted and created again, or truncated; {CONTINUE}"
            ))),
        };
    }
    match on_data_loss {
        _ if (low..=high).contains(&position) => Ok(Resume::Here),
        OnDataLoss::Continue if position < low => Ok(Resume::Behind(low)),
        OnDataLoss::Continue => Ok(Resume::Anew(low)),
        OnDataLoss::Fail if position < low => Err(KafkaError::new(format!(
            "offsets {position} to {} of {topic}[{partition}] were deleted before they were read; {CONTINUE}",
            low - 1
        ))),
        OnDataLoss::Fail => Err(KafkaError::new(format!(
            "the group's committed offset {position} of {topic}[{partition}] is after its end at {high}: the topic \
             was recreated or truncated, or a reader of uncommitted transactions committed the offset; {CONTINUE}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_named_or_passed_over() {
        let name = LaneName { topic: "orders".into(), partition: 3 };
        let at =
            |position, on| resume(&name, position, ((10, 20), None), on).map_err(|error| error.to_string());
        for on in [OnDataLoss::Fail, OnDataLoss::Continue] {
            assert_eq!((at(10, on), at(20, on)), (Ok(Resume::Here), Ok(Resume::Here)));
        }
        assert_eq!(at(4, OnDataLoss::Continue), Ok(Resume::Behind(10)));
        assert_eq!(at(21, OnDataLoss::Continue), Ok(Resume::Anew(10)));
        assert!(at(4, OnDataLoss::Fail).unwrap_err().contains("offsets 4 to 9 of orders[3] were deleted"));
        let differs =
            |from, on| resume(&name, 15, ((10, 20), Some(from)), on).map_err(|error| error.to_string());
        assert_eq!(differs(0, OnDataLoss::Continue), Ok(Resume::Anew(10)));
        assert_eq!(differs(12, OnDataLoss::Continue), Ok(Resume::Anew(12)));
        assert_eq!(differs(15, OnDataLoss::Fail), Ok(Resume::Here), "what was read is the same");
        assert!(differs(12, OnDataLoss::Fail).unwrap_err().contains("other records from offset 12 on"));
        assert!(at(21, OnDataLoss::Fail).unwrap_err().contains("after its end at 20"));
    }
}
