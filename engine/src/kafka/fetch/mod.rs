//! Reading partitions, apart from who decides which: lanes that are started and stopped in, rows of batches out.

mod lane;
mod queues;
mod ready;

use velo_schema::Tier;

pub(super) use lane::Lane;
pub(super) use queues::QueueFetcher;

use super::KafkaError;
use crate::batch::BatchBuilder;
use crate::core::batcher::Room;
use crate::ids::{LaneId, LaneName};
use crate::source::{Filled, SourceError};

/// Where a lane begins, and the offset at which it ends, if it does.
pub(super) type Bounds = (i64, Option<i64>);

/// Fetches the records of partitions. It joins nothing and commits nothing.
pub(super) trait Fetcher {
    /// Starts a lane; must come before the partition is assigned to the client.
    ///
    /// # Errors
    /// If the partition cannot be read.
    fn start(&mut self, lane: LaneId, name: &LaneName, bounds: Bounds) -> Result<(), KafkaError>;

    /// Stops a lane: what was fetched of it and not taken is dropped.
    fn stop(&mut self, lane: LaneId);

    /// Goes on with a lane at `position`, whatever was fetched of it.
    fn seek(&mut self, lane: LaneId, position: i64);

    /// Adds the lanes that may have records since they were drained last.
    fn ready(&mut self, lanes: &mut Vec<LaneId>);

    /// Appends records of a lane that are fetched already, up to `room`.
    ///
    /// # Errors
    /// If the lane cannot be read on.
    fn take(
        &mut self,
        lane: LaneId,
        tier: Tier,
        room: Room,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError>;

    /// Returns the offset after the newest record of a lane, if it is known.
    fn end_offset(&self, lane: LaneId) -> Option<i64>;
}
