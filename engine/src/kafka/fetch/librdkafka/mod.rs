//! A [`Fetcher`] that reads the partition queues of librdkafka.

mod queue;

use std::collections::HashMap;
use std::sync::Arc;

use rdkafka::consumer::BaseConsumer;
use velo_schema::Tier;

use super::clock::Clock;
use super::lanes::Lanes;
use super::ready::ReadyLanes;
use super::{Bounds, Fetcher};
use crate::batch::BatchBuilder;
use crate::core::batcher::Capacity;
use crate::ids::{LaneId, LaneName, Tick};
use crate::kafka::KafkaError;
use crate::kafka::context::{Context, Meter};
use crate::kafka::ffi::{PartitionQueue, known_end};
use crate::memory::MemoryBudget;
use crate::source::{Filled, SourceError, SourceEvent};
use crate::waker::Waker;
use queue::Queue;

/// The queues of the partitions of a consumer.
pub(in crate::kafka) struct QueueFetcher {
    consumer: Arc<BaseConsumer<Context>>,
    /// The statistics of the client.
    meter: Meter,
    lanes: Lanes,
    queues: HashMap<LaneId, Queue>,
    ready: ReadyLanes,
    clock: Clock,
    /// The approximate number of bytes to take from a queue with one call.
    call_bytes: u64,
    /// The size of a record that is assumed before the first record was read, in bytes.
    first_record_bytes: u64,
}

impl QueueFetcher {
    /// Creates a fetcher without lanes. It wakes `waker` when records arrive.
    pub(in crate::kafka) fn new(
        consumer: Arc<BaseConsumer<Context>>,
        meter: Meter,
        memory: &MemoryBudget,
        waker: Waker,
    ) -> Self {
        Self {
            consumer,
            meter,
            lanes: Lanes::default(),
            queues: HashMap::new(),
            ready: ReadyLanes::new(waker),
            clock: Clock::default(),
            call_bytes: memory.call_bytes(),
            first_record_bytes: memory.first_record_bytes(),
        }
    }
}

impl Fetcher for QueueFetcher {
    fn set_clock(&mut self, now: Tick) {
        self.clock.set(now);
    }

    fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    fn report(&mut self, events: &mut Vec<SourceEvent>) -> Result<(), SourceError> {
        self.lanes.report(self.clock.now, events)
    }

    fn uses_client(&self) -> bool {
        true
    }

    fn start(&mut self, id: LaneId, name: &LaneName, bounds: Bounds) -> Result<(), KafkaError> {
        let ready = self.ready.clone();
        let queue = PartitionQueue::split(&self.consumer, &name.topic, name.partition, move || ready.add(id))
            .ok_or_else(|| KafkaError::new(format!("the client has no queue for {name}")))?;
        self.queues.insert(id, Queue::new(queue, self.call_bytes, self.first_record_bytes));
        self.lanes.start(id, name, bounds);
        Ok(())
    }

    fn stop(&mut self, id: LaneId) {
        self.lanes.stop(id);
        self.queues.remove(&id);
    }

    fn clear(&mut self) {
        self.lanes.clear();
        self.queues.clear();
    }

    fn seek(&mut self, id: LaneId, position: i64) {
        if self.lanes.seek(id, position) {
            if let Some(queue) = self.queues.get_mut(&id) {
                queue.drop_rest();
            }
            // A queue that already has messages does not call back again.
            self.ready.add(id);
        }
    }

    fn refetch(&mut self) -> Vec<(LaneName, i64)> {
        self.queues.values_mut().for_each(Queue::drop_rest);
        let again = |lane: &super::lane::Lane| {
            self.ready.add(lane.id);
            (lane.name.clone(), lane.position)
        };
        self.lanes.iter().map(again).collect()
    }

    fn ready(&mut self, lanes: &mut Vec<LaneId>) {
        self.ready.take(lanes);
        self.lanes.sweep(self.clock.now, lanes);
    }

    fn take(
        &mut self,
        id: LaneId,
        tier: Tier,
        room: Capacity,
        batch: &mut BatchBuilder,
    ) -> Result<Filled, SourceError> {
        let (clock, queue) = (self.clock, self.queues.get_mut(&id));
        let filled = queue
            .and_then(|queue| self.lanes.change(id, |lane| queue.fill(lane, (tier, room), clock, batch)));
        filled.unwrap_or(Ok(Filled { drained: true, ..Filled::default() }))
    }

    fn end_offset(&self, id: LaneId) -> Option<i64> {
        let lane = self.lanes.get(id)?;
        known_end(&self.consumer, &lane.name).or(lane.end)
    }

    fn stable_end(&self, id: LaneId) -> Option<i64> {
        self.meter.stable_end(&self.lanes.get(id)?.name)
    }
}
