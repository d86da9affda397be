//! Reports to the job and the texts of notices: what has happened in, the event or the error out.

use super::state::COMMIT_TIMEOUT;
use crate::ids::LaneName;
use crate::kafka::KafkaError;
use crate::kafka::group::end_of_input::Missing;
use crate::kafka::group::order::Order;
use crate::source::SourceEvent;

pub(super) fn report(orders: &mut Vec<Order>, event: SourceEvent) {
    orders.push(Order::Report(event));
}

pub(super) fn unanswered() -> KafkaError {
    KafkaError::new(format!("no broker answered the offset commit within {COMMIT_TIMEOUT:?}"))
}

/// Returns why the lanes of a process that was suspended end.
pub(super) fn suspended(and: &str) -> String {
    format!("the process was suspended for longer than session.timeout.ms and {and}")
}

/// Returns a notice with the partitions that other members must still read.
pub(super) fn others(topic: &str, missing: &[Missing]) -> String {
    const NAMED: usize = 5;
    let one = |Missing { partition, committed, end }: &Missing| {
        let committed =
            committed.map_or("not committed".to_owned(), |offset| format!("committed up to {offset}"));
        format!("{topic}[{partition}] ({committed} of {end})")
    };
    let named: Vec<_> = missing.iter().take(NAMED).map(one).collect();
    let more = missing.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("waiting for other members of the group to read to the end: {}{more}", named.join(", "))
}

pub(super) fn lost(name: &LaneName, from: i64, to: i64) -> SourceEvent {
    SourceEvent::Notice(format!(
        "data loss: offsets {from} to {} of {name} were deleted before they were read",
        to - 1
    ))
}

pub(super) fn anew(name: &LaneName, from: i64, to: i64) -> SourceEvent {
    SourceEvent::Notice(format!(
        "data loss: {name} was recreated or truncated before offset {from}; reading resumes at offset {to}"
    ))
}
