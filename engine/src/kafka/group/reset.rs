//! An offset and the bounds of its partition in, where to go on or what was lost out.

use crate::ids::LaneName;
use crate::kafka::KafkaError;

/// What follows when records are gone before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDataLoss {
    /// The job ends and says what is gone.
    #[default]
    Fail,
    /// It goes on at the oldest record, and counts what is gone.
    Continue,
}

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    /// Where it was.
    Here,
    /// At this offset; everything before it is gone.
    Behind(i64),
    /// At this offset, which is before the one that it was at: these are other records.
    Anew(i64),
}

/// Where a member goes on that is at `position` of a partition whose records are `low` to before `high`.
pub(super) fn resume(
    LaneName { topic, partition }: &LaneName,
    position: i64,
    (low, high): (i64, i64),
    on_data_loss: OnDataLoss,
) -> Result<Resume, KafkaError> {
    const CONTINUE: &str = "with --on-data-loss continue the job goes on at the oldest record";
    match on_data_loss {
        _ if (low..=high).contains(&position) => Ok(Resume::Here),
        OnDataLoss::Continue if position < low => Ok(Resume::Behind(low)),
        OnDataLoss::Continue => Ok(Resume::Anew(low)),
        OnDataLoss::Fail if position < low => Err(KafkaError::new(format!(
            "records were deleted before they were read: offsets {position} to {} of {topic}[{partition}] are gone; {CONTINUE}",
            low - 1
        ))),
        OnDataLoss::Fail => Err(KafkaError::new(format!(
            "the group is at offset {position} of {topic}[{partition}], which ends at {high}: the topic was recreated \
             or truncated, or the offset was committed by a reader of uncommitted transactions; {CONTINUE}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_named_or_passed_over() {
        let name = LaneName { topic: "orders".into(), partition: 3 };
        let at = |position, on| resume(&name, position, (10, 20), on).map_err(|error| error.to_string());
        for on in [OnDataLoss::Fail, OnDataLoss::Continue] {
            assert_eq!((at(10, on), at(20, on)), (Ok(Resume::Here), Ok(Resume::Here)));
        }
        assert_eq!(at(4, OnDataLoss::Continue), Ok(Resume::Behind(10)));
        assert_eq!(at(21, OnDataLoss::Continue), Ok(Resume::Anew(10)));
        assert!(at(4, OnDataLoss::Fail).unwrap_err().contains("offsets 4 to 9 of orders[3] are gone"));
        assert!(at(21, OnDataLoss::Fail).unwrap_err().contains("ends at 20"));
    }
}
