//! Fetches the records of partitions: lanes to start and stop in, rows of batches out. The caller decides which
//! partitions are read.

mod lane;
mod queues;
mod ready;

use velo_schema::Tier;

pub(super) use lane::Lane;
pub(super) use queues::QueueFetcher;

use super::KafkaError;
use crate::batch::BatchBuilder;
use crate::core::batcher::Capacity;
use crate::ids::{LaneId, LaneName};
use crate::source::{Filled, SourceError};

/// The first offset of a lane, and the offset at which it ends, if there is one.
pub(super) type Bounds = (i64, Option<i64>);

/// Fetches the records of partitions. A fetcher neither joins a group nor commits offsets.
pub(super) trait Fetcher {
    /// Starts a lane. It must be started before the partition is assigned to the client.
    ///
    /// # Errors
    /// If the partition cannot be read.
    fn start(&mut self, lane: LaneId, name: &LaneName, bounds: Bounds) -> Result<(), KafkaError>;

    /// Stops a lane. Fetched records that were not taken are dropped.
    fn stop(&mut self, lane: LaneId);

    /// Continues a lane at `position`. Fetched records that were not taken are dropped.
    fn seek(&mut self, lane: LaneId, position: i64);

    /// Appends the lanes that may have had new records since they were last drained.
    fn ready(&mut self, lanes: &mut Vec<LaneId>);

    /// Appends fetched records of a lane to the batch, up to `room`.
    ///
    /// # Errors
    /// If the lane cannot be read any further.
    fn take(
        &mut self,
        lane: LaneId,
        tier: Tier,
        room: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError>;

    /// Returns the offset after the newest record of a lane, if it is known.
    fn end_offset(&self, lane: LaneId) -> Option<i64>;
}
