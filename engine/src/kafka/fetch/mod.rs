//! Fetches the records of partitions: lanes to start and stop in, rows of batches out. The caller decides which
//! partitions are read.

mod clock;
mod fetching;
mod lane;
mod lanes;
mod librdkafka;
mod native;
mod ready;

use velo_schema::Tier;

pub use fetching::{Choice, Fetching};
pub(super) use lane::{Broken, Lane};
pub(super) use lanes::Lanes;
pub(super) use librdkafka::QueueFetcher;
pub(super) use native::NativeFetcher;

use super::KafkaError;
use crate::batch::BatchBuilder;
use crate::core::batcher::Capacity;
use crate::ids::{LaneId, LaneName, Tick};
use crate::source::{Filled, SourceError, SourceEvent};

/// The first offset of a lane, and the offset at which it ends, if there is one.
pub(super) type Bounds = (i64, Option<i64>);

/// Fetches the records of partitions. A fetcher neither joins a group nor commits offsets.
pub(super) trait Fetcher {
    /// Sets the time. The first call relates the engine's clock to the wall clock.
    fn set_clock(&mut self, now: Tick);

    /// Returns the state of the lanes.
    fn lanes(&self) -> &Lanes;

    /// Reports what has changed since the last call.
    ///
    /// # Errors
    /// If a lane cannot be read for too long.
    fn report(&mut self, events: &mut Vec<SourceEvent>) -> Result<(), SourceError>;

    /// Returns true if the client of the group member fetches the records. Its positions must then be set, too.
    fn uses_client(&self) -> bool;

    /// Starts a lane. It must be started before the partition is assigned to the client.
    ///
    /// # Errors
    /// If the partition cannot be read.
    fn start(&mut self, lane: LaneId, name: &LaneName, bounds: Bounds) -> Result<(), KafkaError>;

    /// Stops a lane. Fetched records that were not taken are dropped.
    fn stop(&mut self, lane: LaneId);

    /// Stops all lanes.
    fn clear(&mut self);

    /// Continues a lane at `position`. Fetched records that were not taken are dropped.
    fn seek(&mut self, lane: LaneId, position: i64);

    /// Drops the fetched records of all lanes and returns the positions from which the lanes are fetched again.
    fn refetch(&mut self) -> Vec<(LaneName, i64)>;

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

    /// Returns the last stable offset of a lane, if records after it belong to open transactions and that is known.
    fn stable_end(&self, lane: LaneId) -> Option<i64>;
}
