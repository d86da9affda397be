//! Wall-clock times and time spans in the units of record timestamps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the current time in microseconds since the epoch.
pub(super) fn epoch_us() -> i64 {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(epoch.as_micros()).unwrap_or(i64::MAX)
}

/// Returns the current time in milliseconds since the epoch.
pub(super) fn epoch_ms() -> i64 {
    epoch_us() / 1000
}

/// Returns a duration in whole milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Returns the time between two points; zero if they are in reverse order.
pub(super) fn span(from_ms: i64, to_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(to_ms - from_ms).unwrap_or(0))
}
