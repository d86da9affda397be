//! The age of records: the engine's clock and the wall clock in, times on the engine's clock out.
#![allow(clippy::disallowed_methods, reason = "the age of records is measured by the wall clock")]

use std::time::{SystemTime, UNIX_EPOCH};

use crate::ids::Tick;

/// The time of a fetcher.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    pub now: Tick,
    /// The start of the engine in nanoseconds since the epoch.
    start_epoch_ns: Option<i64>,
}

impl Clock {
    /// Sets the time. The first call relates the engine's clock to the wall clock.
    pub(super) fn set(&mut self, now: Tick) {
        self.now = now;
        self.start_epoch_ns.get_or_insert_with(|| {
            let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let start = epoch.as_nanos().saturating_sub(u128::from(now.0));
            i64::try_from(start).unwrap_or(i64::MAX)
        });
    }

    /// Returns the time on the engine's clock, in nanoseconds, at which a record with this timestamp was created; 0 if
    /// it has none.
    pub(super) fn arrival_ns(&self, timestamp_ms: Option<i64>) -> i64 {
        let start = self.start_epoch_ns.unwrap_or(0);
        timestamp_ms.map_or(0, |ms| ms.saturating_mul(1_000_000).saturating_sub(start))
    }
}
